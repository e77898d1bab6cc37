//! Real weights of SmolLM2-135M-Instruct that travel with the repository.
//!
//! Nine matrices as `f16` safetensors, cut out of the model by `cargo book slice`: the query
//! projection and two MLP projections of an early, a middle and the last layer. Of the MLP
//! projections every third row is kept, the loudest among them, so that the largest `|w|` of the
//! slice is that of the whole matrix. `labs/kit/real-slice/PROVENANCE.md` has the whole story.

use std::path::Path;
use std::sync::OnceLock;

use half::f16;
use ndarray::Array2;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError};

/// Where the slice lies in the repository.
pub const PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real-slice/smollm2-135m-slice.safetensors");

/// The nine tensors, by the names they have in the Hugging Face checkpoint.
pub const TENSORS: [&str; 9] = [
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.1.mlp.gate_proj.weight",
    "model.layers.1.mlp.down_proj.weight",
    "model.layers.10.self_attn.q_proj.weight",
    "model.layers.10.mlp.gate_proj.weight",
    "model.layers.10.mlp.down_proj.weight",
    "model.layers.29.self_attn.q_proj.weight",
    "model.layers.29.mlp.gate_proj.weight",
    "model.layers.29.mlp.down_proj.weight",
];

/// What can be wrong with the slice or with what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The file cannot be read.
    #[error(
        "cannot read the real slice {PATH}: {0}; `git checkout labs/kit/real-slice` restores it"
    )]
    Unreadable(#[from] std::io::Error),
    /// The file is not the safetensors file it should be.
    #[error(
        "the real slice {PATH} is damaged: {0}; `git checkout labs/kit/real-slice` restores it"
    )]
    Damaged(#[from] SafeTensorError),
    /// A tensor is not a matrix of `f16`.
    #[error("tensor {name} of the real slice is {dtype:?} of shape {shape:?}, not an f16 matrix")]
    NotAMatrix {
        /// The tensor's name.
        name: String,
        /// The type it has in the file.
        dtype: Dtype,
        /// The shape it has in the file.
        shape: Vec<usize>,
    },
    /// There is no such tensor.
    #[error("the real slice has no tensor {name}; it has: {}", TENSORS.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
}

/// The weights of `name`, `[rows kept, in_features]`, widened from `f16` to `f32` (exact).
///
/// # Errors
/// If the file is missing or damaged, or holds no such tensor.
pub fn tensor(name: &str) -> Result<Array2<f32>, SliceError> {
    let bytes = file()?;
    let tensors = SafeTensors::deserialize(bytes)?;
    let view = tensors.tensor(name).map_err(|_| SliceError::Unknown { name: name.into() })?;
    let not_a_matrix = || SliceError::NotAMatrix {
        name: name.into(),
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
    };
    let (Dtype::F16, &[rows, columns]) = (view.dtype(), view.shape()) else {
        return Err(not_a_matrix());
    };
    let values = view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
    Array2::from_shape_vec((rows, columns), values.collect()).map_err(|_| not_a_matrix())
}

/// The tensor's name as a table shows it: `layer 29 q_proj`.
pub fn label(name: &str) -> String {
    let mut parts = name.split('.').skip(2);
    let layer = parts.next().unwrap_or("?");
    let projection = parts.nth(1).unwrap_or("?");
    format!("layer {layer} {projection}")
}

/// The file's bytes, read once.
fn file() -> Result<&'static [u8], SliceError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = BYTES.get() {
        return Ok(bytes);
    }
    let bytes = std::fs::read(Path::new(PATH))?;
    Ok(BYTES.get_or_init(|| bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_is_there_finite_and_not_all_zero() -> Result<(), SliceError> {
        for name in TENSORS {
            let weights = tensor(name)?;
            assert!(weights.iter().all(|w| w.is_finite()), "{name}");
            assert!(weights.rows().into_iter().all(|row| row.iter().any(|&w| w != 0.0)), "{name}");
        }
        Ok(())
    }

    #[test]
    fn the_file_stays_under_six_megabytes() -> Result<(), SliceError> {
        assert!(file()?.len() <= 6_000_000, "{} bytes", file()?.len());
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_told_what_there_is() {
        let error = tensor("model.layers.0.mlp.up_proj.weight").unwrap_err().to_string();
        assert!(error.contains("model.layers.29.mlp.down_proj.weight"), "{error}");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(label(TENSORS[6]), "layer 29 q_proj");
    }
}
