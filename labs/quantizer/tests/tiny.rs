//! The tiny model, and what is asked of the writer.

use std::path::{Path, PathBuf};

use formats::bytes::Float;
use formats::registry::StorageFormat;
use model::Weights;
use quantizer::layer_by_layer::Watch;
use quantizer::{Job, Plan};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/golden").join(name)
}

/// The format of this name, in groups of `size` where there are groups.
pub fn format(name: &str, size: u64) -> StorageFormat {
    StorageFormat::named(name, size).expect("a format of the registry")
}

pub fn job<'a>(weights: &'a Weights, (name, size): (&str, u64), out: &'a Path) -> Job<'a> {
    Job {
        weights,
        plan: Plan::new(format(name, size), Float::F16),
        transform: None,
        rounding: None,
        importance: None,
        activations: None,
        kv_scales: None,
        out,
        shard_bytes: u64::MAX,
        leave_out: true,
        requantize: true,
    }
}

/// Positions of the tiny model, the tokens of a chunk.
pub const CHUNK: usize = 256;

/// A text of whole chunks, in tokens of the tiny model.
pub fn text(chunks: usize) -> Vec<u32> {
    (0..chunks as u32 * CHUNK as u32)
        .map(|at| at.wrapping_mul(2_654_435_761) >> 8)
        .map(|at| at % 320)
        .collect()
}

/// Learns of no progress.
pub struct Nobody;

impl Watch for Nobody {
    fn layer(&mut self, _: usize, _: usize) {}
}
