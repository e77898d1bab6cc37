//! `cargo book tables [LAB]`: how the reader's code moves the tables, without insta.

use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::{labs, workspace};

/// Which tables to compare.
#[derive(clap::Args)]
pub struct Args {
    /// The tables and values of this lab's chapter: `lab-01`, `01` or its package. Without it: those of
    /// the whole book. The exit code is 0 if none differs from the book's.
    lab: Option<String>,
}

/// Builds the tables with the reader's starters, and prints the rows that differ. Writes no snapshot.
///
/// # Errors
/// If there is no such lab, or cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut command = workspace::cargo();
    command.env("LAB_IMPL", "starter").args(["run", "--quiet", "--package", "snippets"]);
    // Where grades are built, because `LAB_IMPL` would have the reader's other builds start afresh.
    command.args(["--bin", "book-tables", "--target-dir"]).arg(workspace::graded()).arg("--");
    if let Some(name) = &args.lab {
        let lab = labs::named(name)?;
        let chapter = lab.chapter.with_context(|| format!("{} has no chapter", lab.package))?;
        command.arg(workspace::root().join("src").join(chapter));
    }
    eprintln!("compiling the tables with your starters: a minute the first time, then seconds");
    let status = command.status().context("cannot start cargo")?;
    Ok(workspace::exit_code(status))
}
