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

static SECTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^---- .*\(line (\d+)\) stdout ----").expect("a regex"));

/// A panic in the code that rustdoc made of an example: in a bundle of several, or in one of its
/// own that goes by the chapter's name. Either way the line is not one of the chapter.
fn panic_in(chapter: &str) -> Regex {
    let place = format!(r"panicked at (?:\S*doctest\S*|{chapter}):\d+:\d+:");
    Regex::new(&place).expect("a regex")
}

/// rustdoc's output with the lines of the chapter's source in the place of those that rustdoc
/// counts.
fn with_source_lines(listing: &Listing, output: &str) -> String {
    let chapter = regex::escape(&listing.chapter).replace('/', r"[/\\]");
    let place = format!(r"(?<before>{chapter}(?::| - [^\n]*?\(line ))(?<line>\d+)");
    let (place, panic) = (Regex::new(&place).expect("a regex"), panic_in(&chapter));
    let (mut text, mut example) = (String::new(), 0);
    for line in output.lines() {
        let line = place.replace_all(line, |found: &Captures| {
            let line = found["line"].parse().map_or(0, |line| listing.source_line(line));
            format!("{}{line}", &found["before"])
        });
        if let Some(found) = SECTION.captures(&line) {
            example = found[1].parse().unwrap_or_default();
        }
        let known = format!("panicked in the example at {}:{example}:", listing.chapter);
        text.push_str(&panic.replace(&line, known));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chapter whose third line includes four lines, so that the rest is three lines further on.
    fn listing(tested: usize) -> Listing {
        Listing {
            chapter: "src/a.md".into(),
            text: String::new(),
            lines: vec![1, 2, 3, 3, 3, 3, 4, 5, 6],
            tested,
            ignored: 1,
        }
    }

    #[test]
    fn the_results_of_all_bundles_are_added_up() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured;\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured;\n";
        assert_eq!(Tally::of(output), Tally { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_run_that_did_not_see_every_example_is_not_trusted() {
        let output = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured;\n";
        let wrong = Report::after(&listing(2), true, output).wrong.unwrap();
        assert_eq!(wrong, "src/a.md has 2 examples to run, and rustdoc saw 1");
        let wrong = Report::after(&listing(1), false, output).wrong.unwrap();
        assert_eq!(wrong, "rustdoc failed on src/a.md, and not because of an example");
        assert_eq!(Report::after(&listing(1), true, output).wrong, None);
    }

    #[test]
    fn a_report_is_one_line_when_all_is_well() {
        let output = "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured;\n";
        let report = Report::after(&listing(4), true, output).to_string();
        assert_eq!(report, "src/a.md: 4 examples passed, 1 ignored");
    }

    #[test]
    fn lines_are_those_of_the_source() {
        let output = "test src/a.md - Title (line 8) ... FAILED\n --> src/a.md:9:14\n";
        let expected = "test src/a.md - Title (line 5) ... FAILED\n --> src/a.md:6:14\n";
        assert_eq!(with_source_lines(&listing(1), output), expected);
    }

    #[test]
    fn a_panic_is_placed_at_its_example() {
        let output = "---- src/a.md - Title (line 8) stdout ----\n\
            thread 'main' panicked at /tmp/x/doctest_bundle_2024.rs:19:1:\n\
            thread 'main' panicked at src/a.md:4:1:\n\
            thread 'main' panicked at labs/kit/src/data.rs:53:5:\n";
        let expected = "---- src/a.md - Title (line 5) stdout ----\n\
            thread 'main' panicked in the example at src/a.md:5:\n\
            thread 'main' panicked in the example at src/a.md:5:\n\
            thread 'main' panicked at labs/kit/src/data.rs:53:5:\n";
        assert_eq!(with_source_lines(&listing(1), output), expected);
    }
}
