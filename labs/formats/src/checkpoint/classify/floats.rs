//! FP8 with scales for the tensor, its rows or its blocks, and the FP4 of gpt-oss.

use super::module::{Found, Module, Wrong, is, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::scheme::{Quantized, Scheme};
use crate::checkpoint::tensor::Tensor;
use crate::format::Group;

/// The block of DeepSeek's checkpoints, tried where no config names one.
const USUAL_BLOCK: Group = Group::Block(128, 128);

/// The names of the scale of an FP8 matrix, and what each tells of the tool. A weight is the product of code
/// and scale in all of them, also where DeepSeek names the scale after the factor that made the codes.
const SCALES: [(&str, Scheme); 5] = [
    ("weight_scale_inv", Scheme::Fp8ScaleInv),
    ("weight_scale", Scheme::Fp8),
    ("scale", Scheme::Named("FP8, DeepSeek-V4 names")),
    ("scale_weight", Scheme::Named("FP8, ComfyUI names")),
    ("qscale_weight", Scheme::Named("FP8, Mistral names")),
];

/// FP8: `None` where it has no scales at all, as a plain cast.
pub(super) fn fp8(
    module: &Module,
    weight: &Tensor,
    expected: Option<&Expected>,
) -> Result<Option<Quantized>, Wrong> {
    let found = SCALES.into_iter().find_map(|(name, scheme)| Some((module.get(name)?, scheme)));
    let Some((scale, scheme)) = found else { return Ok(None) };
    let said = expected.and_then(|expected| expected.group);
    let (group, shape) = match channels_of_fused(&weight.shape, &scale.shape) {
        Some(shape) => (Group::Channel, shape),
        None => (group_of_scales(&weight.shape, &scale.shape, said)?, weight.shape.clone()),
    };
    // A scale of MX blocks is one byte of exponent, and so may be the scale of another block.
    let is_exponent = is(Some(scale), Dtype::U8) || is(Some(scale), Dtype::F8E8M0);
    let is_mx = is_exponent && group == Group::Size(32) && scheme == Scheme::Fp8;
    let scheme = if is_mx { Scheme::Mxfp8 } else { scheme };
    Ok(Some(module.quantized(scheme, Found::of(8, group, shape))))
}

/// Fused experts of Llama 4 are `[experts, in, out]`, with the scales of channels `[experts, 1, out]`. The
/// shape with `out` before `in`, if these are such experts.
fn channels_of_fused(weight: &[u64], scales: &[u64]) -> Option<Vec<u64>> {
    let &[experts, inputs, out] = weight else { return None };
    (scales == [experts, 1, out] && inputs > 1 && out > 1).then(|| vec![experts, out, inputs])
}

/// The granularity from the shapes of `[.., out, in]` and of the scales. A grid of scales that does not cut
/// the weight evenly leaves the size of a block open, unless the config names it.
pub(super) fn group_of_scales(
    weight: &[u64],
    scales: &[u64],
    said: Option<Group>,
) -> Result<Group, Wrong> {
    let Some(&[out, inputs]) = weight.last_chunk() else {
        return Err(Wrong::not_known(format!(
            "the weight is {weight:?} and its scales {scales:?}"
        )));
    };
    // Fused experts have one more axis in front, of the weight and of its scales.
    let experts = weight.get(..weight.len() - 2).unwrap_or_default();
    let scales = scales.strip_prefix(experts).unwrap_or(scales);
    match *scales {
        [] | [1] | [1, 1] => Ok(Group::Tensor),
        [rows] | [rows, 1] if rows == out => Ok(Group::Channel),
        // ModelOpt keeps the axes that it sums over: [rows, 1, columns, 1].
        [rows, columns] | [rows, 1, columns, 1] => {
            if rows > out || columns > inputs {
                return Err(Wrong::contradiction(
                    format!("the weight is {weight:?} and its scales {scales:?}"),
                    "scales are one, one for each row, or a grid of no more than the weights",
                ));
            }
            let fits = |group: &Group| group.grid(out, inputs) == Some([rows, columns]);
            // The edge may cut off a block, so that several blocks fit one grid: the config decides.
            let guess = said.filter(fits).or(Some(USUAL_BLOCK).filter(fits));
            let even = || match (whole(out, rows)?, whole(inputs, columns)?) {
                (1, size) => Some(Group::Size(size)),
                (height, width) => Some(Group::Block(height, width)),
            };
            Ok(guess.or_else(even).unwrap_or(Group::Unread))
        }
        _ => Ok(Group::Unread),
    }
}

/// gpt-oss: `blocks [experts, rows, in/32, 16]` and `scales [experts, rows, in/32]`, bytes both.
pub(super) fn gpt_oss(module: &Module) -> Result<Quantized, Wrong> {
    let blocks = module.get("blocks").map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
    let scales = module.get("scales").map(|tensor| tensor.shape.as_slice()).unwrap_or_default();
    let misfit = || {
        Wrong::not_known(format!(
            "blocks are {blocks:?} and scales {scales:?}, and gpt-oss has 16 bytes of codes for each byte \
             of scale"
        ))
    };
    let Some((&16, grid)) = blocks.split_last() else { return Err(misfit()) };
    let Some((&groups, outer)) = grid.split_last() else { return Err(misfit()) };
    if grid != scales || !module.has("blocks", &[Dtype::U8]) || outer.is_empty() {
        return Err(misfit());
    }
    let shape = [outer, &[groups.checked_mul(32).ok_or_else(misfit)?]].concat();
    Ok(module.quantized(Scheme::Mxfp4GptOss, Found::of(4, Group::Size(32), shape)))
}
