//! FP8 with scales for the tensor, its rows or its blocks, and the FP4 of gpt-oss.

use super::module::{Found, Module, Wrong, is, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::scheme::{Quantized, Scheme, ZeroPoints};
use crate::checkpoint::tensor::Tensor;
use crate::format::Group;

/// The block of DeepSeek's checkpoints, tried where no config names one.
const USUAL_BLOCK: Group = Group::Block(128, 128);

/// FP8: `None` where it has no scales at all, as a plain cast.
pub(super) fn fp8(
    module: &Module,
    weight: &Tensor,
    expected: Option<&Expected>,
) -> Result<Option<Quantized>, Wrong> {
    let (scale, scheme) = match (module.get("weight_scale_inv"), module.get("weight_scale")) {
        // DeepSeek names the scale after the factor that made the codes, of which it is the inverse. A
        // weight is the product of code and scale, as in the other scheme.
        (Some(scale), _) => (scale, Scheme::Fp8ScaleInv),
        // A scale of MX blocks is one byte of exponent.
        (None, Some(scale)) if is(Some(scale), Dtype::U8) || is(Some(scale), Dtype::F8E8M0) => {
            (scale, Scheme::Mxfp8)
        }
        (None, Some(scale)) => (scale, Scheme::Fp8),
        (None, None) => return Ok(None),
    };
    let said = expected.and_then(|expected| expected.group);
    let group = group_of_scales(&weight.shape, &scale.shape, said)?;
    Ok(Some(module.quantized(Found {
        scheme,
        bits: Some(8),
        group,
        zeros: ZeroPoints::Absent,
        shape: Some(weight.shape.clone()),
    })))
}

/// The granularity from the shapes of `[.., out, in]` and of the scales.
pub(super) fn group_of_scales(
    weight: &[u64],
    scales: &[u64],
    said: Option<Group>,
) -> Result<Group, Wrong> {
    let misfit = || {
        let file = format!("the weight is {weight:?} and its scales {scales:?}");
        (file, "scales are one, one for each row, or a grid that cuts the weight evenly".to_owned())
    };
    let &[out, inputs] = weight.last_chunk().ok_or_else(misfit)?;
    // Fused experts have one more axis in front, of the weight and of its scales.
    let experts = weight.get(..weight.len() - 2).unwrap_or_default();
    let scales = scales.strip_prefix(experts).unwrap_or(scales);
    match *scales {
        [] | [1] | [1, 1] => Ok(Group::Tensor),
        [rows] | [rows, 1] if rows == out => Ok(Group::Channel),
        [rows, columns] => {
            let fits = |group: &Group| group.grid(out, inputs) == Some([rows, columns]);
            // The edge may cut off a block, so that several blocks fit one grid: the config decides.
            let guess = said.filter(fits).or(Some(USUAL_BLOCK).filter(fits));
            let even = || match (whole(out, rows)?, whole(inputs, columns)?) {
                (1, size) => Some(Group::Size(size)),
                (height, width) => Some(Group::Block(height, width)),
            };
            guess.or_else(even).ok_or_else(misfit)
        }
        _ => Err(misfit()),
    }
}

/// gpt-oss: `blocks [experts, rows, in/32, 16]` and `scales [experts, rows, in/32]`, bytes both.
pub(super) fn gpt_oss(module: &Module) -> Result<Quantized, Wrong> {
    let blocks = module.get("blocks").map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
    let scales = module.get("scales").map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
    let misfit = || {
        let file = format!("blocks are {blocks:?} and scales {scales:?}");
        (file, "gpt-oss has 16 bytes of codes for each byte of scale".to_owned())
    };
    let Some((&16, grid)) = blocks.split_last() else { return Err(misfit()) };
    let Some((&groups, outer)) = grid.split_last() else { return Err(misfit()) };
    if grid != scales || !is(module.get("blocks"), Dtype::U8) || outer.is_empty() {
        return Err(misfit());
    }
    let mut shape = outer.to_vec();
    shape.push(groups.checked_mul(32).ok_or_else(misfit)?);
    Ok(module.quantized(Found {
        scheme: Scheme::Mxfp4GptOss,
        bits: Some(4),
        group: Group::Size(32),
        zeros: ZeroPoints::Absent,
        shape: Some(shape),
    }))
}
