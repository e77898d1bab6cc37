//! The statements of a card as numbers and as a [`Format`].

use std::borrow::Cow;

use super::stated::Facts;
use super::word::Field;
use crate::format::{Format, Grid, Group, Overhead};

/// The format called `name`, if the grid of the weights and the overhead are known.
pub(super) fn format(facts: &Facts, name: &str) -> Option<Format> {
    let weights = grid(facts.value(Field::WeightKind), facts.number(Field::WeightBits)?)?;
    let acts = facts.number(Field::ActBits).unwrap_or(16);
    Some(Format {
        name: Cow::Owned(name.to_owned()),
        weights,
        activations: grid(facts.value(Field::ActKind), acts)?,
        overhead: overhead(facts)?.into(),
    })
}

fn grid(kind: Option<&str>, bits: u32) -> Option<Grid> {
    match (kind, bits) {
        (_, 16) => Some(Grid::Sixteen),
        (_, 32) => Some(Grid::F32),
        // Of the same bits, and of the same rate where a device multiplies both.
        (Some("e5m2"), 8) => Some(Grid::E4M3),
        (Some("float"), 8) => Some(Grid::E4M3),
        (Some("float" | "e2m3" | "e3m2"), 6) => Some(Grid::Fp6),
        (Some("float"), 4) => Some(Grid::E2M1),
        (Some("float"), _) => None,
        (Some("table"), bits) => Some(Grid::Table(bits)),
        (Some("int" | "ternary") | None, bits) => Some(Grid::Int(bits)),
        _ => None,
    }
}

/// The overhead of the format; `None` if it is not known.
pub(super) fn overhead(facts: &Facts) -> Option<Vec<Overhead>> {
    let weight_bits = facts.number(Field::WeightBits)?;
    if is_plain(&weight_bits.to_string()) {
        return Some(Vec::new());
    }
    if let Some(parts) = facts.value(Field::Overhead) {
        return parts.split(' ').map(overhead_part).collect();
    }
    let per = group(facts.value(Field::Group)?)?;
    let scale = facts.number(Field::ScaleBits).unwrap_or(usual_scale(per));
    let zero = zero_bits(facts, weight_bits);
    let zero = (zero > 0).then_some(Overhead { bits: zero, per });
    Some([Overhead { bits: scale, per }].into_iter().chain(zero).collect())
}

/// Bits of a scale where no word says them: writers store the many scales of groups in 16 bits, and the
/// few of rows and tensors in f32.
fn usual_scale(per: Group) -> u32 {
    if matches!(per, Group::Size(_)) { 16 } else { 32 }
}

/// The bits of a scale, where they are others than is usual.
pub(super) fn unusual_scale(facts: &Facts) -> Option<u32> {
    let per = facts.value(Field::Group).and_then(group);
    facts.number(Field::ScaleBits).filter(|bits| per.is_none_or(|per| usual_scale(per) != *bits))
}

/// Whether numbers of so many bits have no scale.
pub(super) fn is_plain(bits: &str) -> bool {
    ["16", "32"].contains(&bits)
}

/// Whether a kind of grid is one of floats.
pub(super) fn is_float(kind: Option<&str>) -> bool {
    matches!(kind, Some("float" | "e5m2" | "e2m3" | "e3m2"))
}

/// Bits of a zero point: as stated, or the bits of a code where the grid is asymmetric. Floats have none.
pub(super) fn zero_bits(facts: &Facts, weight_bits: u32) -> u32 {
    if is_float(facts.value(Field::WeightKind)) {
        return 0;
    }
    let asymmetric = facts.value(Field::Symmetric) == Some("no");
    match (facts.value(Field::ZeroBits), asymmetric) {
        (Some("w"), _) | (None, true) => weight_bits,
        (Some(bits), _) => bits.parse().unwrap_or(0),
        (None, false) => 0,
    }
}

/// A part written `bits@group`.
fn overhead_part(part: &str) -> Option<Overhead> {
    let (bits, per) = part.split_once('@')?;
    Some(Overhead { bits: bits.parse().ok()?, per: group(per)? })
}

fn group(text: &str) -> Option<Group> {
    Some(match (text, text.split_once('x')) {
        ("tensor", _) => Group::Tensor,
        ("channel", _) => Group::Channel,
        (_, Some((rows, columns))) => Group::Block(rows.parse().ok()?, columns.parse().ok()?),
        (size, None) => Group::Size(size.parse().ok()?),
    })
}

/// Bits of a number in a cache of this kind; scales are not counted.
pub(super) fn kv_bits(kind: &str) -> Option<f64> {
    Some(match kind {
        "auto" | "float16" | "bfloat16" | "int16" => 16.0,
        "turboquant_k8v4" => 6.0,
        "turboquant_k3v4_nc" => 3.5,
        "turboquant_3bit_nc" => 3.0,
        four if four.contains("int4") || four.contains("4bit") || four.contains("nvfp4") => 4.0,
        eight if eight.contains("fp8") || eight.contains("int8") => 8.0,
        _ => return None,
    })
}
