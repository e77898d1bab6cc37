//! compressed-tensors' `weight_packed`: integers in words, or two FP4 a byte.

use super::module::{Found, Module, Wrong, group_of, is};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::scheme::{Quantized, Scheme};
use crate::format::Group;

/// Bits of a 32-bit word.
const WORD: u64 = 32;

pub(super) fn packed(module: &Module, expected: Option<&Expected>) -> Result<Quantized, Wrong> {
    let (Some([out, columns]), Some([rows, groups])) =
        (module.matrix("weight_packed"), module.matrix("weight_scale"))
    else {
        return Err(Wrong::not_known(
            "weight_packed and weight_scale are not two matrices, as compressed-tensors writes them",
        ));
    };
    if rows != out {
        return Err(Wrong::contradiction(
            format!("weight_packed has {out} rows and weight_scale {rows}"),
            "both have a row for each output",
        ));
    }
    if module.has("weight_packed", &[Dtype::I32]) {
        return integers(module, [out, columns], groups, expected);
    }
    if module.has("weight_packed", &[Dtype::U8]) {
        return fp4(module, [out, columns], groups);
    }
    Err(Wrong::not_known("weight_packed is neither I32, as integers are, nor U8, as FP4 is"))
}

fn integers(
    module: &Module,
    [out, words]: [u64; 2],
    groups: u64,
    expected: Option<&Expected>,
) -> Result<Quantized, Wrong> {
    // 64 words of a row are 512 codes of 4 bits or 256 of 8. `weight_shape` is data, which are not read,
    // so the zero points or the config tell the bits.
    let zero_points = module.get("weight_zero_point");
    let zeros = module.zeros("weight_zero_point");
    let said = expected.and_then(|expected| expected.bits).filter(|bits| (2..=8).contains(bits));
    let bits = match module.matrix("weight_zero_point") {
        // Old versions store zero points as they are, a byte each.
        Some(shape) if is(zero_points, Dtype::I8) && shape == [out, groups] => said,
        Some(shape) => bits_of_zeros(shape, out, groups, said)?,
        None => said,
    };
    let said = expected.and_then(|expected| expected.group);
    let inputs = match bits {
        Some(bits) => inputs(bits, words, groups, said)?,
        None => None,
    };
    let group = match inputs {
        Some(inputs) => group_of(inputs, groups, said)?,
        None if groups == 1 => Group::Channel,
        None => Group::Unread,
    };
    let shape = inputs.map(|inputs| vec![out, inputs]);
    let found = Found { bits, zeros, shape, ..Found::open(group) };
    Ok(module.quantized(Scheme::PackQuantized, found))
}

/// The inputs of a row of `words`. Codes of 3, 5, 6 or 7 bits have had two packings: up to version 0.9 of
/// compressed-tensors no code crosses a word, later the codes follow one another without a gap. The words
/// alone fit both, and the groups tell them apart. `None` where nothing does.
fn inputs(bits: u64, words: u64, groups: u64, said: Option<Group>) -> Result<Option<u64>, Wrong> {
    let a_word = WORD / bits;
    let packed = |inputs: u64| {
        [inputs.saturating_mul(bits).div_ceil(WORD), inputs.div_ceil(a_word)].contains(&words)
    };
    if let Some(Group::Size(size)) = said {
        let inputs = size.saturating_mul(groups);
        if packed(inputs) {
            return Ok(Some(inputs));
        }
        // The last group may be short. Bits that do not divide a word leave a choice then.
        let fewest = words.saturating_sub(1).saturating_mul(a_word).saturating_add(1);
        let most = words.saturating_mul(WORD) / bits;
        let groups_of = |inputs: u64| inputs.div_ceil(size.max(1));
        if !WORD.is_multiple_of(bits) && (groups_of(fewest)..=groups_of(most)).contains(&groups) {
            return Ok(None);
        }
        if !WORD.is_multiple_of(bits) {
            return Err(Wrong::contradiction(
                format!("{words} words and {groups} groups of scales in a row"),
                format!("groups of {size} codes of {bits} bits do not fill them"),
            ));
        }
    }
    Ok(WORD.is_multiple_of(bits).then(|| words.saturating_mul(a_word)))
}

/// The bits of a code. Zero points are packed along the outputs, so the number of rows tells the bits.
fn bits_of_zeros(
    [rows, columns]: [u64; 2],
    out: u64,
    groups: u64,
    said: Option<u64>,
) -> Result<Option<u64>, Wrong> {
    let fits = |bits: u64| out.checked_mul(bits).map(|bits| bits.div_ceil(WORD)) == Some(rows);
    let candidates: Vec<u64> = (2..=8).filter(|&bits| fits(bits)).collect();
    if candidates.is_empty() || columns != groups {
        return Err(Wrong::contradiction(
            format!("weight_zero_point is [{rows}, {columns}]"),
            format!("{out} outputs in {groups} groups need [{out} * bits / 32, {groups}]"),
        ));
    }
    // A matrix with few outputs fits several bit widths, so the config decides.
    let decided = said.filter(|bits| candidates.contains(bits));
    Ok(decided.or_else(|| candidates.first().copied().filter(|_| candidates.len() == 1)))
}

fn fp4(module: &Module, [out, bytes]: [u64; 2], groups: u64) -> Result<Quantized, Wrong> {
    let inputs = bytes.saturating_mul(2);
    let scheme = if module.has("weight_scale", &[Dtype::F8E4M3]) {
        Scheme::Nvfp4
    } else if module.has("weight_scale", &[Dtype::U8, Dtype::F8E8M0]) {
        Scheme::Mxfp4
    } else {
        return Err(Wrong::not_known(
            "FP4 has scales in F8_E4M3 (NVFP4) or a byte of exponent (MXFP4), and weight_scale is of \
             another type",
        ));
    };
    if scheme == Scheme::Nvfp4 && module.get("weight_global_scale").is_none() {
        return Err(Wrong::not_known(
            "there is no weight_global_scale here, which NVFP4's 8-bit scales need",
        ));
    }
    let group = match group_of(inputs, groups, None)? {
        Group::Channel => Group::Size(inputs),
        group => group,
    };
    Ok(module.quantized(scheme, Found::of(4, group, vec![out, inputs])))
}
