//! The chapters' Rust examples, run against the exact crates that cargo built.
//!
//! mdBook runs rustdoc without a word of which crate is where, so a bare `mdbook test` could use
//! none of ours. Here rustdoc gets every crate by name and file; the examples are then handed on
//! as `ignore`, and mdBook's own run has nothing left to do.

mod cargo;
mod crates;
mod listing;
mod report;
mod rustdoc;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use mdbook_preprocessor::PreprocessorContext;
use mdbook_preprocessor::book::Book;

use crate::Setup;
use crate::chapters::{self, Checked};
use crate::parallel::on_all_cores;
use crate::problem::counted;
use listing::Listing;
use report::{Report, Tally};
use rustdoc::Rustdoc;

/// Runs the examples of all chapters and marks them as done.
///
/// # Errors
/// If an example fails, if the crates cannot be built, or if there are examples and none ran.
pub fn run(
    context: &PreprocessorContext,
    book: &mut Book,
    checked: &BTreeMap<String, Checked>,
    setup: &Setup,
) -> Result<()> {
    let mut listings = Vec::new();
    chapters::each(context, book, |chapter, name| {
        let listing = Listing::of(&checked[name], &chapter.content)
            .with_context(|| format!("the examples of {name} cannot be put together"))?;
        listings.extend(listing);
        chapter.content = listing::ignored(&chapter.content);
        Ok(())
    })?;
    report(&run_all(context, &listings, setup)?)
}

/// Runs the examples of every chapter, several chapters at a time; the reports are in the order
/// of the book.
fn run_all(
    context: &PreprocessorContext,
    listings: &[Listing],
    setup: &Setup,
) -> Result<Vec<Report>> {
    let tested: Vec<usize> = (0..listings.len()).filter(|&i| listings[i].tested > 0).collect();
    let mut reports: Vec<Report> = listings.iter().map(Report::before).collect();
    if tested.is_empty() {
        return Ok(reports);
    }
    let examples = counted(listings.iter().map(|listing| listing.tested).sum(), "example");
    eprintln!("running {examples} of {}…", counted(tested.len(), "chapter"));
    let rustdoc = Rustdoc::new(setup, context.config.rust.edition)?;
    let ran = Mutex::new(Vec::new());
    on_all_cores(&tested, |&i| {
        let report = rustdoc.test(&listings[i]);
        ran.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((i, report));
    });
    for (i, report) in ran.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        reports[i] = report?;
    }
    Ok(reports)
}

/// Shows the reports on standard error: standard output belongs to mdBook.
fn report(reports: &[Report]) -> Result<()> {
    let mut total = Tally::default();
    for report in reports {
        eprintln!("{report}");
        total = total + report.tally;
    }
    let chapters = counted(reports.len(), "chapter");
    eprintln!("examples: {total} in {chapters}");
    if let Some(wrong) = reports.iter().find_map(|report| report.wrong.as_ref()) {
        bail!("{wrong}");
    }
    if total.failed > 0 {
        bail!("{} failed", counted(total.failed, "example"));
    }
    if !reports.is_empty() && total.passed == 0 {
        bail!("no example ran: all are marked `ignore`");
    }
    Ok(())
}

/// Whether to ask rustdoc for colours, as mdBook does.
fn in_color() -> bool {
    std::io::stderr().is_terminal()
}
