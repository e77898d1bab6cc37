//! The arguments of the commands on checkpoints and cards.
//!
//! They are no part of `cli`, because `cli` depends on all crates: `hand-over` checks a command line
//! before `cli` is built.

pub mod imatrix;
pub mod quantize;
pub mod reading;
pub mod text;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;

/// A command and its arguments.
#[derive(Subcommand)]
pub enum Command {
    /// Say what a checkpoint is: format, bits, groups, and whether its config agrees.
    Inspect(reading::Inspect),
    /// Read a card's string or a config as arithmetic: grid, granularity, bits, bytes, bounds.
    Card(reading::Card),
    /// Write a checkpoint with the functions of labs 01 and 03 to 06.
    Quantize(Box<quantize::Args>),
    /// Sum the squares of every layer's inputs: the importance matrix of llama.cpp.
    Imatrix(imatrix::Args),
    /// The perplexity of a checkpoint on the course's passage.
    Perplexity(reading::Perplexity),
    /// Compare two checkpoints: bytes, bits, perplexity, KL divergence and top-1 agreement.
    Compare(reading::Compare),
    /// Let a checkpoint continue a text.
    Generate(text::Generate),
    /// Talk to a checkpoint: a line is a message, the end of the input ends the talk.
    Chat(text::Chat),
}

impl Command {
    /// Checks what the parser does not: files that have to be there or not, and names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Quantize(args) => args.check(),
            Self::Imatrix(args) => args.check(),
            _ => Ok(()),
        }
    }
}

/// A path that has to be there.
fn existing(given: &str) -> Result<PathBuf> {
    let path = PathBuf::from(given);
    path.metadata().with_context(|| format!("there is no file or folder `{given}`"))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    fn checked(words: &str) -> Result<()> {
        let words = std::iter::once("book").chain(words.split(' '));
        Cli::try_parse_from(words)?.command.check()
    }

    #[test]
    fn the_arguments_of_every_command_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_a_long_build_would_be_for_nothing_is_said_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = folder.path().display();
        for (words, says) in [
            (format!("perplexity --checkpoint {there}"), "unexpected argument"),
            ("perplexity no/such".into(), "there is no file or folder `no/such`"),
            (format!("compare {there} no/such"), "there is no file or folder `no/such`"),
            (format!("perplexity {there} --chunks 0"), "leave out --chunks"),
            (format!("compare {there} {there} --chunks 0"), "leave out --chunks"),
            (format!("generate {there}"), "<PROMPT>"),
            (format!("generate {there} x --temperature -1"), "0 or more"),
            ("quantize --scheme w4a17".into(), "w4a16"),
            (format!("quantize --scheme w4a16 --input {there} --group-size 12"), "multiple of 8"),
            (format!("quantize --scheme w4a16 --input {there} --dtype f8"), "f16, bf16, f32"),
            (format!("quantize --scheme w4a16 --input {there} --out {there}"), "already"),
            (format!("quantize --scheme w4a16 --input {there} --smooth 0.5"), "for w8a8"),
            (format!("quantize --scheme w8a8 --input {there} --method search"), "is for w4a16"),
            (format!("quantize --scheme none --input {there} --method gptq"), "nothing is rounded"),
            (
                format!("quantize --scheme gguf-mxfp4 --input {there} --method gptq"),
                "not even steps",
            ),
            (format!("quantize --scheme nvfp4 --input {there} --method gptq --sweeps 2"), "nvfp4"),
            (format!("quantize --scheme w4a16 --input {there} --tokens 512"), "add --method gptq"),
            (format!("quantize --scheme gptq-3bit --input {there} --method awq"), "not gptq-3bit"),
            (
                format!(
                    "quantize --scheme gptq-3bit --input {there} --method gptq --absmax-over 7"
                ),
                "3 bits have 3 and 3.5",
            ),
            (
                format!("quantize --scheme w4a16 --input {there} --method gptq --absmax-over 3.5"),
                "4 bits have 7 and 7.5",
            ),
            (
                format!("quantize --scheme w8a8 --input {there} --method gptq --absmax-over 7.5"),
                "integers in groups",
            ),
            (format!("quantize --scheme awq --input {there} --kv fp8"), "compressed-tensors"),
            (format!("quantize --scheme gguf-q4_0 --input {there} --kv fp8"), "compressed-tensors"),
            (format!("quantize --scheme w4a16 --calibration {there}"), "nothing is calibrated"),
            (format!("quantize --scheme w8a8 --input {there} --rotate r5"), "r1, r2, r4"),
            (
                format!("quantize --scheme w8a8 --input {there} --rotate r1 --smooth 0.5"),
                "leave out --rotate, or --smooth",
            ),
            (
                format!("quantize --scheme w4a16 --input {there} --rotate r1 --method awq"),
                "leave out --rotate, or --method awq",
            ),
            (format!("quantize --scheme awq --input {there} --rotate r1,r4"), "or r1,r2"),
            (format!("quantize --scheme gguf-q8_0 --input {there} --rotate r4"), "or r1,r2"),
            (format!("quantize --scheme w8a8 --input {there} --rotate-seed 7"), "add --rotate"),
            (
                format!("quantize --scheme fp8 --input {there} --activations int4"),
                "integer weights",
            ),
            (format!("quantize --scheme w8a8 --input {there} --activations int3"), "int8-static"),
        ] {
            let error = checked(&words).expect_err(&words);
            assert!(format!("{error:#}").contains(says), "{words}: {error:#}");
        }
        let new = folder.path().join("new");
        let right =
            format!("quantize --scheme w8a8 --input {there} --smooth 0.5 --out {}", new.display());
        checked(&right).expect("this is right");
        for more in [
            "w4a16 --rotate r1,r2,r4 --method gptq --activations int8",
            "w8a8 --rotate r1,r2 --activations int8-static --tokens 1024",
            "gguf-q4_0 --rotate r1,r2 --rotate-seed 3",
            "gptq-3bit --method search",
            "gptq-3bit --method gptq --absmax-over 3.5",
            "gptq --method gptq --absmax-over 7",
        ] {
            let words = format!("quantize --scheme {more} --input {there} --out {}", new.display());
            checked(&words).expect(more);
        }
    }
}
