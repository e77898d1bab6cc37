//! The weights that a block stands for.

use super::layout::Layout;
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
    let subs = block.codes[..layout.weights].chunks_exact(layout.sub);
    for (sub, codes) in subs.enumerate() {
        let codes = codes.iter().copied();
        let from = |offset: f32, scale: f32| {
            codes.clone().map(move |code| (f32::from(code) - offset) * scale)
        };
        let of_sub = scale * f32::from(block.scales[sub]);
        let min_of_sub = minimum * f32::from(block.minima[sub]);
        match layout.kind {
            TensorType::Q4_0 => values.extend(from(8.0, scale)),
            TensorType::Q5_0 => values.extend(from(16.0, scale)),
            TensorType::Q3_K => values.extend(from(4.0, of_sub)),
            TensorType::Q6_K => values.extend(from(32.0, of_sub)),
            // 11 bits times 5 fit into an f32, so only the sum is rounded, with or without a fused
            // multiply-add.
            TensorType::Q4_1 | TensorType::Q5_1 => {
                values.extend(codes.map(|code| f32::from(code) * scale + minimum));
            }
            TensorType::IQ4_NL => {
                values.extend(codes.map(|code| f32::from(IQ4_NL[usize::from(code)]) * scale));
            }
            _ => values.extend(codes.map(|code| of_sub * f32::from(code) - min_of_sub)),
        }
    }
}
