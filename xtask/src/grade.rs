//! `cargo book grade LAB`: the spec on the reader's starter, and what to do next.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use console::style;
use xtask::labs::{self, Lab};
use xtask::recognition::{SHOWN, recognize};
use xtask::spec::{Outcome, Spec};

use crate::graded::{compile, is_todo, look_first, relative};
use crate::progress::Meter;
use crate::starter::{self, Function};
use crate::summary;

/// Which lab to grade.
#[derive(clap::Args)]
pub struct Args {
    /// The lab: `lab-01`, `01` or its package. Without it: how far you are with every lab, and what
    /// to do next. The exit code is 0 only if every test passes, of the lab or of all labs.
    lab: Option<String>,
}

/// Grades one lab, or sums up all.
///
/// # Errors
/// If there is no such lab, or its starter does not compile. In a summary that is no error.
pub fn run(args: &Args) -> Result<ExitCode> {
    let done = match &args.lab {
        Some(name) => grade(&labs::named(name)?)?,
        None => summary::print(&labs::all()?)?,
    };
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line per test, the first failure in full, a line for each other, the next thing to do; true when all
/// tests pass.
fn grade(lab: &Lab) -> Result<bool> {
    let file = relative(&lab.starter());
    println!("Grading {file}");
    println!("(the same as `LAB_IMPL=starter cargo test -p {}`)", lab.package);
    let spec = compile(lab, "starter")?;
    let source = std::fs::read_to_string(lab.spec())?;
    let names = spec.names()?;
    let failures = run_by_task(&spec, &source, &names)?;
    // Dropped for its lock, because the wrong answers are compiled to the same executable.
    drop(spec);
    println!("\n{} of {} tests pass.", names.len() - failures.len(), names.len());
    tell_known(lab, &failures)?;
    match look_first(&failures) {
        None => congratulate(lab)?,
        Some((name, outcome)) => {
            if failures.len() == names.len() && failures.iter().all(is_todo) {
                println!("On an untouched starter every test fails: this is the starting line.");
            }
            explain(lab, name, outcome, &source)?;
            tell_others(&failures, name);
            println!("\nThen again: cargo book grade {}", lab.short_name());
        }
    }
    Ok(failures.is_empty())
}

/// Tells which known wrong answers fail as the starter fails, and why they are wrong.
fn tell_known(lab: &Lab, failures: &[(&str, Outcome)]) -> Result<()> {
    if failures.iter().all(is_todo) {
        return Ok(());
    }
    let spec = compile(lab, "wrong")?;
    let meter = Meter::start("comparing with known wrong answers");
    let failures = failures.iter().map(|(name, outcome)| (name.to_string(), outcome.clone()));
    let known = recognize(&spec, &failures.collect());
    meter.finish();
    for recognized in known?.iter().take(SHOWN) {
        println!("\n{recognized}");
    }
    Ok(())
}

/// Prints a line per test under the heading of its task, and returns the failures.
fn run_by_task<'a>(
    spec: &Spec,
    source: &str,
    names: &'a [String],
) -> Result<Vec<(&'a str, Outcome)>> {
    let (mut failures, mut heading) = (Vec::new(), "");
    for name in names {
        let task = starter::heading(source, name);
        if task != heading {
            println!("\n{}", style(task).bold());
            heading = task;
        }
        let outcome = run_shown(spec, name)?;
        if !outcome.passed {
            failures.push((name.as_str(), outcome));
        }
    }
    Ok(failures)
}

/// Runs a test with its name on screen, so that the reader sees which test does not end.
fn run_shown(spec: &Spec, name: &str) -> Result<Outcome> {
    let sentence = name.replace('_', " ");
    let live = console::user_attended();
    if live {
        print!("  ...      {sentence}\r");
        std::io::stdout().flush()?;
    }
    let outcome = spec.run(name)?;
    let word = if outcome.passed { style("ok     ").green() } else { style("not yet").yellow() };
    println!("  {word}  {sentence}");
    Ok(outcome)
}

/// The failure in full, and the function to write next.
fn explain(lab: &Lab, name: &str, outcome: &Outcome, spec: &str) -> Result<()> {
    println!("\nLook at this one first: {}\n", style(name).bold());
    outcome.report.lines().for_each(|line| println!("    {line}"));
    let owner = owner(lab, outcome.place_and_message().0)?;
    let file = relative(&owner.starter());
    let functions = starter::functions(&std::fs::read_to_string(owner.starter())?);
    let next = starter::next(&functions, outcome, spec, name);
    if owner.package != lab.package {
        println!("\n{} calls your {}, and stops there.", lab.short_name(), owner.short_name());
    }
    if next.is_empty() {
        println!("\nNext: look at {file}.");
    } else {
        let which = if next.len() > 1 { ", one of these" } else { "" };
        println!("\nNext, in {file}{which}:");
    }
    for Function { name, line, promise, .. } in next {
        println!("\n  line {line}, {}", style(format!("`{name}`")).bold());
        promise.lines().for_each(|line| println!("{}", format!("    {line}").trim_end()));
    }
    Ok(())
}

/// The lab whose starter a panic came from: an earlier one, if this lab calls it.
fn owner(lab: &Lab, place: &str) -> Result<Lab> {
    let is_of = |other: &Lab| place.contains(&format!("{}/src/starter.rs:", other.package));
    Ok(labs::all()?.into_iter().find(is_of).unwrap_or_else(|| lab.clone()))
}

/// A line for each other test that fails and is no `todo!`, because one round may mend several.
fn tell_others(failures: &[(&str, Outcome)], shown: &str) {
    let is_other = |failure: &&(&str, Outcome)| failure.0 != shown && !is_todo(failure);
    let others: Vec<_> = failures.iter().filter(is_other).collect();
    if !others.is_empty() {
        println!("\nAlso failing:");
    }
    for (name, outcome) in others {
        println!("  {}: {}", style(name.replace('_', " ")).bold(), outcome.summary());
    }
}

fn congratulate(lab: &Lab) -> Result<()> {
    println!("{} is done: your code passes all that the solution passes.", lab.short_name());
    println!("\nWhat comes next:");
    println!("  compare yours with {}", relative(&lab.solution()));
    println!("  see your code make the book's tables: cargo book tables {}", lab.short_name());
    match labs::after(lab)? {
        Some(next) => println!("  go on: cargo book grade {}", next.short_name()),
        None => println!(
            "  that was the last lab there is so far: go on in the book, with its next chapter"
        ),
    }
    Ok(())
}
