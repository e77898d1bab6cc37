//! compressed-tensors' `weight_packed`: integers in words, or two FP4 a byte.

use super::module::{Found, Module, Wrong, group_of, is, no_such_group, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::scheme::{Quantized, Scheme, ZeroPoints};
use crate::format::Group;

/// Bits of a 32-bit word.
const WORD: u64 = 32;

pub(super) fn packed(module: &Module, expected: Option<&Expected>) -> Result<Quantized, Wrong> {
    let (Some([out, columns]), Some([rows, groups])) =
        (module.matrix("weight_packed"), module.matrix("weight_scale"))
    else {
        return Err((
            "weight_packed and weight_scale are not two matrices".into(),
            "compressed-tensors writes both with two axes".into(),
        ));
    };
    if rows != out {
        return Err((
            format!("weight_packed has {out} rows and weight_scale {rows}"),
            "both have a row for each output".into(),
        ));
    }
    if is(module.get("weight_packed"), Dtype::I32) {
        return integers(module, [out, columns], groups, expected);
    }
    if is(module.get("weight_packed"), Dtype::U8) {
        return fp4(module, [out, columns], groups);
    }
    Err(("weight_packed is of another type".into(), "it is I32 for integers, U8 for FP4".into()))
}

fn integers(
    module: &Module,
    [out, words]: [u64; 2],
    groups: u64,
    expected: Option<&Expected>,
) -> Result<Quantized, Wrong> {
    // 64 words of a row are 512 codes of 4 bits or 256 of 8. `weight_shape` is data, which are not read,
    // so the zero points or the config tell the bits.
    let zero_rows = module.matrix("weight_zero_point");
    let zeros = if zero_rows.is_some() { ZeroPoints::Stored } else { ZeroPoints::Absent };
    let said = expected.and_then(|expected| expected.bits).filter(|bits| (2..=8).contains(bits));
    let bits = match zero_rows {
        Some(shape) => bits_of_zeros(shape, out, groups, said)?,
        None => said,
    };
    let inputs = bits.and_then(|bits| Some(words.checked_mul(WORD)? / bits));
    let group = match inputs {
        Some(inputs) => group_of(inputs, groups).ok_or_else(|| no_such_group(inputs, groups))?,
        None => Group::Unread,
    };
    let shape = inputs.map(|inputs| vec![out, inputs]);
    let scheme = Scheme::PackQuantized;
    Ok(module.quantized(Found { scheme, bits, group, zeros, shape }))
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
        return Err((
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
    let scale = module.get("weight_scale");
    let scheme = if is(scale, Dtype::F8E4M3) {
        Scheme::Nvfp4
    } else if is(scale, Dtype::U8) || is(scale, Dtype::F8E8M0) {
        Scheme::Mxfp4
    } else {
        return Err((
            "weight_scale is of another type".into(),
            "FP4 has scales in F8_E4M3 (NVFP4) or a byte of exponent (MXFP4)".into(),
        ));
    };
    if scheme == Scheme::Nvfp4 && module.get("weight_global_scale").is_none() {
        return Err((
            "there is no weight_global_scale".into(),
            "NVFP4's 8-bit scales need one in f32 for the tensor".into(),
        ));
    }
    let size = whole(inputs, groups).ok_or_else(|| no_such_group(inputs, groups))?;
    Ok(module.quantized(Found {
        scheme,
        bits: Some(4),
        group: Group::Size(size),
        zeros: ZeroPoints::Absent,
        shape: Some(vec![out, inputs]),
    }))
}
