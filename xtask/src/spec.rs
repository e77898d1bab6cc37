//! How a lab's spec is compiled against one of its implementations, and run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
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

/// What one test of a spec had to say.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Whether it passed.
    pub passed: bool,
    /// What it printed, its failure message above all.
    pub report: String,
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
        let target = workspace::root().join("target").join("graded");
        let lock = lock(&target)?;
        let mut command = workspace::cargo();
        command.env("LAB_IMPL", implementation).arg("test").arg("--target-dir").arg(&target);
        // What a lab has for a GPU takes longer to compile than the lab, and no spec needs it.
        command.args(["--package", &lab.package, "--no-default-features"]);
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
        let report = report(&stdout, name).map(Into::into).unwrap_or_else(|| died(&output));
        Ok(Outcome { passed: output.status.success(), report })
    }

    /// Runs all tests with `variables` in their environment: each name, and whether it passed.
    ///
    /// # Errors
    /// If the spec cannot be started, or dies before all its tests have run.
    pub fn run_all(&self, variables: &[(&str, &str)]) -> Result<BTreeMap<String, bool>> {
        let output = self.command().envs(variables.iter().copied()).output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if !stdout.contains("\ntest result: ") {
            bail!("the spec of {} died with {variables:?}: {}", self.lab.package, died(&output));
        }
        Ok(stdout.lines().filter_map(verdict).collect())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.lab.dir).env("CARGO_MANIFEST_DIR", &self.lab.dir);
        command.env("RUST_BACKTRACE", "0").env_remove("RUST_TEST_NOCAPTURE");
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

/// What libtest captured of the one test that ran, without the advice to print a backtrace.
fn report<'a>(stdout: &'a str, name: &str) -> Option<&'a str> {
    if stdout.contains(&format!("\ntest {name} ... ok")) {
        return Some("");
    }
    let (_, captured) = stdout.split_once(&format!("---- {name} stdout ----\n"))?;
    let (captured, _) = captured.rsplit_once("\n\nfailures:\n")?;
    let advice = "\nnote: run with `RUST_BACKTRACE=1`";
    Some(captured.split_once(advice).map_or(captured, |(report, _)| report).trim())
}

/// What is left to say when the process ended without a verdict.
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
        assert_eq!(report, Some(expected));
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
