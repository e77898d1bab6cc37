//! Requests for the renderer `html`, answered for small books.

mod fixture;

use std::fs;
use std::sync::atomic::Ordering;

use anyhow::Result;
use fixture::{Fake, Fixture};

fn html(book: &Fixture) -> Result<Vec<String>> {
    book.run(&Fake::default(), "html")
}

/// The message with which the build fails.
fn html_error(book: &Fixture) -> String {
    format!("{:#}", html(book).expect_err("the build must fail"))
}

/// The only chapter of a book whose source `links` does not change.
fn rendered(text: &str) -> String {
    html(&Fixture::new().chapter("a.md", text)).unwrap().swap_remove(0)
}

#[test]
fn marks_of_all_kinds_are_replaced() {
    let text = "# T\n\nThe error is {{#value lab.error}}.\n\n{{#table two_rows}}\n\n{{#figure plot}}\n\n\
        {{#interactive slider}}\n";
    let expected = "# T\n\nThe error is 0.65 %.\n\n\n| a |\n|---|\n| 1 |\n\n\n\n\
        <figure>\n<svg/>\n</figure>\n\n\n\n<figure><script>{}</script></figure>\n\n";
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_mark_on_the_last_line_needs_no_newline() {
    assert!(rendered("a\n\n{{#figure plot}}").ends_with("</figure>\n"));
    assert_eq!(rendered("{{#value lab.error}}"), "0.65 %");
}

#[test]
fn windows_line_ends_are_kept() {
    let text = "a {{#value lab.error}}\r\n\r\n{{#table two_rows}}\r\nb\r\n";
    let expected = "a 0.65 %\r\n\r\n\n| a |\n|---|\n| 1 |\n\r\nb\r\n";
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_value_in_a_cell_does_not_end_the_cell() {
    let text =
        "| x | y |\n|---|---|\n| {{#value bar}} | {{#value lab.error}} |\n\n{{#value bar}}\n";
    let expected = "| x | y |\n|---|---|\n| \\|w\\| | 0.65 % |\n\n|w|\n";
    assert_eq!(rendered(text), expected);
}

#[test]
fn marks_in_code_are_shown() {
    let text = "`{{#value lab.error}}`\n\n```text\n{{#figure plot}}\n```\n";
    assert_eq!(rendered(text), text);
}

#[test]
fn escaped_marks_are_shown_although_links_took_the_backslash() {
    let source = "\\{{#value lab.error}} is\n{{#value lab.error}}, not \\{{#figure nonsense}}\n";
    let content = "{{#value lab.error}} is\n{{#value lab.error}}, not {{#figure nonsense}}\n";
    let book = Fixture::new().chapter_as("a.md", source, content);
    let expected = "{{#value lab.error}} is\n0.65 %, not {{#figure nonsense}}\n";
    assert_eq!(html(&book).unwrap()[0], expected);
}

#[test]
fn dollars_in_a_figure_are_not_left_to_the_math_preprocessor() {
    assert!(rendered("{{#figure price}}\n").contains("<text>&#36;3</text>"));
}

#[test]
fn all_mistakes_of_all_chapters_are_told_at_once() {
    let book = Fixture::new()
        .chapter("a.md", "ok\n\n{{#figure plto}}\n\n```\nx\n```\n")
        .chapter(
            "part/b.md",
            "{{#value lab.eror}}\n{{#include ../c.rs:missing}}\n{{#figrue plot}}\n",
        )
        .file("src/c.rs", "// ANCHOR: mising\nx\n// ANCHOR_END: mising\n");
    let error = html_error(&book);
    let expected = [
        "error: src/a.md:3: there is no figure `plto`: the nearest is `plot`",
        "error: src/a.md:5: this fence names no language",
        "error: src/part/b.md:1: there is no value `lab.eror`: the nearest is `lab.error`",
        "error: src/part/b.md:2: `../c.rs` has no anchor `missing`: the nearest is `mising`",
        "error: src/part/b.md:3: there is no mark `{{#figrue`: the nearest is `figure`",
        "5 errors in 2 chapters",
    ];
    for (line, start) in error.lines().zip(expected) {
        assert!(line.starts_with(start), "{error}");
    }
    assert_eq!(error.lines().count(), expected.len());
}

#[test]
fn lines_are_those_of_the_source_and_not_of_what_links_made() {
    let source = "```text\n{{#include five.txt}}\n```\n\n{{#value nope}}\n";
    let content = "```text\n1\n2\n3\n4\n5\n```\n\n{{#value nope}}\n";
    let book = Fixture::new().file("src/five.txt", "1\n2\n3\n4\n5\n");
    let error = html_error(&book.chapter_as("a.md", source, content));
    assert!(error.starts_with("error: src/a.md:5: "), "{error}");
}

#[test]
fn what_cannot_be_made_is_placed_at_every_mark() {
    let text = "{{#table broken}}\n\n{{#table todo}}\n\n{{#table broken}}\n";
    let error = html_error(&Fixture::new().chapter("a.md", text));
    let expected = "error: src/a.md:1: the table `broken`: it cannot be made: the data file is missing\n\
        error: src/a.md:3: the table `todo`: it panicked: not yet implemented: quantize\n\
        error: src/a.md:5: the table `broken`: it cannot be made: the data file is missing\n\
        3 errors in 1 chapter";
    assert_eq!(error, expected);
}

#[test]
fn nothing_is_made_twice_until_the_program_or_its_own_inputs_change() {
    let book =
        Fixture::new().chapter("a.md", "{{#value bar}} {{#value bar}}\n\n{{#figure plot}}\n");
    let data = book.root().join("data");
    let library = Fake { data: vec![data.clone()], ..Fake::default() };
    let made_after = |change: &dyn Fn()| {
        change();
        book.run(&library, "html").unwrap();
        library.made.load(Ordering::Relaxed)
    };
    assert_eq!(made_after(&|| ()), 2);
    assert_eq!(made_after(&|| ()), 2);
    // The figure is made again, and the value, which is not made of this file, is not.
    assert_eq!(made_after(&|| fs::write(&data, "1").unwrap()), 3);
    assert_eq!(made_after(&|| fs::write(book.root().join("program"), "two").unwrap()), 5);
    assert_eq!(made_after(&|| fs::write(book.root().join("program"), "one").unwrap()), 5);
}

#[test]
fn a_failure_is_not_kept() {
    let book = Fixture::new().chapter("a.md", "{{#table broken}}\n");
    let library = Fake::default();
    for _ in 0..2 {
        book.run(&library, "html").unwrap_err();
    }
    assert_eq!(library.made.load(Ordering::Relaxed), 2);
}

#[test]
fn another_renderer_and_another_mdbook_are_refused() {
    let error = Fixture::new().run(&Fake::default(), "epub").unwrap_err().to_string();
    assert_eq!(error, "the renderer `epub` is not supported, only html and test are");
    let setup = book_preprocessor::Setup {
        manifest: "x".into(),
        program: "x".into(),
        target: "x".into(),
        profile: "dev".into(),
    };
    let old = br#"[{"root":"/"},{"sections":[]}]"#.as_slice();
    let error = book_preprocessor::run(&Fake::default(), &setup, old).unwrap_err().to_string();
    assert!(error.contains("is another version on the PATH?"), "{error}");
}
