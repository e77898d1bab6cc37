//! AWQ and GPTQ: the same four names, told apart by arithmetic.
//!
//! | | AWQ | GPTQ |
//! | --- | --- | --- |
//! | qweight | `[in, out * 4 / 32]` | `[in * bits / 32, out]` |
//! | qzeros | `[groups, out * 4 / 32]` | `[groups, out * bits / 32]` |
//! | scales | `[groups, out]` | `[groups, out]` |
//!
//! So qweight has an eighth of the columns of scales, or as many. Every shape of a qweight alone fits
//! both layouts.

use super::module::{Found, Module, Wrong, group_of, no_such_group, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::config::quant_config::QuantConfig;
use crate::checkpoint::scheme::{GptqVersion, Quantized, Scheme, ZeroPoints};
use crate::checkpoint::tensor::Tensor;
use crate::format::Group;

/// Bits of a 32-bit word.
const WORD: u64 = 32;

pub(super) fn awq_or_gptq(
    module: &Module,
    config: Option<&QuantConfig>,
    expected: Option<&Expected>,
) -> Result<Quantized, Wrong> {
    let (Some([rows, columns]), Some([groups, out])) =
        (module.matrix("qweight"), module.matrix("scales"))
    else {
        return Err((
            "qweight has no scales of two axes beside it".into(),
            "a qweight alone could be AWQ's [in, out/8] or GPTQ's [in/8, out]".into(),
        ));
    };
    if columns.checked_mul(8) == Some(out) && out > 0 {
        return awq(module, rows, groups, out);
    }
    if columns == out && out > 0 {
        return gptq(module, rows, groups, out, config, expected);
    }
    Err((
        format!("qweight is [{rows}, {columns}] and scales [{groups}, {out}]"),
        "the columns of qweight are an eighth of those of scales in AWQ and the same in GPTQ"
            .into(),
    ))
}

fn awq(module: &Module, inputs: u64, groups: u64, out: u64) -> Result<Quantized, Wrong> {
    let zeros = zeros(module, groups, out / 8, 4)?;
    let group = group_of(inputs, groups).ok_or_else(|| no_such_group(inputs, groups))?;
    let shape = Some(vec![out, inputs]);
    Ok(module.quantized(Found { scheme: Scheme::AwqGemm, bits: Some(4), group, zeros, shape }))
}

fn gptq(
    module: &Module,
    rows: u64,
    groups: u64,
    out: u64,
    config: Option<&QuantConfig>,
    expected: Option<&Expected>,
) -> Result<Quantized, Wrong> {
    let bits = gptq_bits(module, rows, out, expected)?;
    let scheme = Scheme::Gptq(config.map_or(GptqVersion::Unsaid, |config| config.gptq_version));
    let Some(bits) = bits else {
        let (group, zeros) = (Group::Unread, ZeroPoints::Absent);
        return Ok(module.quantized(Found { scheme, bits: None, group, zeros, shape: None }));
    };
    let inputs = rows.checked_mul(WORD).and_then(|codes| whole(codes, bits));
    let inputs = inputs.ok_or_else(|| {
        let file = format!("qweight has {rows} rows, and codes of {bits} bits do not fill them");
        (file, "GPTQ packs 32 bits of codes in a row".to_owned())
    })?;
    let zeros = zeros(module, groups, out.saturating_mul(bits) / WORD, bits)?;
    check_g_idx(module.get("g_idx"), inputs)?;
    let group = group_of(inputs, groups).ok_or_else(|| no_such_group(inputs, groups))?;
    let shape = Some(vec![out, inputs]);
    Ok(module.quantized(Found { scheme, bits: Some(bits), group, zeros, shape }))
}

/// The bits of GPTQ's codes: from the zero points, else from the list of groups, else from the config.
fn gptq_bits(
    module: &Module,
    rows: u64,
    out: u64,
    expected: Option<&Expected>,
) -> Result<Option<u64>, Wrong> {
    // qzeros packs a code of each output and qweight a code of each input, so the number of words and
    // the number of codes give the bits. g_idx has an entry for each input.
    let from_zeros = module.matrix("qzeros").map(|[_, words]| (words.checked_mul(WORD), out));
    let from_g_idx = module.get("g_idx").map(|g_idx| (rows.checked_mul(WORD), g_idx.elements()));
    let Some((bits, codes)) = from_zeros.or(from_g_idx) else {
        return Ok(expected.and_then(|expected| expected.bits).filter(|&bits| bits > 0));
    };
    match bits.and_then(|bits| whole(bits, codes)) {
        Some(bits @ (2 | 3 | 4 | 8)) => Ok(Some(bits)),
        _ => Err((
            format!("qweight, qzeros and g_idx leave no whole number of bits for {codes} codes"),
            "GPTQ's codes have 2, 3, 4 or 8 bits".into(),
        )),
    }
}

/// The zero points, if they are stored, one for each scale.
fn zeros(module: &Module, groups: u64, words: u64, bits: u64) -> Result<ZeroPoints, Wrong> {
    match module.matrix("qzeros") {
        None => Ok(ZeroPoints::Absent),
        Some(shape) if shape == [groups, words] => Ok(ZeroPoints::Always(1 << (bits - 1))),
        Some([rows, columns]) => Err((
            format!("qzeros is [{rows}, {columns}]"),
            format!("the scales need zero points of [{groups}, {words}]"),
        )),
    }
}

fn check_g_idx(g_idx: Option<&Tensor>, inputs: u64) -> Result<(), Wrong> {
    match g_idx {
        Some(g_idx) if g_idx.elements() != inputs => Err((
            format!("g_idx names the group of {} inputs", g_idx.elements()),
            format!("qweight has {inputs}"),
        )),
        _ => Ok(()),
    }
}
