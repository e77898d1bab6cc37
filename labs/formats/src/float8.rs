//! FP8. Most of the file is about e4m3fn: a sign, four bits of exponent, three of mantissa, no infinity.
//!
//! The largest value is 448. Codes are spaced like floats: from 2^-9 to 2^-6 in steps of 2^-9, then
//! eight codes for each power of two. Rounding is half to even, and magnitudes beyond 448 become 448, as
//! in torch 2.13, which wrote the golden file.

use half::f16;
use kit::int8::QuantError;
use ndarray::{Array2, s};

use crate::checkpoint::Dtype;
use crate::magnitude::absmax;

/// The largest value.
pub const MAX: f32 = 448.0;
/// Not a number, without its sign.
const NAN: u8 = 0x7F;
/// 2^-6, the smallest value with an implicit leading bit.
const LEAST_NORMAL: f32 = 1.0 / 64.0;
/// 2^-9, the step below it.
const LEAST: f32 = 1.0 / 512.0;

/// The code nearest to `value`: ties to the even code, beyond 448 the code of 448.
pub fn encode(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = value.abs().min(MAX);
    // `min` turns NaN into 448, so the value is asked and not the magnitude.
    if value.is_nan() {
        return sign | NAN;
    }
    if magnitude < LEAST_NORMAL {
        // Eight steps. The eighth is the code of the smallest normal value, so no case is needed.
        return sign | (magnitude / LEAST).round_ties_even() as u8;
    }
    // Rounds away the last 20 bits of the mantissa of the f32. A carry out of the mantissa runs into the
    // exponent, which is the next power of two. The lowest bit that is kept breaks ties to even.
    let bits = magnitude.to_bits();
    let rounded = bits + 0x0007_FFFF + (bits >> 20 & 1);
    // The bias is 127 in an f32 and 7 in E4M3.
    sign | ((rounded >> 20) - (120 << 3)) as u8
}

/// The value of a code.
pub fn decode(code: u8) -> f32 {
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    match (code & 0x7F, code >> 3 & 0x0F, code & 0x07) {
        (NAN, ..) => f32::NAN,
        (_, 0, mantissa) => sign * f32::from(mantissa) * LEAST,
        (_, exponent, mantissa) => {
            let power = f32::from_bits((u32::from(exponent) + 120) << 23);
            sign * (1.0 + f32::from(mantissa) / 8.0) * power
        }
    }
}

/// The value of a code of E5M2, which is an `f16` without its last eight bits.
pub fn decode_e5m2(code: u8) -> f32 {
    f16::from_le_bytes([0, code]).to_f32()
}

/// The values of the codes of an FP8 type; `None` for a type that is not decoded here.
pub fn decoder(dtype: Dtype) -> Option<fn(u8) -> f32> {
    match dtype {
        Dtype::F8E4M3 => Some(decode),
        Dtype::F8E5M2 => Some(decode_e5m2),
        _ => None,
    }
}

/// As [`quantize`], with one scale a row: scales are `[out_features, 1]`.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_per_channel(w: &Array2<f32>) -> Result<(Array2<u8>, Array2<f32>), QuantError> {
    quantize(w, [1, w.ncols()])
}

/// Quantizes `w`, `[out_features, in_features]`, with one scale for each block of so many rows and
/// columns, its largest magnitude over 448: codes of the same shape, and scales `[rows of blocks, columns
/// of blocks]`. A block at the edge may be smaller. A block of zeros has scale 1.
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize(
    w: &Array2<f32>,
    block: [usize; 2],
) -> Result<(Array2<u8>, Array2<f32>), QuantError> {
    if let Some(((row, column), &value)) = w.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(QuantError::NotFinite { row, column, value });
    }
    let ((rows, columns), [height, width]) = (w.dim(), block.map(|axis| axis.max(1)));
    let shape = (rows.div_ceil(height), columns.div_ceil(width).max(1));
    let scales = Array2::from_shape_fn(shape, |(i, j)| {
        let (bottom, right) = (rows.min((i + 1) * height), columns.min((j + 1) * width));
        let scale = absmax(w.slice(s![i * height..bottom, j * width..right])) / MAX;
        if scale > 0.0 { scale } else { 1.0 }
    });
    let codes =
        w.indexed_iter().map(|((i, j), value)| encode(value / scales[(i / height, j / width)]));
    let codes = Array2::from_shape_vec(w.dim(), codes.collect()).unwrap_or_default();
    Ok((codes, scales))
}
