//! `hand-over NAME …`: checks the arguments of a command, then builds `course` in release mode and runs it
//! with them, in the reader's own folder.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::workspace;

#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Checked(Box<arguments::Command>),
    /// A command of which only `course` knows the arguments.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let words = match Cli::parse().command {
        Command::Checked(command) => {
            command.check()?;
            std::env::args_os().skip(1).collect()
        }
        Command::Other(words) => words,
    };
    let mut command = workspace::cargo();
    command.current_dir(std::env::current_dir().context("there is no working folder")?);
    command.args(["run", "--release", "--package", "cli", "--bin", "course", "--manifest-path"]);
    command.arg(workspace::root().join("Cargo.toml")).arg("--").args(words);
    Ok(workspace::exit_code(command.status().context("cannot start cargo")?))
}
