//! `cargo book grade`: how far the reader is with every lab, and what to do next.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use console::{strip_ansi_codes, style};
use xtask::labs::Lab;
use xtask::spec::Outcome;

use crate::graded::{compile, is_todo, look_first, relative};
use crate::progress::Meter;
use crate::starter;

/// How far the reader is with one lab.
struct Standing {
    tasks: Vec<Task>,
    state: State,
}

/// The tests of one task.
#[derive(Debug, PartialEq)]
struct Task {
    heading: String,
    passed: usize,
    tests: usize,
}

/// The state of a lab.
#[derive(Debug, PartialEq)]
enum State {
    /// Every test passes.
    Done,
    /// No body has been written: every test reaches a `todo!`.
    Untouched(Failure),
    /// Some tests fail.
    Begun(Failure),
    /// The compiler's first error.
    DoesNotCompile(String),
}

/// The failure to look at first.
#[derive(Debug, PartialEq)]
struct Failure {
    test: String,
    outcome: Outcome,
}

/// A line per lab, the totals, and what to do next; true when all labs are done.
///
/// # Errors
/// If a spec cannot be read or started. A starter that does not compile has a line like the others.
pub fn print(labs: &[Lab]) -> Result<bool> {
    println!("Grading your starters, in the order in which the book takes the labs\n");
    let mut standings = Vec::new();
    for lab in labs {
        let standing = grade(lab)?;
        println!("  {}  {standing}", style(lab.short_name()).bold());
        standings.push(standing);
    }
    println!("\n{}", total(&standings));
    let mut open = labs.iter().zip(&standings).filter(|(_, standing)| !standing.is_done());
    match open.next() {
        Some((lab, standing)) => {
            print!("\n{}", next_step(lab, &standing.state)?);
            Ok(false)
        }
        None => Ok(true),
    }
}

/// Compiles and runs a lab's spec. The name of the running test is on screen, so that the reader sees
/// which test does not end.
fn grade(lab: &Lab) -> Result<Standing> {
    let source =
        fs::read_to_string(lab.spec()).with_context(|| format!("{} has no spec", lab.package))?;
    let spec = match compile(lab, "starter") {
        Ok(spec) => spec,
        Err(error) => return Ok(Standing::broken(&source, &error.root_cause().to_string())),
    };
    let meter = Meter::start(&format!("running the tests of {}", lab.short_name()));
    let mut outcomes = Vec::new();
    for name in spec.names()? {
        meter.doing(&name.replace('_', " "));
        let outcome = spec.run(&name)?;
        outcomes.push((name, outcome));
    }
    meter.finish();
    Ok(Standing::of(&source, outcomes))
}

impl Standing {
    /// The standing that follows from the outcomes of all tests.
    fn of(source: &str, outcomes: Vec<(String, Outcome)>) -> Self {
        let verdicts = outcomes.iter().map(|(name, outcome)| (name.as_str(), outcome.passed));
        let tasks = by_task(source, verdicts);
        let all = outcomes.len();
        let failures: Vec<_> = outcomes.into_iter().filter(|(_, o)| !o.passed).collect();
        let untouched = failures.len() == all && failures.iter().all(is_todo);
        let first = look_first(&failures)
            .map(|(name, outcome)| Failure { test: name.clone(), outcome: outcome.clone() });
        let state = match first {
            None => State::Done,
            Some(failure) if untouched => State::Untouched(failure),
            Some(failure) => State::Begun(failure),
        };
        Self { tasks, state }
    }

    /// A starter that the compiler refuses with these words: no test of its spec passes.
    fn broken(source: &str, words: &str) -> Self {
        let tests = starter::tests(source);
        let tasks = by_task(source, tests.into_iter().map(|name| (name, false)));
        let words = strip_ansi_codes(words);
        let error = words.lines().find(|line| line.starts_with("error"));
        let first = error.or(words.lines().next()).unwrap_or("no reason given");
        Self { tasks, state: State::DoesNotCompile(first.into()) }
    }

    fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn passed(&self) -> usize {
        self.tasks.iter().map(|task| task.passed).sum()
    }

    fn tests(&self) -> usize {
        self.tasks.iter().map(|task| task.tests).sum()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>2} of {} tests pass  ", self.passed(), self.tests())?;
        match &self.state {
            State::Done => write!(f, "{}", style("done").green()),
            State::Untouched(_) => write!(f, "not begun"),
            State::Begun(_) => {
                let tasks = self.tasks.iter().map(|t| format!("{}/{}", t.passed, t.tests));
                write!(f, "by task: {}", tasks.collect::<Vec<_>>().join(", "))
            }
            State::DoesNotCompile(error) => {
                write!(f, "{}: {error}", style("does not compile").red())
            }
        }
    }
}

/// The tests under each heading of a spec, in its order.
fn by_task<'a>(source: &str, verdicts: impl Iterator<Item = (&'a str, bool)>) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for (name, passed) in verdicts {
        let heading = starter::heading(source, name);
        match tasks.last_mut().filter(|task| task.heading == heading) {
            Some(task) => {
                task.passed += usize::from(passed);
                task.tests += 1;
            }
            None => tasks.push(Task { heading: heading.into(), passed: passed.into(), tests: 1 }),
        }
    }
    tasks
}

/// The sum over all labs.
fn total(standings: &[Standing]) -> String {
    let sum = |count: fn(&Standing) -> usize| standings.iter().map(count).sum::<usize>();
    let (passed, tests) = (sum(Standing::passed), sum(Standing::tests));
    let done = standings.iter().filter(|standing| standing.is_done()).count();
    if done == standings.len() {
        return format!("All {tests} tests pass: every lab is done.");
    }
    format!("{passed} of {tests} tests pass; {done} of {} labs are done.", standings.len())
}

