//! The weights that a block stands for.

use super::layout::{Block, Layout};
use crate::gguf::TensorType;

/// The sixteen values of IQ4_NL, in multiples of the scale (`kvalues_iq4nl` of `ggml-common.h`).
pub(super) const IQ4_NL: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Appends the weights of `block`, whole, in the layout `layout`.
///
/// The products are those of `dequantize_row_*` of `ggml-quants.c`, in the same order.
pub fn decode(layout: &Layout, block: &[u8], values: &mut Vec<f32>) {
    let block = layout.read(block);
    let (scale, minimum) = (block.scale.to_f32(), block.minimum.to_f32());
    values.extend(block.codes.iter().take(layout.weights).enumerate().map(|(index, &code)| {
        let of_sub = Multiples::of(&block, index / layout.sub);
        let code = f32::from(code);
        match layout.kind {
            TensorType::Q4_0 => (code - 8.0) * scale,
            TensorType::Q5_0 => (code - 16.0) * scale,
            // 11 bits times 5 fit into an f32, so only the sum is rounded, with or without a fused
            // multiply-add.
            TensorType::Q4_1 | TensorType::Q5_1 => code * scale + minimum,
            TensorType::IQ4_NL => f32::from(IQ4_NL[code as usize]) * scale,
            TensorType::Q3_K => scale * of_sub.scale * (code - 4.0),
            TensorType::Q6_K => scale * of_sub.scale * (code - 32.0),
            _ => scale * of_sub.scale * code - minimum * of_sub.minimum,
        }
    }));
}

/// Scale and minimum of a sub-block in multiples of the block's.
struct Multiples {
    scale: f32,
    minimum: f32,
}

impl Multiples {
    fn of(block: &Block, sub: usize) -> Self {
        Self { scale: f32::from(block.scales[sub]), minimum: f32::from(block.minima[sub]) }
    }
}
