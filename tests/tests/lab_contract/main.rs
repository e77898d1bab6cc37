//! What every lab promises: its untouched starter fails the whole spec, its wrong answers are
//! caught by the tests that are meant to catch them, and starter and solution say the same.
//!
//! That the solution passes needs no test here: it is what `cargo test` runs.

mod named;
mod planted;
mod promises;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::skip::{in_ci, left_out};
use syn::{Expr, Item, ItemFn, Stmt};
use xtask::labs::{self, Lab};
use xtask::spec::{Outcome, Spec, WrongAnswer};

use crate::named::misnamed;
use crate::promises::{promises, same};

#[test]
#[ignore = "compiles every lab: cargo book test"]
fn every_test_of_the_spec_fails_on_the_untouched_starter() -> Result<()> {
    for lab in untouched_labs("its red run")? {
        let outcomes = compile(&lab, "starter")?.run_all("", &[])?;
        let passed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.passed).collect();
        ensure!(!outcomes.is_empty(), "the spec of {} has no tests", lab.package);
        ensure!(
            passed.is_empty(),
            "these tests of {} prove nothing, the untouched starter passes them: {passed:?}",
            lab.package
        );
    }
    Ok(())
}

#[test]
#[ignore = "compiles every lab: cargo book test"]
fn every_wrong_answer_is_caught_and_named() -> Result<()> {
    for lab in labs::all()? {
        let spec = compile(&lab, "wrong")?;
        let right = spec.run_all("none", &[])?;
        let failed: Vec<_> = right.iter().filter(|(_, outcome)| !outcome.passed).collect();
        ensure!(failed.is_empty(), "WRONG_ANSWER=none is right and fails {failed:?}");
        let wrong_answers = spec.wrong_answers()?;
        ensure!(wrong_answers.len() >= 8, "{} has fewer than 8 wrong answers", lab.package);
        let names: BTreeSet<_> = wrong_answers.iter().map(|wrong| &wrong.name).collect();
        ensure!(names.len() == wrong_answers.len(), "{}: a name is used twice", lab.package);
        let run = |wrong: &WrongAnswer| Ok((wrong.name.clone(), spec.run_all(&wrong.name, &[])?));
        let all: BTreeMap<_, _> = wrong_answers.iter().map(run).collect::<Result<_>>()?;
        let mut problems = Vec::new();
        for wrong in &wrong_answers {
            let outcomes = &all[&wrong.name];
            problems.extend(escaped(wrong, outcomes));
            problems.extend(outcomes.iter().filter_map(|(test, outcome)| long(test, outcome)));
            problems.extend(badly_told(wrong));
            // A second run, because a message that changes from run to run is never recognized.
            let starter = spec.run_all(&wrong.name, &[])?;
            problems.extend(misnamed(wrong, starter, &wrong_answers, &all)?);
        }
        ensure!(problems.is_empty(), "{}:\n  {}", lab.package, problems.join("\n  "));
    }
    Ok(())
}

#[test]
fn starter_and_solution_have_the_same_signatures_and_make_the_same_promises() -> Result<()> {
    for lab in untouched_labs("the comparison with its solution")? {
        let starter = promises(&parse(&lab.starter())?);
        let solution = promises(&parse(&lab.solution())?);
        ensure!(!starter.is_empty(), "{}: the starter has no public item", lab.package);
        same(&starter, &solution).with_context(|| lab.package.clone())?;
    }
    Ok(())
}

#[test]
fn every_lab_has_a_description_and_the_files_of_the_contract() -> Result<()> {
    for lab in labs::all()? {
        for file in [lab.starter(), lab.solution(), lab.wrong_answers(), lab.spec()] {
            ensure!(file.is_file(), "{} is missing: add the file, as in lab 01", file.display());
        }
        let says = !lab.builds.is_empty();
        ensure!(says, "{}: Cargo.toml needs `description = \"Lab NN: …\"`", lab.package);
    }
    Ok(())
}

/// The labs whose starter is as the repository has it. A reader at work is no failure, and `what` is
/// left out for that lab; a starter committed with its answers is one.
fn untouched_labs(what: &str) -> Result<Vec<Lab>> {
    let mut labs = labs::all()?;
    let mut touched = Vec::new();
    for lab in &labs {
        if !untouched(&parse(&lab.starter())?) {
            touched.push(lab.package.clone());
        }
    }
    for package in &touched {
        let why = "its starter has been written in";
        ensure!(!in_ci(), "{package}: {why}: restore it");
        left_out(&format!("{package}, {what}"), why);
    }
    labs.retain(|lab| !touched.contains(&lab.package));
    Ok(labs)
}

fn compile(lab: &Lab, implementation: &str) -> Result<Spec> {
    Spec::compile(lab, implementation, |command| Ok(command.output()?))
}

/// What is wrong with a wrong answer that had these outcomes; nothing, if all its tests failed.
fn escaped(wrong: &WrongAnswer, outcomes: &BTreeMap<String, Outcome>) -> Vec<String> {
    let WrongAnswer { name, caught_by, .. } = wrong;
    let mut problems = Vec::new();
    if caught_by.is_empty() {
        problems.push(format!("`{name}` names no test that catches it"));
    }
    for test in caught_by {
        match outcomes.get(test).map(|outcome| outcome.passed) {
            Some(false) => {}
            Some(true) => problems.push(format!("`{name}` passes `{test}`, meant to catch it")),
            None => {
                problems.push(format!("`{name}` names `{test}`, and the spec has no such test"))
            }
        }
    }
    problems
}

