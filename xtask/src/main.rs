//! `cargo book`: build, serve, test and grade the course.

mod book;
mod check;
mod course;
mod grade;
mod graded;
mod libtest;
mod marks;
mod predict;
mod progress;
mod starter;
mod summary;
mod tables;
mod tools;
mod totals;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::fetch;

/// The course's commands.
#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book", about, after_help = course::help())]
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
    /// Show how your starters move the tables of the book, or of a lab's chapter.
    Tables(tables::Args),
    /// Check a prediction of a chapter, or list those with a number for an answer.
    Predict(predict::Args),
    /// Get the whole model that the real slice is cut from (93 MB, once), or its original in bf16.
    Fetch(fetch::Args),
    /// Any other command is the program's that works on checkpoints and cards.
    #[command(external_subcommand)]
    Course(Vec<OsString>),
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
        Command::Tables(args) => return tables::run(&args),
        Command::Predict(args) => return predict::run(&args),
        Command::Fetch(args) => fetch::run(&args)?,
        Command::Course(words) => return course::run(&words),
    }
    Ok(ExitCode::SUCCESS)
}
