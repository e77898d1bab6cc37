//! Real weights and activations of SmolLM2-135M-Instruct that travel with the repository.
//!
//! Nine matrices as `f16` safetensors, cut out of the model by `cargo book slice`: the query
//! projection and two MLP projections of an early, a middle and the last layer. Of the MLP
//! projections every third row is kept, the row with the absmax among them, so that the absmax of the
//! slice is that of the whole matrix. A second file has the inputs of these nine layers for two windows
//! of a book. `labs/kit/real-slice/PROVENANCE.md` says how both files were made.

use std::ops::Range;
use std::sync::OnceLock;

use half::f16;
use ndarray::{Array2, s};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError};

/// The file of the weights.
pub const PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real-slice/smollm2-135m-slice.safetensors");

/// The file of the activations.
pub const ACTIVATIONS_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real-slice/smollm2-135m-activations.safetensors");

/// The file of the Hessians.
pub const HESSIANS_PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real-slice/smollm2-135m-hessians.safetensors");

/// The weights whose Hessians are there, with 576 inputs each.
pub const HESSIANS: [&str; 2] =
    ["model.layers.10.self_attn.q_proj.weight", "model.layers.10.mlp.gate_proj.weight"];

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

/// Two pieces of the passage on which perplexity is measured. The model runs each from an empty cache,
/// so each has a first token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// The first tokens of the passage, on which scales are calibrated.
    Calibration,
    /// The first tokens of its chunk 11, on which the scales are tested.
    HeldOut,
}

impl Window {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Calibration, Self::HeldOut];
    /// Tokens in a window: as many as fit 1.5 MB.
    pub const TOKENS: usize = 46;

    /// Its name in the names of the tensors.
    pub fn key(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::HeldOut => "held_out",
        }
    }

    /// Which tokens of the passage it holds.
    pub fn range(self) -> Range<usize> {
        let first = match self {
            Self::Calibration => 0,
            Self::HeldOut => 11 * 512,
        };
        first..first + Self::TOKENS
    }
}

/// The errors of reading the slice.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The file cannot be read.
    #[error("cannot read the real slice {0}: {1}; `git checkout labs/kit/real-slice` restores it")]
    Unreadable(&'static str, std::io::Error),
    /// The file is not the safetensors file it should be.
    #[error("the real slice is damaged: {0}; `git checkout labs/kit/real-slice` restores it")]
    Damaged(#[from] SafeTensorError),
    /// A tensor is not a matrix of `f16`.
    #[error(
        "tensor {name} of the real slice is {dtype:?} of shape {shape:?}, not an f16 matrix, or an f32 \
         triangle of a Hessian; `git checkout labs/kit/real-slice` restores it"
    )]
    NotAMatrix {
        /// The tensor's name.
        name: String,
        /// The type it has in the file.
        dtype: Dtype,
        /// The shape it has in the file.
        shape: Vec<usize>,
    },
    /// A tensor of the caches has another shape.
    #[error(
        "tensor {name} of the real slice has the shape {found:?}, which is not {expected:?} in rows of a token; \
         `git checkout labs/kit/real-slice` restores it"
    )]
    OtherShape {
        /// The tensor's name.
        name: String,
        /// The shape it has in the file.
        found: Vec<usize>,
        /// The shape it should have.
        expected: [usize; 3],
    },
    /// The slice has no cache of the layer.
    #[error(
        "the real slice has no KV cache of layer {layer}; it has those of the layers {there:?}"
    )]
    NoCache {
        /// The layer that was asked for.
        layer: usize,
        /// The layers that are there.
        there: &'static [usize],
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
    matrix(file()?, name).map_err(|error| unknown_weight(error, name))
}

/// The input of the layer with the weight `name` (one of [`TENSORS`]) in a window,
/// `[Window::TOKENS, in_features]`, widened from `f16` to `f32` (exact).
///
/// # Errors
/// If the file is missing or damaged, or `name` is not one of the nine.
pub fn activations(name: &str, window: Window) -> Result<Array2<f32>, SliceError> {
    let input = input_name(name, window);
    matrix(activations_file()?, &input).map_err(|error| unknown_weight(error, name))
}

/// The first `rows` rows and `columns` columns of the weight `name`, and the inputs of these columns in a
/// window: a matrix for tests that have to be fast.
///
/// # Errors
/// As [`tensor`] and [`activations`].
pub fn piece(
    name: &str,
    window: Window,
    [rows, columns]: [usize; 2],
) -> Result<(Array2<f32>, Array2<f32>), SliceError> {
    let w = tensor(name)?.slice(s![..rows, ..columns]).to_owned();
    let x = activations(name, window)?.slice(s![.., ..columns]).to_owned();
    Ok((w, x))
}

/// The name that the input of the layer with the weight `name` has in the file:
/// `model.layers.1.mlp.down_proj.input.calibration`.
pub fn input_name(name: &str, window: Window) -> String {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    format!("{module}.input.{}", window.key())
}

/// The name that the Hessian of the weight `name` has in the file.
pub fn hessian_name(name: &str) -> String {
    format!("{}.hessian", name.strip_suffix(".weight").unwrap_or(name))
}

