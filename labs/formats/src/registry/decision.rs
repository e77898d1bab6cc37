//! What happens to a tensor, why, and the makers of the tensors that stand for a tensor in a file.

use std::fmt::{self, Display};

use crate::checkpoint::{Dtype, Storage, Tensor};
use crate::gguf::TensorType;

/// What happens to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is quantized.
    Quantize,
    /// It stays a float.
    Keep(Reason),
}

/// Why a tensor stays a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The format quantizes nothing.
    Plain,
    /// It is no weight matrix but a norm or a bias.
    NotAMatrix,
    /// It is looked up, not multiplied.
    Embedding,
    /// It makes the logits, and in many models it is the embedding.
    Head,
    /// `size`, its length along `axis`, is no multiple of `by`.
    Indivisible {
        /// `out_features` or `in_features`.
        axis: &'static str,
        /// Its length.
        size: u64,
        /// What would have to divide it.
        by: u64,
    },
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("nothing is quantized"),
            Self::NotAMatrix => f.write_str("no matrix"),
            Self::Embedding => f.write_str("the embedding, which is looked up"),
            Self::Head => f.write_str("the head, which makes the logits"),
            Self::Indivisible { axis, size, by } => {
                write!(f, "its {axis}, {size}, is no multiple of {by}")
            }
        }
    }
}

/// The tensor `module.name` of a safetensors file.
pub fn part(module: &str, name: &str, dtype: Dtype, shape: &[u64]) -> Tensor {
    let name = format!("{module}.{name}");
    let storage = Storage::Elements(dtype);
    let tensor = Tensor { name, storage, shape: shape.to_vec(), bytes: 0 };
    Tensor { bytes: tensor.elements().saturating_mul(dtype.bits()) / 8, ..tensor }
}

/// The tensor `name` of a GGUF file: rows of whole blocks of `kind`.
pub fn blocks(name: &str, kind: TensorType, shape: &[u64]) -> Tensor {
    let (weights, bytes) = kind.block().unwrap_or((1, 0));
    let storage = Storage::Blocks(kind);
    let tensor = Tensor { name: name.into(), storage, shape: shape.to_vec(), bytes: 0 };
    let blocks = tensor.elements() / weights as u64;
    Tensor { bytes: blocks.saturating_mul(bytes as u64), ..tensor }
}
