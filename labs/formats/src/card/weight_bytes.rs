//! The bytes of a model's weights in the format of a card.

use super::reading::Card;
use crate::format::Format;
use crate::model_sizes::{Matrices, ModelSizes};

/// Bytes of the weights of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightBytes {
    /// Linear layers inside the blocks, overhead included.
    pub linear: u64,
    /// Everything else: embedding, head, norms, biases, routers. 0 where a mean covers the file.
    pub rest: u64,
    /// Whether it is about right only: by the mean bits of another model, or as if a GGUF file had one
    /// type for all matrices.
    pub about: bool,
}

impl WeightBytes {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.linear + self.rest
    }
}

/// Bytes of the weights of `model` in the format of `card`; `None` where the card leaves it open.
///
/// A mean over a whole file counts for all parameters. Otherwise the linear layers inside the blocks
/// are quantized, and embedding and head stay in 16 bits, unless the card is that of a GGUF file.
pub fn weight_bytes(card: &Card, model: &ModelSizes) -> Option<WeightBytes> {
    if let Some(mean) = card.mean_bits {
        return Some(WeightBytes {
            linear: mean_bytes(model.parameters(), mean),
            rest: 0,
            about: true,
        });
    }
    let linear = linear_bytes(card, model, |matrices| matrices.stored)?;
    let tables = if model.tied { 1 } else { 2 };
    let rest = tables * table_bytes(card, model)? + vector_bytes(card, model);
    Some(WeightBytes { linear, rest, about: card.embedding_too })
}

/// Bytes of the weights that a step of decode reads at least: of a mixture the experts of one token, and
/// one table, because a token looks up one row of an embedding.
pub fn step_bytes(card: &Card, model: &ModelSizes) -> Option<u64> {
    if let Some(mean) = card.mean_bits {
        let table = if model.tied { 0 } else { model.table_weights() / 2 };
        let [stored, active] = model.linear_weights();
        return Some(mean_bytes(model.parameters() - table - (stored - active), mean));
    }
    let linear = linear_bytes(card, model, |matrices| matrices.active)?;
    Some(linear + table_bytes(card, model)? + vector_bytes(card, model))
}

fn mean_bytes(weights: u64, bits: f64) -> u64 {
    (weights as f64 * bits / 8.0).round() as u64
}

/// Bytes of the linear layers, each kind as often as `count` says.
fn linear_bytes(card: &Card, model: &ModelSizes, count: fn(&Matrices) -> u64) -> Option<u64> {
    let is_mixture = model.is_mixture();
    let bytes = model.matrices.iter().map(|matrices| {
        let [out, inputs] = matrices.shape;
        let each = match (&card.experts, card.rest_bits) {
            (Some(experts), _) if matrices.expert => matrix_bytes(experts, matrices.shape)?,
            (_, Some(bits)) if is_mixture && !matrices.expert => mean_bytes(out * inputs, bits),
            _ => matrix_bytes(card.format.as_ref()?, matrices.shape)?,
        };
        Some(each * count(matrices))
    });
    bytes.sum()
}

/// Bytes of the embedding, or of the head.
fn table_bytes(card: &Card, model: &ModelSizes) -> Option<u64> {
    let [out, inputs] = model.table;
    match card.rest_bits {
        _ if !card.embedding_too => Some(2 * out * inputs),
        Some(bits) if model.is_mixture() => Some(mean_bytes(out * inputs, bits)),
        _ => matrix_bytes(card.format.as_ref()?, model.table),
    }
}

/// Bytes of norms, biases and routers: 16 bits, and 32 in a GGUF file.
fn vector_bytes(card: &Card, model: &ModelSizes) -> u64 {
    model.vectors * if card.embedding_too { 4 } else { 2 }
}

/// Bytes of an `[out, in]` matrix: codes and overhead, rounded up to a byte.
fn matrix_bytes(format: &Format, [out, inputs]: [u64; 2]) -> Option<u64> {
    let mut bits = out * inputs * u64::from(format.weights.bits());
    for part in format.overhead.iter() {
        let [rows, columns] = part.per.grid(out, inputs)?;
        bits += rows * columns * u64::from(part.bits);
    }
    Some(bits.div_ceil(8))
}
