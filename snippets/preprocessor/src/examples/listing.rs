//! The file that rustdoc reads for a chapter.
//!
//! It has the chapter's headings, which rustdoc names examples after, and the examples that are to
//! run, each on the line that it has in the chapter's source. So the lines in rustdoc's messages
//! are those of the source, however much mdBook included before.

use std::sync::LazyLock;

use anyhow::{Result, ensure};
use regex::Regex;

use crate::chapters::Checked;
use crate::markdown::{Block, Structure};
use crate::source::Source;

/// A directive in a heading has no place in the names that rustdoc makes of it.
static DIRECTIVE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{[^}\n]*\}\}").expect("a regex"));

/// The examples of a chapter.
#[derive(Debug)]
pub struct Listing {
    /// The chapter's source: `src/lab-01.md`.
    pub chapter: String,
    /// What rustdoc reads.
    pub text: String,
    /// For each line of `text`, the line of the source that it comes from, counted from 1. They
    /// are the same number unless an example with an include is longer than the source has room.
    pub lines: Vec<usize>,
    /// The examples that are to run.
    pub tested: usize,
    /// The examples marked `ignore`.
    pub ignored: usize,
}

impl Listing {
    /// The examples of a chapter, which mdBook hands on as `content` with its includes replaced.
    /// `None` if it has no Rust.
    ///
    /// # Errors
    /// If the code blocks of `content` are not those of the source.
    pub fn of(chapter: &Checked, content: &str) -> Result<Option<Self>> {
        let (slots, blocks) = (slots(chapter), Structure::of(content).blocks);
        ensure!(
            slots.len() == blocks.len(),
            "its source has {} code blocks and mdBook hands on {}: was the file changed \
             meanwhile, or does another preprocessor run before this one?",
            slots.len(),
            blocks.len(),
        );
        let source = &chapter.source;
        let rust = blocks.iter().filter(|block| block.is_rust());
        let ignored = rust.clone().filter(|block| block.is_ignored()).count();
        let tested = rust.count() - ignored;
        if tested + ignored == 0 {
            return Ok(None);
        }
        let (text, lines) = laid_out(source, &slots, &blocks);
        Ok(Some(Self { chapter: source.name.clone(), text, lines, tested, ignored }))
    }

    /// The line of the chapter's source that a line of the text comes from.
    pub fn source_line(&self, line: usize) -> usize {
        self.lines.get(line.wrapping_sub(1)).copied().unwrap_or(line)
    }
}

/// A copy of a chapter whose examples are all marked `ignore`.
pub fn ignored(content: &str) -> String {
    let (mut text, mut done) = (String::new(), 0);
    for block in Structure::of(content).blocks.iter().filter(|block| block.is_tested()) {
        let fence = &content[block.range.clone()];
        let language = fence.find("rust").unwrap_or_default() + "rust".len();
        text.push_str(&content[done..block.range.start + language]);
        text.push_str(",ignore");
        done = block.range.start + language;
    }
    text + &content[done..]
}

/// Where a code block of the finished chapter comes from.
struct Slot<'a> {
    /// Its line in the source; of an included block, the line of the include.
    line: usize,
    /// The block as its author wrote it. `None` for an included one.
    block: Option<&'a Block>,
}

fn slots(chapter: &Checked) -> Vec<Slot<'_>> {
    let source = &chapter.source;
    let own = source.structure.blocks.iter().map(|block| (block.range.start, Some(block), 1));
    let included = chapter.includes.iter().map(|include| (include.start, None, include.blocks));
    let mut all: Vec<_> = own.chain(included).collect();
    all.sort_by_key(|(start, ..)| *start);
    let slot = |(start, block, count): (usize, _, usize)| {
        (0..count).map(move |_| Slot { line: source.line(start), block })
    };
    all.into_iter().flat_map(slot).collect()
}

fn laid_out(source: &Source, slots: &[Slot], blocks: &[Block]) -> (String, Vec<usize>) {
    let headings = source.structure.headings.iter().map(|&byte| {
        let line = source.line(byte);
        let heading = source.text.lines().nth(line - 1).unwrap_or_default();
        (line, vec![(DIRECTIVE.replace_all(heading, "").into_owned(), line)])
    });
    let tested = slots.iter().zip(blocks).filter(|(_, block)| block.is_tested());
    let examples = tested.map(|(slot, block)| (slot.line, fenced(slot, block)));
    let mut pieces: Vec<_> = headings.chain(examples).collect();
    pieces.sort_by_key(|(line, _)| *line);
    let (mut text, mut lines) = (String::new(), Vec::new());
    for (first, piece) in pieces {
        // Empty lines up to the line that the piece has in the source, so that rustdoc's numbers are right.
        while lines.len() + 1 < first {
            text.push('\n');
            lines.push(lines.len() + 1);
        }
        for (line, origin) in piece {
            text.push_str(&line);
            text.push('\n');
            lines.push(origin);
        }
    }
    (text, lines)
}

