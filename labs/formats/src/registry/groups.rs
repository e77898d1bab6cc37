//! Integer codes in groups along a row: int4 in three layouts, int3 in that of GPTQ.

use serde_json::{Value, json};

use super::compressed::{config, group};
use super::nearest;
use super::{Codes, Description, File, Granularity, Part, Reader};
use crate::FormatError;
use crate::bytes;
use crate::checkpoint::{Dtype, GptqVersion, Scheme};
use crate::format::Grid;
use crate::layouts::{awq, compressed_tensors, gptq};
use crate::rules::{COMPRESSED_TENSORS_ASYMMETRIC, INT3, LAB_03};

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
    round: |format, w| Ok(Codes::Grouped(nearest::groups(&LAB_03, w, format.group_size)?)),
    store: |codes| {
        let w = compressed_tensors::pack(codes.grouped()?)?;
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
        Ok(Codes::Grouped(nearest::groups(&COMPRESSED_TENSORS_ASYMMETRIC, w, format.group_size)?))
    },
    store: |codes| {
        let w = compressed_tensors::pack_with_zeros(codes.grouped()?)?;
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
        let w = awq::pack(codes.grouped()?)?;
        Ok(vec![bytes::of(&w.qweight), bytes::of(&w.qzeros), bytes::of(&w.scales)])
    },
    ..W4A16
};

/// GPTQ, version 1, with codes of three bits: 32 codes in three words.
pub(super) const GPTQ_3BIT: Description = Description {
    name: "gptq-3bit",
    about: "int3 in groups, in GPTQ's layout (version 1)",
    weights: Grid::Int(3),
    overhead: &[16, 3],
    multiples: [32, 32],
    file: File::Safetensors {
        parts: |shape, size| gptq_parts(3, shape, size),
        config: |size, ignore| gptq_config(3, size, ignore),
    },
    // vLLM 0.32 refuses 3 bits (`auto_gptq.py`: 4 and 8 bits, symmetric).
    read_by: &[Reader::Course],
    round: |format, w| Ok(Codes::Grouped(nearest::groups(&INT3, w, format.group_size)?)),
    store: |codes| gptq_store(3, codes),
    ..GPTQ
};

/// GPTQ, version 1: words along the inputs, zero points stored minus one.
pub(super) const GPTQ: Description = Description {
    name: "gptq",
    about: "int4 in groups, in GPTQ's layout (version 1)",
    multiples: [8, 1],
    file: File::Safetensors {
        parts: |shape, size| gptq_parts(4, shape, size),
        config: |size, ignore| gptq_config(4, size, ignore),
    },
    scheme: Some(Scheme::Gptq(GptqVersion::V1)),
    store: |codes| gptq_store(4, codes),
    ..AWQ
};

fn gptq_parts(bits: u64, [out, inputs]: [u64; 2], size: u64) -> Vec<Part> {
    vec![
        ("qweight", Dtype::I32, vec![inputs * bits / 32, out]),
        ("qzeros", Dtype::I32, vec![inputs / size, out * bits / 32]),
        ("scales", Dtype::F16, vec![inputs / size, out]),
        ("g_idx", Dtype::I32, vec![inputs]),
    ]
}

fn gptq_config(bits: u64, size: u64, ignore: &[String]) -> Option<Value> {
    Some(json!({
        "quant_method": "gptq", "bits": bits, "group_size": size, "sym": true, "desc_act": false,
        "checkpoint_format": "gptq", "modules_to_not_convert": ignore}))
}

fn gptq_store(bits: u32, codes: &Codes) -> Result<Vec<Vec<u8>>, FormatError> {
    let w = gptq::pack_bits(codes.grouped()?, bits, gptq::Version::V1)?;
    let [qweight, qzeros] = [&w.qweight, &w.qzeros].map(bytes::of);
    Ok(vec![qweight, qzeros, bytes::of(&w.scales), bytes::of(&w.g_idx)])
}
