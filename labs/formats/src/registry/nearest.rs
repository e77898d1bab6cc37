//! Rounds each weight to the nearest code, by the rule of one library.

use half::f16;
use kit::int4::Int4Error;
use kit::int8::Quantized;
use ndarray::Array2;

use crate::FormatError;
use crate::layouts::Grouped;
use crate::rules::{Encoded, Rule, RuleError, Zero};

/// The codes of `w`, `[out_features, in_features]`, with a scale for each row.
///
/// # Errors
/// As [`Rule::encode`].
pub(super) fn rows(rule: &Rule, w: &Array2<f32>) -> Result<Quantized, FormatError> {
    let encoded = encode(rule, w, w.ncols())?;
    let codes = encoded.iter().flat_map(|row| row.codes.iter().map(|&code| code as i8));
    let codes = Array2::from_shape_vec(w.dim(), codes.collect()).unwrap_or_default();
    let scales = Array2::from_shape_fn((w.nrows(), 1), |(row, _)| encoded[row].scale);
    Ok(Quantized::new(codes, scales)?)
}

/// The codes of `w`, `[out_features, in_features]`, in groups of `group_size` neighbours in a row.
/// Scales are rounded to `f16`, which changes nothing for a rule that stores `f16`.
///
/// # Errors
/// As [`Rule::encode`], and [`Int4Error::GroupDoesNotDivide`].
pub(super) fn groups(
    rule: &Rule,
    w: &Array2<f32>,
    group_size: u64,
) -> Result<Grouped, FormatError> {
    let (out_features, in_features) = w.dim();
    let group_size = usize::try_from(group_size).unwrap_or(usize::MAX);
    if group_size == 0 || !in_features.is_multiple_of(group_size) {
        return Err(Int4Error::GroupDoesNotDivide { in_features, group_size }.into());
    }
    let encoded = encode(rule, w, group_size)?;
    let groups = in_features / group_size;
    // Layouts store codes without a sign. A symmetric rule is shifted so that 0 is in the middle, at code 8 of
    // four bits.
    let middle = 1 << (rule.bits - 1);
    let shift = |zero: Zero| match zero {
        Zero::Point(zero) if rule.symmetric => middle - zero,
        Zero::Point(_) => -rule.codes.start(),
        _ => middle,
    };
    let at = |row: usize, group: usize| &encoded[row * groups + group];
    let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
        let group = at(row, column / group_size);
        (group.codes[column % group_size] + shift(group.zero)) as u8
    });
    let scales = Array2::from_shape_fn((out_features, groups), |(row, group)| {
        f16::from_f32(at(row, group).scale)
    });
    let zeros = Array2::from_shape_fn(scales.dim(), |(row, group)| match at(row, group).zero {
        Zero::Point(zero) => (zero + shift(Zero::Point(zero))) as u8,
        _ => middle as u8,
    });
    Ok(Grouped::new(codes, zeros, scales)?)
}

/// Every group of `size` neighbours, row by row.
fn encode(rule: &Rule, w: &Array2<f32>, size: usize) -> Result<Vec<Encoded>, RuleError> {
    let values: Vec<f32> = w.iter().copied().collect();
    values.chunks(size.max(1)).map(|group| rule.encode(group)).collect()
}
