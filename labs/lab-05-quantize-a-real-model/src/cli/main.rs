//! `quantize`: the program behind `cargo book quantize` and `cargo book perplexity`.

mod make;
mod score;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a checkpoint with the functions of labs 01, 03, 04 and 05.
    Quantize(make::Args),
    /// The perplexity of a checkpoint on the course's passage.
    Perplexity(score::Args),
    /// Write every tensor of a checkpoint, decoded, as one safetensors file in F32.
    #[command(hide = true)]
    Decode {
        /// The checkpoint: a folder.
        checkpoint: PathBuf,
        /// The file to make.
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", causes.join("\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Quantize(args) => make::run(&args),
        Command::Perplexity(args) => score::run(&args),
        Command::Decode { checkpoint, out } => {
            Ok(quantize_model::loaded::Checkpoint::open(checkpoint)?.decode_into(&out)?)
        }
    }
}

/// A place under the workspace's `target`.
fn target(place: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap_or(Path::new(".")).join("target").join(place)
}

/// The model that `cargo book fetch` gets.
fn fetched() -> PathBuf {
    target("model/SmolLM2-135M-Instruct.Q4_1.gguf")
}
