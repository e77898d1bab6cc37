//! How a lab's spec is compiled against one of its implementations, and run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::labs::Lab;
use crate::workspace;

/// The compiled spec of a lab.
///
/// `LAB_IMPL` is not part of cargo's file names, so two implementations are compiled to the same
/// executable: while a `Spec` lives, nobody else may compile another.
pub struct Spec {
    executable: PathBuf,
    lab: Lab,
    _lock: File,
}

/// The result of one test of a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it passed.
    pub passed: bool,
    /// Its output with the failure message.
    pub report: String,
}

impl Outcome {
    /// Whether the test stopped at a body that is not written yet.
    pub fn is_todo(&self) -> bool {
        // The words with which `todo!` panics.
        self.report.contains("not yet implemented")
    }

    /// The message of the failure, without its line and with rounded numbers, because another order of
    /// the same operations changes the last digits.
    pub fn words(&self) -> String {
        rounded(self.place_and_message().1)
    }

    /// The place of the failure, `file:line:column:`, and its message.
    pub fn place_and_message(&self) -> (&str, &str) {
        // The last panic, because a test may catch one and tell what it means.
        let (_, panic) = self.report.rsplit_once("panicked at ").unwrap_or(("", &self.report));
        panic.split_once('\n').unwrap_or(("", panic))
    }

    /// What the message begins with, for a line of a list.
    pub fn summary(&self) -> String {
        let message = self.place_and_message().1;
        let assertion = message.strip_prefix("assertion `left == right` failed: ");
        let mut lines = assertion.unwrap_or(message).lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty()).unwrap_or("no message");
        match line.char_indices().nth(LINE) {
            None => line.into(),
            Some((end, _)) => format!("{}...", line[..end].trim_end()),
        }
    }
}

/// Characters of a summary.
const LINE: usize = 96;

/// A wrong answer of a lab, as `WRONG_ANSWER=list` prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct WrongAnswer {
    /// What `WRONG_ANSWER` calls it.
    pub name: String,
    /// What its author believed.
    pub misconception: String,
    /// Why the belief is wrong.
    pub correction: String,
    /// The tests that must fail on it.
    pub caught_by: Vec<String>,
}

impl Spec {
    /// Compiles the spec of `lab` against `implementation`: `starter`, `solution` or `wrong`.
    ///
    /// `run` starts the compiler; the caller decides what is shown meanwhile. The target directory
    /// is not the usual one, so that the reader's other builds stay fresh.
    ///
    /// # Errors
    /// If it does not compile; the message is the compiler's.
    pub fn compile(
        lab: &Lab,
        implementation: &str,
        run: impl FnOnce(&mut Command) -> Result<Output>,
    ) -> Result<Self> {
        let target = workspace::graded();
        let lock = lock(&target)?;
        let mut command = workspace::cargo();
        command.env("LAB_IMPL", implementation).arg("test").arg("--target-dir").arg(&target);
        command.arg("--manifest-path").arg(lab.dir.join("Cargo.toml"));
        command.args(["--test", "spec", "--no-run"]);
        command.arg("--message-format=json-render-diagnostics");
        let output = run(&mut command)?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        let executable = executable(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("{} has no test target called `spec`", lab.package))?;
        Ok(Self { executable, lab: lab.clone(), _lock: lock })
    }

    /// The names of its tests, in the order of its source, which is the order of the tasks.
    ///
    /// # Errors
    /// If the spec cannot be listed or read.
    pub fn names(&self) -> Result<Vec<String>> {
        let output = self.command().arg("--list").output()?;
        let listed = String::from_utf8(output.stdout)?;
        let source = std::fs::read_to_string(self.lab.spec())?;
        let mut names: Vec<String> =
            listed.lines().filter_map(|line| line.strip_suffix(": test")).map(Into::into).collect();
        names.sort_by_key(|name| source.find(&format!("fn {name}(")));
        Ok(names)
    }

    /// Runs one test in a process of its own, so that even one that aborts spares the others.
    ///
    /// # Errors
    /// If the spec cannot be started.
    pub fn run(&self, name: &str) -> Result<Outcome> {
        let output = self.command().args(["--exact", name]).output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let report = report(&stdout, name).unwrap_or_else(|| died(&output));
        Ok(Outcome { passed: output.status.success(), report })
    }

