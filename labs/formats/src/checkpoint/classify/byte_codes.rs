//! Bytes that are codes: int8, bitsandbytes, ModelOpt's FP4; and GGML's blocks.

use super::floats::group_of_scales;
use super::module::{Found, Module, Wrong, is, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::scheme::{Quantized, Scheme, ZeroPoints};
use crate::checkpoint::tensor::Tensor;
use crate::format::Group;
use crate::gguf::TensorType;

/// One `int8` a weight: compressed-tensors with `weight_scale`, bitsandbytes with `SCB`.
pub(super) fn int8(
    module: &Module,
    weight: &Tensor,
    expected: Option<&Expected>,
) -> Result<Option<Quantized>, Wrong> {
    let (scheme, scale) = match (module.get("weight_scale"), module.get("SCB")) {
        (Some(scale), _) => (Scheme::IntQuantized, scale),
        (None, Some(scale)) => (Scheme::BnbInt8, scale),
        (None, None) => return Ok(None),
    };
    let said = expected.and_then(|expected| expected.group);
    let stored = module.get("weight_zero_point").is_some();
    Ok(Some(module.quantized(Found {
        scheme,
        bits: Some(8),
        group: group_of_scales(&weight.shape, &scale.shape, said)?,
        zeros: if stored { ZeroPoints::Stored } else { ZeroPoints::Absent },
        shape: Some(weight.shape.clone()),
    })))
}

/// A `weight` of bytes: two codes each, of bitsandbytes or of ModelOpt. `None` for plain bytes.
pub(super) fn bytes(module: &Module, weight: &Tensor) -> Result<Option<Quantized>, Wrong> {
    for table in ["nf4", "fp4"] {
        if module.get(&format!("weight.quant_state.bitsandbytes__{table}")).is_some() {
            return bitsandbytes(module, weight, table).map(Some);
        }
    }
    if module.get("weight_scale_2").is_some() {
        return modelopt(module, weight).map(Some);
    }
    Ok(None)
}

/// The shape is in the quant state, which is data and is not read. The number of weights follows from the
/// bytes.
fn bitsandbytes(module: &Module, weight: &Tensor, table: &'static str) -> Result<Quantized, Wrong> {
    let Some(absmax) = module.get("weight.absmax") else {
        return Err((
            "there is no weight.absmax".into(),
            "it holds the scale of each block".into(),
        ));
    };
    let weights = weight.elements().saturating_mul(2);
    let double = module.get("weight.nested_absmax").is_some();
    let group = whole(weights, absmax.elements()).map_or(Group::Unread, Group::Size);
    let mut quantized = module.quantized(Found {
        scheme: Scheme::BnbTable { table, double },
        bits: Some(4),
        group,
        zeros: ZeroPoints::Table,
        shape: None,
    });
    quantized.weights = Some(weights);
    Ok(quantized)
}

fn modelopt(module: &Module, weight: &Tensor) -> Result<Quantized, Wrong> {
    let misfit = |what: &str| {
        (what.to_owned(), "ModelOpt's NVFP4 has an F8_E4M3 scale for 16 neighbours".to_owned())
    };
    let scale = module.get("weight_scale").filter(|scale| is(Some(scale), Dtype::F8E4M3));
    let scale =
        scale.ok_or_else(|| misfit("weight_scale_2 has no 8-bit weight_scale beside it"))?;
    let (Some((&bytes, outer)), Some((&groups, rows))) =
        (weight.shape.split_last(), scale.shape.split_last())
    else {
        return Err(misfit("weight or weight_scale has no axis"));
    };
    let inputs = bytes.saturating_mul(2);
    let size = whole(inputs, groups).filter(|_| rows == outer && !outer.is_empty());
    let size = size.ok_or_else(|| misfit("weight and weight_scale do not fit each other"))?;
    let mut shape = outer.to_vec();
    shape.push(inputs);
    Ok(module.quantized(Found {
        scheme: Scheme::Nvfp4ModelOpt,
        bits: Some(4),
        group: Group::Size(size),
        zeros: ZeroPoints::Absent,
        shape: Some(shape),
    }))
}

/// A tensor of a GGUF file: `None` for plain floats and integers.
pub(super) fn ggml(module: &Module, weight: &Tensor, kind: TensorType) -> Option<Quantized> {
    let (block, _) = kind.block().filter(|&(block, _)| block > 1)?;
    let name = kind.to_string();
    Some(module.quantized(Found {
        scheme: Scheme::Ggml(kind),
        bits: digits(&name),
        group: Group::Size(block as u64),
        zeros: zeros(&name),
        shape: Some(weight.shape.clone()),
    }))
}

/// The number in the type's name is the bits of a code: `Q4_K`, `IQ2_XXS`, `MXFP4`.
fn digits(name: &str) -> Option<u64> {
    let digit = name.chars().find_map(|c| c.to_digit(10));
    digit.map(u64::from)
}

fn zeros(name: &str) -> ZeroPoints {
    match name {
        "Q4_1" | "Q5_1" | "Q2_K" | "Q4_K" | "Q5_K" => ZeroPoints::Minimum,
        _ if name.starts_with("IQ") => ZeroPoints::Table,
        _ => ZeroPoints::Absent,
    }
}
