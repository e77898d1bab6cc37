//! `cargo book test`: everything that must hold, one step after the other.

use std::process::{Command, ExitCode};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use console::style;
use xtask::workspace;

use crate::book;
use crate::libtest::Libtest;
use crate::progress::{self, Line, Meter};
use crate::tools::{self, Tools};
use crate::totals::Totals;

/// The tests that need the built book, and are ignored until it exists.
const BUILT_BOOK_TESTS: [&str; 4] = ["built_book", "browser", "accessibility", "interactive"];

/// A check by a program that a reader need not have.
struct Optional {
    check: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// The crate that `cargo install` makes the program from.
    package: &'static str,
}

const OPTIONAL: [Optional; 2] = [
    Optional { check: "spelling: typos", program: "typos", arguments: &[], package: "typos-cli" },
    Optional {
        check: "dependencies: cargo deny",
        program: "cargo-deny",
        // Without `advisories`, because their database comes over the network.
        arguments: &["check", "--hide-inclusion-graph", "licenses", "bans", "sources"],
        package: "cargo-deny",
    },
];

/// Runs every step, whatever the others say, and ends with the totals.
///
/// # Errors
/// None of a step: a step that fails is counted, and makes the exit code 1.
pub fn run() -> Result<ExitCode> {
    let mut report = Report::default();
    report.step("formatting: cargo fmt --check", || {
        whole(workspace::cargo().args(["fmt", "--all", "--", "--check"]))
    });
    report.step("lints: cargo clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        whole(workspace::cargo().args(lint))
    });
    check_with_installed(&mut report, &OPTIONAL);
    report.step("units, specs, snapshots: cargo test", || libtest(&["--no-fail-fast"], &[]));
    // Beside the examples, because the contracts compile one crate at a time and leave a core idle.
    let contracts = thread::spawn(contracts);
    match tools::ready() {
        Ok(tools) => {
            report.step("every Rust example of every chapter: mdbook test", || examples(&tools));
            check_contracts(&mut report, contracts);
            check_book(&mut report, &tools);
        }
        Err(error) => {
            report.step("mdbook and mdbook-katex", || Err(error));
            check_contracts(&mut report, contracts);
            report.leave_out("everything about the book", "it needs mdbook and mdbook-katex");
        }
    }
    Ok(report.end())
}

/// The steps whose programs are installed; the others are left out, visibly.
fn check_with_installed(report: &mut Report, steps: &[Optional]) {
    for Optional { check, program, arguments, package } in steps {
        if workspace::command(program).arg("--version").output().is_ok() {
            report.step(check, || whole(workspace::command(program).args(*arguments)));
        } else {
            report.leave_out(check, &format!("`cargo install --locked {package}` installs it"));
        }
    }
}

/// The output and the result of a run beside another step.
type Aside = (Vec<String>, Result<Totals>);

/// The tests that compile every lab three times; they are ignored in `cargo test`.
fn contracts() -> Aside {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--test", "lab_contract", "--", "--ignored"]);
    let mut listener = Libtest::default();
    let mut said = Vec::new();
    let status = progress::lines(&mut command, |line| match line {
        Line::Out(text) => said.extend(listener.hear(text)),
        Line::Err(text) if is_compiler_progress(text) => {}
        Line::Err(text) => said.push(text.to_string()),
        Line::Silence => {}
    });
    said.append(&mut listener.unfinished);
    let totals = listener.totals;
    (said, status.and_then(|status| verdict("cargo test", status.success(), totals)))
}

/// Waits for the labs' contracts and counts them.
fn check_contracts(report: &mut Report, contracts: JoinHandle<Aside>) {
    let checks = report.step("starters and wrong answers of every lab, beside it", || {
        let (said, totals) = contracts.join().map_err(|_| anyhow!("the thread panicked"))?;
        said.iter().for_each(|line| println!("{line}"));
        totals
    });
    report.ran_after_all(checks);
}

/// The steps that need mdBook.
fn check_book(report: &mut Report, tools: &Tools) {
    let built = report.step("the book: mdbook build", || {
        book::build_with(tools)?;
        Ok(Totals::one(true))
    });
    if built.failed > 0 {
        report.leave_out("links and browser", "the book was not built");
        return;
    }
    let checks = report.step("the built book: links, figures, pages in a browser", || {
        let targets: Vec<_> = BUILT_BOOK_TESTS.iter().flat_map(|name| ["--test", name]).collect();
        libtest(&targets, &["--ignored"])
    });
    report.ran_after_all(checks);
}