    /// Runs `tests` in one process, or all for none, with `WRONG_ANSWER` set to `wrong_answer`.
    ///
    /// # Errors
    /// If the spec cannot be started, or dies before its tests have run.
    pub fn run_all(
        &self,
        wrong_answer: &str,
        tests: &[String],
    ) -> Result<BTreeMap<String, Outcome>> {
        let mut command = self.command();
        command.env("WRONG_ANSWER", wrong_answer).arg("--exact").args(tests);
        let output = command.output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if !stdout.contains("\ntest result: ") {
            bail!("the spec of {} died with {wrong_answer}: {}", self.lab.package, died(&output));
        }
        let outcomes = stdout.lines().filter_map(verdict).map(|(name, passed)| {
            let report = report(&stdout, &name).unwrap_or_default();
            (name, Outcome { passed, report })
        });
        Ok(outcomes.collect())
    }

    /// The wrong answers of the lab, if the spec is compiled against `wrong`.
    ///
    /// # Errors
    /// If the spec prints none.
    pub fn wrong_answers(&self) -> Result<Vec<WrongAnswer>> {
        let mut command = self.command();
        // One thread, because the first test that calls the lab prints the list.
        command.env("WRONG_ANSWER", "list").arg("--test-threads=1");
        let output = command.output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let listed: Vec<_> = stdout.lines().filter_map(wrong_answer).collect();
        ensure!(!listed.is_empty(), "{} lists no wrong answers: {stdout}", self.lab.package);
        Ok(listed)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.lab.dir).env("CARGO_MANIFEST_DIR", &self.lab.dir);
        command.env("RUST_BACKTRACE", "0").env_remove("RUST_TEST_NOCAPTURE");
        // One thread for a checkpoint, because with more it depends on the run which of several bad
        // tensors a message names.
        command.env("RAYON_NUM_THREADS", "1");
        command
    }
}

/// Waits until no other grading uses the directory.
fn lock(target: &Path) -> Result<File> {
    std::fs::create_dir_all(target)?;
    let file = File::create(target.join("spec.lock"))?;
    file.lock().context("cannot lock target/graded")?;
    Ok(file)
}

/// The executable that cargo's JSON messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut specs = messages.filter(|message| message["target"]["name"] == "spec");
    specs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// `test name ... ok` and `test name ... FAILED`, as libtest prints them.
fn verdict(line: &str) -> Option<(String, bool)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match verdict {
        "ok" => Some((name.into(), true)),
        "FAILED" => Some((name.into(), false)),
        _ => None,
    }
}

/// The wrong answer in a line of `WRONG_ANSWER=list`.
fn wrong_answer(line: &str) -> Option<WrongAnswer> {
    let mut fields = line.strip_prefix(kit::wrong::LISTED)?.split('\t').map(String::from);
    Some(WrongAnswer {
        name: fields.next()?,
        misconception: fields.next()?,
        correction: fields.next()?,
        caught_by: fields.next()?.split_whitespace().map(Into::into).collect(),
    })
}

/// What libtest captured of one test, without the advice to print a backtrace.
fn report(stdout: &str, name: &str) -> Option<String> {
    if stdout.contains(&format!("\ntest {name} ... ok")) {
        return Some(String::new());
    }
    let (_, captured) = stdout.split_once(&format!("---- {name} stdout ----\n"))?;
    let (captured, _) = captured.rsplit_once("\n\nfailures:\n")?;
    // The next test's part follows, if more than one has failed.
    let captured = captured.split_once("\n\n---- ").map_or(captured, |(this, _)| this);
    // The advice stands after the first panic, and a test that has caught that one says more.
    let lines = captured.lines().filter(|line| !line.starts_with("note: run with `RUST_BACKTRACE"));
    Some(lines.collect::<Vec<_>>().join("\n").trim().into())
}

/// `text` with four digits of each number that is not an integer.
fn rounded(text: &str) -> String {
    let (mut rounded, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let (number, after) = from.split_at(digits(from));
        rounded += before;
        match number.parse::<f64>() {
            Ok(value) if number.contains(['.', 'e']) => rounded += &format!("{value:.3e}"),
            _ => rounded += number,
        }
        rest = after;
    }
    rounded + rest
}

/// The length of the number at the start of `text`.
fn digits(text: &str) -> usize {
    let mut previous = ' ';
    let after = |letter: char| {
        let inside = letter.is_ascii_digit()
            || matches!(letter, '.' | 'e')
            || (letter == '-' && previous == 'e');
        previous = letter;
        !inside
    };
    text.find(after).unwrap_or(text.len())
}

