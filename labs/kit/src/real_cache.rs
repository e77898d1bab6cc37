//! Real keys, values and queries of SmolLM2-135M-Instruct: the KV cache of three layers.
//!
//! The model read the first [`TOKENS`] tokens of "Alice's Adventures in Wonderland" from an empty cache, so
//! token 0 is a first token. Keys and queries are rotated by their positions, as a cache keeps them.
//! `labs/kit/real-slice/PROVENANCE.md` says how the file was made.

use std::sync::OnceLock;

use ndarray::Array3;

use crate::real_slice::{SliceError, matrix, read_once};

/// The file.
pub const PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/real-slice/smollm2-135m-kv.safetensors");

/// The layers whose cache is there, counted from 0. In layer 4 values want a scale per token, in
/// layer 29 a scale per channel, and in layer 14 the first token decides.
pub const LAYERS: [usize; 3] = [4, 14, 29];
/// Tokens in the cache of a layer.
pub const TOKENS: usize = 320;
/// Queries of a layer: those of the last tokens.
pub const QUERIES: usize = 32;
/// Query heads of a layer.
pub const HEADS: usize = 9;
/// Key-value heads of a layer.
pub const KV_HEADS: usize = 3;
/// Channels of a head.
pub const HEAD_DIM: usize = 64;
/// The base of the angles by which the model rotates.
pub const ROPE_THETA: f64 = 100_000.0;

/// The cache of a layer, and queries for it. Widened from `f16` to `f32` (exact).
#[derive(Clone, Debug)]
pub struct RealCache {
    /// Rotated keys, `[TOKENS, KV_HEADS, HEAD_DIM]`.
    pub keys: Array3<f32>,
    /// Values, `[TOKENS, KV_HEADS, HEAD_DIM]`.
    pub values: Array3<f32>,
    /// Rotated queries of the last tokens, `[QUERIES, HEADS, HEAD_DIM]`.
    pub queries: Array3<f32>,
}

/// The three tensors of a layer, by the last part of their names in the file.
pub const TENSORS: [&str; 3] = ["keys", "values", "queries"];

/// The name of a tensor in the file: `model.layers.10.self_attn.keys`.
pub fn name(layer: usize, tensor: &str) -> String {
    format!("model.layers.{layer}.self_attn.{tensor}")
}

/// The cache of the layer `layer`, one of [`LAYERS`].
///
/// # Errors
/// If the file is missing or damaged, or has no cache of the layer.
pub fn of_layer(layer: usize) -> Result<RealCache, SliceError> {
    if !LAYERS.contains(&layer) {
        return Err(SliceError::NoCache { layer, there: &LAYERS });
    }
    let read = |tensor, shape: [usize; 3]| {
        let name = name(layer, tensor);
        let matrix = matrix(file()?, &name)?;
        let found = matrix.shape().to_vec();
        let values = matrix.into_raw_vec_and_offset().0;
        Array3::from_shape_vec(shape, values).map_err(|_| SliceError::OtherShape {
            name,
            found,
            expected: shape,
        })
    };
    Ok(RealCache {
        keys: read("keys", [TOKENS, KV_HEADS, HEAD_DIM])?,
        values: read("values", [TOKENS, KV_HEADS, HEAD_DIM])?,
        queries: read("queries", [QUERIES, HEADS, HEAD_DIM])?,
    })
}

/// The bytes of the file, read once.
fn file() -> Result<&'static [u8], SliceError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    read_once(&BYTES, PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Axis;

    #[test]
    fn every_layer_has_finite_keys_values_and_queries_in_a_file_under_its_size()
    -> Result<(), SliceError> {
        assert!(file()?.len() <= 1_000_000, "{} bytes", file()?.len());
        for layer in LAYERS {
            let cache = of_layer(layer)?;
            for tensor in [cache.keys, cache.values, cache.queries] {
                assert!(tensor.iter().all(|x| x.is_finite()), "layer {layer}");
                let rows = tensor.lanes(Axis(2)).into_iter();
                assert!(rows.into_iter().all(|row| row.iter().any(|&x| x != 0.0)), "layer {layer}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_layer_that_is_not_there_is_told_which_are() {
        let error = of_layer(2).unwrap_err().to_string();
        assert!(error.contains("layer 2") && error.contains("[4, 14, 29]"), "{error}");
    }
}
