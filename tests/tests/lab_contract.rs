//! What every lab promises: its untouched starter fails the whole spec, its wrong answers are
//! caught by the tests that are meant to catch them, and starter and solution say the same.
//!
//! That the solution passes needs no test here: it is what `cargo test` runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kit::skip::{in_ci, left_out};
use quote::ToTokens;
use syn::{Expr, Item, ItemFn, Stmt, Visibility};
use xtask::labs::{self, Lab};
use xtask::spec::Spec;

/// A wrong answer and the tests that must fail on it.
type Wrong = (&'static str, &'static [&'static str]);

/// The labs and their wrong answers: the one list to which a new lab is added.
fn wrong_answers() -> Vec<(&'static str, Vec<Wrong>)> {
    let labs = [
        ("lab-01-fake-quant-linear", fake_quant_linear::wrong_answers::ALL),
        ("lab-02-quantize-and-eval", quantize_and_eval::wrong_answers::ALL),
        ("lab-03-int4-groups-and-packing", int4_groups::wrong_answers::ALL),
        ("lab-04-activation-outliers-smoothquant", smoothquant::wrong_answers::ALL),
        ("lab-05-quantize-a-real-model", quantize_model::wrong_answers::ALL),
    ];
    labs.map(|(lab, all)| (lab, all.iter().map(|wrong| (wrong.name, wrong.caught_by)).collect()))
        .into()
}

#[test]
fn every_lab_is_listed_with_at_least_eight_wrong_answers() -> Result<()> {
    let listed: BTreeMap<&str, usize> =
        wrong_answers().into_iter().map(|(package, wrong)| (package, wrong.len())).collect();
    for lab in labs::all()? {
        let count = listed.get(lab.package.as_str()).copied().unwrap_or(0);
        ensure!(
            count >= 8,
            "{} has {count} wrong answers in `wrong_answers()`: 8 at least",
            lab.package
        );
    }
    Ok(())
}

#[test]
#[ignore = "compiles every lab: cargo book test"]
fn every_test_of_the_spec_fails_on_the_untouched_starter() -> Result<()> {
    for lab in untouched_labs("its red run")? {
        let verdicts = compile(&lab, "starter")?.run_all(&[])?;
        let passed: Vec<_> = verdicts.iter().filter(|(_, passed)| **passed).collect();
        ensure!(!verdicts.is_empty(), "the spec of {} has no tests", lab.package);
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
fn every_wrong_answer_is_caught() -> Result<()> {
    for (package, wrong_answers) in wrong_answers() {
        let lab = labs::named(package)?;
        let spec = compile(&lab, "wrong")?;
        let right = spec.run_all(&[("WRONG_ANSWER", "none")])?;
        let failed: Vec<_> = right.iter().filter(|(_, passed)| !**passed).collect();
        ensure!(failed.is_empty(), "WRONG_ANSWER=none is right and fails {failed:?}");
        let mut escapes = Vec::new();
        for (name, caught_by) in wrong_answers {
            let verdicts = spec.run_all(&[("WRONG_ANSWER", name)])?;
            escapes.extend(escaped(name, caught_by, &verdicts));
        }
        ensure!(escapes.is_empty(), "{package}:\n  {}", escapes.join("\n  "));
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

/// What is wrong with a wrong answer that gave these verdicts; nothing, if all its tests failed.
fn escaped(name: &str, caught_by: &[&str], verdicts: &BTreeMap<String, bool>) -> Vec<String> {
    let mut problems = Vec::new();
    if caught_by.is_empty() {
        problems.push(format!("`{name}` names no test that catches it"));
    }
    for test in caught_by {
        match verdicts.get(*test) {
            Some(false) => {}
            Some(true) => problems.push(format!("`{name}` passes `{test}`, meant to catch it")),
            None => {
                problems.push(format!("`{name}` names `{test}`, and the spec has no such test"))
            }
        }
    }
    problems
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

/// A public item: its signature (of a function) or all of it, and its doc comment.
type Promise = (String, String);

/// The public items of a file by name.
fn promises(file: &syn::File) -> BTreeMap<String, Promise> {
    let public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
    let mut promises = BTreeMap::new();
    for item in &file.items {
        let (name, promise) = match item {
            Item::Fn(item) if public(&item.vis) => {
                (&item.sig.ident, (tokens(&item.sig), docs(&item.attrs)))
            }
            Item::Struct(item) if public(&item.vis) => {
                (&item.ident, (tokens(item), docs(&item.attrs)))
            }
            Item::Enum(item) if public(&item.vis) => {
                (&item.ident, (tokens(item), docs(&item.attrs)))
            }
            Item::Trait(item) if public(&item.vis) => {
                (&item.ident, (tokens(item), docs(&item.attrs)))
            }
            Item::Const(item) if public(&item.vis) => {
                (&item.ident, (tokens(item), docs(&item.attrs)))
            }
            _ => continue,
        };
        promises.insert(name.to_string(), promise);
    }
    promises
}

fn tokens(item: &impl ToTokens) -> String {
    item.to_token_stream().to_string()
}

/// A doc comment as running text, without the starter's "Task 1. ".
fn docs(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let words = lines.filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => Some(text.value()),
        _ => None,
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.strip_prefix("Task ").and_then(|rest| rest.split_once(". ")) {
        Some((number, promise)) if number.parse::<u32>().is_ok() => promise.into(),
        _ => text,
    }
}

fn same(starter: &BTreeMap<String, Promise>, solution: &BTreeMap<String, Promise>) -> Result<()> {
    for name in starter.keys().chain(solution.keys()).collect::<BTreeSet<_>>() {
        let (Some(ours), Some(theirs)) = (starter.get(name), solution.get(name)) else {
            bail!("`{name}` is public in one of starter.rs and solution.rs only");
        };
        ensure!(ours.0 == theirs.0, "`{name}` differs:\n  {}\n  {}", ours.0, theirs.0);
        ensure!(
            ours.1 == theirs.1,
            "the promise of `{name}` differs:\n  {}\n  {}",
            ours.1,
            theirs.1
        );
    }
    Ok(())
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

    #[test]
    fn a_wrong_answer_that_passes_or_names_no_real_test_is_reported() {
        let verdicts = BTreeMap::from([("catches".to_string(), false), ("misses".into(), true)]);
        let problems = |tests: &[&str]| escaped("x", tests, &verdicts);
        assert_eq!(problems(&["catches"]), Vec::<String>::new());
        assert!(problems(&["misses"])[0].contains("passes `misses`"));
        assert!(problems(&["typo"])[0].contains("no such test"));
        assert!(problems(&[])[0].contains("names no test"));
    }
}
