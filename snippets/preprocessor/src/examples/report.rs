//! What rustdoc said of a chapter's examples.

use std::fmt::{self, Display};
use std::ops::Add;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::listing::Listing;
use crate::problem::counted;

/// How many examples came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Compiled and, unless `no_run`, ran; or failed as they were meant to.
    pub passed: usize,
    /// Did not.
    pub failed: usize,
    /// Were left out.
    pub ignored: usize,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

static RESULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
        .expect("a regex")
});

impl Tally {
    /// Adds up the results in rustdoc's output: it has one for the examples that it compiles
    /// together, and one for those that it cannot.
    pub fn of(output: &str) -> Self {
        let number = |found: &Captures, i: usize| found[i].parse().unwrap_or_default();
        RESULT.captures_iter(output).fold(Self::default(), |sum, found| {
            let passed = number(&found, 1);
            sum + Self { passed, failed: number(&found, 2), ignored: number(&found, 3) }
        })
    }
}

/// The outcome of a chapter.
#[derive(Debug)]
pub struct Report {
    chapter: String,
    /// The counts.
    pub tally: Tally,
    /// What rustdoc printed, if something failed.
    failures: Option<String>,
    /// Why the counts cannot be trusted.
    pub wrong: Option<String>,
}

impl Report {
    /// The report as long as nothing ran.
    pub fn before(listing: &Listing) -> Self {
        let tally = Tally { ignored: listing.ignored, ..Tally::default() };
        Self { chapter: listing.chapter.clone(), tally, failures: None, wrong: None }
    }

    /// The report of a run that printed `output`.
    pub fn after(listing: &Listing, succeeded: bool, output: &str) -> Self {
        let (before, ran) = (Self::before(listing), Tally::of(output));
        let (seen, meant) = (ran.passed + ran.failed + ran.ignored, listing.tested);
        let chapter = &listing.chapter;
        let wrong = if seen != meant {
            Some(format!(
                "{chapter} has {} to run, and rustdoc saw {seen}",
                counted(meant, "example")
            ))
        } else if succeeded != (ran.failed == 0) {
            Some(format!("rustdoc failed on {chapter}, and not because of an example"))
        } else {
            None
        };
        let is_bad = wrong.is_some() || !succeeded;
        let failures = is_bad.then(|| with_source_lines(listing, output));
        Self { tally: before.tally + ran, failures, wrong, ..before }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failures) = &self.failures {
            writeln!(f, "{}", failures.trim_end())?;
        }
        let Tally { passed, failed, ignored } = self.tally;
        write!(f, "{}: {} passed", self.chapter, counted(passed, "example"))?;
        if failed > 0 {
            write!(f, ", {failed} failed")?;
        }
        if ignored > 0 {
            write!(f, ", {ignored} ignored")?;
        }
        Ok(())
    }
}

/// rustdoc's output with the lines of the chapter's source in the place of the listing's.
fn with_source_lines(listing: &Listing, output: &str) -> String {
    let chapter = regex::escape(&listing.chapter).replace('/', r"[/\\]");
    let place = format!(r"(?<before>{chapter}(?::| - [^\n]*?\(line ))(?<line>\d+)");
    let place = Regex::new(&place).expect("a regex");
    let renumbered = place.replace_all(output, |found: &Captures| {
        let line = found["line"].parse().map_or(0, |line| listing.source_line(line));
        format!("{}{line}", &found["before"])
    });
    renumbered.into_owned()
}
