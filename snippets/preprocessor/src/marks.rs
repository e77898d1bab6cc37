//! The marks of a chapter: `{{#figure name}}`, `{{#table name}}`, `{{#value name}}`.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::problem::{Problem, nearest};
use crate::source::Source;
use crate::{Kind, Library};

/// A mark to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it embeds.
    pub kind: Kind,
    /// The name of it.
    pub name: String,
    /// The line in the chapter's source, counted from 1.
    pub line: usize,
    /// Whether it stands in a cell of a table, where a bar would end the cell.
    pub in_table: bool,
}

/// Anything that looks like a mark, ours or mdBook's, well-formed or not.
static ANY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{[ \t]*#[ \t]*(?<kind>\w*)(?<rest>[^{}\n]*)(?<end>\}\})?").expect("a regex")
});

/// The beginning of one of our marks.
static OURS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{[ \t]*#[ \t]*(figure|table|value)\b").expect("a regex"));

static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\w.-]+$").expect("a regex"));

/// The directives that mdBook replaces itself.
const OF_MDBOOK: [&str; 5] = ["include", "rustdoc_include", "playground", "playpen", "title"];

/// Finds our marks in order: `None` for one that is to be shown as it is, because it stands in
/// code or behind a backslash. What is wrong with them goes to `problems`.
pub fn find(
    source: &Source,
    library: &dyn Library,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Mark>> {
    let mut marks = Vec::new();
    for found in ANY.captures_iter(&source.text) {
        let start = whole(&found).start;
        let ours = OURS.is_match_at(&source.text[..whole(&found).end], start);
        if source.structure.is_code(start) || source.is_escaped(start) {
            marks.extend(ours.then_some(None));
        } else if !OF_MDBOOK.contains(&&found["kind"]) {
            match read(source, &found, library) {
                Ok(mark) => marks.push(Some(mark)),
                Err(message) => problems.push(source.problem(start, message)),
            }
        }
    }
    marks
}

/// Where our marks begin and end in a text, whatever they mean. The end is that of the closing
/// braces on the same line, if there are any.
pub fn positions(text: &str) -> Vec<Range<usize>> {
    OURS.find_iter(text)
        .map(|opening| {
            let line = text[opening.end()..].split('\n').next().unwrap_or_default();
            let end = line.find("}}").map_or(opening.end(), |end| opening.end() + end + 2);
            opening.start()..end
        })
        .collect()
}

fn whole(found: &Captures) -> Range<usize> {
    found.get_match().range()
}

fn read(source: &Source, found: &Captures, library: &dyn Library) -> Result<Mark, String> {
    let kind = kind(&found["kind"])?;
    let (word, name) = (kind.word(), found["rest"].trim());
    let form = format!("write `{{{{#{word} name}}}}`");
    if found.name("end").is_none() {
        return Err(format!("this {word} mark is not closed on its line: {form}"));
    }
    if name.is_empty() {
        return Err(format!("this {word} mark has no name: {form}"));
    }
    if !NAME.is_match(name) || !found["rest"].starts_with([' ', '\t']) {
        return Err(format!("`{}` is not the name of a {word}: {form}", found["rest"].trim()));
    }
    let range = whole(found);
    if kind != Kind::Value && !source.stands_alone(&range) {
        return Err(format!("the {word} `{name}` is a block: give the mark a line of its own"));
    }
    known(kind, name, library)?;
    let in_table = source.structure.is_table(range.start);
    Ok(Mark { kind, name: name.to_owned(), line: source.line(range.start), in_table })
}

fn kind(word: &str) -> Result<Kind, String> {
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.word() == word) {
        return Ok(kind);
    }
    let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).chain(OF_MDBOOK).collect();
    let hint = "put a backslash before the braces to show them as they are";
    Err(format!("there is no mark `{{{{#{word}`: {}; {hint}", nearest(word, &words)))
}

fn known(kind: Kind, name: &str, library: &dyn Library) -> Result<(), String> {
    let names = library.names(kind);
    if names.contains(&name) {
        return Ok(());
    }
    let word = kind.word();
    if let Some(other) = Kind::ALL.into_iter().find(|&k| library.names(k).contains(&name)) {
        let other = other.word();
        return Err(format!(
            "`{name}` is a {other}, not a {word}: write `{{{{#{other} {name}}}}}`"
        ));
    }
    Err(format!("there is no {word} `{name}`: {}", nearest(name, &names)))
}
