//! How a table or a value reads with the code at hand, beside its snapshot. Nothing is written.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kit::skip::{is_unwritten, words};

use crate::pinned::Pinned;

/// The outcome of a comparison.
#[derive(Debug, PartialEq)]
pub enum Moved {
    /// Every row is as accepted.
    Unchanged,
    /// A starter's function that it needs is a `todo!`.
    NotWritten,
    /// The rows that differ.
    Rows(Vec<Row>),
    /// The code refuses or panics, with these words.
    Failed(String),
}

/// A line of a difference.
#[derive(Debug, PartialEq)]
pub enum Row {
    /// The header of a table, which is the same in both.
    Header(String),
    /// As accepted.
    Before(String),
    /// As the code has it.
    Now(String),
}

/// Compares a text with the content of its snapshot.
pub fn moved(pinned: &Pinned, snapshot: &str) -> Moved {
    // The lines before the second `---` are about the snapshot.
    let accepted = snapshot.splitn(3, "---\n").last().unwrap_or_default();
    match catch_unwind(AssertUnwindSafe(|| pinned.text())) {
        Ok(Ok(text)) => compare(accepted, &text),
        Ok(Err(error)) => Moved::Failed(format!("{error:#}")),
        Err(panic) if is_unwritten(&*panic) => Moved::NotWritten,
        Err(panic) => Moved::Failed(format!("it panics: {}", words(&*panic))),
    }
}

/// The lines of one text that the other lacks, in the order of the text.
fn compare(accepted: &str, now: &str) -> Moved {
    let [before, after] = [accepted, now].map(|text| text.trim().lines().collect::<Vec<_>>());
    let same = |a: &str, b: &str| cells(a) == cells(b);
    let mut rows = Vec::new();
    if before.len() == after.len() {
        for (&a, &b) in before.iter().zip(&after).filter(|(a, b)| !same(a, b)) {
            rows.extend([Row::Before(a.into()), Row::Now(b.into())]);
        }
    } else {
        let lacking = |text: &[&str], other: &[&str]| -> Vec<String> {
            let lacks = |line: &&&str| !other.iter().any(|other| same(line, other));
            text.iter().filter(lacks).map(ToString::to_string).collect()
        };
        rows.extend(lacking(&before, &after).into_iter().map(Row::Before));
        rows.extend(lacking(&after, &before).into_iter().map(Row::Now));
    }
    if rows.is_empty() {
        return Moved::Unchanged;
    }
    let header = after.iter().find(|line| line.starts_with('|'));
    if let Some(&header) = header.filter(|header| before.iter().any(|line| same(line, header))) {
        rows.insert(0, Row::Header(header.into()));
    }
    Moved::Rows(rows)
}

/// A row without its padding, because one wider cell moves the padding of every row.
fn cells(line: &str) -> String {
    let is_rule = line.starts_with("|-");
    if is_rule { "|-".into() } else { line.split_whitespace().collect::<Vec<_>>().join(" ") }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::NotWritten => f.write_str("not written yet"),
            Self::Failed(why) => write!(f, "cannot be made: {why}"),
            Self::Rows(rows) => {
                f.write_str("moved (- as the book has it, + with your code)")?;
                rows.iter().try_for_each(|row| match row {
                    Row::Header(text) => write!(f, "\n    {text}"),
                    Row::Before(text) => write!(f, "\n  - {text}"),
                    Row::Now(text) => write!(f, "\n  + {text}"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "errors\n\n| a | b |\n|---|--:|\n| x | 1 |\n| y | 2 |\n";

    #[test]
    fn a_row_that_differs_is_shown_under_its_header_and_padding_is_no_difference() {
        assert_eq!(compare(TABLE, TABLE), Moved::Unchanged);
        let wider = "errors\n\n| a |  b |\n|---|---:|\n| x | 10 |\n| y |  2 |\n";
        let shown = compare(TABLE, wider).to_string();
        let rows: Vec<_> = shown.lines().skip(1).collect();
        assert_eq!(rows, ["    | a |  b |", "  - | x | 1 |", "  + | x | 10 |"]);
    }

    #[test]
    fn a_row_more_and_a_row_less_are_shown_alone() {
        let more = format!("{TABLE}| z | 3 |\n");
        let row = || "| z | 3 |".to_string();
        let header = || Row::Header("| a | b |".into());
        assert_eq!(compare(TABLE, &more), Moved::Rows(vec![header(), Row::Now(row())]));
        assert_eq!(compare(&more, TABLE), Moved::Rows(vec![header(), Row::Before(row())]));
    }
}
