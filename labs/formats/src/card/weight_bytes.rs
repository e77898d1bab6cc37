//! The bytes of a model's weights in the format of a card.

use super::reading::Card;
use crate::architecture::Architecture;
use crate::format::Format;

/// Bytes of the weights of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightBytes {
    /// Linear layers inside the blocks, overhead included.
    pub linear: u64,
    /// Everything else: embedding, head, norms, biases. 0 where a mean covers the file.
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
pub fn weight_bytes(card: &Card, model: &Architecture) -> Option<WeightBytes> {
    if let Some(mean) = card.mean_bits {
        let linear = (model.parameters() as f64 * mean / 8.0).round() as u64;
        return Some(WeightBytes { linear, rest: 0, about: true });
    }
    let format = card.format.as_ref()?;
    let matrices = model.layer_matrices();
    let layer: Option<u64> = matrices.iter().map(|&matrix| matrix_bytes(format, matrix)).sum();
    let linear = layer? * model.layers;
    if !card.embedding_too {
        let rest = 2 * (model.embedding_weights() + model.vector_weights());
        return Some(WeightBytes { linear, rest, about: false });
    }
    let tables = if model.tied { 1 } else { 2 };
    let table = matrix_bytes(format, [model.vocabulary, model.hidden])?;
    // GGUF files keep norms in f32.
    Some(WeightBytes { linear, rest: tables * table + 4 * model.vector_weights(), about: true })
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
