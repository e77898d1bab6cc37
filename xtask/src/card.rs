//! `cargo book card`: lab 02's program that reads cards, built with its feature.

use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::workspace;

use crate::quantize::Args;

/// Runs the program in the reader's own folder, with what `LAB_IMPL` says.
///
/// # Errors
/// If cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(std::env::current_dir()?);
    let manifest = workspace::root().join("Cargo.toml");
    cargo.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
    cargo.args(["--package", "lab-02-quantize-and-eval", "--no-default-features"]);
    cargo.args(["--features", "cli", "--bin", "card", "--"]).args(&args.options);
    let status = cargo.status().context("cannot start cargo")?;
    Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)))
}
