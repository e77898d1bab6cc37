//! GGML's blocks, the formats of llama.cpp. A weight is multiplied by the inverse of an `f32`
//! scale, and only what is stored is rounded to `f16`: codes and scale do not quite belong together.
//!
//! Source: `quantize_row_q4_0_ref` and its neighbours in llama.cpp's `ggml-quants.c`, which
//! `gguf/quants.py` of gguf 0.19.0 follows to the bit. A block has 32 weights; the arithmetic is the
//! same for any number.

use half::f16;

use super::{Encoded, Evidence, Rule, Ties, Zero, absmax, extremes};

/// int4 with a sign in the scale, so that the loudest weight always gets code 0, which is -8 steps.
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
        let scale = loudest(weights) / -8.0;
        let inverse = inverse(scale);
        let code = |weight: &f32| up(weight * inverse + 8.5);
        let codes: Vec<i32> = weights.iter().map(code).collect();
        let scale = stored(scale);
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
        let (min, max) = extremes(weights);
        let scale = (max - min) / 15.0;
        let inverse = inverse(scale);
        let code = |weight: &f32| up((weight - min) * inverse + 0.5);
        let codes: Vec<i32> = weights.iter().map(code).collect();
        let (scale, min) = (stored(scale), stored(min));
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
        let scale = absmax(weights) / 127.0;
        let inverse = inverse(scale);
        let codes: Vec<i32> =
            weights.iter().map(|weight| (weight * inverse).round() as i32).collect();
        let scale = stored(scale);
        let values = codes.iter().map(|&code| code as f32 * scale).collect();
        Encoded { codes, scale, zero: Zero::Nowhere, values }
    },
    ..GGML_Q4_0
};

/// The weight of largest magnitude, with its sign; of equals the first.
fn loudest(weights: &[f32]) -> f32 {
    weights
        .iter()
        .fold(0.0, |max: f32, &weight| if weight.abs() > max.abs() { weight } else { max })
}

/// `1 / scale`, and 0 for a scale of 0.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The scale, or the minimum, as the block stores it.
fn stored(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// A sum that already holds the half: truncated, and clipped to 0..=15.
fn up(steps: f32) -> i32 {
    (steps as i32).clamp(0, 15)
}
