//! From one checkpoint to another: transform, round, store.
//!
//! [`write()`] streams a model tensor by tensor through three stages. A [`Transform`] changes tensors
//! exactly ([`smooth`] folds SmoothQuant into them), a [`Rounding`] chooses the codes (without one, the
//! labs take the nearest), and the format of [`Plan`] stores them. [`loaded`] reads back and runs what
//! was written, or what others wrote in the same formats.

mod config;
mod error;
mod gguf_file;
pub mod loaded;
mod plan;
mod quantized_inputs;
mod report;
mod safetensors_file;
pub mod smooth;
mod stages;
mod tokenizer;
mod write;

pub use error::WriteError;
pub use plan::Plan;
pub use report::{LayerError, Report};
pub use stages::{Rounding, Transform};
pub use write::{Job, Progress, write};

/// Bytes of a file of weights, at most, where nothing else is asked for: what most tools take.
pub const SHARD_BYTES: u64 = 5_000_000_000;
