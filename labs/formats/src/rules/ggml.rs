//! GGML's blocks, the formats of llama.cpp. A weight is multiplied by the inverse of an `f32`
//! scale, and only what is stored is rounded to `f16`: codes and scale do not quite belong together.
//!
//! Source: `quantize_row_q4_0_ref` and its neighbours in llama.cpp's `ggml-quants.c`, which
//! `gguf/quants.py` of gguf 0.19.0 follows to the bit. A block has 32 weights; the arithmetic is the
//! same for any number.

use half::f16;

use super::{Encoded, Evidence, Rule, Ties, Zero};
use crate::magnitude::{absmax_of_slice, extremes, furthest};

/// int4 with a sign in the scale, so that the weight of largest magnitude always gets code 0, which
/// is -8 steps.
pub const GGML_Q4_0: Rule = Rule {
    name: "GGML Q4_0",
    library: "gguf 0.19.0",
    function: "quantize",
    bits: 4,
    symmetric: true,
    scale: "signed max / -8, as f16",
    ties: Ties::Up,
    zero_guard: "1 / 0 becomes 0",
    codes: 0..=15,
    evidence: Evidence::Ran,
    encode: |weights| {
        let (scale, _, codes) = signed(weights, 4);
        let (scale, codes) = (stored(scale), codes.collect::<Vec<_>>());
        let values = codes.iter().map(|code| scale * (code - 8) as f32).collect();
        Encoded { codes, scale, zero: Zero::Point(8), values }
    },
};

/// int4 above a minimum: `code * scale + min`. 0 need not be on the grid.
pub const GGML_Q4_1: Rule = Rule {
    name: "GGML Q4_1",
    symmetric: false,
    scale: "(max - min) / 15, as f16",
    encode: |weights| {
        let (scale, min, codes) = above_minimum(weights, 4);
        let (scale, min, codes) = (stored(scale), stored(min), codes.collect::<Vec<_>>());
        let values = codes.iter().map(|&code| scale * code as f32 + min).collect();
        Encoded { codes, scale, zero: Zero::Minimum(min), values }
    },
    ..GGML_Q4_0
};

/// int8 with `absmax / 127`, rounded half away from zero.
pub const GGML_Q8_0: Rule = Rule {
    name: "GGML Q8_0",
    bits: 8,
    scale: "absmax / 127, as f16",
    ties: Ties::AwayFromZero,
    codes: -127..=127,
    encode: |weights| {
        let (scale, _, codes) = q8_0(weights);
        let (scale, codes) = (stored(scale), codes.collect::<Vec<_>>());
        let values = codes.iter().map(|&code| code as f32 * scale).collect();
        Encoded { codes, scale, zero: Zero::Nowhere, values }
    },
    ..GGML_Q4_0
};

/// Scale, minimum (none) and codes of so many bits before the scale is rounded: Q4_0 and Q5_0. The weight of
/// largest magnitude, with its sign and of equals the first, becomes code 0.
pub(crate) fn signed(weights: &[f32], bits: u32) -> (f32, f32, impl Iterator<Item = i32>) {
    let half = (1 << (bits - 1)) as f32;
    let scale = furthest(weights) / -half;
    let inverse = inverse(scale);
    let code = move |weight: &f32| up(weight * inverse + (half + 0.5), bits);
    (scale, 0.0, weights.iter().map(code))
}

/// Scale, minimum and codes of so many bits before the first two are rounded: Q4_1 and Q5_1.
pub(crate) fn above_minimum(weights: &[f32], bits: u32) -> (f32, f32, impl Iterator<Item = i32>) {
    let (min, max) = extremes(weights);
    let scale = (max - min) / ((1 << bits) - 1) as f32;
    let inverse = inverse(scale);
    let code = move |weight: &f32| up((weight - min) * inverse + 0.5, bits);
    (scale, min, weights.iter().map(code))
}

/// Scale, minimum (none) and codes of a block before the scale is rounded. `round` takes ties away
/// from zero.
pub(crate) fn q8_0(weights: &[f32]) -> (f32, f32, impl Iterator<Item = i32>) {
    let scale = absmax_of_slice(weights) / 127.0;
    let inverse = inverse(scale);
    (scale, 0.0, weights.iter().map(move |weight| (weight * inverse).round() as i32))
}

/// 1 / scale, or 0 where that is not finite: in a block of zeros, and in one whose scale is below
/// 2^-128. ggml guards only a scale of 0; infinity times 0 is NaN then, whose cast C leaves undefined.
/// Such a scale is stored as 0, so no code changes a value.
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The scale, or the minimum, as the block stores it.
fn stored(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// A sum that already holds the half: truncated, and clipped to the codes of so many bits.
fn up(steps: f32, bits: u32) -> i32 {
    (steps as i32).clamp(0, (1 << bits) - 1)
}
