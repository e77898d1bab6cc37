//! The plan of a whole model in a format: which tensors are quantized, and what each becomes.
//!
//! Lab 05 derives these rules; here they follow from a format's description alone.

use std::fmt::{self, Display};

use super::{File, Granularity, StorageFormat};
use crate::bytes::Float;
use crate::checkpoint::{self, Dtype, Storage, Tensor};
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

/// Whether a tensor is quantized, and if not, why. `out_features` is looked at before `in_features`.
pub fn decide(tensor: &Tensor, format: StorageFormat) -> Decision {
    let (Some(module), &[out, inputs]) =
        (tensor.name.strip_suffix(".weight"), tensor.shape.as_slice())
    else {
        return Decision::Keep(Reason::NotAMatrix);
    };
    if format.description.granularity == Granularity::None {
        return Decision::Keep(Reason::Plain);
    }
    match module.rsplit('.').next() {
        Some("embed_tokens") => return Decision::Keep(Reason::Embedding),
        Some("lm_head") => return Decision::Keep(Reason::Head),
        _ => {}
    }
    let [out_by, in_by] = format.description.multiples;
    // Rows are whole groups and whole words. A group is whole words already, because
    // [`StorageFormat::named`] checks its size.
    let in_by = in_by.max(format.group_size);
    let axes = [("out_features", out, out_by), ("in_features", inputs, in_by)];
    match axes.into_iter().find(|(_, size, by)| !size.is_multiple_of(*by)) {
        Some((axis, size, by)) => Decision::Keep(Reason::Indivisible { axis, size, by }),
        None => Decision::Quantize,
    }
}

/// The tensors that stand for `tensor` in the file, in the order in which [`StorageFormat::store`]
/// gives their bytes. One that is kept has the type `float`; in a GGUF file it is F16, and F32 with
/// fewer than two axes, because llama.cpp multiplies by a norm in `f32`.
pub fn parts(tensor: &Tensor, format: StorageFormat, float: Float) -> Vec<Tensor> {
    let quantized = decide(tensor, format) == Decision::Quantize;
    let module = tensor.name.strip_suffix(".weight").unwrap_or_default();
    match (&format.description.file, tensor.shape.as_slice()) {
        (File::Safetensors { parts, .. }, &[out, inputs]) if quantized => {
            let parts = parts([out, inputs], format.group_size).into_iter();
            parts.map(|(name, dtype, shape)| part(module, name, dtype, &shape)).collect()
        }
        (File::Safetensors { .. }, shape) => {
            let kept = part("", "", float.dtype(), shape);
            vec![Tensor { name: tensor.name.clone(), ..kept }]
        }
        (File::Gguf(kind), shape) => {
            let kind = match shape {
                _ if quantized => *kind,
                // Norms and biases.
                [] | [_] => TensorType::F32,
                _ => TensorType::F16,
            };
            vec![blocks(&tensor.name, kind, shape)]
        }
    }
}

/// The linear modules that an engine has to leave alone: `lm_head` first, because a tied head is a
/// linear layer without a tensor, then every matrix that cannot be divided, in the order of `tensors`.
pub fn left_alone(tensors: &[Tensor], format: StorageFormat) -> Vec<String> {
    let indivisible = tensors.iter().filter(|tensor| {
        matches!(decide(tensor, format), Decision::Keep(Reason::Indivisible { .. }))
    });
    let modules = indivisible.filter_map(|tensor| tensor.name.strip_suffix(".weight"));
    ["lm_head"].into_iter().chain(modules).map(Into::into).collect()
}

/// Bits that one weight of the quantized matrices costs, every part counted; `None` if no tensor is
/// quantized.
pub fn bits_per_weight(tensors: &[Tensor], format: StorageFormat) -> Option<f64> {
    let quantized = tensors.iter().filter(|tensor| decide(tensor, format) == Decision::Quantize);
    let (mut bytes, mut weights) = (0, 0);
    for tensor in quantized {
        bytes += parts(tensor, format, Float::F16).iter().map(|part| part.bytes).sum::<u64>();
        weights += tensor.elements();
    }
    checkpoint::bits_per_weight(bytes, weights)
}
