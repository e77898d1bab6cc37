//! The commands of `course`, which `cargo book` hands over to: one program, built when it is asked for.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use xtask::workspace;

/// The commands that readers use, and what each does; `course --help` has all.
const COMMANDS: [(&str, &str); 11] = [
    ("inspect", "Say what a checkpoint is: format, bits, groups, and whether its config agrees"),
    ("card", "Read a card's string or a config as arithmetic: grid, granularity, bits, bytes"),
    ("quantize", "Write a checkpoint with the functions of labs 01 and 03 to 06"),
    ("imatrix", "Sum the squares of every layer's inputs: the importance matrix of llama.cpp"),
    ("perplexity", "The perplexity of a checkpoint on the course's passage"),
    ("compare", "Compare two checkpoints: bytes, bits, perplexity, KL divergence, top-1 agreement"),
    ("generate", "Let a checkpoint continue a text"),
    ("chat", "Talk to a checkpoint"),
    (
        "measure",
        "Take the meters of an engine: quality, capacity, throughput, predicted beside measured",
    ),
    ("zoo", "Write the model in every format and by every method, and score each file"),
    ("capture", "Take the book's measurements again, on this machine"),
];
/// The commands of maintainers.
const MAINTAINERS: [&str; 3] = ["slice", "check-map", "decode"];

/// The part of `cargo book --help` on these commands.
pub fn help() -> String {
    let lines = COMMANDS.map(|(name, about)| format!("  {name:<10}  {about}"));
    format!("Commands on checkpoints and cards (`cargo book NAME --help`):\n{}", lines.join("\n"))
}

/// Lets `hand-over` check `words`, build `course` and run it in the reader's own folder.
///
/// # Errors
/// If there is no such command, or cargo cannot be started.
pub fn run(words: &[OsString]) -> Result<ExitCode> {
    let name = words.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut known = COMMANDS.iter().map(|(name, _)| *name).chain(MAINTAINERS);
    if !known.any(|known| known == name) {
        bail!("there is no command `{name}`: `cargo book --help` lists them");
    }
    let mut command = workspace::cargo();
    command.current_dir(std::env::current_dir().context("there is no working folder")?);
    // A program of its own, because most commands of `cargo book` need none of its dependencies.
    command.args(["run", "--package", "arguments", "--bin", "hand-over"]);
    command.arg("--manifest-path").arg(workspace::root().join("Cargo.toml")).arg("--").args(words);
    let status = command.status().context("cannot start cargo")?;
    Ok(workspace::exit_code(status))
}
