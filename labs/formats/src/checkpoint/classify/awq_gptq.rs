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

use super::module::{Found, Module, Wrong, group_of, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::config::quant_config::QuantConfig;
use crate::checkpoint::dtype::Dtype;
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
        return Err(Wrong::not_known(
            "qweight has no scales of two axes beside it; a qweight alone could be AWQ's [in, out/8] \
             or GPTQ's [in/8, out]",
        ));
    };
    let said = expected.and_then(|expected| expected.group);
    let words = module.has("qweight", &[Dtype::I32, Dtype::U32]) && out > 0;
    if words && columns.checked_mul(8) == Some(out) {
        return awq(module, rows, groups, out, said);
    }
    if words && columns == out {
        return gptq(module, rows, groups, out, config, expected);
    }
    Err(Wrong::not_known(format!(
        "qweight is [{rows}, {columns}] and scales [{groups}, {out}]; the columns of qweight are an \
         eighth of those of scales in AWQ gemm and the same in GPTQ, both in words of 32 bits"
    )))
}

fn awq(
    module: &Module,
    inputs: u64,
    groups: u64,
    out: u64,
    said: Option<Group>,
) -> Result<Quantized, Wrong> {
    let zeros = zeros(module, groups, out / 8, 4)?;
    let found = Found::of(4, group_of(inputs, groups, said)?, vec![out, inputs]);
    Ok(module.quantized(Scheme::AwqGemm, Found { zeros, ..found }))
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
        return Ok(module.quantized(scheme, Found::open(Group::Unread)));
    };
    let inputs = rows.checked_mul(WORD).and_then(|codes| whole(codes, bits));
    let inputs = inputs.ok_or_else(|| {
        let file = format!("qweight has {rows} rows, and codes of {bits} bits do not fill them");
        Wrong::contradiction(file, "GPTQ packs 32 bits of codes in a row")
    })?;
    let zeros = zeros(module, groups, out.saturating_mul(bits) / WORD, bits)?;
    check_g_idx(g_idx(module), inputs)?;
    let group = group_of(inputs, groups, expected.and_then(|expected| expected.group))?;
    Ok(module.quantized(scheme, Found { zeros, ..Found::of(bits, group, vec![out, inputs]) }))
}

/// The list of groups. Some tools leave an empty one in files without an order of activations.
fn g_idx<'a>(module: &Module<'a>) -> Option<&'a Tensor> {
    module.get("g_idx").filter(|g_idx| g_idx.elements() > 0)
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
    let from_g_idx = g_idx(module).map(|g_idx| (rows.checked_mul(WORD), g_idx.elements()));
    let Some((bits, codes)) = from_zeros.or(from_g_idx) else {
        return Ok(expected.and_then(|expected| expected.bits).filter(|&bits| bits > 0));
    };
    match bits.and_then(|bits| whole(bits, codes)) {
        Some(bits @ 2..=8) => Ok(Some(bits)),
        _ => Err(Wrong::not_known(format!(
            "qweight, qzeros and g_idx leave no whole number of bits for {codes} codes; GPTQ's codes \
             have 2 to 8 bits"
        ))),
    }
}

/// The zero points, if they are stored, one for each scale.
fn zeros(module: &Module, groups: u64, words: u64, bits: u64) -> Result<ZeroPoints, Wrong> {
    match module.matrix("qzeros") {
        None => Ok(ZeroPoints::Absent),
        Some(shape) if shape == [groups, words] => Ok(ZeroPoints::Always(1 << (bits - 1))),
        Some([rows, columns]) => Err(Wrong::contradiction(
            format!("qzeros is [{rows}, {columns}]"),
            format!("the scales need zero points of [{groups}, {words}]"),
        )),
    }
}

fn check_g_idx(g_idx: Option<&Tensor>, inputs: u64) -> Result<(), Wrong> {
    match g_idx {
        Some(g_idx) if g_idx.elements() != inputs => Err(Wrong::contradiction(
            format!("g_idx names the group of {} inputs", g_idx.elements()),
            format!("qweight has {inputs}"),
        )),
        _ => Ok(()),
    }
}
