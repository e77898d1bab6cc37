//! Bytes that are codes: int8, bitsandbytes, ModelOpt's FP4; and GGML's blocks.

use super::floats::group_of_scales;
use super::module::{Found, Module, Wrong, is, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::{Dtype, Storage};
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
    let group = group_of_scales(&weight.shape, &scale.shape, said)?;
    let zeros = module.zeros("weight_zero_point");
    let found = Found { zeros, ..Found::of(8, group, weight.shape.clone()) };
    Ok(Some(module.quantized(scheme, found)))
}

/// The table of bitsandbytes' codes, if they are such. The codes may be stored as elements of any type.
pub(super) fn bitsandbytes_table(module: &Module) -> Option<&'static str> {
    let state = |table: &&str| format!("weight.quant_state.bitsandbytes__{table}");
    ["nf4", "fp4"].into_iter().find(|table| module.get(&state(table)).is_some())
}

/// The shape is in the quant state, which is data and is not read. The number of weights follows from the
/// bytes.
pub(super) fn bitsandbytes(module: &Module, table: &'static str) -> Result<Quantized, Wrong> {
    let (Some(weight), Some(absmax)) = (module.get("weight"), module.get("weight.absmax")) else {
        return Err(Wrong::NotKnown(
            "bitsandbytes",
            "the weight or its weight.absmax, which has the scale of each block, is not in this file".into(),
        ));
    };
    let Storage::Elements(dtype) = weight.storage else {
        return Err(Wrong::not_known("its weight is in GGML's blocks"));
    };
    // Not the bytes of the file, because a header that is made up for a test has none.
    let weights = weight.elements().saturating_mul(dtype.bits() / 4);
    let double = module.get("weight.nested_absmax").is_some();
    let group = whole(weights, absmax.elements()).map_or(Group::Unread, Group::Size);
    let (bits, zeros, weights) = (Some(4), ZeroPoints::Table, Some(weights));
    let found = Found { bits, zeros, weights, ..Found::open(group) };
    Ok(module.quantized(Scheme::BnbTable { table, double }, found))
}

/// ModelOpt's FP4: `weight` of bytes, an FP8 scale for 16 neighbours, `weight_scale_2` for the tensor.
pub(super) fn modelopt(module: &Module, weight: &Tensor) -> Result<Quantized, Wrong> {
    const NAME: &str = "FP4, ModelOpt names";
    let misfit = |what: &str| Wrong::NotKnown(NAME, what.to_owned());
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
    let size =
        size.ok_or_else(|| misfit("weight_scale is padded, or cuts the weight in another way"))?;
    let mut shape = outer.to_vec();
    shape.push(inputs);
    Ok(module.quantized(Scheme::Nvfp4ModelOpt, Found::of(4, Group::Size(size), shape)))
}

/// A tensor of a GGUF file: `None` for plain floats and integers.
pub(super) fn ggml(module: &Module, weight: &Tensor, kind: TensorType) -> Option<Quantized> {
    let (bits, zeros) = (kind.code_bits().parse().ok(), zeros(&kind.to_string()));
    let shape = Some(weight.shape.clone());
    let found = Found { bits, zeros, shape, ..Found::open(Group::Size(kind.group()?)) };
    Some(module.quantized(Scheme::Ggml(kind), found))
}

fn zeros(name: &str) -> ZeroPoints {
    match name {
        "Q4_1" | "Q5_1" | "Q2_K" | "Q4_K" | "Q5_K" => ZeroPoints::Minimum,
        _ if name.starts_with("IQ") => ZeroPoints::Table,
        _ => ZeroPoints::Absent,
    }
}
