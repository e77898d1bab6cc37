//! Requests for the renderer `test`: examples really compiled and run, with cargo and rustdoc.

mod fixture;

use anyhow::Result;
use fixture::{Fake, Fixture};

/// A book beside a workspace: the package `host`, whose examples may use the crate `greet_lib` of
/// its dependency `greet`.
fn book() -> Fixture {
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
    };
    Fixture::new()
        .file("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"host\", \"greet\"]\n")
        .file(
            "host/Cargo.toml",
            &package("host", "[dependencies]\ngreet = { path = \"../greet\" }\n"),
        )
        .file("host/src/lib.rs", "//! Empty.\n")
        .file("greet/Cargo.toml", &package("greet", "[lib]\nname = \"greet_lib\"\n"))
        .file("greet/src/lib.rs", "pub fn hello() -> &'static str {\n    \"hello\"\n}\n")
}

fn tested(book: &Fixture) -> Result<Vec<String>> {
    book.run(&Fake::default(), "test")
}

#[test]
fn examples_run_against_the_crates_and_are_handed_on_as_done() {
    let text = "# A\n\n{{#figure plot}}\n\n```rust\nassert_eq!(greet_lib::hello(), \"hello\");\n```\n\n\
        ```rust,no_run\nloop {}\n```\n\n```rust,should_panic\npanic!();\n```\n\n\
        ```rust,compile_fail\nlet x: u8 = \"\";\n```\n\n```rust,ignore\n???\n```\n";
    let book = book().chapter("a.md", text).chapter("b.md", "no code\n");
    let contents = tested(&book).unwrap();
    assert_eq!(contents[0].matches("```rust,ignore").count(), 5);
    assert_eq!(contents[1], "no code\n");
}

#[test]
fn a_failing_example_fails_the_request() {
    for bad in ["assert_eq!(greet_lib::hello(), \"bye\");", "let x: u8 = greet_lib::hello();"] {
        let text = format!("```rust\nassert!(true);\n```\n\n```rust\n{bad}\n```\n");
        let error = tested(&book().chapter("a.md", &text)).unwrap_err();
        assert_eq!(error.to_string(), "1 example failed", "{bad}");
    }
}

#[test]
fn an_included_example_runs_as_links_hands_it_on() {
    let source = "```rust\n{{#include code.rs}}\n```\n";
    let content = "```rust\nassert_eq!(greet_lib::hello(), \"bye\");\n```\n";
    let book = book().file("src/code.rs", "assert_eq!(greet_lib::hello(), \"bye\");\n");
    let error = tested(&book.chapter_as("a.md", source, content)).unwrap_err();
    assert_eq!(error.to_string(), "1 example failed");
}

#[test]
fn a_book_whose_examples_are_all_ignored_fails() {
    let error = tested(&book().chapter("a.md", "```rust,ignore\nx\n```\n")).unwrap_err();
    assert_eq!(error.to_string(), "no example ran: all are marked `ignore`");
}

#[test]
fn a_book_without_rust_passes() {
    tested(&book().chapter("a.md", "```text\nx\n```\n")).unwrap();
}

#[test]
fn crates_that_do_not_compile_are_told_with_the_compiler_error() {
    let book = book().file("greet/src/lib.rs", "pub fn hello() -> u8 {\n    \"hello\"\n}\n");
    let book = book.chapter("a.md", "```rust\ngreet_lib::hello();\n```\n");
    let error = format!("{:#}", tested(&book).unwrap_err());
    assert!(error.contains("cargo cannot build the crates of the examples"), "{error}");
    assert!(error.contains("mismatched types"), "{error}");
}

#[test]
fn mistakes_in_chapters_fail_the_tests_too() {
    let error = tested(&book().chapter("a.md", "{{#figure plto}}\n")).unwrap_err().to_string();
    assert!(error.starts_with("error: src/a.md:1: there is no figure `plto`"), "{error}");
}
