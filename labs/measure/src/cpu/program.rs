//! `cpu-meters`: what the kernels of lab 03 do on this machine, beside what its memory can do.

use std::path::PathBuf;
use std::time::Instant;

use crate::capture::{CaptureFile, Spread};
use crate::cpu::capture::Capture;
use crate::cpu::{products, provenance, quantizing};
use anyhow::{Context, Result};
use kit::data::normal_matrix;
use kit::workspace::target;
use ndarray::Array2;

/// Rows of the matrix: the down projection of a Llama of 7 billion parameters.
pub(super) const OUT_FEATURES: usize = 4096;
/// Weights in a row.
pub(super) const IN_FEATURES: usize = 11_008;

/// Measure the products and the encoders of lab 03 on this machine.
#[derive(clap::Args)]
pub struct Args {
    /// A few seconds: three rounds, readings that a busy machine disturbs.
    #[arg(long)]
    pub quick: bool,
    /// Run this `llama-quantize` of llama.cpp in turn with our encoders.
    #[arg(long, value_name = "PATH")]
    pub llama_quantize: Option<PathBuf>,
    /// What that `llama-quantize` is, where it does not tell by itself: the package it was built from.
    #[arg(long, value_name = "TEXT")]
    pub llama_version: Option<String>,
    /// Where the capture goes.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/cpu.json"))]
    pub out: PathBuf,
}

/// Takes the readings and writes the capture.
///
/// # Errors
/// If a reading fails, or the capture cannot be written.
pub fn run(cli: &Args) -> Result<()> {
    let mut capture = Capture::new(provenance::of_run(cli));
    if provenance::cache_bytes().is_none() {
        let note = "the system does not tell the size of its last cache: 32 MiB were assumed";
        capture.notes.push(note.into());
    }
    let processors = capture.provenance.processors;
    let threads = if processors > 1 { vec![1, processors] } else { vec![1] };
    let w = matrix();
    eprintln!("products on {threads:?} threads");
    products::measure(&mut capture, &w, &threads, if cli.quick { 3 } else { 25 })?;
    eprintln!("encoders on {threads:?} threads");
    let tool = cli.llama_quantize.as_deref();
    quantizing::measure(&mut capture, &w, &threads, if cli.quick { 3 } else { 11 }, tool)?;
    capture.check()?;
    Ok(capture.save(&cli.out)?)
}

/// Normal values, 64 rows of them over and over: a clock does not see what they are.
fn matrix() -> Array2<f32> {
    let few = normal_matrix(1, 64, IN_FEATURES);
    Array2::from_shape_fn((OUT_FEATURES, IN_FEATURES), |(row, column)| few[(row % 64, column)])
}

/// Milliseconds that `work` takes.
pub(super) fn time<Output>(work: impl FnOnce() -> Output) -> (f64, Output) {
    let start = Instant::now();
    let output = work();
    (start.elapsed().as_secs_f64() * 1e3, output)
}

/// The spread of readings of which there is at least one.
pub(super) fn spread(samples: &[f64]) -> Result<Spread> {
    Spread::of(samples).context("no reading was taken: this is a mistake in cpu-meters")
}
