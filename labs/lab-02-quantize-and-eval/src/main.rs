//! `gpu-meters`: throughput, capacity and output sanity of each format on this machine's GPU.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use quantize_and_eval::cuda::libraries::Missing;
use quantize_and_eval::formats::Format;
use quantize_and_eval::run::{Plan, run};
use quantize_and_eval::work::{MODELS, Model};

/// Meter the formats on this machine's NVIDIA GPU.
///
/// Exit code 0: all went well; 1: a format failed or an output was wrong (the capture says which);
/// 2: CUDA or a GPU is missing; 64: the command line is wrong.
#[derive(Parser)]
#[command(name = "gpu-meters", version, about)]
struct Cli {
    /// Only this format (may be given several times).
    #[arg(long, value_name = "FORMAT")]
    only: Vec<Format>,
    /// Only this model: qwen2.5-0.5b or llama-3.1-8b.
    #[arg(long, value_name = "MODEL", value_parser = model)]
    model: Option<Model>,
    /// Under a minute: three batches, short readings.
    #[arg(long)]
    quick: bool,
    /// Only check outputs, on four layers; take no times.
    #[arg(long)]
    check: bool,
    /// Write the capture here, after every format.
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// Seed of the random weights and activations.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Seconds after which readings get short.
    #[arg(long, default_value_t = 300)]
    budget: u64,
}

/// A broken kernel fails hundreds of checks; the capture has them all.
const SHOWN: usize = 20;

fn model(name: &str) -> Result<Model, String> {
    let known = MODELS.iter().find(|model| model.name == name);
    let names = || MODELS.map(|model| model.name).join(" or ");
    known.copied().ok_or_else(|| format!("say {}", names()))
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match meter(cli) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{} failures, the first of them:", failures.len());
            failures.iter().take(SHOWN).for_each(|failure| eprintln!("{failure}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Missing>() { 2 } else { 1 })
        }
    }
}

fn meter(cli: Cli) -> Result<Vec<String>> {
    let plan = Plan {
        formats: if cli.only.is_empty() { Format::ALL.to_vec() } else { cli.only },
        models: cli.model.map_or(MODELS.to_vec(), |model| vec![model]),
        quick: cli.quick,
        check: cli.check,
        seed: cli.seed,
        out: cli.out,
        budget: Duration::from_secs(if cli.quick { cli.budget.min(50) } else { cli.budget }),
    };
    Ok(run(&plan)?.failures())
}
