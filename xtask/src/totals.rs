//! The totals of a run of checks, read from what the runners print.

use std::fmt;

/// The numbers of checks that passed, failed and were skipped.
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

    /// The counts in libtest's closing line, `test result: ok. 5 passed; 0 failed; 1 ignored; ...`.
    pub fn of_libtest(line: &str) -> Option<Self> {
        line.strip_prefix("test result: ").map(counted)
    }

    /// The counts in the closing line of the chapters' examples, `examples: 9 passed, 0 failed, 4
    /// ignored in 4 chapters`.
    pub fn of_examples(line: &str) -> Option<Self> {
        line.strip_prefix("examples: ").map(counted)
    }

    /// The counts of a line `SKIPPED: ...`: -1 passed, because libtest counts the test as passed later.
    pub fn of_skip(line: &str) -> Option<Self> {
        says_skipped(line).then_some(Self { passed: -1, failed: 0, skipped: 1 })
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

/// Whether a test says in `line` that it was skipped. The words may be in the middle of the line,
/// because with one test thread and no capture libtest has already begun the line.
fn says_skipped(line: &str) -> bool {
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

    #[test]
    fn closing_lines_are_read_and_other_lines_are_not() {
        let totals = |passed, failed, skipped| Some(Totals { passed, failed, skipped });
        let ok = "test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out";
        assert_eq!(Totals::of_libtest(ok), totals(16, 0, 2));
        let failed = "test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured";
        assert_eq!(Totals::of_libtest(failed), totals(3, 4, 0));
        let examples = "examples: 12 passed, 1 failed, 2 ignored in 4 chapters";
        assert_eq!(Totals::of_examples(examples), totals(12, 1, 2));
        assert_eq!(Totals::of_libtest("test a ... ok"), None);
        assert_eq!(Totals::of_examples("src/a.md: 1 example passed"), None);
    }

    #[test]
    fn a_test_that_leaves_itself_out_is_skipped_and_not_passed() {
        let one_test = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured";
        for line in ["SKIPPED: browser: no Chromium", "test opens ... SKIPPED: browser: none"] {
            let mut totals = Totals::default();
            totals.add(Totals::of_skip(line).unwrap_or_default());
            totals.add(Totals::of_libtest(one_test).unwrap_or_default());
            assert_eq!(totals, Totals { passed: 0, failed: 0, skipped: 1 });
        }
        assert_eq!(Totals::of_skip("note: SKIPPED: is what a test says"), None);
    }

    #[test]
    fn the_last_line_has_the_form_that_others_read() {
        let totals = Totals { passed: 12, failed: 0, skipped: 1 };
        assert_eq!(totals.to_string(), "12 passed, 0 failed, 1 skipped");
    }
}
