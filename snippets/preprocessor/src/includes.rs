//! The includes of a chapter, checked before mdBook's silence can hide a mistake.
//!
//! For a missing anchor mdBook includes nothing, for a missing file it logs a line, and in both
//! cases the build succeeds.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::markdown::Structure;
use crate::problem::{Problem, nearest};
use crate::source::{Source, line_of};
use crate::{fences, marks};

/// An escaped mark up to the last braces of its line, which mdBook leaves alone as a whole; or a
/// directive that reads a file.
static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\\\{\{#.*\}\}",
        r"|\{\{\s*#(?<kind>include|rustdoc_include|playground|playpen)\b(?<rest>[^}]*)(?<end>\}\})?",
    ))
    .expect("a regex")
});

static ANCHOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"ANCHOR:\s*(?<name>[\w-]+)").expect("a regex"));

static ANCHOR_END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"ANCHOR_END:\s*(?<name>[\w-]+)").expect("a regex"));

/// A directive that is right, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Include {
    /// Its first byte in the chapter's source.
    pub start: usize,
    /// How many code blocks it makes. None if it stands in one.
    pub blocks: usize,
}

/// Checks every include of the chapter and returns those that are right, in order.
pub fn check(source: &Source, problems: &mut Vec<Problem>) -> Vec<Include> {
    let mut includes = Vec::new();
    for found in DIRECTIVE.captures_iter(&source.text) {
        let Some(kind) = found.name("kind").map(|kind| kind.as_str()) else { continue };
        let start = found.get_match().start();
        let closed = found.name("end").ok_or_else(|| format!("this `{kind}` is not closed"));
        let lines = closed.and_then(|_| included(&source.folder, kind, &found["rest"]));
        match lines.and_then(|lines| blocks(source, start, kind, &lines)) {
            Ok(blocks) => includes.push(Include { start, blocks }),
            Err(message) => problems.push(source.problem(start, message)),
        }
    }
    includes
}

/// How many code blocks the included lines make.
fn blocks(source: &Source, start: usize, kind: &str, lines: &str) -> Result<usize, String> {
    if source.structure.is_code(start) {
        return Ok(0);
    }
    if is_playground(kind) {
        return Ok(1);
    }
    let structure = Structure::of(lines);
    match fences::faults(lines, &structure).into_iter().next() {
        None => Ok(structure.blocks.len()),
        Some((byte, message)) => {
            Err(format!("line {} of what is included: {message}", line_of(lines, byte)))
        }
    }
}

fn is_playground(kind: &str) -> bool {
    kind.starts_with("play")
}

/// The lines that a directive includes. `rest` is what follows its kind.
fn included(folder: &Path, kind: &str, rest: &str) -> Result<String, String> {
    let argument = rest.split_whitespace().next().filter(|_| rest.starts_with(char::is_whitespace));
    let argument = argument.ok_or_else(|| format!("`{kind}` names no file"))?;
    let (path, part) = match argument.split_once(':') {
        Some((path, part)) if !is_playground(kind) => (path, Some(part)),
        _ => (argument, None),
    };
    let text = std::fs::read_to_string(folder.join(path))
        .map_err(|error| format!("cannot include `{path}`: {error}; {}", relative_hint(folder)))?;
    let lines = match part.map(Part::parse) {
        None => text.clone(),
        Some(Part::Lines(first, last)) => line_range(&text, path, first, last)?,
        Some(Part::Anchor(name)) => anchored(&text, path, &name)?,
    };
    if lines.trim().is_empty() {
        return Err(format!("`{argument}` includes nothing but white space"));
    }
    // `rustdoc_include` takes the rest of the file along, hidden.
    no_marks(if kind == "rustdoc_include" { &text } else { &lines }, path)?;
    Ok(lines)
}

fn relative_hint(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("the path starts at the chapter's own folder, `{name}`")
}

/// mdBook would replace a mark in an included file, relative to that file. Nobody would find the
/// line again, so a chapter has its marks itself.
fn no_marks(lines: &str, path: &str) -> Result<(), String> {
    let nested = DIRECTIVE.captures_iter(lines).any(|found| found.name("kind").is_some());
    if nested || !marks::positions(lines).is_empty() {
        return Err(format!(
            "the lines included from `{path}` hold a mark themselves: put it into the chapter"
        ));
    }
    Ok(())
}

