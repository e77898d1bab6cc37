//! Libraries that fake-quantize in torch: AutoAWQ, GPTQ, SmoothQuant. They round `x / s` half to
//! even, and they keep codes as floats, so a weight just below 0 comes back as -0.
//!
//! Sources: autoawq 0.2.9 `pseudo_quantize_tensor`, `awq/quantize/quantizer.py`; auto-gptq 0.7.1
//! `find_params` and `quantize`, `quantization/quantizer.py`; SmoothQuant
//! `quantize_weight_per_channel_absmax`, `smoothquant/fake_quant.py`.

use super::{Encoded, Evidence, Rule, Ties, Zero, absmax, extremes};

/// int4 with `absmax / 7`. The clip leaves room for -8, which nothing reaches.
pub const AUTOAWQ_SYMMETRIC: Rule = Rule {
    name: "AutoAWQ symmetric",
    library: "autoawq 0.2.9",
    function: "pseudo_quantize_tensor",
    bits: 4,
    symmetric: true,
    scale: "max(absmax, 1e-5) / 7",
    ties: Ties::ToEven,
    zero_guard: "absmax at least 1e-5",
    codes: -8..=7,
    evidence: Evidence::Ran,
    encode: |weights| from_zero(weights, absmax(weights).max(1e-5) / 7.0, -8.0, 7.0),
};

/// int4 between the smallest and the largest weight. 0 is not forced into the range, but its code
/// is clipped to 0..=15: a group that is all of one sign loses its far end.
pub const AUTOAWQ_ZERO_POINT: Rule = Rule {
    name: "AutoAWQ zero_point",
    symmetric: false,
    scale: "max(max - min, 1e-5) / 15",
    zero_guard: "range at least 1e-5",
    codes: 0..=15,
    encode: |weights| {
        let (min, max) = extremes(weights);
        let scale = (max - min).max(1e-5) / 15.0;
        let zero = (-(min / scale).round_ties_even()).clamp(0.0, 15.0);
        around(weights, scale, zero)
    },
    ..AUTOAWQ_SYMMETRIC
};

/// int4 with `absmax / 7.5` and 0 at code 8. A group without a negative weight keeps a minimum of
/// 0: its scale is half as large and everything above `absmax * 7 / 15` is clipped.
pub const GPTQ_SYMMETRIC: Rule = Rule {
    name: "GPTQ symmetric",
    library: "auto-gptq 0.7.1",
    function: "Quantizer.find_params",
    bits: 4,
    symmetric: true,
    scale: "2 absmax / 15",
    ties: Ties::ToEven,
    zero_guard: "zeros get the range -1..1",
    codes: 0..=15,
    evidence: Evidence::Ran,
    encode: |weights| {
        let (min, max) = gptq_range(weights);
        let max = max.max(min.abs());
        let min = if min < 0.0 { -max } else { min };
        around(weights, gptq_scale(min, max), 8.0)
    },
};

/// int4 with a zero point, over a range that always holds 0.
pub const GPTQ_ASYMMETRIC: Rule = Rule {
    name: "GPTQ asymmetric",
    symmetric: false,
    scale: "(max - min) / 15, 0 in range",
    encode: |weights| {
        let (min, max) = gptq_range(weights);
        let (min, max) = if min == 0.0 && max == 0.0 { (-1.0, 1.0) } else { (min, max) };
        let scale = gptq_scale(min, max);
        around(weights, scale, (-min / scale).round_ties_even())
    },
    ..GPTQ_SYMMETRIC
};

/// SmoothQuant's fake quantization: int8 with `absmax / 127`, without a clip.
pub const SMOOTHQUANT: Rule = Rule {
    name: "SmoothQuant",
    library: "smoothquant c61476d",
    function: "quantize_weight_per_channel_absmax",
    bits: 8,
    symmetric: true,
    scale: "max(absmax, 1e-5) / 127",
    ties: Ties::ToEven,
    zero_guard: "absmax at least 1e-5",
    codes: -127..=127,
    evidence: Evidence::Ran,
    encode: |weights| from_zero(weights, absmax(weights).max(1e-5) / 127.0, -127.0, 127.0),
};

/// The extremes, widened so that 0 lies between them.
fn gptq_range(weights: &[f32]) -> (f32, f32) {
    let (min, max) = extremes(weights);
    (min.min(0.0), max.max(0.0))
}

/// A fifteenth of the range; a group of zeros is given the range -1 to 1.
fn gptq_scale(min: f32, max: f32) -> f32 {
    let (min, max) = if min == 0.0 && max == 0.0 { (-1.0, 1.0) } else { (min, max) };
    (max - min) / 15.0
}

/// Codes with a sign, 0 at code 0.
fn from_zero(weights: &[f32], scale: f32, low: f32, high: f32) -> Encoded {
    let steps = weights.iter().map(|weight| (weight / scale).round_ties_even().clamp(low, high));
    let steps: Vec<f32> = steps.collect();
    let codes = steps.iter().map(|&step| step as i32).collect();
    let values = steps.iter().map(|step| step * scale).collect();
    Encoded { codes, scale, zero: Zero::Nowhere, values }
}

/// Codes 0..=15 around a zero point. `x / s` is rounded alone, the zero point is added after.
fn around(weights: &[f32], scale: f32, zero: f32) -> Encoded {
    let code = |weight: &f32| ((weight / scale).round_ties_even() + zero).clamp(0.0, 15.0);
    let codes: Vec<f32> = weights.iter().map(code).collect();
    let values = codes.iter().map(|code| (code - zero) * scale).collect();
    let codes = codes.into_iter().map(|code| code as i32).collect();
    Encoded { codes, scale, zero: Zero::Point(zero as i32), values }
}