/// The lines of an example with a fence around them, each with its line in the source.
fn fenced(slot: &Slot, block: &Block) -> Vec<(String, usize)> {
    // Longer than any run in the code, which would end the fence.
    let fence = "`".repeat(longest_run_of_backticks(&block.code).max(2) + 1);
    let code: Vec<&str> = block.code.lines().collect();
    let origin = |offset: usize| slot.line + source_offset(slot, code.len(), offset);
    let info = block.info.as_deref().unwrap_or_default();
    let mut lines = vec![(format!("{fence}{info}"), slot.line)];
    lines.extend(code.iter().enumerate().map(|(i, line)| ((*line).to_owned(), origin(i + 1))));
    lines.push((fence, origin(code.len() + 1)));
    lines
}

/// The offset in the source's block, fence included, of the line at `offset` in the finished
/// block, whose code has `length` lines. Lines that were included count as their include.
fn source_offset(slot: &Slot, length: usize, offset: usize) -> usize {
    let Some(block) = slot.block else { return 0 };
    let written: Vec<&str> = block.code.lines().collect();
    let Some(include) = written.iter().position(|line| line.contains("{{#")) else {
        return offset;
    };
    let from_the_end = length + 1 - offset;
    let include_from_the_end = written.iter().rev().position(|line| line.contains("{{#"));
    match include_from_the_end {
        Some(last) if from_the_end <= last + 1 && offset > include => {
            (written.len() + 1).saturating_sub(from_the_end)
        }
        _ => offset.min(include + 1),
    }
}

fn longest_run_of_backticks(code: &str) -> usize {
    code.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::includes::Include;

    fn listing(source: &str, content: &str, includes: &[Include]) -> Result<Option<Listing>> {
        let source = Source::new("src/a.md".into(), ".".into(), source.into());
        Listing::of(&Checked { source, marks: vec![], includes: includes.to_vec() }, content)
    }

    #[test]
    fn examples_keep_their_lines_and_lose_the_text_around_them() {
        let text = "# T\n\nwords\n\n- item\n\n  ```rust\n  a();\n  ```\n\n```text\nx\n```\n";
        let listing = listing(text, text, &[]).unwrap().unwrap();
        assert_eq!(listing.text, "# T\n\n\n\n\n\n```rust\na();\n```\n");
        assert_eq!((listing.tested, listing.ignored), (1, 0));
    }

    #[test]
    fn what_stands_behind_an_include_keeps_its_line() {
        let source = "```rust\n{{#include f}}\nb();\n```\n```rust\nc();\n```\n";
        let content = "```rust\na1();\na2();\na3();\nb();\n```\n```rust\nc();\n```\n";
        let include = Include { start: source.find("{{").unwrap(), blocks: 0 };
        let listing = listing(source, content, &[include]).unwrap().unwrap();
        assert_eq!(listing.text, content);
        assert_eq!(listing.lines, [1, 2, 2, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_playground_is_an_example_at_the_line_of_its_directive() {
        let (source, content) = ("x\n\n{{#playground f}}\n", "x\n\n```rust\na();\n```\n\n");
        let include = Include { start: 3, blocks: 1 };
        let listing = listing(source, content, &[include]).unwrap().unwrap();
        assert_eq!(listing.lines, [1, 2, 3, 3, 3]);
    }

    #[test]
    fn a_chapter_without_rust_has_no_listing_and_an_ignored_example_is_counted() {
        assert!(listing("```text\nx\n```\n", "```text\nx\n```\n", &[]).unwrap().is_none());
        let text = "```rust,ignore\nx\n```\n";
        let listing = listing(text, text, &[]).unwrap().unwrap();
        assert_eq!((listing.tested, listing.ignored), (0, 1));
    }

    #[test]
    fn a_block_more_or_less_than_in_the_source_is_an_error() {
        let error = listing("", "```rust\na();\n```\n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("its source has 0 code blocks and mdBook hands on 1"), "{error}");
    }

    #[test]
    fn examples_are_handed_on_as_ignored() {
        let text = "```rust,no_run\na\n```\n> ```rust\n> b\n> ```\n```rust,ignore\nc\n```\n";
        let expected = "```rust,ignore,no_run\na\n```\n> ```rust,ignore\n> b\n> ```\n\
            ```rust,ignore\nc\n```\n";
        assert_eq!(ignored(text), expected);
    }
}
