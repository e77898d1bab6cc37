//! The rules of labs 01 and 03, stated again, because this crate does not depend on the labs.
//! `snippets` compares the rules with the labs.

use half::f16;

use super::{Encoded, Evidence, Rule, Ties, Zero, absmax};

/// Lab 01's int8: `absmax / 127`, and 1 for a scale of 0.
pub const LAB_01: Rule = Rule {
    name: "lab 01",
    library: "this course",
    function: "quantize_per_channel",
    bits: 8,
    symmetric: true,
    scale: "absmax / 127",
    ties: Ties::ToEven,
    zero_guard: "scale 0 becomes 1",
    codes: -127..=127,
    evidence: Evidence::Course,
    encode: |weights| {
        let scale = absmax(weights) / 127.0;
        let scale = if scale > 0.0 { scale } else { 1.0 };
        on_a_symmetric_grid(weights, scale, 127.0)
    },
};

/// Lab 03's int4: `absmax / 7` rounded to `f16`, and 1 for a scale of 0.
pub const LAB_03: Rule = Rule {
    name: "lab 03",
    function: "quantize_groups",
    bits: 4,
    scale: "absmax / 7, as f16",
    codes: -7..=7,
    encode: |weights| in_f16(weights, 7.0),
    ..LAB_01
};

/// The same rule for three bits: `absmax / 3` rounded to `f16`, and 1 for a scale of 0.
pub const INT3: Rule = Rule {
    name: "int3",
    function: "registry::GPTQ_3BIT",
    bits: 3,
    scale: "absmax / 3, as f16",
    codes: -3..=3,
    encode: |weights| in_f16(weights, 3.0),
    ..LAB_03
};

/// The scale is `absmax / qmax` in `f16`, rounded first, so that codes and values rest on the scale that is
/// stored.
fn in_f16(weights: &[f32], qmax: f32) -> Encoded {
    let scale = f16::from_f32(absmax(weights) / qmax).to_f32();
    let scale = if scale > 0.0 { scale } else { 1.0 };
    on_a_symmetric_grid(weights, scale, qmax)
}

/// Divides by the scale as it is stored, rounds half to even, clips to `-qmax..=qmax`.
fn on_a_symmetric_grid(weights: &[f32], scale: f32, qmax: f32) -> Encoded {
    let code = |weight: &f32| (weight / scale).round_ties_even().clamp(-qmax, qmax) as i32;
    let codes: Vec<i32> = weights.iter().map(code).collect();
    let values = codes.iter().map(|&code| code as f32 * scale).collect();
    Encoded { codes, scale, zero: Zero::Nowhere, values }
}
