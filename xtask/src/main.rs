//! `cargo book`: build, serve, test and grade the course.

mod book;
mod capture;
mod check;
mod check_map;
mod fetch;
mod grade;
mod inspect;
mod libtest;
mod marks;
mod measure;
mod program;
mod progress;
mod slice;
mod starter;
mod summary;
mod tools;
mod totals;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The course's commands.
#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the book into target/book and check that everything is in it.
    Build,
    /// Build the book, serve it, and build again when a file changes.
    Serve(book::ServeArgs),
    /// Run every check: formatting, lints, tests, examples, the built book.
    Test,
    /// Run a lab's spec on your starter, or every lab's, and say what to do next.
    Grade(grade::Args),
    /// Say what a checkpoint is: scheme, bits, groups, and whether its config agrees.
    Inspect(inspect::Args),
    /// Read a card's string or a config as arithmetic: grid, granularity, bits, bytes, ceilings.
    Card(program::Args),
    /// Write a checkpoint with the functions of labs 01, 03, 04 and 05.
    Quantize(program::Args),
    /// The perplexity of a checkpoint on the course's passage.
    Perplexity(program::Args),
    /// Get the whole model that the real slice is cut from (93 MB, once).
    Fetch(fetch::Args),
    /// Cut the real slice out of the fetched model again.
    Slice(slice::Args),
    /// Take the book's measurements again, on this machine.
    Capture(capture::Args),
    /// Take the three meters of each format, predicted beside measured: throughput, capacity, sanity.
    Measure(program::Args),
    /// Serve checkpoints with vLLM or llama.cpp, and write down what came.
    ServeCheck(program::Args),
    /// Compare the map of vLLM's quantization folder with an installed vLLM.
    CheckMap(check_map::Args),
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
        Command::Build => book::build()?,
        Command::Serve(args) => book::serve(&args)?,
        Command::Test => return check::run(),
        Command::Grade(args) => return grade::run(&args),
        Command::Inspect(args) => return inspect::run(&args),
        Command::Card(args) => return program::run(program::CARD, &args),
        Command::Quantize(args) => return program::run(program::QUANTIZE, &args),
        Command::Perplexity(args) => return program::run(program::PERPLEXITY, &args),
        Command::Fetch(args) => fetch::run(&args)?,
        Command::Slice(args) => slice::run(&args)?,
        Command::Capture(args) => return capture::run(&args),
        Command::Measure(args) => return measure::run(&args),
        Command::ServeCheck(args) => return program::run(program::SERVE_CHECK, &args),
        Command::CheckMap(args) => return check_map::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}
