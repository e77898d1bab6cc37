//! A page as sentences, each with the line it begins in.

use std::sync::LazyLock;

use anyhow::Result;
use regex::{Captures, Regex};

/// A sentence of a paragraph, or a cell of a table with the first cell of its row and the column's name.
pub struct Sentence {
    /// The line of the source, counted from 1.
    pub line: usize,
    /// The words, without the marks of Markdown.
    pub text: String,
}

/// What a mark `{{#value name}}` or `{{#table name}}` is replaced by.
pub type Embedded<'a> = &'a dyn Fn(&str, &str) -> Result<String>;

static MARK: LazyLock<Regex> = LazyLock::new(|| regex(r"\{\{#(value|table) ([\w.-]+)\}\}"));
static LINK: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\]\([^)]*\)|\[\^[\w-]+\]|<[^>]*>|[\[\]*`]"));
static END: LazyLock<Regex> = LazyLock::new(|| regex(r#"[.?!]["”)]*\s+"#));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a regular expression")
}

/// The sentences of `markdown`, with its values and tables put in.
///
/// # Errors
/// If a value or a table cannot be made.
pub fn sentences(markdown: &str, embedded: Embedded) -> Result<Vec<Sentence>> {
    let mut found = Vec::new();
    let (mut paragraph, mut header) = (Vec::new(), Vec::new());
    let mut is_code = false;
    for (index, source) in markdown.lines().enumerate() {
        // Code runs, and its own assertions hold its numbers.
        let is_fence = source.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence {
            continue;
        }
        // A table takes several lines, and all of them stand at its mark.
        for line in with_embedded(source, embedded)?.lines() {
            let line = line.trim();
            let is_row = line.starts_with('|');
            if is_row || line.is_empty() || line.starts_with(['-', '#', '>']) {
                flush(&mut paragraph, &mut found);
            }
            if line.is_empty() {
                header.clear();
            } else if is_row {
                row(index + 1, line, &mut header, &mut found);
            } else {
                header.clear();
                paragraph.push((index + 1, plain(line)));
            }
        }
    }
    flush(&mut paragraph, &mut found);
    Ok(found)
}

fn with_embedded(line: &str, embedded: Embedded) -> Result<String> {
    let mut text = String::new();
    let mut end = 0;
    for mark in MARK.captures_iter(line) {
        let whole = mark.get_match();
        text += &line[end..whole.start()];
        text += &embedded(&mark[1], &mark[2])?;
        end = whole.end();
    }
    // An empty line is a line as well, because it ends a paragraph.
    Ok(text + &line[end..] + "\n")
}

/// The words of a line: links without targets, numbers as text has them.
fn plain(line: &str) -> String {
    let line = line.replace("{,}", ",").replace('\u{a0}', " ").replace("\\,", " ").replace('$', "");
    LINK.replace_all(&line, |_: &Captures| "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A row as a sentence a cell: the first cell, the number, the name of its column.
fn row(line: usize, source: &str, header: &mut Vec<String>, found: &mut Vec<Sentence>) {
    let cells = source.trim_matches('|').split('|').map(plain).collect::<Vec<_>>();
    if header.is_empty() {
        *header = cells;
        return;
    }
    let named = cells.iter().zip(header.iter()).skip(1);
    found.extend(
        named.map(|(cell, column)| Sentence {
            line,
            text: format!("{}: {cell} {column}", cells[0]),
        }),
    );
}

fn flush(paragraph: &mut Vec<(usize, String)>, found: &mut Vec<Sentence>) {
    let mut text = String::new();
    // Where each line of the source begins in `text`.
    let mut begins = Vec::new();
    for (line, words) in paragraph.drain(..) {
        begins.push((text.len(), line));
        text += &words;
        text.push(' ');
    }
    let line_at = |offset| {
        let before = begins.iter().take_while(|(begin, _)| *begin <= offset);
        before.last().map_or(0, |(_, line)| *line)
    };
    let mut start = 0;
    let ends = END.find_iter(&text).map(|end| end.end()).chain([text.len()]);
    for end in ends {
        let sentence = text[start..end].trim();
        if !sentence.is_empty() {
            found.push(Sentence { line: line_at(start), text: sentence.to_owned() });
        }
        start = end;
    }
}