/// A program that passes or fails as a whole; what it printed is shown when it fails.
fn whole(command: &mut Command) -> Result<Totals> {
    let output = progress::run("running", command)?;
    if output.status.success() {
        return Ok(Totals::one(true));
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{}", String::from_utf8_lossy(&said).trim_end())
}

/// `cargo test` on the whole workspace: each binary's closing line, and all it said if it failed.
fn libtest(cargo_options: &[&str], test_options: &[&str]) -> Result<Totals> {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace"]).args(cargo_options).arg("--").args(test_options);
    command.env_remove("BOOK_DIR");
    let meter = Meter::start("cargo test");
    let mut listener = Libtest::default();
    let status = progress::lines(&mut command, |line| match line {
        Line::Out(text) => listener.hear(text).iter().for_each(|line| meter.say(line)),
        Line::Err(text) if is_compiler_progress(text) => meter.doing(text.trim()),
        Line::Err(text) => {
            // The next binary runs, so the name of the last compiled crate is out of date.
            meter.doing("");
            meter.say(text);
        }
        Line::Silence => meter.tick(),
    })?;
    listener.unfinished.iter().for_each(|line| meter.say(line));
    meter.finish();
    verdict("cargo test", status.success(), listener.totals)
}

fn is_compiler_progress(line: &str) -> bool {
    let verbs = ["Compiling", "Checking", "Downloaded", "Downloading", "Locking", "Updating"];
    verbs.iter().any(|verb| line.trim_start().starts_with(verb))
}

/// `mdbook test`. The preprocessor of the book runs the examples and counts them.
fn examples(tools: &Tools) -> Result<Totals> {
    let mut totals = Totals::default();
    let meter = Meter::start("mdbook test");
    let status = progress::lines(tools.mdbook().arg("test"), |line| match line {
        Line::Out(text) | Line::Err(text) => {
            totals.add(Totals::of_examples(text).unwrap_or_default());
            meter.say(text);
        }
        Line::Silence => meter.tick(),
    })?;
    meter.finish();
    verdict("mdbook test", status.success(), totals)
}

/// Checks that the exit code and the counts of a runner agree and that the runner ran a test, because a
/// wrong filter or a crash would otherwise look like success.
fn verdict(runner: &str, success: bool, totals: Totals) -> Result<Totals> {
    match (success, totals.failed) {
        (true, 0) if totals.count() == 0 => bail!("{runner} ran nothing, and so proves nothing"),
        (true, 0) => Ok(totals),
        (true, failed) => bail!("{runner} exits with success and counts {failed} failures"),
        (false, 0) => bail!("{runner} failed before or after its tests: see above"),
        (false, _) => Ok(totals),
    }
}

/// What has been run so far.
#[derive(Default)]
struct Report {
    totals: Totals,
    lines: Vec<String>,
}

impl Report {
    /// Runs a step under a header and adds up what it counts.
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result<Totals>) -> Totals {
        println!("\n{}", style(format!("== {name}")).bold());
        let started = Instant::now();
        let totals = check().unwrap_or_else(|error| {
            println!("{error:#}");
            Totals::one(false)
        });
        let passed = totals.failed == 0;
        let word = if passed { style("ok    ").green() } else { style("FAILED").red() };
        let line = format!("{word}  {name}  ({})", progress::human(started.elapsed()));
        println!("{line}");
        self.lines.push(line);
        self.totals.add(totals);
        totals
    }

    /// Takes back that `checks` were left out: `cargo test` ignored them, and now they have run.
    fn ran_after_all(&mut self, checks: Totals) {
        self.totals.skipped = (self.totals.skipped - checks.count()).max(checks.skipped);
    }

    /// Notes that `what` could not be run.
    fn leave_out(&mut self, what: &str, why: &str) {
        let line = format!("SKIPPED: {what}: {why}");
        println!("\n{line}");
        self.lines.push(line);
        self.totals.add(Totals::left_out());
    }

    /// The summary, the totals on the last line, and the exit code.
    fn end(self) -> ExitCode {
        println!("\n{}", style("== summary").bold());
        self.lines.iter().for_each(|line| println!("{line}"));
        println!("{}", self.totals);
        if self.totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(passed: isize, failed: isize) -> Totals {
        Totals { passed, failed, skipped: 0 }
    }

    #[test]
    fn a_runner_that_ran_nothing_is_not_believed() {
        assert!(verdict("x", true, totals(0, 0)).is_err());
    }

    #[test]
    fn an_exit_code_that_contradicts_the_counts_is_not_believed() {
        assert!(verdict("x", true, totals(3, 1)).is_err());
        assert!(verdict("x", false, totals(3, 0)).is_err());
    }

    #[test]
    fn counts_that_agree_with_the_exit_code_are_added_up() -> Result<()> {
        assert_eq!(verdict("x", true, totals(3, 0))?, totals(3, 0));
        assert_eq!(verdict("x", false, totals(3, 1))?, totals(3, 1));
        Ok(())
    }

    #[test]
    fn a_step_that_fails_does_not_hide_the_next() {
        let mut report = Report::default();
        report.step("a", || bail!("no"));
        report.step("b", || Ok(totals(5, 0)));
        report.leave_out("c", "no browser");
        assert_eq!(report.totals, Totals { passed: 5, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_program_that_is_not_installed_is_a_skip_and_one_that_fails_is_a_failure() {
        let cargo = |arguments| Optional { check: "x", program: "cargo", arguments, package: "x" };
        let mut report = Report::default();
        let missing = Optional { program: "no-such-program", ..cargo(&[]) };
        check_with_installed(&mut report, &[cargo(&["--version"]), cargo(&["no-such"]), missing]);
        assert_eq!(report.totals, Totals { passed: 1, failed: 1, skipped: 1 });
        let skip = report.lines.last().expect("a line for each step");
        assert_eq!(skip, "SKIPPED: x: `cargo install --locked x` installs it");
    }
}