/// The part of a file that is included.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// First and last line, counted from 1, both included.
    Lines(Option<usize>, Option<usize>),
    Anchor(String),
}

impl Part {
    /// Reads what follows the colon: `anchor`, `3`, `3:`, `:9` or `3:9`.
    fn parse(text: &str) -> Self {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        let last = parts.next();
        match (first.parse(), last) {
            (Err(_), _) if !first.is_empty() => Self::Anchor(first.to_owned()),
            (line, None) => Self::Lines(line.clone().ok(), line.ok()),
            (line, Some(last)) => Self::Lines(line.ok(), last.parse().ok()),
        }
    }
}

fn line_range(
    text: &str,
    path: &str,
    first: Option<usize>,
    last: Option<usize>,
) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    let (from, to) = (first.unwrap_or(1), last.unwrap_or(lines.len()));
    if from == 0 || from > to || to > lines.len() {
        let count = lines.len();
        return Err(format!("`{path}` has the lines 1 to {count}, not {from} to {to}"));
    }
    Ok(lines[from - 1..to].join("\n"))
}

/// The lines between the anchor's two comments, without the comments of other anchors.
fn anchored(text: &str, path: &str, anchor: &str) -> Result<String, String> {
    let is = |regex: &Regex, line: &str| regex.captures(line).is_some_and(|c| &c["name"] == anchor);
    let lines: Vec<&str> = text.lines().collect();
    let Some(start) = lines.iter().position(|line| is(&ANCHOR, line)) else {
        let known: Vec<&str> =
            ANCHOR.captures_iter(text).map(|c| c.name("name").map_or("", |m| m.as_str())).collect();
        return Err(format!("`{path}` has no anchor `{anchor}`: {}", nearest(anchor, &known)));
    };
    let rest = &lines[start + 1..];
    let Some(length) = rest.iter().position(|line| is(&ANCHOR_END, line)) else {
        return Err(format!(
            "the anchor `{anchor}` of `{path}` (line {}) is not closed: add `ANCHOR_END: {anchor}`",
            start + 1
        ));
    };
    if rest.iter().any(|line| is(&ANCHOR, line)) {
        return Err(format!("`{path}` has the anchor `{anchor}` twice: name one differently"));
    }
    let plain = rest[..length].iter().filter(|l| !ANCHOR.is_match(l) && !ANCHOR_END.is_match(l));
    Ok(plain.copied().collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "// ANCHOR: all\nfirst\n// ANCHOR: part\nsecond\n// ANCHOR_END: part\n\
        // ANCHOR_END: all\n// ANCHOR: empty\n\n// ANCHOR_END: empty\n// ANCHOR: open\nx\n";

    /// What `{{#include argument}}` gives, in a folder with a file `f.rs` and a file `m.md`.
    fn include(argument: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f.rs"), FILE).unwrap();
        std::fs::write(folder.path().join("m.md"), "a\n{{#value x}}\n").unwrap();
        included(folder.path(), "include", argument)
    }

    #[test]
    fn an_anchor_gives_its_lines_without_other_anchors() {
        assert_eq!(include(" f.rs:all").unwrap(), "first\nsecond");
        assert_eq!(include(" f.rs:part").unwrap(), "second");
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(include(" f.rs:2").unwrap(), "first");
        assert_eq!(include(" f.rs:2:4").unwrap(), "first\n// ANCHOR: part\nsecond");
        assert_eq!(include(" f.rs:11:").unwrap(), "x");
        assert_eq!(include(" f.rs::1").unwrap(), "// ANCHOR: all");
        assert_eq!(include(" f.rs").unwrap(), FILE);
    }

    #[test]
    fn what_mdbook_would_leave_out_is_an_error() {
        let cases = [
            (" f.rs:prat", "`f.rs` has no anchor `prat`: the nearest is `part`"),
            (" f.rs:open", "the anchor `open` of `f.rs` (line 10) is not closed"),
            (" f.rs:empty", "`f.rs:empty` includes nothing but white space"),
            (" f.rs:9:99", "`f.rs` has the lines 1 to 11, not 9 to 99"),
            (" g.rs:all", "cannot include `g.rs`"),
            (" ", "`include` names no file"),
            (" m.md", "the lines included from `m.md` hold a mark themselves"),
        ];
        for (argument, expected) in cases {
            let error = include(argument).unwrap_err();
            assert!(error.starts_with(expected), "{argument}: {error}");
        }
    }
}
