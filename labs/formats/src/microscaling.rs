//! Blocks whose scale is a code of eight bits: MX, where the scale is a power of two (E8M0), and NVFP4,
//! where the scale is FP8 under one float for the tensor.
//!
//! The rules are those of compressed-tensors 0.20.0. Lab 08 has the readable ones, and the tests compare.

use kit::int4::Int4Error;
use kit::int8::QuantError;
use ndarray::{Array2, s};

use crate::magnitude::absmax;
use crate::{FormatError, e8m0, float4, float8};

/// Weights of an MX block.
pub const MX_BLOCK: usize = 32;
/// Weights of an NVFP4 block.
pub const NVFP4_BLOCK: usize = 16;

/// Codes in blocks along the rows, `[out_features, in_features]`, and the code of the scale of each block,
/// `[out_features, in_features / block]`.
type Coded = (Array2<u8>, Array2<u8>);

/// Floats of at most eight bits, the codes under a scale.
#[derive(Clone, Copy, Debug)]
pub enum Element {
    /// FP4.
    E2M1,
    /// FP8.
    E4M3,
}

impl Element {
    /// The exponent of the largest value.
    fn emax(self) -> u32 {
        match self {
            Self::E2M1 => 2,
            Self::E4M3 => 8,
        }
    }

    /// The function that finds the code nearest to a value.
    pub fn encode(self) -> fn(f32) -> u8 {
        match self {
            Self::E2M1 => float4::encode,
            Self::E4M3 => float8::encode,
        }
    }

    /// The function that finds the value of a code.
    pub fn decode(self) -> fn(u8) -> f32 {
        match self {
            Self::E2M1 => float4::decode,
            Self::E4M3 => float8::decode,
        }
    }
}

/// The E8M0 code of the scale of a block: the exponent of `absmax` rounded to one bit of fraction, half
/// up, less that of the largest value. compressed-tensors has the one bit of FP4 for FP8 as well.
fn block_exponent(absmax: f32, element: Element) -> u8 {
    // The exponent field of an f32 has the bias of E8M0. Half of the last bit that is kept is added.
    let field = (absmax.to_bits() + (1 << 21)) >> 23;
    field.saturating_sub(element.emax()).min(254) as u8
}

/// Quantizes `w` to MX.
///
/// # Errors
/// If blocks do not divide the rows, or `w` holds NaN or infinity.
pub fn quantize_mx(w: &Array2<f32>, element: Element) -> Result<Coded, FormatError> {
    let exponent = |absmax| block_exponent(absmax, element);
    let scale = |code| e8m0::decode(code).unwrap_or(f32::NAN);
    quantize(w, MX_BLOCK, exponent, scale, element.encode())
}

/// The global scale of NVFP4 for a tensor with the largest magnitude `absmax`, by which stored scales are
/// divided. 1 where that is not finite.
pub fn nvfp4_global(absmax: f32) -> f32 {
    // The reciprocal first, as torch computes a number over a tensor.
    let scale = float8::MAX * float4::MAX * (1.0 / absmax);
    if scale.is_finite() { scale } else { 1.0 }
}

/// Quantizes `w` to NVFP4 under the scale `global` of the tensor.
///
/// # Errors
/// As [`quantize_mx`].
pub fn quantize_nvfp4(w: &Array2<f32>, global: f32) -> Result<Coded, FormatError> {
    // The smallest scale is code 1, because 0 / 0 is NaN. compressed-tensors has 0.125 there.
    let code = |absmax: f32| float8::encode(absmax / float4::MAX * global).max(1);
    quantize(w, NVFP4_BLOCK, code, |code| float8::decode(code) / global, float4::encode)
}

/// Quantizes `w` in blocks: the code of a scale follows from the largest magnitude of its block, and
/// weights are divided by the value of that code.
fn quantize(
    w: &Array2<f32>,
    block: usize,
    scale_code: impl Fn(f32) -> u8,
    scale: impl Fn(u8) -> f32,
    encode: fn(f32) -> u8,
) -> Result<Coded, FormatError> {
    if let Some(((row, column), &value)) = w.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(QuantError::NotFinite { row, column, value }.into());
    }
    if !w.ncols().is_multiple_of(block) {
        let (in_features, group_size) = (w.ncols(), block);
        return Err(Int4Error::GroupDoesNotDivide { in_features, group_size }.into());
    }
    let scales = Array2::from_shape_fn((w.nrows(), w.ncols() / block), |(row, at)| {
        scale_code(absmax(w.slice(s![row..=row, at * block..(at + 1) * block])))
    });
    let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
        encode(w[(row, column)] / scale(scales[(row, column / block)]))
    });
    Ok((codes, scales))
}
