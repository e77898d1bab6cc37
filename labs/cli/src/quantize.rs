//! `cargo book quantize`: writes a checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use formats::bytes::Float;
use formats::registry::{self, Granularity, StorageFormat};
use gptq::{Grid, GroupScales};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Tokenizer, Weights, passage};
use quantizer::layer_by_layer::{self, LayerByLayer, Options};
use quantizer::smooth::{CHUNK, Smoothing};
use quantizer::{Job, Plan, Progress, Rounding, SHARD_BYTES, Transform, write};

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
    /// How the codes are chosen: each the nearest one, or by GPTQ (for w4a16, gptq, awq, w8a8, w8a16).
    #[arg(long, default_value = "nearest", conflicts_with = "smooth")]
    method: Method,
    #[command(flatten)]
    gptq: GptqArgs,
    /// Calibrate on this text instead of the course's: a licence for --smooth, Paradise Lost for GPTQ. No
    /// meter scores them.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// A Hugging Face folder or a GGUF file; without it, the model that `cargo book fetch` got.
    #[arg(long, value_name = "DIR|GGUF")]
    input: Option<PathBuf>,
    /// The folder to make; without it, target/checkpoints/SCHEME.
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

/// How the codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// The nearest code of each weight.
    Nearest,
    /// Lab 06's rounding with feedback.
    Gptq,
}

/// The choices of GPTQ.
#[derive(clap::Args)]
#[command(next_help_heading = "With --method gptq")]
struct GptqArgs {
    /// Tokens of the calibration text, from its start.
    #[arg(long, default_value_t = 16_384)]
    tokens: usize,
    /// Round the columns with large inputs first.
    #[arg(long)]
    act_order: bool,
    /// Run a layer again after each of its inputs, so that every Hessian sees the rounded layers before.
    #[arg(long)]
    sequential: bool,
    /// Compute the scale of a group when its first column is rounded.
    #[arg(long, conflicts_with = "act_order")]
    fresh_scales: bool,
    /// The share of the mean of the diagonal that is added to it.
    #[arg(long, default_value_t = 0.01)]
    damping: f64,
    /// The grid of four bits: absmax over 7 (lab 03's, codes -7 to 7) or over 7.5 (llm-compressor's, codes
    /// -8 to 7).
    #[arg(long, default_value = "7", value_parser = ["7", "7.5"])]
    absmax_over: String,
}

impl GptqArgs {
    fn options(&self) -> Options {
        let fresh = self.fresh_scales;
        Options {
            int4: if self.absmax_over == "7" { Grid::LAB_03 } else { Grid::LLM_COMPRESSOR },
            scales: if fresh { GroupScales::Fresh } else { GroupScales::Static },
            act_order: self.act_order,
            damping: self.damping,
            sequential: self.sequential,
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
    let calibrated = args.smooth.is_some() || args.method == Method::Gptq;
    ensure!(
        calibrated || args.calibration.is_none(),
        "nothing is calibrated: add --smooth ALPHA or --method gptq, or leave out --calibration"
    );
    let out =
        args.out.clone().unwrap_or_else(|| target("checkpoints").join(format.description.name));
    let started = Instant::now();
    let weights = Weights::open(&input).with_context(|| input.display().to_string())?;
    let smoothing = args.smooth.map(|alpha| smoothing(args, &weights, alpha)).transpose()?;
    // Before minutes of calibration; `write` looks again.
    ensure!(
        out.symlink_metadata().is_err(),
        "{} is there already: remove it, or write elsewhere with --out",
        out.display()
    );
    let layers = match args.method {
        Method::Nearest => None,
        Method::Gptq => Some(layer_by_layer(args, &weights, &plan, &out)?),
    };
    let job = Job {
        weights: &weights,
        plan,
        transform: smoothing.as_ref().map(|smoothing| smoothing as &dyn Transform),
        rounding: layers.as_ref().map(|layers| layers as &dyn Rounding),
        out: &out,
        shard_bytes: args.shard_bytes,
        leave_out: args.leave_out,
        requantize: args.requantize || args.input.is_none(),
    };
    let bar = Bar::new(weights.tensors().iter().map(|tensor| tensor.bytes).sum());
    let report = write(&job, &bar)?;
    bar.0.finish_and_clear();
    layers.map_or(Ok(()), LayerByLayer::forget)?;
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

/// The text of `--calibration`, or `default`.
fn calibration(args: &Args, default: &str) -> Result<String> {
    match &args.calibration {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string()),
        None => Ok(default.to_string()),
    }
}

/// Chooses the codes of each decoder layer, with a line for each layer.
fn layer_by_layer(args: &Args, weights: &Weights, plan: &Plan, out: &Path) -> Result<LayerByLayer> {
    let text = calibration(args, passage::PARADISE_LOST)?;
    let mut tokens = Tokenizer::load(weights.path())?.encode(&text)?;
    tokens.truncate(args.gptq.tokens);
    let options = args.gptq.options();
    println!("GPTQ on {} tokens, in chunks of {}", tokens.len(), layer_by_layer::CHUNK);
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let kept = out.with_file_name(format!(".{name}.gptq"));
    let started = Instant::now();
    let mut line = |done: usize, layers: usize| {
        let seconds = started.elapsed().as_secs_f64();
        println!("layer {done} of {layers}, {seconds:.0} s");
    };
    Ok(LayerByLayer::calibrate(weights, plan, &tokens, &options, &kept, &mut line)?)
}

/// Runs the model on the calibration text.
fn smoothing(args: &Args, weights: &Weights, alpha: f32) -> Result<Smoothing> {
    let text = calibration(args, passage::CALIBRATION)?;
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
