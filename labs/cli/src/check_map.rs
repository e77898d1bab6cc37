//! `cargo book check-map`: compares the map of vLLM's quantization folder with an installed vLLM.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xtask::{python, workspace};

/// Arguments of `cargo book check-map`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder `vllm` of an installation, or a wheel of it. Default: VLLM_PACKAGE, or what
    /// labs/measure/src/engines/setup/vllm.sh installed.
    #[arg(long)]
    package: Option<PathBuf>,
}

/// Runs `labs/measure/src/engines/vllm-map/check.py`, whose exit code is this command's.
///
/// # Errors
/// If there is no Python.
pub fn run(args: &Args) -> Result<ExitCode> {
    let python = python::find().with_context(|| {
        format!("no Python 3.9 or later found (tried {})", python::NAMES.join(", "))
    })?;
    let mut command = Command::new(python);
    command.arg(workspace::root().join("labs/measure/src/engines/vllm-map/check.py"));
    if let Some(package) = &args.package {
        command.arg("--package").arg(package);
    }
    let status = command.status().with_context(|| format!("cannot start {python}"))?;
    Ok(workspace::exit_code(status))
}
