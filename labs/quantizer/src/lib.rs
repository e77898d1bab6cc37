//! From one checkpoint to another: transform, round, store.
//!
//! [`write()`] streams a model tensor by tensor through three stages. A [`Transform`] changes tensors
//! exactly ([`smooth`] folds SmoothQuant into them, [`rotate`] rotates them), a [`Rounding`] chooses the codes ([`ScaleSearch`] and
//! [`layer_by_layer`]; without one, the labs take the nearest), and the format of [`Plan`] stores them.
//! [`activations`] says how inputs of layers are quantized, and [`kv_scales`] adds the scales of an FP8 cache. [`loaded`] reads checkpoints in these formats and runs
//! them, whichever program wrote them.

pub mod activation_scales;
pub mod activations;
pub mod budget;
mod config;
mod decoder_layers;
mod error;
mod feedback;
mod fused;
mod gguf_file;
mod gguf_metadata;
mod gptq_blocks;
mod gptq_floats;
mod gptq_matrix;
mod gptq_options;
mod importance;
mod kept_layers;
pub mod kv_scales;
pub mod layer_by_layer;
pub mod loaded;
mod plan;
mod quantized_inputs;
mod refine;
mod report;
pub mod rotate;
mod safetensors_file;
mod scale_search;
pub mod sensitivity;
pub mod smooth;
mod stages;
mod tokenizer;
mod transform_config;
mod write;

pub use decoder_layers::DecoderLayers;
pub use error::WriteError;
pub use gptq_options::{Options, Scales, grid};
pub use importance::Importance;
pub use plan::Plan;
pub use report::{LayerError, Report};
pub use scale_search::ScaleSearch;
pub use stages::{Rounding, Transform};
pub use write::{Job, Progress, write};

/// The default limit of the bytes of a file of weights, which most tools use.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// Tokens of a chunk of a calibration text, which the model runs from an empty cache.
pub const CHUNK: usize = 512;
