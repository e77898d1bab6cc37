//! The engine: found, or set up.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Cli, Engine, root};

/// An engine that can be started.
pub struct Ready {
    /// The program `vllm`, or the folder with llama.cpp's tools.
    pub program: PathBuf,
    /// What it is.
    pub version: String,
}

/// The engine that was given, or the one under target/engines, set up if it is not there.
///
/// # Errors
/// If the script that sets it up fails; it has said why.
pub fn ready(cli: &Cli) -> Result<Ready> {
    if cli.engine == Engine::Ours {
        return Ok(Ready { program: PathBuf::new(), version: env!("CARGO_PKG_VERSION").into() });
    }
    let given = match cli.engine {
        Engine::Ours => &None,
        Engine::Vllm => &cli.vllm,
        Engine::LlamaCpp => &cli.llama_bin,
    };
    if let Some(program) = given {
        let version = cli.engine_version.clone();
        let version = version.unwrap_or("not told: given on the command line".into());
        return Ok(Ready { program: std::path::absolute(program)?, version });
    }
    let name = cli.engine.folder();
    let folder = root().join("target").join("engines").join(name);
    let script = root().join("labs/engines/setup").join(format!("{name}.sh"));
    let mut command = Command::new("sh");
    let status = command.arg(&script).arg(&folder).status().context("cannot start sh")?;
    if !status.success() {
        bail!("{name} could not be set up");
    }
    let program = match cli.engine {
        Engine::Ours => PathBuf::new(),
        Engine::Vllm => folder.join("venv/bin/vllm"),
        Engine::LlamaCpp => folder.join("build/bin"),
    };
    let version = std::fs::read_to_string(folder.join("version")).context("no version")?;
    Ok(Ready { program, version: version.trim().into() })
}
