//! What is wrong in a chapter, said so that an editor can jump to it.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

/// Something wrong at a line of a chapter's source file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The chapter's file, relative to the book's root: `src/lab-01.md`.
    pub chapter: String,
    /// The line in that file, counted from 1.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}:{}: {}", self.chapter, self.line, self.message)
    }
}

/// Everything wrong in all chapters, reported at once.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Succeeds if there is no problem.
    ///
    /// # Errors
    /// The problems themselves, sorted by chapter and line.
    pub fn none_or_fail(mut problems: Vec<Problem>) -> Result<(), Problems> {
        problems.sort();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

impl std::error::Error for Problems {}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let chapters: BTreeSet<&str> = self.0.iter().map(|p| p.chapter.as_str()).collect();
        let (errors, chapters) = (self.0.len(), chapters.len());
        write!(f, "{} in {}", counted(errors, "error"), counted(chapters, "chapter"))
    }
}

/// `1 error`, `2 errors`.
pub fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// How alike two names must be before one is offered for the other (0 to 1, Jaro and Winkler).
const ALIKE: f64 = 0.7;

/// The end of a message about an unknown name: the known names that are most like it.
pub fn nearest(wanted: &str, known: &[&str]) -> String {
    let mut ranked: Vec<(f64, &str)> =
        known.iter().map(|name| (strsim::jaro_winkler(wanted, name), *name)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let alike: Vec<String> = ranked
        .iter()
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    match (alike.len(), known.len()) {
        (_, 0) => "there are none yet".to_owned(),
        (0, _) => format!("known are {}", quoted(&ranked)),
        (1, _) => format!("the nearest is {}", alike[0]),
        _ => format!("the nearest are {}", alike.join(", ")),
    }
}

fn quoted(ranked: &[(f64, &str)]) -> String {
    let shown: Vec<String> = ranked.iter().take(8).map(|(_, name)| format!("`{name}`")).collect();
    let more = if ranked.len() > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_no_stranger_among_them() {
        let known = ["outlier_row", "outlier_channel", "memory"];
        let near = nearest("outlier_rwo", &known);
        assert_eq!(near, "the nearest are `outlier_row`, `outlier_channel`");
        assert_eq!(nearest("memroy", &known), "the nearest is `memory`");
    }

    #[test]
    fn when_nothing_is_alike_the_known_names_are_listed() {
        assert_eq!(nearest("zzz", &["memory"]), "known are `memory`");
        assert_eq!(nearest("zzz", &[]), "there are none yet");
    }

    #[test]
    fn all_problems_are_shown_with_a_count() {
        let at = |line| Problem { chapter: "src/a.md".into(), line, message: "bad".into() };
        let shown = Problems::none_or_fail(vec![at(9), at(2)]).unwrap_err().to_string();
        let expected = "error: src/a.md:2: bad\nerror: src/a.md:9: bad\n2 errors in 1 chapter";
        assert_eq!(shown, expected);
    }
}
