//! int4 codes in groups along a row, in three layouts.

use serde_json::{Value, json};

use super::compressed::{config, group};
use super::nearest;
use super::{Codes, Description, File, Granularity, Reader};
use crate::bytes;
use crate::checkpoint::{Dtype, GptqVersion, Scheme};
use crate::format::Grid;
use crate::layouts::{awq, compressed_tensors, gptq};
use crate::rules::{COMPRESSED_TENSORS_ASYMMETRIC, LAB_03};

/// The formats whose files of this course can have zero points other than 8.
pub const WITH_ZERO_POINTS: [&str; 2] = [W4A16_ASYM.name, AWQ.name];

/// compressed-tensors: words of eight codes along the inputs.
pub(super) const W4A16: Description = Description {
    name: "w4a16",
    about: "int4 in groups, activations stay floats (compressed-tensors pack-quantized)",
    weights: Grid::Int(4),
    activations: None,
    granularity: Granularity::ChosenGroup,
    overhead: &[16],
    shared: None,
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
    scheme: Some(Scheme::PackQuantized),
    read_by: &[Reader::Course, Reader::Vllm],
    round: |format, w| Ok(Codes::Int4(nearest::groups(&LAB_03, w, format.group_size)?)),
    store: |codes| {
        let w = compressed_tensors::pack(codes.int4()?)?;
        let (packed, scale) = (bytes::of(&w.weight_packed), bytes::of(&w.weight_scale));
        Ok(vec![packed, scale, bytes::of(&w.weight_shape)])
    },
};

/// The same with zero points, packed along the outputs.
pub(super) const W4A16_ASYM: Description = Description {
    name: "w4a16-asym",
    about: "int4 in groups with zero points (compressed-tensors pack-quantized, asymmetric)",
    overhead: &[16, 4],
    // A row of zero points has eight outputs to a word.
    multiples: [8, 1],
    file: File::Safetensors {
        parts: |[out, inputs], size| {
            vec![
                ("weight_packed", Dtype::I32, vec![out, inputs / 8]),
                ("weight_scale", Dtype::F16, vec![out, inputs / size]),
                ("weight_shape", Dtype::I64, vec![2]),
                ("weight_zero_point", Dtype::I32, vec![out / 8, inputs / size]),
            ]
        },
        config: |size, ignore| {
            let mut weights = group(size).of(4, "int");
            weights["symmetric"] = false.into();
            Some(config("pack-quantized", weights, Value::Null, ignore))
        },
    },
    round: |format, w| {
        Ok(Codes::Int4(nearest::groups(&COMPRESSED_TENSORS_ASYMMETRIC, w, format.group_size)?))
    },
    store: |codes| {
        let w = compressed_tensors::pack_with_zeros(codes.int4()?)?;
        let parts =
            [bytes::of(&w.weight_packed), bytes::of(&w.weight_scale), bytes::of(&w.weight_shape)];
        Ok(parts.into_iter().chain(w.weight_zero_point.as_ref().map(bytes::of)).collect())
    },
    ..W4A16
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
    scheme: Some(Scheme::AwqGemm),
    store: |codes| {
        let w = awq::pack(codes.int4()?)?;
        Ok(vec![bytes::of(&w.qweight), bytes::of(&w.qzeros), bytes::of(&w.scales)])
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
    scheme: Some(Scheme::Gptq(GptqVersion::V1)),
    store: |codes| {
        let w = gptq::pack(codes.int4()?, gptq::Version::V1)?;
        let [qweight, qzeros] = [&w.qweight, &w.qzeros].map(bytes::of);
        Ok(vec![qweight, qzeros, bytes::of(&w.scales), bytes::of(&w.g_idx)])
    },
    ..AWQ
};
