//! `cargo book quantize`: writes a checkpoint.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use formats::bytes::Float;
use formats::registry::{self, Granularity, StorageFormat};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Weights, passage};
use quantizer::smooth::{CHUNK, Smoothing};
use quantizer::{Job, Plan, Progress, Rounding, SHARD_BYTES, ScaleSearch, Transform, write};

use crate::perplexity;
use kit::workspace::{fetched_model, target};

/// What to write.
#[derive(clap::Args)]
pub struct Args {
    /// The format.
    #[arg(long, value_parser = PossibleValuesParser::new(formats()))]
    scheme: String,
    #[arg(long, default_value_t = 64, help = group_size_help())]
    group_size: u64,
    /// Fold SmoothQuant in, with this alpha: for w8a8.
    #[arg(long, value_name = "ALPHA")]
    smooth: Option<f32>,
    /// Calibrate on this text instead of the course's: a licence, which no meter scores.
    #[arg(long, value_name = "FILE", requires = "smooth")]
    calibration: Option<PathBuf>,
    /// How codes are chosen: to the nearest, or with lab 03's search for the scale of each group.
    #[arg(long, value_enum, default_value_t = Chosen::Nearest)]
    rounding: Chosen,
    /// A Hugging Face folder or a GGUF file; without it, the model that `cargo book fetch` got.
    #[arg(long, value_name = "DIR|GGUF")]
    input: Option<PathBuf>,
    /// The folder to make; without it, target/checkpoints/SCHEME (SCHEME-search).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What is not quantized is stored as this: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    dtype: String,
    /// Bytes of data in a file of weights, at most.
    #[arg(long, value_name = "BYTES", default_value_t = SHARD_BYTES)]
    shard_bytes: u64,
    /// Leave linear layers that cannot be divided in floats, instead of refusing.
    #[arg(long)]
    leave_out: bool,
    /// Take an input that is quantized already. (The fetched model is, and is taken.)
    #[arg(long)]
    requantize: bool,
    /// Measure the perplexity of the result on the course's passage.
    #[arg(long)]
    perplexity: bool,
}

/// The roundings of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Chosen {
    Nearest,
    Search,
}

impl Chosen {
    /// The second stage; `None` is that of lab 05.
    fn stage(self) -> Option<&'static dyn Rounding> {
        match self {
            Self::Nearest => None,
            Self::Search => Some(&ScaleSearch),
        }
    }

    /// What the default folder has behind the name of the format, so that two roundings can be compared.
    fn suffix(self) -> &'static str {
        match self {
            Self::Nearest => "",
            Self::Search => "-search",
        }
    }
}

/// Writes the checkpoint, and prints its sizes and errors.
///
/// # Errors
/// Those of [`write()`]; an input that was not fetched.
pub fn run(args: &Args) -> Result<()> {
    let format = StorageFormat::named(&args.scheme, args.group_size)?;
    let plan = Plan::new(format, float(&args.dtype)?);
    let input = args.input.clone().unwrap_or_else(fetched_model);
    ensure!(
        input.exists(),
        "{} is not there: run `cargo book fetch`, or name a model with --input",
        input.display()
    );
    let name = format!("{format}{}", args.rounding.suffix());
    let out = args.out.clone().unwrap_or_else(|| target("checkpoints").join(name));
    let weights = Weights::open(&input).with_context(|| input.display().to_string())?;
    let smoothing = args.smooth.map(|alpha| smoothing(args, &weights, alpha)).transpose()?;
    let job = Job {
        weights: &weights,
        plan,
        transform: smoothing.as_ref().map(|smoothing| smoothing as &dyn Transform),
        rounding: args.rounding.stage(),
        out: &out,
        shard_bytes: args.shard_bytes,
        leave_out: args.leave_out,
        requantize: args.requantize || args.input.is_none(),
    };
    let started = Instant::now();
    let bar = Bar::new(weights.tensors().iter().map(|tensor| tensor.bytes).sum());
    let report = write(&job, &bar)?;
    bar.0.finish_and_clear();
    for line in report.left_alone() {
        println!("{line}");
    }
    println!("\n{}", report.sizes());
    if !report.errors.is_empty() {
        println!("\n{}", report.errors());
    }
    if !format.is_gguf() {
        let predicted = plan.predicted_bytes(weights.tensors());
        println!("\npredicted, as one file: {predicted} bytes; written: {}", report.bytes_after);
    }
    println!("{} in {:.1} s{}", out.display(), started.elapsed().as_secs_f64(), peak());
    if args.perplexity { perplexity::print(&out, weights.path(), None) } else { Ok(()) }
}

/// The formats with their lines of help.
fn formats() -> [PossibleValue; registry::ALL.len()] {
    registry::ALL.map(|known| PossibleValue::new(known.name).help(known.about))
}

/// The help of `--group-size`, which names the formats whose group size is chosen.
fn group_size_help() -> String {
    let chosen = |known: &&registry::Description| known.granularity == Granularity::ChosenGroup;
    let names: Vec<_> = registry::ALL.into_iter().filter(chosen).map(|known| known.name).collect();
    format!(
        "Weights of a row that share a scale, for {}. (128 does not divide SmolLM2's 576.)",
        names.join(", ")
    )
}

fn float(name: &str) -> Result<Float> {
    Ok(match name {
        "f16" | "float16" => Float::F16,
        "bf16" | "bfloat16" => Float::Bf16,
        "f32" | "float32" => Float::F32,
        other => anyhow::bail!("there is no dtype `{other}`; there are: f16, bf16, f32"),
    })
}

/// Runs the model on the calibration text.
fn smoothing(args: &Args, weights: &Weights, alpha: f32) -> Result<Smoothing> {
    let text = match &args.calibration {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => passage::CALIBRATION.to_string(),
    };
    println!("calibrating on chunks of {CHUNK} tokens, alpha {alpha}");
    Ok(Smoothing::on_text(weights, &text, alpha)?)
}

/// The progress in bytes of the input.
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64) -> Self {
        let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        let bar = ProgressBar::new(bytes);
        // A style that does not parse leaves the bar as it is.
        bar.set_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }
}

impl Progress for Bar {
    fn done(&self, name: &str, bytes: u64) {
        self.0.set_message(name.to_string());
        self.0.inc(bytes);
    }
}

/// The most memory that this process had, if the system says so (Linux only).
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(String::new(), |peak| format!(", at most {} of memory", peak.trim()))
}
