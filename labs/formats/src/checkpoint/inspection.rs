//! Inspects a checkpoint: reads the headers, classifies the tensors, compares them with the config.

use std::path::Path;

use super::classify::classify;
use super::classify::inventory::Inventory;
use super::config::quant_config::QuantConfig;
use super::contradictions::contradictions;
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
    /// Every contradiction: between parts, between index and shards, between config and shapes.
    pub problems: Vec<Problem>,
}

/// Reads the headers behind `path`, a file or a folder, and classifies the tensors.
///
/// # Errors
/// As [`open`]. A contradiction is not an error: it is in [`Inspection::problems`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, CheckpointError> {
    let Checkpoint { files, tensors, config, problems } = open(path.as_ref())?;
    let (inventory, found) = examine(&tensors, config.as_ref());
    let problems = problems.into_iter().chain(found).collect();
    Ok(Inspection { files, inventory, config, problems })
}

/// Classifies `tensors` and compares them with `config`. No file is read.
pub fn examine(tensors: &[Tensor], config: Option<&QuantConfig>) -> (Inventory, Vec<Problem>) {
    let inventory = classify(tensors, config);
    let mut problems = inventory.problems.clone();
    problems.extend(config.into_iter().flat_map(|config| contradictions(&inventory, config)));
    (inventory, problems)
}
