//! What a checkpoint is, from its headers alone.
//!
//! A quantized matrix is several tensors: codes, scales, perhaps zero points. Their names and shapes
//! say who packed it, how many bits a code has and who shares a scale. [`inspect`] reads the headers of
//! a file, puts the parts together, and holds the result to the config that came with it. No weight
//! is read.
//!
//! * [`header`]: the header of a safetensors file; [`gguf`](crate::gguf) has the other one.
//! * [`mod@classify`]: from tensors to quantized matrices.
//! * [`config`]: the config's words, and [`mod@check`]: whether shapes and config agree.
//! * [`report`]: the tables that `cargo book inspect` prints.
//! * [`golden`]: tiny checkpoints that other people's tools wrote.
//!
//! Nothing here panics on a forged file, and nothing is allocated by a length that the file claims.

pub mod check;
pub mod classify;
pub mod config;
mod dtype;
mod error;
pub mod golden;
pub mod header;
mod json;
mod names;
mod problem;
pub mod report;
mod scheme;
mod source;
mod tensor;

use std::path::Path;

pub use classify::{Inventory, classify};
pub use config::{Expected, QuantConfig};
pub use dtype::{Dtype, Storage};
pub use error::CheckpointError;
pub use header::{Header, read_header};
pub use names::{collapse, printable};
pub use problem::Problem;
pub use scheme::{GptqVersion, Part, Quantized, Scheme, ZeroPoints, bits_per_weight};
pub use source::{Checkpoint, FileSummary, gguf_tensors, open};
pub use tensor::Tensor;

/// What a checkpoint is, and where it contradicts itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its files.
    pub files: Vec<FileSummary>,
    /// Quantized matrices and plain tensors.
    pub inventory: Inventory,
    /// The config, if there is one.
    pub config: Option<QuantConfig>,
    /// Every contradiction: between parts, between index and shards, between config and shapes.
    pub problems: Vec<Problem>,
}

/// Reads the headers behind `path`, a file or a folder, and says what they are.
///
/// # Errors
/// As [`open`]. A contradiction is not an error: it is in [`Inspection::problems`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, CheckpointError> {
    let Checkpoint { files, tensors, config, problems } = open(path.as_ref())?;
    let (inventory, found) = examine(&tensors, config.as_ref());
    let problems = problems.into_iter().chain(found).collect();
    Ok(Inspection { files, inventory, config, problems })
}

/// Classifies `tensors` and holds them to `config`: all that needs no file.
pub fn examine(tensors: &[Tensor], config: Option<&QuantConfig>) -> (Inventory, Vec<Problem>) {
    let inventory = classify(tensors, config);
    let mut problems = inventory.problems.clone();
    problems.extend(config.into_iter().flat_map(|config| check::check(&inventory, config)));
    (inventory, problems)
}
