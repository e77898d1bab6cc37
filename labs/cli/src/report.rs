//! The lines of a report: a subject and a text each, in two columns.

use kit::table::{count, sig3};

/// A line of the report: its subject and its text. A line without text is the heading of a part.
pub(super) type Line = (String, String);

pub(super) fn aligned(lines: &[Line]) -> String {
    let width = lines.iter().filter(|(_, said)| !said.is_empty());
    let width = width.map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |text, (what, said)| {
        if said.is_empty() {
            return text + "\n" + what + "\n";
        }
        text + format!("{what:<width$}  {said}").trim_end() + "\n"
    })
}

pub(super) fn line(what: &str, said: impl Into<String>) -> Line {
    (what.into(), said.into())
}

pub(super) fn gb(bytes: u64) -> String {
    sig3(bytes as f64 / 1e9)
}

pub(super) fn number(number: u64) -> String {
    usize::try_from(number).map_or_else(|_| number.to_string(), count)
}
