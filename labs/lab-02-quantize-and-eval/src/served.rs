//! The input of the cost model, a model with the formats that it is served in, and the roofline of
//! a step.

use formats::architecture::Architecture;
use formats::format::{Format, Grid};

/// Tokens in a block of vLLM's KV cache on a GPU, by default. On a CPU a block has 128.
pub const BLOCK_TOKENS: u64 = 16;
/// The share of the device's memory that vLLM 0.32.0 asks for by default.
pub const UTILIZATION: f64 = 0.92;

/// The formats of the three kinds of weights in a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFormat {
    /// The linear layers inside the blocks.
    pub linear: Format,
    /// The embedding, and a head that is stored apart from the embedding.
    pub embedding: Format,
    /// Norms and biases.
    pub vectors: Grid,
}

impl ModelFormat {
    /// The usual quantized checkpoint, with the linear layers in `linear` and the rest in 16 bits.
    pub fn of(linear: Format) -> Self {
        Self { linear, embedding: Format::BF16, vectors: Grid::Sixteen }
    }
}

/// A model as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its sizes.
    pub architecture: Architecture,
    /// Its weights.
    pub format: ModelFormat,
    /// The grid of the numbers in the KV cache.
    pub kv: Grid,
}

impl Served {
    /// The linear layers in `linear`, all other weights and the KV cache in 16 bits.
    pub fn of(architecture: Architecture, linear: Format) -> Self {
        Self { architecture, format: ModelFormat::of(linear), kv: Grid::Sixteen }
    }
}

/// The two roofline bounds of a step, which cannot be faster than either.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Seconds of memory traffic: bytes over bandwidth.
    pub memory_s: f64,
    /// Seconds of arithmetic: operations over operations per second.
    pub arithmetic_s: f64,
}
