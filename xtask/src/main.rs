//! `cargo book`: build, serve, test and grade the course.

mod fetch;
mod slice;

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
    /// Get the whole model that the real slice is cut from (93 MB, once).
    Fetch(fetch::Args),
    /// Cut the real slice out of the fetched model again.
    Slice(slice::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Fetch(args) => fetch::run(&args),
        Command::Slice(args) => slice::run(&args),
    }
}
