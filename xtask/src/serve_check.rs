//! `cargo book serve-check`: real engines serve checkpoints.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::workspace;

/// What `serve-check` is told; `--help` shows it.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// `vllm` or `llama.cpp`, and options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    arguments: Vec<OsString>,
}

/// Builds and runs the program of the package `engines`: `cargo book` itself does without the model.
///
/// # Errors
/// If cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut command = workspace::cargo();
    // A path in the arguments is right where the command was typed.
    command.current_dir(std::env::current_dir().context("there is no working folder")?);
    command.args(["run", "--quiet", "--manifest-path"]).arg(workspace::root().join("Cargo.toml"));
    command.args(["--package", "engines", "--features", "check", "--bin", "serve-check", "--"]);
    let status = command.args(&args.arguments).status().context("cannot start cargo")?;
    Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)))
}
