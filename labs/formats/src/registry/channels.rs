//! One scale for each output channel: int8 and FP8 codes of compressed-tensors.

use serde_json::Value;

use super::compressed::{CHANNEL, TENSOR, block, config, per_group, per_token};
use super::nearest;
use super::{Codes, Description, File, Granularity, Part, Reader};
use crate::FormatError;
use crate::bytes;
use crate::checkpoint::{Dtype, Scheme};
use crate::float8;
use crate::format::Grid;
use crate::rules::LAB_01;

/// int8 weights and int8 activations.
pub(super) const W8A8: Description = Description {
    name: "w8a8",
    about: "int8 per channel, int8 activations per token (compressed-tensors int-quantized)",
    weights: Grid::Int(8),
    activations: Some(Grid::Int(8)),
    granularity: Granularity::Channel,
    overhead: &[32],
    shared: None,
    multiples: [1, 1],
    file: File::Safetensors {
        parts: |shape, _| codes_and_scales(Dtype::I8, shape),
        config: |_, ignore| {
            Some(config("int-quantized", CHANNEL.of(8, "int"), per_token("int"), ignore))
        },
    },
    scheme: Some(Scheme::IntQuantized),
    read_by: &[Reader::Course, Reader::Vllm],
    round: |_, w| Ok(Codes::Int8(nearest::rows(&LAB_01, w)?)),
    store: |codes| {
        let w = codes.int8()?;
        Ok(vec![bytes::of(w.q()), bytes::of(w.scales())])
    },
};

/// int8 weights in words of four codes, activations in floats.
pub(super) const W8A16: Description = Description {
    name: "w8a16",
    about: "int8 per channel, activations stay floats (compressed-tensors pack-quantized)",
    activations: None,
    // Four codes share a word.
    multiples: [1, 4],
    file: File::Safetensors {
        parts: |[out, inputs], _| {
            vec![
                ("weight_packed", Dtype::I32, vec![out, inputs / 4]),
                ("weight_scale", Dtype::F32, vec![out, 1]),
                ("weight_shape", Dtype::I64, vec![2]),
            ]
        },
        config: |_, ignore| {
            Some(config("pack-quantized", CHANNEL.of(8, "int"), Value::Null, ignore))
        },
    },
    scheme: Some(Scheme::PackQuantized),
    read_by: &[Reader::Course],
    store: |codes| {
        let w = codes.int8()?;
        // Plus 128 turns -128..=127 into 0..=255: in two's complement that flips the top bit.
        let words = w.q().mapv(|code| code.cast_unsigned() ^ 0x80);
        let shape = [w.q().nrows() as i64, w.q().ncols() as i64];
        Ok(vec![bytes::of(&words), bytes::of(w.scales()), bytes::of(&shape)])
    },
    ..W8A8
};

/// FP8 weights and FP8 activations.
pub(super) const FP8: Description = Description {
    name: "fp8",
    about: "FP8 e4m3 per channel, FP8 activations per token (compressed-tensors float-quantized)",
    weights: Grid::E4M3,
    activations: Some(Grid::E4M3),
    file: File::Safetensors {
        parts: |shape, _| codes_and_scales(Dtype::F8E4M3, shape),
        config: |_, ignore| {
            Some(config("float-quantized", CHANNEL.of(8, "float"), per_token("float"), ignore))
        },
    },
    scheme: Some(Scheme::Fp8),
    round: |_, w| {
        let (codes, scales) = float8::quantize_per_channel(w)?;
        Ok(Codes::Float8 { codes, scales })
    },
    store: |codes| match codes {
        Codes::Float8 { codes, scales } => Ok(vec![bytes::of(codes), bytes::of(scales)]),
        _ => Err(FormatError::WrongCodes("fp8")),
    },
    ..W8A8
};

/// FP8 weights and FP8 activations, one scale for all weights of a matrix.
pub(super) const FP8_TENSOR: Description = Description {
    name: "fp8-tensor",
    about: "FP8 e4m3 per tensor, FP8 activations per token (compressed-tensors float-quantized)",
    granularity: Granularity::Tensor,
    file: File::Safetensors {
        parts: |shape, _| {
            let weight = ("weight", Dtype::F8E4M3, shape.to_vec());
            vec![weight, ("weight_scale", Dtype::F32, vec![1])]
        },
        config: |_, ignore| {
            Some(config("float-quantized", TENSOR.of(8, "float"), per_token("float"), ignore))
        },
    },
    round: |_, w| {
        let (codes, scales) = float8::quantize(w, [w.nrows(), w.ncols()])?;
        Ok(Codes::Float8 { codes, scales })
    },
    ..FP8
};

/// Rows and columns of a block of DeepSeek's FP8.
const BLOCK: u64 = 128;

/// FP8 weights with a scale for each square of 128, and FP8 activations with one for 128 of a token.
pub(super) const FP8_BLOCK: Description = Description {
    name: "fp8-block",
    about: "FP8 e4m3 in blocks of 128 x 128, FP8 activations in groups of 128 (compressed-tensors)",
    granularity: Granularity::Block(BLOCK, BLOCK),
    file: File::Safetensors {
        parts: |[out, inputs], _| {
            let scales = vec![out.div_ceil(BLOCK), inputs.div_ceil(BLOCK)];
            vec![("weight", Dtype::F8E4M3, vec![out, inputs]), ("weight_scale", Dtype::F32, scales)]
        },
        config: |_, ignore| {
            let weights = block(BLOCK, BLOCK).of(8, "float");
            Some(config("float-quantized", weights, per_group(BLOCK), ignore))
        },
    },
    // vLLM multiplies only whole blocks of 128 inputs.
    read_by: &[Reader::Course],
    round: |_, w| {
        let (codes, scales) = float8::quantize(w, [BLOCK as usize; 2])?;
        Ok(Codes::Float8 { codes, scales })
    },
    ..FP8
};

fn codes_and_scales(dtype: Dtype, [out, inputs]: [u64; 2]) -> Vec<Part> {
    vec![("weight", dtype, vec![out, inputs]), ("weight_scale", Dtype::F32, vec![out, 1])]
}
