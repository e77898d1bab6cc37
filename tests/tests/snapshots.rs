//! The numbers of the book, pinned: every table and every value that a chapter can embed.
//!
//! A difference is reviewed like code, with `cargo insta review`. With `LAB_IMPL=starter` the
//! tables are computed by the reader's own file, so `LAB_IMPL=starter cargo insta test --review`
//! shows how an edit moves them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use insta::{Settings, assert_snapshot};

#[test]
fn every_table_reads_as_it_did() {
    let entries = snippets::tables::available();
    check_all(entries.map(|entry| (entry.name, move || Ok((entry.make)()?.to_string()))));
}

#[test]
fn every_value_reads_as_it_did() {
    check_all([("values", || {
        let mut sentences = String::new();
        for entry in snippets::values::ALL {
            let value = (entry.make)()?;
            sentences.push_str(&format!("{}: {} {}.\n", entry.name, value.meaning, value.text));
        }
        Ok(sentences)
    })]);
}

/// Holds each text to its snapshot. All are tried, so that one run shows everything that moved.
fn check_all<Make: FnOnce() -> anyhow::Result<String>>(
    texts: impl IntoIterator<Item = (&'static str, Make)>,
) {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let moved: Vec<_> = texts
        .into_iter()
        .filter_map(|(name, make)| {
            let check = || settings.bind(|| assert_snapshot!(name, make().expect(name)));
            catch_unwind(AssertUnwindSafe(check)).is_err().then_some(name)
        })
        .collect();
    assert!(
        moved.is_empty(),
        "these do not read as they did: {moved:?}; see the differences above"
    );
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = snippets::tables::available().map(|entry| entry.name).collect();
    names.extend(snippets::values::ALL.iter().map(|entry| entry.name));
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1], "two tables or values have the name {}", pair[0]);
    }
}

#[test]
fn the_gpu_chapter_shows_every_captured_table_or_says_that_there_is_no_capture() {
    let chapter = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/measure/lab-02.md");
    let text = std::fs::read_to_string(chapter).expect(chapter);
    let captured = snippets::tables::captured::available();
    let without = text.contains("There is no capture of ours in this edition.");
    assert_eq!(
        without,
        captured.is_empty(),
        "src/measure/lab-02.md has to say that there is no capture exactly while there is none"
    );
    for entry in captured {
        let mark = format!("{{{{#table {}}}}}", entry.name);
        assert!(text.contains(&mark), "there are captures now: src/measure/lab-02.md lacks {mark}");
    }
}
