//! `cargo book quantize`: writes a checkpoint.

use std::time::Instant;

use anyhow::{Context, Result};
use arguments::quantize::{Args, Chosen};
use indicatif::{ProgressBar, ProgressStyle};
use model::{Weights, passage};
use quantizer::smooth::{CHUNK, Smoothing};
use quantizer::{Job, Plan, Progress, Rounding, SHARD_BYTES, ScaleSearch, Transform, write};

use crate::perplexity;

/// Writes the checkpoint, and prints its sizes and errors.
///
/// # Errors
/// Those of [`write()`]; an input that was not fetched.
pub fn run(args: &Args) -> Result<()> {
    let format = args.format()?;
    let plan = Plan::new(format, args.float()?);
    let (input, out) = (args.input(), args.out());
    let weights = Weights::open(&input).with_context(|| input.display().to_string())?;
    let smoothing = args.smooth.map(|alpha| smoothing(args, &weights, alpha)).transpose()?;
    let job = Job {
        weights: &weights,
        plan,
        transform: smoothing.as_ref().map(|smoothing| smoothing as &dyn Transform),
        rounding: stage(args.rounding),
        out: &out,
        shard_bytes: args.shard_bytes.unwrap_or(SHARD_BYTES),
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
    println!("\n{}", report.codes());
    if let Some(note) = report.quantized_input() {
        println!("{note}");
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

/// The second stage; `None` is that of lab 05.
fn stage(chosen: Chosen) -> Option<&'static dyn Rounding> {
    match chosen {
        Chosen::Nearest => None,
        Chosen::Search => Some(&ScaleSearch),
    }
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
