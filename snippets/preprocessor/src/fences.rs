//! Every code block names its language.
//!
//! rustdoc compiles a block without a language as Rust, and so it does with a block made by
//! indenting: a listing of a terminal would fail the tests with an error about its grammar.

use crate::markdown::{Block, Structure};
use crate::problem::Problem;
use crate::source::Source;

/// Words by which rustdoc takes a block for Rust although the language is not named.
const RUSTDOC: [&str; 7] = [
    "ignore",
    "no_run",
    "should_panic",
    "compile_fail",
    "standalone_crate",
    "standalone",
    "test_harness",
];

/// Checks every code block of the chapter.
pub fn lint(source: &Source, problems: &mut Vec<Problem>) {
    for (byte, message) in faults(&source.text, &source.structure) {
        problems.push(source.problem(byte, message));
    }
}

/// What is wrong with the code blocks of `text`, each at its first byte.
pub fn faults(text: &str, structure: &Structure) -> Vec<(usize, String)> {
    let at = |block: &Block| check(text, block).err().map(|message| (block.range.start, message));
    structure.blocks.iter().filter_map(at).collect()
}

fn check(text: &str, block: &Block) -> Result<(), String> {
    let Some(info) = &block.info else {
        return Err(
            "this block is made by indenting, and rustdoc compiles it as Rust: use a fence \
             that names its language, ```text for none"
                .to_owned(),
        );
    };
    let words = block.words();
    let Some(first) = words.first() else {
        return Err(
            "this fence names no language, and rustdoc compiles it as Rust: write ```rust, \
             or ```text for none"
                .to_owned(),
        );
    };
    if RUSTDOC.contains(first) || first.starts_with("edition") || info.starts_with(['{', ',']) {
        return Err(format!("name the language first: ```rust,{}", words.join(",")));
    }
    if !is_closed(&text[block.range.clone()]) {
        return Err("this fence is never closed: the rest of the chapter is code".to_owned());
    }
    Ok(())
}

fn is_closed(block: &str) -> bool {
    let last = block.trim_end().lines().skip(1).last().unwrap_or_default();
    ["```", "~~~"].iter().any(|fence| last.trim_end().ends_with(fence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<String> {
        faults(text, &Structure::of(text)).pop().map(|(_, message)| message)
    }

    #[test]
    fn a_fence_that_names_its_language_is_fine() {
        assert_eq!(fault("```rust,no_run\nx\n```\n"), None);
        assert_eq!(fault("> ~~~text\r\n> x\r\n> ~~~\r\n"), None);
        assert_eq!(fault("1. a\n\n   ````markdown\n   ```\n   ````\n"), None);
    }

    #[test]
    fn a_block_that_rustdoc_would_take_for_rust_is_not() {
        let cases = [
            ("```\nx\n```\n", "names no language"),
            ("a\n\n    x\n", "made by indenting"),
            ("```ignore\nx\n```\n", "```rust,ignore"),
            ("```no_run,rust\nx\n```\n", "name the language first"),
            ("```{.box}\nx\n```\n", "name the language first"),
        ];
        for (text, expected) in cases {
            let message = fault(text).unwrap_or_default();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn an_open_fence_is_found() {
        assert!(fault("```text\nx\n\nmore\n").unwrap().contains("never closed"));
        assert!(fault("```text").unwrap().contains("never closed"));
    }
}
