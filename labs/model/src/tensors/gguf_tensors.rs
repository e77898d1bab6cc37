//! The weights of a GGUF file.

use std::io::{Read, Seek};

use formats::gguf::{Gguf, unpermute_rotary};
use ndarray::Array2;

use super::store::Tensors;
use super::weight::Weight;
use crate::{Config, LayerId, ModelError, Projection};

/// A GGUF file and what it takes to undo its row order.
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

/// Takes the halves of the heads that are turned apart again, which the converter to GGUF
/// interleaved; `heads` are the query heads and the key-value heads.
pub(crate) fn in_hugging_face_order(
    weight: Weight,
    tensor: Array2<f32>,
    heads: [usize; 2],
) -> Result<Array2<f32>, ModelError> {
    match weight {
        Weight::Linear(LayerId::Layer(_, Projection::Q)) => {
            Ok(unpermute_rotary(&tensor, heads[0])?)
        }
        Weight::Linear(LayerId::Layer(_, Projection::K)) => {
            Ok(unpermute_rotary(&tensor, heads[1])?)
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

    fn is_needless(&self, _: &str) -> bool {
        false
    }
}