/// The task to do now, its chapter, its place in the reader's file, and the command.
fn next_step(lab: &Lab, state: &State) -> Result<String> {
    let file = relative(&lab.starter());
    let (task, place) = match state {
        State::Done => return Ok(String::new()),
        State::DoesNotCompile(_) => ("make it compile".into(), file),
        State::Untouched(failure) | State::Begun(failure) => {
            let functions = starter::functions(&fs::read_to_string(lab.starter())?);
            let spec = fs::read_to_string(lab.spec())?;
            let next = starter::next(&functions, &failure.outcome, &spec, &failure.test);
            let names = next.iter().map(|f| format!("line {}, `{}`", f.line, f.name));
            let names: Vec<_> = names.collect();
            let of = if names.is_empty() { "" } else { ": " };
            let task = starter::heading(&spec, &failure.test).to_string();
            (task, format!("{file}{of}{}", names.join("; or ")))
        }
    };
    let mut step = format!("Next: {}, {}\n", lab.short_name(), style(task).bold());
    if let Some(chapter) = &lab.chapter {
        step += &format!("  read   src/{chapter}\n");
    }
    step += &format!("  write  {place}\n");
    step += &format!("  run    cargo book grade {}\n", lab.short_name());
    Ok(step)
}

#[cfg(test)]
mod tests {
    use xtask::labs;

    use super::*;

    const SPEC: &str = "
// ---- task 1: one value ------
#[test]
fn codes() {}
#[test]
fn scales() {}
// ---- task 2: a matrix ----
#[test]
fn rows() {}
";

    /// A spec's tests, each with its report; an empty one has passed.
    fn standing(reports: [&str; 3]) -> Standing {
        let outcome = |report: &str| Outcome { passed: report.is_empty(), report: report.into() };
        let names = ["codes", "scales", "rows"];
        let outcomes = names.into_iter().zip(reports);
        Standing::of(SPEC, outcomes.map(|(name, report)| (name.into(), outcome(report))).collect())
    }

    const TODO: &str = "panicked at labs/x/src/starter.rs:1:5:\nnot yet implemented: say it";

    fn shown(standing: &Standing) -> String {
        strip_ansi_codes(&standing.to_string()).into_owned()
    }

    #[test]
    fn a_lab_in_progress_is_counted_by_task() {
        assert_eq!(shown(&standing(["", "wrong", TODO])), " 1 of 3 tests pass  by task: 1/2, 0/1");
    }

    #[test]
    fn a_lab_that_is_done_and_one_that_is_not_begun_say_so() {
        assert_eq!(shown(&standing(["", "", ""])), " 3 of 3 tests pass  done");
        assert_eq!(shown(&standing([TODO, TODO, TODO])), " 0 of 3 tests pass  not begun");
        // A wrong answer counts as begun.
        let begun = shown(&standing([TODO, "wrong", TODO]));
        assert_eq!(begun, " 0 of 3 tests pass  by task: 0/2, 0/1");
    }

    #[test]
    fn a_lab_that_does_not_compile_shows_the_first_error_and_counts_its_tests() {
        let words = "   Compiling x\n\u{1b}[1m\u{1b}[91merror[E0308]\u{1b}[0m: mismatched types\n\
                     error: could not compile";
        let broken = Standing::broken(SPEC, words);
        let expected = " 0 of 3 tests pass  does not compile: error[E0308]: mismatched types";
        assert_eq!(shown(&broken), expected);
        assert_eq!(broken.tasks.len(), 2);
    }

    #[test]
    fn the_total_counts_every_lab_and_claims_nothing_before_all_are_done() {
        let done = || standing(["", "", ""]);
        let labs = [done(), standing(["", "wrong", TODO]), Standing::broken(SPEC, "error: x")];
        assert_eq!(total(&labs), "4 of 9 tests pass; 1 of 3 labs are done.");
        assert_eq!(total(&[done(), done()]), "All 6 tests pass: every lab is done.");
    }

    #[test]
    fn a_wrong_answer_is_next_before_a_missing_one() {
        let State::Begun(failure) = standing([TODO, TODO, "wrong"]).state else {
            panic!("it has begun");
        };
        assert_eq!((failure.test.as_str(), failure.outcome.report.as_str()), ("rows", "wrong"));
    }

    #[test]
    fn the_next_step_names_the_chapter_the_place_and_the_command() -> Result<()> {
        let lab = labs::named("lab-01")?;
        let starter = fs::read_to_string(lab.starter())?;
        let function = starter::functions(&starter).swap_remove(1);
        let report = format!("panicked at labs/x/src/starter.rs:{}:5:\nx", function.line + 1);
        let test = "codes_are_clipped_to_127_on_both_sides".into();
        let failure = Failure { test, outcome: Outcome { passed: false, report } };
        let step = next_step(&lab, &State::Begun(failure))?;
        let place = format!("starter.rs: line {}, `{}`\n", function.line, function.name);
        for word in ["lab-01, ", "task 1: one value", "src/primitive/lab-01.md\n", &place] {
            assert!(step.contains(word), "{word} is not in:\n{step}");
        }
        assert!(step.ends_with("cargo book grade lab-01\n"), "{step}");
        Ok(())
    }

    #[test]
    fn every_lab_has_a_chapter_that_says_how_to_grade_it() -> Result<()> {
        for lab in labs::all()? {
            let command = format!("`$ cargo book grade {}`", lab.short_name());
            assert!(lab.chapter.is_some(), "no chapter of src/SUMMARY.md has the line {command}");
        }
        Ok(())
    }
}
