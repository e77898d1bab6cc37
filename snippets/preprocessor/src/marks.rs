//! The marks of a chapter: `{{#figure name}}`, `{{#interactive name}}`, `{{#table name}}`,
//! `{{#value name}}`.

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
static OURS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{[ \t]*#[ \t]*(figure|interactive|table|value)\b").expect("a regex")
});

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
        return Err(format!(
            "`{name}` is {}, not {}: write `{{{{#{} {name}}}}}`",
            other.noun(),
            kind.noun(),
            other.word(),
        ));
    }
    Err(format!("there is no {word} `{name}`: {}", nearest(name, &names)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;

    impl Library for Names {
        fn names(&self, kind: Kind) -> Vec<&'static str> {
            match kind {
                Kind::Figure => vec!["outlier_row"],
                Kind::Interactive => vec!["outlier"],
                Kind::Table => vec!["memory"],
                Kind::Value => vec!["lab_01.error"],
            }
        }

        fn render(&self, _: Kind, _: &str) -> anyhow::Result<String> {
            anyhow::bail!("a parser renders nothing")
        }

        fn inputs(&self, _: Kind, _: &str) -> Vec<std::path::PathBuf> {
            Vec::new()
        }
    }

    fn parse(text: &str) -> (Vec<Option<Mark>>, Vec<String>) {
        let source = Source::new("src/a.md".into(), ".".into(), text.into());
        let mut problems = Vec::new();
        let marks = find(&source, &Names, &mut problems);
        (marks, problems.into_iter().map(|p| format!("{}: {}", p.line, p.message)).collect())
    }

    #[test]
    fn marks_are_found_with_their_lines() {
        let (marks, problems) =
            parse("a {{#value lab_01.error}}\r\n\r\n{{ # figure outlier_row }}");
        assert_eq!(problems, [""; 0]);
        let found: Vec<_> = marks.iter().flatten().map(|m| (m.kind, &*m.name, m.line)).collect();
        let expected = [(Kind::Value, "lab_01.error", 1), (Kind::Figure, "outlier_row", 3)];
        assert_eq!(found, expected);
    }

    #[test]
    fn marks_in_code_and_behind_a_backslash_are_shown_as_they_are() {
        let text = "`{{#value no}}` \\{{#figure no}}\n\n```text\n{{#table no}}\n{{#what}}\n```\n";
        assert_eq!(parse(text), (vec![None, None, None], vec![]));
        assert_eq!(positions(text).len(), 3);
    }

    #[test]
    fn directives_of_mdbook_are_left_to_mdbook() {
        assert_eq!(parse("{{#include a.rs:b}} {{#title T}} {{figure}}"), (vec![], vec![]));
    }

    #[test]
    fn a_mark_in_a_cell_knows_it() {
        let (marks, _) = parse("| a |\n|---|\n| {{#value lab_01.error}} |\n");
        assert!(marks[0].as_ref().unwrap().in_table);
    }

    #[test]
    fn every_mistake_says_what_to_write() {
        let cases = [
            ("{{#figure outlier_rwo}}", "1: there is no figure `outlier_rwo`: the nearest is"),
            ("{{#interactive outlire}}", "1: there is no interactive `outlire`: the nearest is"),
            (
                "{{#figure outlier}}",
                "1: `outlier` is an interactive figure, not a figure: write `{{#inter",
            ),
            ("see {{#interactive outlier}}", "1: the interactive `outlier` is a block"),
            ("{{#figure memory}}", "1: `memory` is a table, not a figure: write `{{#table mem"),
            ("{{#figur outlier_row}}", "1: there is no mark `{{#figur`: the nearest is `figure`"),
            ("{{#Figure outlier_row}}", "1: there is no mark `{{#Figure`"),
            ("\n{{#value}}", "2: this value mark has no name: write `{{#value name}}`"),
            ("{{#value lab_01.error}", "1: this value mark is not closed on its line"),
            ("{{#value lab_01.error\n}}", "1: this value mark is not closed on its line"),
            ("{{#value a b}}", "1: `a b` is not the name of a value"),
            ("{{#value:a}}", "1: `:a` is not the name of a value"),
            ("see {{#table memory}}", "1: the table `memory` is a block"),
            ("- {{#table memory}}", "1: the table `memory` is a block"),
        ];
        for (text, expected) in cases {
            let (_, problems) = parse(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(expected), "{text}: {}", problems[0]);
        }
    }
}
