//! The totals of a run of checks, read from what the runners print.

use std::fmt;

/// What passed, what failed, what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Tests, examples and checks that passed. Signed: a test says that it leaves itself out before
    /// libtest counts it as passed.
    pub passed: isize,
    /// Those that failed.
    pub failed: isize,
    /// Those that were left out.
    pub skipped: isize,
}

impl Totals {
    /// One check that passed or failed as a whole.
    pub fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }

    /// One check that was left out.
    pub fn left_out() -> Self {
        Self { skipped: 1, ..Self::default() }
    }

    /// Adds what `line` tells, if it tells anything.
    ///
    /// `test result: ...` comes from libtest and `examples: ...` from the tested chapters. A test
    /// that leaves itself out counts as passed for libtest, so its line `SKIPPED: ...` moves it.
    pub fn read(&mut self, line: &str) {
        if let Some((_, counts)) = line.split_once("test result: ") {
            self.add(counted(counts));
        } else if let Some(counts) = line.strip_prefix("examples: ") {
            self.add(counted(counts));
        } else if says_skipped(line) {
            self.passed -= 1;
            self.skipped += 1;
        }
    }

    /// How many there were, of any outcome.
    pub fn count(&self) -> isize {
        self.passed + self.failed + self.skipped
    }

    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Whether a test says in `line` that it leaves itself out. With one test thread and no capture,
/// libtest has already begun the line.
pub fn says_skipped(line: &str) -> bool {
    let said = line.rsplit_once(" ... ").filter(|(before, _)| before.starts_with("test "));
    said.map_or(line, |(_, said)| said).starts_with("SKIPPED: ")
}

/// The counts in `ok. 5 passed; 0 failed; 1 ignored; ...` or `5 passed, 0 failed, 1 ignored in ...`.
fn counted(text: &str) -> Totals {
    let words: Vec<&str> = text.split([' ', ';', ',']).filter(|word| !word.is_empty()).collect();
    let count = |what: &str| {
        let place = words.iter().position(|word| *word == what)?;
        words.get(place.checked_sub(1)?)?.parse().ok()
    };
    Totals {
        passed: count("passed").unwrap_or(0),
        failed: count("failed").unwrap_or(0),
        skipped: count("ignored").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Totals {
        let mut totals = Totals::default();
        lines.iter().for_each(|line| totals.read(line));
        totals
    }

    #[test]
    fn the_closing_lines_of_libtest_and_of_the_examples_are_added_up() {
        let totals = read(&[
            "test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; in 0.1s",
            "test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 9 filtered out",
            "examples: 12 passed, 1 failed, 2 ignored in 4 chapters",
            "test a ... ok",
        ]);
        assert_eq!(totals, Totals { passed: 31, failed: 5, skipped: 4 });
    }

    #[test]
    fn a_test_that_leaves_itself_out_is_skipped_and_not_passed() {
        let totals = read(&[
            "SKIPPED: browser checks: no Chromium found (set CHROME)",
            "test every_page_opens ... SKIPPED: browser checks: no Chromium found (set CHROME)",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(totals, Totals { passed: 1, failed: 0, skipped: 2 });
    }

    #[test]
    fn the_last_line_has_the_form_that_others_read() {
        let totals = Totals { passed: 12, failed: 0, skipped: 1 };
        assert_eq!(totals.to_string(), "12 passed, 0 failed, 1 skipped");
    }
}
