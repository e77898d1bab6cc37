//! `cargo book predict [NAME [NUMBER]]`: a reader's prediction, held against the book's own number.

use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::workspace;

/// Which prediction, and the reader's number.
#[derive(clap::Args)]
pub struct Args {
    /// The name of a prediction, as the chapter gives it. Without it: the list of all.
    name: Option<String>,
    /// Your answer, with or without a unit: `50`, `50%`, `113,000,000`. The exit code is 0 if it holds.
    #[arg(value_parser = number)]
    number: Option<f64>,
}

/// Compares with the solutions' numbers, whatever `LAB_IMPL` says.
///
/// # Errors
/// If cargo cannot be started.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut command = workspace::cargo();
    command.env_remove("LAB_IMPL").args(["run", "--quiet", "--package", "snippets"]);
    command.args(["--bin", "book-predict", "--"]).args(&args.name);
    command.args(args.number.map(|number| number.to_string()));
    let status = command.status().context("cannot start cargo")?;
    Ok(workspace::exit_code(status))
}

/// A number as people write it.
fn number(text: &str) -> Result<f64, String> {
    let plain = text.replace([',', '_', ' '], "");
    let plain = plain.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    plain.parse().map_err(|_| "give a number, such as 50 or 2.8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_a_unit_and_commas() {
        for (text, value) in [("50", 50.0), ("50 %", 50.0), ("2.8x", 2.8), ("1,000_000", 1e6)] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        assert!(number("many").is_err());
    }
}
