//! int4 codes in groups along a row, in three layouts.

use half::f16;
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

use super::compressed::{config, group};
use super::nearest;
use super::{Codes, Description, File, Granularity, Reader, wrong_parts};
use crate::bytes;
use crate::checkpoint::{Dtype, Scheme};
use crate::format::Grid;
use crate::layouts::compressed_tensors::CompressedTensors;
use crate::layouts::{awq, compressed_tensors, gptq};
use crate::rules::LAB_03;

/// compressed-tensors: words of eight codes along the inputs.
pub(super) const W4A16: Description = Description {
    name: "w4a16",
    about: "int4 in groups, activations stay floats (compressed-tensors pack-quantized)",
    weights: Grid::Int(4),
    activations: None,
    granularity: Granularity::ChosenGroup,
    overhead: &[16],
    multiples: [1, 1],
    file: File::Safetensors {
        parts: |[out, inputs], size| {
            vec![
                ("weight_packed", Dtype::I32, vec![out, inputs / 8]),
                ("weight_scale", Dtype::F16, vec![out, inputs / size]),
                ("weight_shape", Dtype::I64, vec![2]),
            ]
        },
        config: |size, ignore| {
            Some(config("pack-quantized", group(size).of(4, "int"), Value::Null, ignore))
        },
    },
    read_by: &[Reader::Course, Reader::Vllm],
    recognizes: |found| found.scheme == Scheme::PackQuantized && found.bits == Some(4),
    round: |format, w| Ok(Codes::Int4(nearest::groups(&LAB_03, w, format.group_size)?)),
    store: |codes| {
        let w = compressed_tensors::pack(codes.int4()?)?;
        let (packed, scale) = (bytes::of(&w.weight_packed), bytes::of(&w.weight_scale));
        Ok(vec![packed, scale, bytes::of(&w.weight_shape)])
    },
    decode: |[out, inputs], parts| {
        let (packed, scales, shape, zeros) = match parts {
            [packed, scales, shape] => (packed, scales, shape, None),
            // Asymmetric, as others write it: zero points packed along the outputs.
            [packed, scales, shape, zeros] if zeros.is("weight_zero_point") => {
                (packed, scales, shape, Some(zeros))
            }
            _ => return Err(wrong_parts("w4a16", parts)),
        };
        let scales = scales.floats([out, scales.columns()])?;
        let zeros =
            zeros.map(|zeros| zeros.words([out.div_ceil(8), scales.ncols()])).transpose()?;
        // Read and not assumed, because a file whose shape is transposed must not load.
        let shape = shape.numbers([1, 2], i64::from_le_bytes)?;
        let tensors = CompressedTensors {
            weight_packed: packed.words([out, inputs.div_ceil(8)])?,
            weight_scale: ones(&scales),
            weight_shape: [shape[(0, 0)], shape[(0, 1)]],
            weight_zero_point: zeros,
        };
        Ok(compressed_tensors::unpack(&tensors)?.dequantize_with(&scales)?)
    },
};

/// AutoAWQ, version gemm: words along the outputs, transposed.
pub(super) const AWQ: Description = Description {
    name: "awq",
    about: "int4 in groups with zero points, in AutoAWQ's layout (gemm)",
    overhead: &[16, 4],
    // AutoAWQ's packer divides by 32 first and drops the rest.
    multiples: [32, 1],
    file: File::Safetensors {
        parts: |[out, inputs], size| {
            vec![
                ("qweight", Dtype::I32, vec![inputs, out / 8]),
                ("qzeros", Dtype::I32, vec![inputs / size, out / 8]),
                ("scales", Dtype::F16, vec![inputs / size, out]),
            ]
        },
        config: |size, ignore| {
            Some(json!({
                "quant_method": "awq", "bits": 4, "group_size": size, "zero_point": true,
                "version": "gemm", "modules_to_not_convert": ignore}))
        },
    },
    recognizes: |found| found.scheme == Scheme::AwqGemm,
    store: |codes| {
        let w = awq::pack(codes.int4()?)?;
        Ok(vec![bytes::of(&w.qweight), bytes::of(&w.qzeros), bytes::of(&w.scales)])
    },
    decode: |[out, inputs], parts| {
        let [qweight, qzeros, scales] = parts else {
            return Err(wrong_parts("awq", parts));
        };
        let scales = scales.floats([scales.rows(), out])?;
        let tensors = awq::AwqTensors {
            qweight: qweight.words([inputs, out / 8])?,
            qzeros: qzeros.words([scales.nrows(), out / 8])?,
            scales: ones(&scales),
        };
        Ok(awq::unpack(&tensors)?.dequantize_with(&scales.reversed_axes())?)
    },
    ..W4A16
};

/// GPTQ, version 1: words along the inputs, zero points stored minus one.
pub(super) const GPTQ: Description = Description {
    name: "gptq",
    about: "int4 in groups, in GPTQ's layout (version 1)",
    multiples: [8, 1],
    file: File::Safetensors {
        parts: |[out, inputs], size| {
            vec![
                ("qweight", Dtype::I32, vec![inputs / 8, out]),
                ("qzeros", Dtype::I32, vec![inputs / size, out / 8]),
                ("scales", Dtype::F16, vec![inputs / size, out]),
                ("g_idx", Dtype::I32, vec![inputs]),
            ]
        },
        config: |size, ignore| {
            Some(json!({
                "quant_method": "gptq", "bits": 4, "group_size": size, "sym": true,
                "desc_act": false, "checkpoint_format": "gptq", "modules_to_not_convert": ignore}))
        },
    },
    recognizes: |found| matches!(found.scheme, Scheme::Gptq(_)),
    store: |codes| {
        let w = gptq::pack(codes.int4()?, gptq::Version::V1)?;
        let [qweight, qzeros] = [&w.qweight, &w.qzeros].map(bytes::of);
        Ok(vec![qweight, qzeros, bytes::of(&w.scales), bytes::of(&w.g_idx)])
    },
    decode: |[out, inputs], parts| {
        let [qweight, qzeros, scales, g_idx] = parts else {
            return Err(wrong_parts("gptq", parts));
        };
        let scales = scales.floats([scales.rows(), out])?;
        let tensors = gptq::GptqTensors {
            qweight: qweight.words([inputs / 8, out])?,
            qzeros: qzeros.words([scales.nrows(), out / 8])?,
            scales: ones(&scales),
            g_idx: Array1::from_iter(g_idx.words([1, inputs])?),
        };
        let grouped = gptq::unpack(&tensors, gptq::Version::V1)?;
        Ok(grouped.dequantize_with(&scales.reversed_axes())?)
    },
    ..AWQ
};

/// Scales of 1 in the shape of the real ones, which may be of a type that the layout's struct does not
/// hold: codes and zero points are unpacked with these, and multiplied by the real ones.
fn ones(scales: &Array2<f32>) -> Array2<f16> {
    Array2::from_elem(scales.dim(), f16::ONE)
}
