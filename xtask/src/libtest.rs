//! Following the output of the test binaries that `cargo test` runs, one after the other.

use crate::totals::Totals;

/// The output of the test binaries so far.
#[derive(Default)]
pub struct Libtest {
    /// The sum of their closing lines.
    pub totals: Totals,
    /// The output of the present binary, which is shown only if it fails.
    pub unfinished: Vec<String>,
    /// The number of tests that the present binary has announced.
    announced: Option<isize>,
}

impl Libtest {
    /// Takes a line of standard output, and returns the lines to show.
    pub fn hear(&mut self, line: &str) -> Vec<String> {
        if let Some(skip) = Totals::of_skip(line) {
            self.totals.add(skip);
            return vec![line.into()];
        }
        self.unfinished.push(line.into());
        if self.announced.is_none() {
            self.announced = announced(line);
        }
        match Totals::of_libtest(line) {
            // The counts are compared, because a test may itself run tests and print their totals.
            Some(totals) if self.announced == Some(totals.count()) => {
                self.totals.add(totals);
                self.close(totals.failed > 0 || line.contains("FAILED"))
            }
            _ => Vec::new(),
        }
    }

    /// Ends the present binary and returns its whole output if it failed, else its closing line.
    fn close(&mut self, failed: bool) -> Vec<String> {
        self.announced = None;
        let mut said = std::mem::take(&mut self.unfinished);
        if failed {
            return said;
        }
        said.pop().map(|closing| format!("       {closing}")).into_iter().collect()
    }
}

/// The count in `running 16 tests`.
fn announced(line: &str) -> Option<isize> {
    let (count, rest) = line.strip_prefix("running ")?.split_once(' ')?;
    if matches!(rest, "test" | "tests") { count.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(output: &str) -> (Totals, Vec<String>) {
        let mut listener = Libtest::default();
        let shown = output.lines().flat_map(|line| listener.hear(line)).collect();
        (listener.totals, shown)
    }

    const PASSES: &str = "
running 3 tests
test a ... ok
SKIPPED: browser checks: no Chromium
test b ... ok
test c ... ignored

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out
";

    const FAILS: &str = "
running 2 tests
test a ... ok
test b ... FAILED

failures:

---- b stdout ----
running 9 tests
test result: ok. 9 passed; 0 failed; 0 ignored
it was wrong

failures:
    b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
";

    #[test]
    fn of_a_binary_that_passes_only_skips_and_the_closing_line_are_shown() {
        let (totals, shown) = heard(PASSES);
        assert_eq!(totals, Totals { passed: 1, failed: 0, skipped: 2 });
        assert_eq!(shown[0], "SKIPPED: browser checks: no Chromium");
        assert!(shown.len() == 2 && shown[1].contains("test result: ok. 2 passed"), "{shown:?}");
    }

    #[test]
    fn of_a_binary_that_fails_everything_is_shown_and_inner_totals_do_not_count() {
        let (totals, shown) = heard(FAILS);
        assert_eq!(totals, Totals { passed: 1, failed: 1, skipped: 0 });
        assert!(shown.iter().any(|line| line == "it was wrong"));
    }

    #[test]
    fn binaries_are_added_up() {
        let (totals, _) = heard(&format!("{PASSES}{FAILS}{PASSES}"));
        assert_eq!(totals, Totals { passed: 3, failed: 1, skipped: 4 });
    }
}