/// What is wrong with a failure that fills the terminal.
fn long(test: &str, outcome: &Outcome) -> Option<String> {
    // Twenty lines of 100 characters, of which the message and the place are a few.
    let (lines, bytes) = (outcome.report.lines().count(), outcome.report.len());
    let is_long = lines > 20 || bytes > 2000;
    is_long.then(|| format!("`{test}` fails with {lines} lines, {bytes} bytes: use `assert_same`"))
}

/// What makes a wrong answer unreadable in "its author believed that ..., but ...".
fn badly_told(wrong: &WrongAnswer) -> Option<String> {
    let parts = [&wrong.misconception, &wrong.correction];
    let is_clause = |part: &String| part.contains(' ') && !part.ends_with(['.', ',']);
    let told = parts.into_iter().all(is_clause) && parts[0] != parts[1];
    (!told).then(|| format!("`{}`: a misconception and a correction are two clauses", wrong.name))
}

fn parse(path: &Path) -> Result<syn::File> {
    let source = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    syn::parse_file(&source).with_context(|| format!("{} does not parse", path.display()))
}

/// Whether every function is still as the repository has it: a `todo!` and nothing else.
fn untouched(file: &syn::File) -> bool {
    file.items.iter().all(|item| match item {
        Item::Fn(function) => is_todo(function),
        _ => true,
    })
}

fn is_todo(function: &ItemFn) -> bool {
    let called = match function.block.stmts.as_slice() {
        [Stmt::Macro(statement)] => &statement.mac.path,
        [Stmt::Expr(Expr::Macro(expression), None)] => &expression.mac.path,
        _ => return false,
    };
    called.is_ident("todo")
}

mod bites {
    //! That these checks can fail.

    use super::*;

    const SOLUTION: &str = "
        /// The code of `value`, which is
        /// rounded.
        pub fn code(value: f32) -> i8 { value as i8 }
        fn helper() {}";

    fn compared(starter: &str) -> Result<()> {
        let promises_of = |source| Ok::<_, syn::Error>(promises(&syn::parse_file(source)?));
        same(&promises_of(starter)?, &promises_of(SOLUTION)?)
    }

    #[test]
    fn a_starter_that_says_the_same_in_other_lines_is_the_same() -> Result<()> {
        compared(
            "/// Task 12. The code of `value`,\n/// which is rounded.\n\
             pub fn code(value: f32) -> i8 { todo!() }",
        )
    }

    #[test]
    fn a_drifted_promise_signature_or_name_is_seen() {
        let promise = "/// Task 1. The code of `value`.\npub fn code(value: f32) -> i8 { todo!() }";
        let signature = "/// The code of `value`, which is rounded.\n\
                         pub fn code(value: f64) -> i8 { todo!() }";
        for starter in [promise, signature, "pub fn codes() {}", ""] {
            assert!(compared(starter).is_err(), "{starter}");
        }
    }

    #[test]
    fn a_starter_is_untouched_only_while_every_body_is_a_todo() -> Result<()> {
        let is_untouched = |source| Ok::<_, syn::Error>(untouched(&syn::parse_file(source)?));
        assert!(is_untouched("fn a() { todo!(\"x {}\", 1) } fn b() -> i8 { todo!(\"y\"); }")?);
        assert!(!is_untouched("fn a() { todo!() } fn b() -> i8 { 1 }")?);
        assert!(!is_untouched("fn a() { println!(); todo!() }")?);
        Ok(())
    }

    fn wrong(tests: &[&str]) -> WrongAnswer {
        WrongAnswer {
            name: "x".into(),
            misconception: "one is two".into(),
            correction: "one is less".into(),
            caught_by: tests.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_wrong_answer_that_passes_or_names_no_real_test_is_reported() {
        let outcome = |passed| Outcome { passed, report: String::new() };
        let outcomes =
            BTreeMap::from([("catches".into(), outcome(false)), ("misses".into(), outcome(true))]);
        let problems = |tests: &[&str]| escaped(&wrong(tests), &outcomes);
        assert_eq!(problems(&["catches"]), Vec::<String>::new());
        assert!(problems(&["misses"])[0].contains("passes `misses`"));
        assert!(problems(&["typo"])[0].contains("no such test"));
        assert!(problems(&[])[0].contains("names no test"));
    }

    #[test]
    fn a_failure_that_prints_an_array_is_reported() {
        let of = |report: &str| Outcome { passed: false, report: report.into() };
        assert_eq!(long("a", &of("left: 1\nright: 2")), None);
        for report in ["[1, 2]\n".repeat(30), "1, ".repeat(1000)] {
            assert!(long("a", &of(&report)).is_some_and(|problem| problem.contains("`a`")));
        }
    }

    #[test]
    fn a_wrong_answer_that_explains_nothing_is_reported() {
        assert_eq!(badly_told(&wrong(&[])), None);
        for correction in ["", "no", "one is two", "one is less."] {
            let unclear = WrongAnswer { correction: correction.into(), ..wrong(&[]) };
            assert!(badly_told(&unclear).is_some(), "{correction}");
        }
    }
}