/// The report of a process that ended without a verdict.
fn died(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("the test's process ended without a verdict ({}):\n{}", output.status, stderr.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "
running 1 test
test codes_round ... FAILED

failures:

---- codes_round stdout ----
printed by the reader

thread 'codes_round' (7) panicked at tests/spec.rs:42:5:
assertion failed: truncation
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    codes_round

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out
";

    #[test]
    fn a_failure_is_told_with_what_the_reader_printed_and_without_advice_on_backtraces() {
        let report = report(FAILED, "codes_round");
        let expected = "printed by the reader\n\nthread 'codes_round' (7) panicked at \
                        tests/spec.rs:42:5:\nassertion failed: truncation";
        assert_eq!(report.as_deref(), Some(expected));
    }

    #[test]
    fn what_a_test_says_after_a_panic_that_it_caught_is_told() {
        let advice = "RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        let caught = FAILED.replacen(advice, &format!("{advice}\nthread 'x' panicked: None"), 1);
        let told = report(&caught, "codes_round").unwrap_or_default();
        assert!(told.ends_with("panicked: None") && !told.contains("BACKTRACE"), "{told}");
    }

    #[test]
    fn each_of_two_failures_has_its_own_report() {
        let both = FAILED.replacen(
            "\n\n\nfailures:\n    codes_round",
            "\n\n---- other stdout ----\n\nthread 'other' panicked at x.rs:1:2:\nno\n\n\nfailures:\n",
            1,
        );
        assert_eq!(report(&both, "codes_round"), report(FAILED, "codes_round"));
        assert_eq!(report(&both, "other"), Some("thread 'other' panicked at x.rs:1:2:\nno".into()));
    }

    #[test]
    fn the_words_of_a_failure_have_no_place_and_rounded_numbers() {
        let words = |report: &str| Outcome { passed: false, report: report.into() }.words();
        let said = "mine: 3\nthread 'x' (7) panicked at spec.rs:42:5:\nat w4a16: 0.12345678, 10.";
        assert_eq!(words(said), "at w4a16: 1.235e-1, 1.000e1");
        assert_eq!(words(&said.replace("678", "6")).len(), words(said).len());
        let caught = format!("thread 'x' (6) panicked at a.rs:1:1:\nindex out of bounds\n\n{said}");
        assert_eq!(words(&caught), words(said));
        let numbers = ["-128..=7 of 1,500", "1.9999999e-5 and 12345678901"];
        assert_eq!(numbers.map(rounded), ["-128..=7 of 1,500", "2.000e-5 and 12345678901"]);
        assert_ne!(rounded("left: 127"), rounded("left: 128"));
    }

    #[test]
    fn a_summary_is_the_first_line_of_the_message() {
        let summary = |message: &str| {
            let report = format!("thread 'x' (7) panicked at spec.rs:42:5:\n{message}");
            Outcome { passed: false, report }.summary()
        };
        let assertion = "assertion `left == right` failed";
        assert_eq!(summary(&format!("{assertion}: \ncodes: ceil\n  left: 1")), "codes: ceil");
        assert_eq!(summary(&format!("{assertion}\n  left: 1\n right: 2")), assertion);
        assert_eq!(summary(&"\u{e4}".repeat(200)), format!("{}...", "\u{e4}".repeat(LINE)));
    }

    #[test]
    fn a_wrong_answer_is_read_with_its_tests() {
        let line = format!("{}name\tbelief\twhy not\ta b", kit::wrong::LISTED);
        let wrong = wrong_answer(&line).expect("a line of the list");
        assert_eq!((wrong.name.as_str(), wrong.correction.as_str()), ("name", "why not"));
        assert_eq!(wrong.caught_by, ["a", "b"]);
        assert_eq!(wrong_answer("test x ... ok"), None);
    }

    #[test]
    fn a_process_that_died_has_no_report() {
        assert_eq!(report("\nrunning 1 test\n", "codes_round"), None);
    }

    #[test]
    fn verdicts_are_read_and_other_lines_are_not() {
        let verdicts: Vec<_> = "test a ... ok\ntest b ... FAILED\ntest c ... ignored, why\n\
             test result: ok. 1 passed"
            .lines()
            .filter_map(verdict)
            .collect();
        assert_eq!(verdicts, [("a".into(), true), ("b".into(), false)]);
    }

    #[test]
    fn the_executable_is_the_spec_and_not_the_library_or_the_build_script() {
        let messages = r#"{"target":{"name":"build-script-build"},"executable":"x"}
{"target":{"name":"fake_quant_linear"},"executable":null}
not json
{"target":{"name":"spec"},"executable":"/t/spec-1"}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/spec-1")));
    }
}
