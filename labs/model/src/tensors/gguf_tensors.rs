//! The weights of a GGUF file.

use std::io::{Read, Seek};

use formats::gguf::{Gguf, permute_rotary, unpermute_rotary};
use ndarray::Array2;

use super::store::Tensors;
use super::weight::Weight;
use crate::{Config, LayerId, ModelError, Projection};

/// A GGUF file and the numbers of heads, which undo its row order.
pub(crate) struct GgufTensors<R> {
    gguf: Gguf<R>,
    heads: usize,
    kv_heads: usize,
}

impl<R: Read + Seek> GgufTensors<R> {
    pub(crate) fn new(gguf: Gguf<R>, config: &Config) -> Self {
        Self { gguf, heads: config.heads, kv_heads: config.kv_heads }
    }
}

/// Undoes the converter to GGUF, which interleaves the two halves of a rotated head: GGML rotates
/// neighbours, Hugging Face rotates `j` with `j + head_dim / 2`. `heads` are the numbers of query heads
/// and of key-value heads.
pub(crate) fn in_hugging_face_order(
    weight: Weight,
    tensor: Array2<f32>,
    heads: [usize; 2],
) -> Result<Array2<f32>, ModelError> {
    Ok(match rotated(weight, heads) {
        Some(heads) => unpermute_rotary(&tensor, heads)?,
        None => tensor,
    })
}

/// The same tensor with its rows in the order of a GGUF file, from that of a Hugging Face checkpoint.
pub(crate) fn in_gguf_order<T: Clone>(
    weight: Weight,
    tensor: Array2<T>,
    heads: [usize; 2],
) -> Result<Array2<T>, ModelError> {
    Ok(match rotated(weight, heads) {
        Some(heads) => permute_rotary(&tensor, heads)?,
        None => tensor,
    })
}

/// The heads of a weight whose outputs are rotated, of `heads`, those of queries and of keys.
fn rotated(weight: Weight, heads: [usize; 2]) -> Option<usize> {
    match weight {
        Weight::Linear(LayerId::Layer(_, Projection::Q)) => Some(heads[0]),
        Weight::Linear(LayerId::Layer(_, Projection::K)) => Some(heads[1]),
        _ => None,
    }
}

impl<R: Read + Seek> Tensors for GgufTensors<R> {
    fn name(&self, weight: Weight) -> String {
        weight.gguf()
    }

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.gguf.tensors().iter().map(|info| (info.name.clone(), info.shape.clone())).collect()
    }

    fn read(&mut self, weight: Weight) -> Result<Array2<f32>, ModelError> {
        let tensor = self.gguf.tensor(&self.name(weight))?;
        in_hugging_face_order(weight, tensor, [self.heads, self.kv_heads])
    }
}