/// `2 / tokens * sum of x x^T` over the inputs `x` of the layer with the weight `name` (one of
/// [`HESSIANS`]) on the first 8192 tokens of "Paradise Lost": `[in_features, in_features]`, symmetric, each
/// element rounded to `f32`.
///
/// # Errors
/// If the file is missing or damaged, or `name` is none of the two.
pub fn hessian(name: &str) -> Result<Array2<f64>, SliceError> {
    let tensors = SafeTensors::deserialize(hessians_file()?)?;
    let view = tensors.tensor(&hessian_name(name));
    let view = view.map_err(|error| unknown_weight(error.into(), name))?;
    let values: Vec<f64> =
        view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect();
    // A triangle of n rows has n (n + 1) / 2 elements.
    let n = (2 * values.len()).isqrt();
    if view.dtype() != Dtype::F32 || values.len() != n * (n + 1) / 2 {
        let (dtype, shape) = (view.dtype(), view.shape().to_vec());
        return Err(SliceError::NotAMatrix { name: hessian_name(name), dtype, shape });
    }
    Ok(Array2::from_shape_fn((n, n), |(row, column)| {
        let (row, column) = (row.max(column), row.min(column));
        values[row * (row + 1) / 2 + column]
    }))
}

/// A matrix of `f16` out of the bytes of a safetensors file.
pub(crate) fn matrix(bytes: &[u8], name: &str) -> Result<Array2<f32>, SliceError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let view = tensors.tensor(name)?;
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

/// Replaces the error of a missing tensor by one that names the weights.
fn unknown_weight(error: SliceError, name: &str) -> SliceError {
    match error {
        SliceError::Damaged(SafeTensorError::TensorNotFound(_)) => {
            SliceError::Unknown { name: name.into() }
        }
        other => other,
    }
}

/// The tensor's name as a table shows it: `layer 29 q_proj`.
pub fn label(name: &str) -> String {
    let mut parts = name.split('.').skip(2);
    let layer = parts.next().unwrap_or("?");
    let projection = parts.nth(1).unwrap_or("?");
    format!("layer {layer} {projection}")
}

/// The bytes of the weights, read once.
fn file() -> Result<&'static [u8], SliceError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    read_once(&BYTES, PATH)
}

/// The bytes of the activations, read once.
fn activations_file() -> Result<&'static [u8], SliceError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    read_once(&BYTES, ACTIVATIONS_PATH)
}

/// The bytes of the Hessians, read once.
fn hessians_file() -> Result<&'static [u8], SliceError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    read_once(&BYTES, HESSIANS_PATH)
}

pub(crate) fn read_once(
    cell: &'static OnceLock<Vec<u8>>,
    path: &'static str,
) -> Result<&'static [u8], SliceError> {
    if let Some(bytes) = cell.get() {
        return Ok(bytes);
    }
    let bytes = std::fs::read(path).map_err(|error| SliceError::Unreadable(path, error))?;
    Ok(cell.get_or_init(|| bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Axis;

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
    fn both_files_stay_under_their_sizes() -> Result<(), SliceError> {
        assert!(file()?.len() <= 6_000_000, "{} bytes", file()?.len());
        assert!(activations_file()?.len() <= 1_500_000, "{} bytes", activations_file()?.len());
        Ok(())
    }

    #[test]
    fn every_layer_has_its_input_in_both_windows_and_it_fits_the_weight() -> Result<(), SliceError>
    {
        for name in TENSORS {
            for window in Window::ALL {
                let x = activations(name, window)?;
                assert_eq!(x.dim(), (Window::TOKENS, tensor(name)?.ncols()), "{name}");
                assert!(x.iter().all(|x| x.is_finite()), "{name}");
                assert!(x.columns().into_iter().all(|c| c.iter().any(|&x| x != 0.0)), "{name}");
            }
        }
        Ok(())
    }

    /// Each window was run from an empty cache. In a window of a longer run, token 0 would have no
    /// outlier.
    #[test]
    fn the_first_token_of_each_window_is_massive_where_the_last_layer_ends()
    -> Result<(), SliceError> {
        for window in Window::ALL {
            let x = activations(TENSORS[8], window)?;
            let peaks =
                x.map_axis(Axis(1), |token| token.fold(0.0, |max: f32, x| max.max(x.abs())));
            let others = peaks.iter().skip(1).fold(0.0, |max: f32, &peak| max.max(peak));
            assert!(peaks[0] > 4.0 * others, "{window:?}: {} against {others}", peaks[0]);
        }
        Ok(())
    }

    #[test]
    fn an_unknown_name_is_told_what_there_is() {
        let name = "model.layers.0.mlp.up_proj.weight";
        for error in [tensor(name).unwrap_err(), activations(name, Window::HeldOut).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("model.layers.29.mlp.down_proj.weight"), "{error}");
        }
    }

    #[test]
    fn the_hessians_are_symmetric_and_fit_their_weights_in_a_file_under_its_size()
    -> Result<(), SliceError> {
        assert!(hessians_file()?.len() <= 1_500_000, "{} bytes", hessians_file()?.len());
        for name in HESSIANS {
            let h = hessian(name)?;
            assert_eq!(h.ncols(), tensor(name)?.ncols(), "{name}");
            assert_eq!(h, h.t(), "{name}");
            assert!(h.diag().iter().all(|element| *element > 0.0), "{name} has a dead column");
        }
        let error = hessian(TENSORS[0]).unwrap_err().to_string();
        assert!(error.contains("has no tensor model.layers.1.self_attn"), "{error}");
        Ok(())
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(label(TENSORS[6]), "layer 29 q_proj");
        let input = input_name(TENSORS[6], Window::HeldOut);
        assert_eq!(input, "model.layers.29.self_attn.q_proj.input.held_out");
    }
}
