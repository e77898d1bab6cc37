//! `gpu-meters`: three meters of each format on an NVIDIA GPU, and a quick check that outputs are right.
//!
//! What needs no GPU is there for tests and for the book: the capture, the [`roofline`] bound of a
//! product, the W4A16 layout in [`pack`]. The program needs CUDA's driver, which is found at run time.

pub mod bench;
mod clock;
pub mod cuda;
mod fp4;
pub mod gpu_format;
mod gpu_meters;
mod gpu_setup;
pub mod hash;
pub mod metering;
pub mod output_checks;
pub mod pack;
mod peaks;
mod product;
pub mod roofline;
pub mod slice;
mod throughput;
pub mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use cuda::libraries::Missing;
use gpu_format::Format;
use metering::Plan;
use work::{MODELS, Model};

pub use gpu_meters::{
    Capacity, Capture, FormatRun, GpuMeters, Measured, OutputCheck, Peak, ProductTime, StepTime,
};
pub use gpu_setup::Setup;

/// Meter the formats on this machine's NVIDIA GPU.
///
/// Exit code 0: all went well; 1: a format failed or an output was wrong (the capture says which);
/// 2: CUDA or a GPU is missing, or the command line is wrong.
#[derive(clap::Args)]
pub struct Args {
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
    pub out: Option<PathBuf>,
    /// Seed of the random weights and activations.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Seconds after which readings get short.
    #[arg(long, default_value_t = 300)]
    budget: u64,
}

impl Args {
    /// The whole run, written to `out`.
    pub fn whole(out: PathBuf) -> Self {
        let (only, model, out) = (Vec::new(), None, Some(out));
        Self { only, model, quick: false, check: false, out, seed: 1, budget: 300 }
    }
}

/// A broken kernel fails hundreds of checks; the capture has them all.
const SHOWN: usize = 20;

fn model(name: &str) -> Result<Model, String> {
    let known = MODELS.iter().find(|model| model.name == name);
    let names = || MODELS.map(|model| model.name).join(" or ");
    known.copied().ok_or_else(|| format!("say {}", names()))
}

/// Meters the formats and says what failed.
///
/// # Errors
/// None: a failure is the exit code.
pub fn run(cli: Args) -> ExitCode {
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

fn meter(cli: Args) -> Result<Vec<String>> {
    let plan = Plan {
        formats: if cli.only.is_empty() { Format::ALL.to_vec() } else { cli.only },
        models: cli.model.map_or(MODELS.to_vec(), |model| vec![model]),
        quick: cli.quick,
        check: cli.check,
        seed: cli.seed,
        out: cli.out,
        budget: Duration::from_secs(if cli.quick { cli.budget.min(50) } else { cli.budget }),
    };
    Ok(metering::meter(&plan)?.failures())
}
