//! Decodes the blocks of a tensor.
//!
//! All numbers are little-endian. A row of a tensor is a whole number of blocks. In the 4-bit
//! types with 32 weights byte `j` holds element `j` in its low nibble and element `j + 16` in its high nibble, so
//! that the codes of a half of the block come out of a vector with one mask or one shift.

use half::f16;

use super::k_quants::{self, layout};
use super::{GgufError, TensorType};
use crate::e8m0;
use crate::float4;

/// Weights in a block of the types without super-blocks.
pub const BLOCK: usize = 32;

/// The weights in `bytes`, in order, as `f32`.
///
/// `bytes` is a whole number of blocks of `kind`. The arithmetic is GGML's, in `f32`: the result
/// is the same to the bit.
///
/// # Errors
/// [`GgufError::Undecodable`] for a type that is not decoded here, [`GgufError::PartOfABlock`] if
/// `bytes` ends inside a block.
pub fn dequantize(kind: TensorType, bytes: &[u8]) -> Result<Vec<f32>, GgufError> {
    let block = kind.block().filter(|_| kind.is_decoded());
    let (weights, size) = block.ok_or(GgufError::Undecodable(kind))?;
    let blocks = bytes.chunks_exact(size);
    if !blocks.remainder().is_empty() {
        return Err(GgufError::PartOfABlock { kind, bytes: bytes.len(), block: size });
    }
    let mut values = Vec::with_capacity(blocks.len() * weights);
    for block in blocks {
        decode_block(kind, block, &mut values);
    }
    Ok(values)
}

/// Appends the weights of one whole block.
fn decode_block(kind: TensorType, block: &[u8], values: &mut Vec<f32>) {
    match kind {
        TensorType::F32 => {
            values.extend(block.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)))
        }
        TensorType::F16 => values.push(f16_at(block, 0)),
        TensorType::Q8_0 => {
            let d = f16_at(block, 0);
            values.extend(block[2..].iter().map(|&code| d * f32::from(code.cast_signed())));
        }
        TensorType::Mxfp4 => {
            // llama.cpp reads exponent 255 as 2^128 / 2 times its doubled values, which is not finite
            // either.
            let scale = e8m0::decode(block[0]).unwrap_or(f32::NAN);
            values.extend(nibbles(&block[1..]).map(|code| scale * float4::decode(code)));
        }
        // `dequantize` refuses a type without a layout.
        _ => {
            if let Some(layout) = layout::Layout::of(kind) {
                k_quants::decode(layout, block, values);
            }
        }
    }
}

/// The codes of a block: all low nibbles, then all high ones.
fn nibbles(packed: &[u8]) -> impl Iterator<Item = u8> {
    packed.iter().map(|byte| byte & 0x0F).chain(packed.iter().map(|byte| byte >> 4))
}

fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_q4_0_block_by_hand() -> Result<(), GgufError> {
        // d = 0.5; byte 0 is 0xF1: element 0 is code 1, element 16 code 15; the rest is code 8.
        let mut block = vec![0x00, 0x38, 0xF1];
        block.resize(18, 0x88);
        let values = dequantize(TensorType::Q4_0, &block)?;
        assert_eq!((values.len(), values[0], values[16]), (32, -3.5, 3.5));
        assert!(values.iter().enumerate().all(|(i, &v)| v == 0.0 || i == 0 || i == 16));
        Ok(())
    }

    #[test]
    fn part_of_a_block_is_refused() {
        let error = dequantize(TensorType::Q8_0, &[0; 35]).unwrap_err().to_string();
        assert!(error.contains("35 bytes") && error.contains("34"), "{error}");
    }

    #[test]
    fn a_type_that_is_not_decoded_is_named() {
        let error = dequantize(TensorType::from_id(16), &[]).unwrap_err().to_string();
        assert!(error.contains("IQ2_XXS") && error.contains("Q4_1, Q5_0"), "{error}");
    }
}
