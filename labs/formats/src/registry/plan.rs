//! The plan of a whole model in a format: which tensors are quantized, and what each becomes.
//!
//! Lab 05 derives these rules; here they follow from a format's description alone.

use super::decision::{Decision, Reason, blocks, part};
use super::{File, Granularity, StorageFormat, for_rows};
use crate::bytes::Float;
use crate::checkpoint::{self, Tensor};
use crate::gguf::TensorType;

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
        // The types of a mix are chosen for every matrix.
        _ if matches!(format.description.file, File::Mixed(_)) => {}
        Some("embed_tokens") => return Decision::Keep(Reason::Embedding),
        Some("lm_head") => return Decision::Keep(Reason::Head),
        _ => {}
    }
    let [out_by, in_by] = format.description.multiples;
    // Rows are whole groups and whole words. A group of int4 is whole words already, because
    // [`StorageFormat::named`] checks its size, and a group of int3 may end inside a word.
    let axes = [
        ("out_features", out, out_by),
        ("in_features", inputs, format.group_size.max(1)),
        ("in_features", inputs, in_by),
    ];
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
        (File::Gguf(kind), shape) => vec![of_gguf(tensor, quantized.then_some(*kind), shape)],
        (File::Mixed(mix), shape) => {
            let inputs = shape.last().copied().unwrap_or_default();
            vec![of_gguf(tensor, quantized.then(|| for_rows(mix.base, inputs)), shape)]
        }
    }
}

/// A tensor of a GGUF file in blocks of `kind`, else in floats.
fn of_gguf(tensor: &Tensor, kind: Option<TensorType>, shape: &[u64]) -> Tensor {
    let float = match shape {
        // Norms and biases.
        [] | [_] => TensorType::F32,
        _ => TensorType::F16,
    };
    blocks(&tensor.name, kind.unwrap_or(float), shape)
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
    bits_per_weight_of(quantized.map(|tensor| (tensor, parts(tensor, format, Float::F16))))
}

/// As [`bits_per_weight`], for matrices with their parts.
pub fn bits_per_weight_of<'t>(
    quantized: impl Iterator<Item = (&'t Tensor, Vec<Tensor>)>,
) -> Option<f64> {
    let (mut bytes, mut weights) = (0, 0);
    for (tensor, parts) in quantized {
        bytes += parts.iter().map(|part| part.bytes).sum::<u64>();
        weights += tensor.elements();
    }
    checkpoint::bits_per_weight(bytes, weights)
}
