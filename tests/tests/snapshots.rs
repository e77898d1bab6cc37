//! The numbers of the book, pinned: every table and every value that a chapter can embed.
//!
//! A difference is reviewed like code, with `cargo insta review`. With `LAB_IMPL=starter` the
//! tables are computed by the reader's own files (`cargo book tables` shows the difference without
//! insta). What a lab needs that is not written yet is left out, visibly.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use insta::{Settings, assert_snapshot};
use kit::skip::if_written;
use snippets::Entry;
use snippets::pinned::{self, Pinned};

#[test]
fn every_transcribed_table_can_be_made_and_has_no_snapshot() {
    for entry in snippets::tables::ALL.iter().filter(|entry| entry.transcribed) {
        entry.make().expect(entry.name);
        let snapshot = format!("{}/snapshots/{}.snap", env!("CARGO_MANIFEST_DIR"), entry.name);
        assert!(!std::path::Path::new(&snapshot).exists(), "nothing reads {snapshot}: remove it");
    }
}

/// All are tried, so that one run shows everything that moved.
#[test]
fn every_table_and_value_reads_as_it_did() {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let is_moved = |(name, pinned): &(String, Pinned)| {
        let check =
            || settings.bind(|| assert_snapshot!(name.as_str(), pinned.text().expect(name)));
        catch_unwind(AssertUnwindSafe(|| if_written(name, check))).is_err()
    };
    let all = pinned::all().into_iter().map(|pinned| (pinned.name(), pinned));
    let moved: Vec<_> = all.filter(is_moved).map(|(name, _)| name).collect();
    assert!(
        moved.is_empty(),
        "these do not read as they did: {moved:?}; see the differences above"
    );
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
    let known: BTreeSet<String> = pinned::all().iter().map(Pinned::name).collect();
    for entry in std::fs::read_dir(pinned::snapshots())? {
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
