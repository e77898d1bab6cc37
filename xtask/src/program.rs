//! Programs of other packages, built with their features when they are asked for: `cargo book` itself
//! does without the model and the engines.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::workspace;

/// What is handed on as it is: the program has its own help.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Options; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub options: Vec<OsString>,
}

/// Lab 02's program that reads cards.
pub const CARD: &str =
    "--package lab-02-quantize-and-eval --no-default-features --features cli --bin card --";
/// The meters of the engines.
pub const MEASURE: &str = "--release --package engines --features check --bin measure --";
/// Lab 05's program, writing a checkpoint.
pub const QUANTIZE: &str =
    "--release --package lab-05-quantize-a-real-model --features cli --bin quantize -- quantize";
/// Lab 05's program, scoring one.
pub const PERPLEXITY: &str =
    "--release --package lab-05-quantize-a-real-model --features cli --bin quantize -- perplexity";
/// The engines, serving checkpoints.
pub const SERVE_CHECK: &str = "--package engines --features check --bin serve-check --";

/// `cargo run` with the words of `program`, in the reader's own folder: a path in its options is right
/// where the command was typed.
///
/// # Errors
/// If there is no working folder.
pub fn command(program: &str) -> Result<Command> {
    let mut command = workspace::cargo();
    command.current_dir(std::env::current_dir().context("there is no working folder")?);
    command.args(["run", "--quiet", "--manifest-path"]).arg(workspace::root().join("Cargo.toml"));
    command.args(program.split(' '));
    Ok(command)
}

/// Builds and runs `program`, with what `LAB_IMPL` says.
///
/// # Errors
/// If cargo cannot be started.
pub fn run(program: &str, args: &Args) -> Result<ExitCode> {
    let status = command(program)?.args(&args.options).status().context("cannot start cargo")?;
    Ok(workspace::exit_code(status))
}
