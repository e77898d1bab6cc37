//! compressed-tensors, the format of LLM Compressor: the range always holds 0, and the largest
//! weight lies between the two last codes.
//!
//! Source: `calculate_qparams` and `_quantize` of 0.20.0, in `quantization/utils/helpers.py` and
//! `quantization/lifecycle/forward_helpers.py`.

use super::{Encoded, Evidence, Rule, Ties, Zero, absmax, extremes};

/// int4 with `absmax / 7.5`.
pub const COMPRESSED_TENSORS_SYMMETRIC: Rule = Rule {
    name: "compressed-tensors symmetric",
    library: "compressed-tensors 0.20.0",
    function: "calculate_qparams",
    bits: 4,
    symmetric: true,
    scale: "absmax / 7.5",
    ties: Ties::ToEven,
    zero_guard: "scale 0 becomes f32's epsilon",
    codes: -8..=7,
    evidence: Evidence::Ran,
    encode: |weights| symmetric(weights, 7.5, -8.0..=7.0),
};

/// int8 with `absmax / 127.5`.
pub const COMPRESSED_TENSORS_INT8: Rule = Rule {
    name: "compressed-tensors int8",
    bits: 8,
    scale: "absmax / 127.5",
    codes: -128..=127,
    encode: |weights| symmetric(weights, 127.5, -128.0..=127.0),
    ..COMPRESSED_TENSORS_SYMMETRIC
};

/// int4 with a zero point of its own for each group, both counted from -8.
pub const COMPRESSED_TENSORS_ASYMMETRIC: Rule = Rule {
    name: "compressed-tensors asymmetric",
    symmetric: false,
    scale: "(max - min) / 15, 0 in range",
    encode: asymmetric,
    ..COMPRESSED_TENSORS_SYMMETRIC
};

type Range = std::ops::RangeInclusive<f32>;

fn symmetric(weights: &[f32], divisor: f32, codes: Range) -> Encoded {
    let scale = guarded(absmax(weights) / divisor);
    Encoded { zero: Zero::Nowhere, ..on_the_grid(weights, scale, 0.0, codes) }
}

fn asymmetric(weights: &[f32]) -> Encoded {
    let (min, max) = extremes(weights);
    let (min, max) = (min.min(0.0), max.max(0.0));
    let scale = (max - min) / 15.0;
    // The zero point of a group of zeros is 0 / 0. torch casts this NaN to 0, and so does `as`.
    let zero = (-8.0 - min / scale).clamp(-8.0, 7.0).round_ties_even() as i32 as f32;
    on_the_grid(weights, guarded(scale), zero, -8.0..=7.0)
}

/// The scale, or the epsilon of its type for a scale of 0.
fn guarded(scale: f32) -> f32 {
    if scale == 0.0 { f32::EPSILON } else { scale }
}

/// Adds the zero point before it rounds, so a tie goes to the even code, not to the even step.
fn on_the_grid(weights: &[f32], scale: f32, zero: f32, codes: Range) -> Encoded {
    let code = |weight: &f32| {
        (weight / scale + zero).clamp(*codes.start(), *codes.end()).round_ties_even() as i32
    };
    let codes: Vec<i32> = weights.iter().map(code).collect();
    let values = codes.iter().map(|&code| (code as f32 - zero) * scale).collect();
    Encoded { codes, scale, zero: Zero::Point(zero as i32), values }
}
