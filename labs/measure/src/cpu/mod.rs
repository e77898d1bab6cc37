//! `cpu-meters`: what the kernels of lab 03 do on this machine's processor, and the bandwidth of its memory.

mod cpu_meters;
mod encoders;
mod gguf;
pub mod kernels;
mod products;

use std::path::PathBuf;

use anyhow::Result;
use kit::data::normal_matrix;
use kit::workspace::target;
use ndarray::Array2;

use crate::capture::Provenance;
pub use cpu_meters::{Bandwidth, Capture, CpuMeters, Product, Quantizing, Setup};

/// Rows of the matrix: the down projection of a Llama of 7 billion parameters.
const OUT_FEATURES: usize = 4096;
/// Weights in a row.
const IN_FEATURES: usize = 11_008;

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
    let found = cache_bytes();
    let setup = Setup {
        cache_bytes: found.unwrap_or(ASSUMED_CACHE),
        instructions: kernels::instructions().into(),
        // Where it is not given, the first run of the tool tells it.
        llama_quantize: cli.llama_version.clone(),
    };
    let (provenance, body) = (Provenance::of_this_run(cli.quick), CpuMeters::default());
    let mut capture = Capture { provenance, setup, body };
    if found.is_none() {
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
    encoders::measure(&mut capture, &w, &threads, if cli.quick { 3 } else { 11 }, tool)?;
    Ok(capture.save(&cli.out)?)
}

/// Normal values, 64 rows of them over and over: a clock does not see what they are.
fn matrix() -> Array2<f32> {
    let few = normal_matrix(1, 64, IN_FEATURES);
    Array2::from_shape_fn((OUT_FEATURES, IN_FEATURES), |(row, column)| few[(row % 64, column)])
}

/// What is assumed where the system does not tell the size of the last cache.
const ASSUMED_CACHE: u64 = 32 << 20;

/// The size of the last cache where Linux tells it, `32768K`.
fn cache_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok()?;
    let kibibytes: u64 = text.trim().strip_suffix('K')?.parse().ok()?;
    Some(kibibytes << 10)
}
