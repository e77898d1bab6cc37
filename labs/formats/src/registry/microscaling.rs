//! Blocks whose scale is a code of eight bits: MX and NVFP4, activations in floats.

use serde_json::Value;

use super::compressed::{Strategy, config, typed};
use super::{Codes, Description, File, Granularity, Part, Reader, Shared};
use crate::FormatError;
use crate::checkpoint::{Dtype, Scheme};
use crate::format::Grid;
use crate::magnitude::absmax;
use crate::microscaling::{Element, MX_BLOCK, NVFP4_BLOCK};
use crate::{bytes, float4, microscaling};

/// FP4 with a power of two for each 32 neighbours.
pub(super) const MXFP4: Description = Description {
    name: "mxfp4",
    about: "FP4 e2m1 in blocks of 32 with a power of two (compressed-tensors mxfp4-pack-quantized)",
    weights: Grid::E2M1,
    activations: None,
    granularity: Granularity::FixedGroup(MX_BLOCK as u64),
    overhead: &[8],
    shared: None,
    multiples: [1, 1],
    file: File::Safetensors {
        parts: |shape, size| parts(("weight_packed", Dtype::U8, 2), Dtype::U8, shape, size),
        config: |size, ignore| {
            weights_alone("mxfp4-pack-quantized", typed("group", size, "torch.uint8"), 4, ignore)
        },
    },
    scheme: Some(Scheme::Mxfp4),
    read_by: &[Reader::Course],
    round: |_, w| {
        let (codes, scales) = microscaling::quantize_mx(w, Element::E2M1)?;
        Ok(Codes::Blocked { codes, scales, global: None })
    },
    store: |codes| match codes {
        Codes::Blocked { codes, scales, global: None } => {
            Ok(vec![float4::pack(codes), bytes::of(scales)])
        }
        _ => Err(FormatError::WrongCodes("MXFP4")),
    },
};

/// FP8 with a power of two for each 32 neighbours.
pub(super) const MXFP8: Description = Description {
    name: "mxfp8",
    about: "FP8 e4m3 in blocks of 32 with a power of two (compressed-tensors mxfp8-quantized)",
    weights: Grid::E4M3,
    file: File::Safetensors {
        parts: |shape, size| parts(("weight", Dtype::F8E4M3, 1), Dtype::U8, shape, size),
        config: |size, ignore| {
            weights_alone("mxfp8-quantized", typed("group", size, "torch.uint8"), 8, ignore)
        },
    },
    scheme: Some(Scheme::Mxfp8),
    round: |_, w| {
        let (codes, scales) = microscaling::quantize_mx(w, Element::E4M3)?;
        Ok(Codes::Blocked { codes, scales, global: None })
    },
    store: |codes| match codes {
        Codes::Blocked { codes, scales, global: None } => {
            Ok(vec![bytes::of(codes), bytes::of(scales)])
        }
        _ => Err(FormatError::WrongCodes("MXFP8")),
    },
    ..MXFP4
};

/// FP4 with an FP8 scale for each 16 neighbours, and a float for the tensor.
pub(super) const NVFP4: Description = Description {
    name: "nvfp4",
    about: "FP4 e2m1 in blocks of 16 with FP8 scales (compressed-tensors nvfp4-pack-quantized)",
    granularity: Granularity::FixedGroup(NVFP4_BLOCK as u64),
    shared: Some(Shared { bits: 32, round: nvfp4 }),
    file: File::Safetensors {
        parts: |shape, size| {
            let mut parts = parts(("weight_packed", Dtype::U8, 2), Dtype::F8E4M3, shape, size);
            parts.push(("weight_global_scale", Dtype::F32, vec![1]));
            parts
        },
        config: |size, ignore| {
            let strategy = typed("tensor_group", size, "torch.float8_e4m3fn");
            weights_alone("nvfp4-pack-quantized", strategy, 4, ignore)
        },
    },
    scheme: Some(Scheme::Nvfp4),
    round: |_, w| nvfp4(w, absmax(w)),
    store: |codes| match codes {
        Codes::Blocked { codes, scales, global: Some(global) } => {
            Ok(vec![float4::pack(codes), bytes::of(scales), bytes::of([global])])
        }
        _ => Err(FormatError::WrongCodes("NVFP4")),
    },
    ..MXFP4
};

fn nvfp4(w: &ndarray::Array2<f32>, absmax: f32) -> Result<Codes, FormatError> {
    let global = microscaling::nvfp4_global(absmax);
    let (codes, scales) = microscaling::quantize_nvfp4(w, global)?;
    Ok(Codes::Blocked { codes, scales, global: Some(global) })
}

/// The tensors of codes, so many in a byte, and of their scales.
fn parts(
    (name, dtype, in_a_byte): (&'static str, Dtype, u64),
    scale: Dtype,
    [out, inputs]: [u64; 2],
    size: u64,
) -> Vec<Part> {
    let codes = (name, dtype, vec![out, inputs / in_a_byte]);
    vec![codes, ("weight_scale", scale, vec![out, inputs / size])]
}

/// The config of weights of so many bits under activations in floats.
fn weights_alone(format: &str, strategy: Strategy, bits: u64, ignore: &[String]) -> Option<Value> {
    Some(config(format, strategy.of(bits, "float"), Value::Null, ignore))
}
