//! Bits of a weight and types of blocks, from the headers of a file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use formats::checkpoint::{Storage, Tensor, bits_per_weight as bits, inspect};
use formats::gguf::TensorType;

/// Bits that a weight of the matrices in the decoder layers costs, with everything that is stored for these
/// matrices: codes, scales, zero points, permutations. The embedding is left out, because formats differ in
/// whether they touch it, and in a small model it is a fifth of all weights. With the bits come the types of these
/// matrices' blocks, in a GGUF file.
///
/// # Errors
/// If the headers cannot be read, or a matrix has a layout that is not known here.
pub fn of(path: &Path) -> Result<(f64, Vec<TensorType>)> {
    let inspection = inspect(path).with_context(|| path.display().to_string())?;
    if let Some(unknown) = inspection.inventory.unknown.first() {
        bail!("{}: {} has a layout that is not known here", path.display(), unknown.module);
    }
    let (mut bytes, mut weights) = (0, 0);
    for matrix in inspection.inventory.quantized.iter().filter(|of| is_in_layer(&of.module)) {
        let unknown = || format!("nobody says how many weights {} has", matrix.module);
        weights += matrix.weights.with_context(unknown)?;
        bytes += matrix.bytes();
    }
    let is_matrix = |tensor: &&Tensor| tensor.shape.len() == 2 && is_in_layer(&tensor.name);
    for matrix in inspection.inventory.plain.iter().filter(is_matrix) {
        weights += matrix.elements();
        bytes += matrix.bytes;
    }
    let none = || format!("{} has no decoder layer", path.display());
    Ok((bits(bytes, weights).with_context(none)?, kinds(&formats::checkpoint::open(path)?.tensors)))
}

/// The types of the blocks of the matrices in the decoder layers, each once.
pub fn kinds(tensors: &[Tensor]) -> Vec<TensorType> {
    let mut kinds: Vec<TensorType> = Vec::new();
    for tensor in
        tensors.iter().filter(|tensor| tensor.shape.len() == 2 && is_in_layer(&tensor.name))
    {
        if let Storage::Blocks(kind) = tensor.storage
            && !kinds.contains(&kind)
        {
            kinds.push(kind);
        }
    }
    kinds
}

/// By the names of a Hugging Face folder and of a GGUF file.
fn is_in_layer(name: &str) -> bool {
    name.contains(".layers.") || name.starts_with("blk.")
}
