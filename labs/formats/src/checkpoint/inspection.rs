//! Inspects a checkpoint: reads the headers, classifies the tensors, compares them with the config.

use std::path::Path;

use super::classify::classify;
use super::classify::inventory::Inventory;
use super::config::quant_config::QuantConfig;
use super::contradictions::{Comparison, compare};
use super::error::CheckpointError;
use super::files::{Checkpoint, FileSummary, open};
use super::problem::Problem;
use super::tensor::Tensor;

/// The contents of a checkpoint, and its contradictions.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its files.
    pub files: Vec<FileSummary>,
    /// Quantized matrices and plain tensors.
    pub inventory: Inventory,
    /// The config, if there is one.
    pub config: Option<QuantConfig>,
    /// What of the config was compared with the shapes, and what was not.
    pub comparison: Comparison,
    /// Every contradiction: between parts, between index and shards, between config and shapes.
    pub problems: Vec<Problem>,
}

impl Inspection {
    /// Classifies the tensors of `checkpoint` and compares them with its config. No file is read.
    pub fn of(checkpoint: Checkpoint) -> Self {
        let Checkpoint { files, tensors, config, mut problems } = checkpoint;
        let inventory = classify(&tensors, config.as_ref());
        let comparison = config.as_ref().map(|config| compare(&inventory, config));
        let comparison = comparison.unwrap_or_default();
        problems.extend(inventory.problems.iter().chain(&comparison.problems).cloned());
        Self { files, inventory, config, comparison, problems }
    }
}

/// Reads the headers behind `path`, a file or a folder, and classifies the tensors.
///
/// # Errors
/// As [`open`]. A contradiction is not an error: it is in [`Inspection::problems`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, CheckpointError> {
    open(path.as_ref()).map(Inspection::of)
}

/// The inventory of `tensors` and its contradictions with `config`.
pub fn examine(tensors: &[Tensor], config: Option<&QuantConfig>) -> (Inventory, Vec<Problem>) {
    let inventory = classify(tensors, config);
    let mut problems = inventory.problems.clone();
    problems.extend(config.into_iter().flat_map(|config| compare(&inventory, config).problems));
    (inventory, problems)
}
