//! The weights of a GGUF file.

use std::io::{Read, Seek};

use formats::gguf::{Gguf, unpermute_rotary};
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
    match weight {
        Weight::Linear(LayerId::Layer(_, projection @ (Projection::Q | Projection::K))) => {
            let heads = heads[usize::from(projection == Projection::K)];
            Ok(unpermute_rotary(&tensor, heads)?)
        }
        _ => Ok(tensor),
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
