//! The numbers of the book, pinned: every table and every value that a chapter can embed.
//!
//! A difference is reviewed like code, with `cargo insta review`. With `LAB_IMPL=starter` the
//! tables are computed by the reader's own files, so `LAB_IMPL=starter cargo insta test --review`
//! shows how an edit moves them. What a lab needs that is not written yet is left out, visibly.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use insta::{Settings, assert_snapshot};
use kit::skip::left_out;
use snippets::Entry;
use snippets::values::Value;

#[test]
fn every_table_reads_as_it_did() {
    let computed = snippets::tables::ALL.iter().filter(|entry| !entry.transcribed);
    check_all(computed.map(|entry| {
        let make = || Ok(entry.make()?.to_string());
        (entry.name.to_string(), make)
    }));
}

#[test]
fn every_transcribed_table_can_be_made_and_has_no_snapshot() {
    for entry in snippets::tables::ALL.iter().filter(|entry| entry.transcribed) {
        entry.make().expect(entry.name);
        let snapshot = format!("{}/snapshots/{}.snap", env!("CARGO_MANIFEST_DIR"), entry.name);
        assert!(!std::path::Path::new(&snapshot).exists(), "nothing reads {snapshot}: remove it");
    }
}

/// A snapshot for each chapter, the part of a value's name before the point: a lab that is not
/// written yet keeps back its own and nobody else's.
#[test]
fn every_value_reads_as_it_did() {
    let mut chapters: BTreeMap<&str, Vec<&Entry<Value>>> = BTreeMap::new();
    for entry in snippets::values::ALL.iter() {
        let chapter = entry.name.split('.').next().unwrap_or(entry.name);
        chapters.entry(chapter).or_default().push(entry);
    }
    check_all(chapters.into_iter().map(|(chapter, entries)| {
        let make = move || {
            let mut sentences = String::new();
            for entry in entries {
                let value = entry.make()?;
                sentences.push_str(&format!("{}: {} {}.\n", entry.name, value.meaning, value.text));
            }
            Ok(sentences)
        };
        (format!("values_{chapter}"), make)
    }));
}

/// Holds each text to its snapshot. All are tried, so that one run shows everything that moved.
fn check_all<Make: FnOnce() -> anyhow::Result<String>>(
    texts: impl IntoIterator<Item = (String, Make)>,
) {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let moved: Vec<_> = texts
        .into_iter()
        .filter_map(|(name, make)| {
            let check = || settings.bind(|| assert_snapshot!(name.as_str(), make().expect(&name)));
            match catch_unwind(AssertUnwindSafe(check)) {
                Ok(()) => None,
                Err(panic) if is_unwritten(&*panic) => {
                    left_out(&name, "a function of a starter that it needs is not written yet");
                    None
                }
                Err(_) => Some(name),
            }
        })
        .collect();
    assert!(
        moved.is_empty(),
        "these do not read as they did: {moved:?}; see the differences above"
    );
}

/// Whether a panic is that of a `todo!`, in a run that asked for the starters.
fn is_unwritten(panic: &(dyn Any + Send)) -> bool {
    let starter = std::env::var("LAB_IMPL").is_ok_and(|chosen| chosen == "starter");
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    starter && text.starts_with("not yet implemented")
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = snippets::tables::ALL.iter().map(|entry| entry.name).collect();
    names.extend(snippets::values::ALL.iter().map(|entry| entry.name));
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "two tables or values have the name {}", pair[0]);
    }
}

/// An entry that no chapter embeds has no reader, and no build of the book computes the entry.
#[test]
fn every_entry_is_embedded_in_a_chapter() -> anyhow::Result<()> {
    let mut text = String::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../src");
    for entry in walkdir::WalkDir::new(source) {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "md") {
            text += &std::fs::read_to_string(entry.path())?;
        }
    }
    let lists = [
        ("figure", names_of(&snippets::figures::ALL)),
        ("interactive", names_of(&snippets::interactive::ALL)),
        ("interactive", names_of(&snippets::interactive::card::ALL)),
        ("table", names_of(&snippets::tables::ALL)),
        ("value", names_of(&snippets::values::ALL)),
    ];
    let marks = lists.into_iter().flat_map(|(kind, names)| {
        names.into_iter().map(move |name| format!("{{{{#{kind} {name}}}}}"))
    });
    let missing: Vec<_> = marks.filter(|mark| !text.contains(mark)).collect();
    assert!(
        missing.is_empty(),
        "no chapter embeds these: write the mark or remove the entry: {missing:?}"
    );
    Ok(())
}

#[test]
fn every_snapshot_is_that_of_an_entry() -> anyhow::Result<()> {
    let tables = snippets::tables::ALL.iter().map(|entry| entry.name.to_string());
    let chapter = |name: &str| format!("values_{}", name.split('.').next().unwrap_or(name));
    let values = snippets::values::ALL.iter().map(|entry| chapter(entry.name));
    let known: BTreeSet<String> = tables.chain(values).collect();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".snap") else { continue };
        assert!(known.contains(name), "nothing reads tests/snapshots/{name}.snap: remove it");
    }
    Ok(())
}

fn names_of<T>(entries: &[Entry<T>]) -> Vec<&'static str> {
    entries.iter().map(|entry| entry.name).collect()
}

#[test]
fn the_gpu_chapter_shows_every_captured_table() {
    let chapter = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/measure/lab-02.md");
    let text = std::fs::read_to_string(chapter).expect(chapter);
    let names = snippets::tables::ALL.iter().map(|entry| entry.name);
    let captured: Vec<_> = names.filter(|name| name.starts_with("gpu_")).collect();
    assert!(!captured.is_empty(), "there are captures of GPUs");
    for name in captured {
        let mark = format!("{{{{#table {name}}}}}");
        assert!(text.contains(&mark), "src/measure/lab-02.md lacks {mark}");
    }
}
