//! `cargo book quantize` and `cargo book perplexity`: lab 05's program, built with its features.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::workspace;

/// What is handed on as it is: the program has its own help.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Options; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,
}

/// Runs `command` of the program in the reader's own folder, with what `LAB_IMPL` says.
///
/// # Errors
/// If cargo cannot be started.
pub fn run(command: &str, args: &Args) -> Result<ExitCode> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(std::env::current_dir()?);
    let manifest = workspace::root().join("Cargo.toml");
    cargo.args(["run", "--quiet", "--release", "--manifest-path"]).arg(manifest);
    cargo.args(["--package", "lab-05-quantize-a-real-model", "--features", "cli"]);
    cargo.args(["--bin", "quantize", "--", command]).args(&args.options);
    let status = cargo.status().context("cannot start cargo")?;
    Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)))
}
