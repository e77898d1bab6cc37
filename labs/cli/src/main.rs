//! `course`: everything that works on a checkpoint or a card. `cargo book NAME …` hands over to it.

mod capture;
mod card;
mod check_map;
mod compare;
mod imatrix;
mod inspect;
mod perplexity;
mod quantize;
mod report;
mod serving;
mod slice;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Checked(arguments::Command),
    /// Take the meters of an engine: quality, capacity, throughput, predicted beside measured.
    Measure(measure::engines::Args),
    /// Write the fetched model in every format and by every method, and score each file, other programs' too.
    Zoo(measure::zoo::Args),
    /// Take the book's measurements again, on this machine.
    Capture(capture::Args),
    /// Cut the real slice out of the fetched model again.
    Slice(slice::Args),
    /// Compare the map of vLLM's quantization folder with an installed vLLM.
    CheckMap(check_map::Args),
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
    run(Cli::parse().command).unwrap_or_else(|error| {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        eprintln!("error: {}", causes.join("\n"));
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Checked(command) => return checked(&command),
        Command::Measure(args) => return capture::measure(&args),
        Command::Zoo(args) => capture::zoo(&args)?,
        Command::Capture(args) => return capture::run(args),
        Command::Slice(args) => slice::run(&args)?,
        Command::CheckMap(args) => return check_map::run(&args),
        Command::Decode { checkpoint, out } => {
            quantizer::loaded::Checkpoint::open(checkpoint)?.decode_into(&out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checked again, because `course` runs without `cargo book` too.
fn checked(command: &arguments::Command) -> Result<ExitCode> {
    use arguments::Command;
    command.check()?;
    match command {
        Command::Inspect(args) => return inspect::run(args),
        Command::Card(args) => card::run(args)?,
        Command::Quantize(args) => quantize::run(args)?,
        Command::Imatrix(args) => imatrix::run(args)?,
        Command::Perplexity(args) => perplexity::run(args)?,
        Command::Compare(args) => compare::run(args)?,
        Command::Generate(args) => text::generate(args)?,
        Command::Chat(args) => text::chat(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
