//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-03`, or `LAB_IMPL=starter cargo test -p
//! lab-03-int4-groups-and-packing --test spec`. On the untouched file every test of the spec fails,
//! because every body is a `todo!`.

use half::f16;
use ndarray::{Array2, ArrayView1};

#[allow(unused_imports)] // Yours to use.
use crate::{
    Int4Error, Int4Groups, NibbleOrder, QMAX, check_finite, quantize_value, shrunk_maxima,
};

/// Task 1. Refuses a `group_size` that does not cut rows of `in_features` into equal groups.
///
/// # Errors
/// [`Int4Error::GroupDoesNotDivide`], also for a size or a row of 0.
pub fn check_group_size(in_features: usize, group_size: usize) -> Result<(), Int4Error> {
    todo!("task 1: is {in_features} a multiple of {group_size}? Neither may be 0")
}

/// Task 1. The scale that puts `absmax` on the last code of the grid: `absmax / 7`, rounded to
/// `f16`.
///
/// The scale is 1 where that is 0, because `0 / 0` is NaN. That is so for a group of zeros, and for
/// an `absmax` so small that the scale underflows in `f16`.
pub fn group_scale(absmax: f32) -> f16 {
    todo!("task 1: {absmax} / QMAX, {QMAX}, as an f16; where that is 0, return 1")
}

/// Task 2. Quantizes `w`, `[out_features, in_features]`, with one scale for every `group_size`
/// neighbours inside a row.
///
/// # Errors
/// [`Int4Error::GroupDoesNotDivide`] if `group_size` does not divide `in_features`,
/// [`Int4Error::NotFinite`] if `w` holds NaN or infinity, [`Int4Error::ScaleOverflow`] if a scale
/// is beyond `f16`.
pub fn quantize_groups(w: &Array2<f32>, group_size: usize) -> Result<Int4Groups, Int4Error> {
    todo!("task 2: crate::check_finite is given; {:?} in groups of {group_size}", w.dim())
}

/// Task 2. The numbers that the codes stand for, each code times the scale of its group:
/// `[out_features, in_features]`.
pub fn dequantize_groups(w: &Int4Groups) -> Array2<f32> {
    todo!("task 2: column j of the {:?} codes belongs to group j / group_size", w.q().dim())
}

/// Task 3. Packs codes of four bits, two to a byte, with the first of each pair in the low nibble.
///
/// A code is its lowest four bits in two's complement: -1 is `1111`, 7 is `0111`, -8 is `1000`.
///
/// # Errors
/// [`Int4Error::HalfAByte`] for an odd number of codes, and else [`Int4Error::CodeOutOfRange`], which
/// names the first code that is not in -8..=7.
pub fn pack_nibbles(codes: &[i8]) -> Result<Vec<u8>, Int4Error> {
    todo!("task 3: {} codes, two to a byte, the first in the low nibble", codes.len())
}

/// Task 3. The codes in `bytes`, two to a byte, the low nibble first. Each code is in -8..=7.
pub fn unpack_nibbles(bytes: &[u8]) -> Vec<i8> {
    todo!("task 3: two codes from each of {} bytes, with their signs", bytes.len())
}

/// Task 4. Packs eight codes without a sign, 0..=15, into a word: nibble `i`, the bits `4i` to
/// `4i + 3`, holds `codes[order[i]]`.
///
/// # Errors
/// [`Int4Error::CodeOutOfRange`] for a code above 15, which would spill into its neighbour.
pub fn pack_word(codes: [u8; 8], order: &NibbleOrder) -> Result<u32, Int4Error> {
    todo!("task 4: put {codes:?} into the nibbles of a u32 in the order {order:?}")
}

/// Task 4. The eight codes of a word, each 0..=15, back in the order of the neighbours.
pub fn unpack_word(word: u32, order: &NibbleOrder) -> [u8; 8] {
    todo!("task 4: the codes in {word:08x}, with the order {order:?}")
}

/// Task 4. Packs eight zero points as GPTQ v1 stores them, each minus one and in linear order.
///
/// # Errors
/// [`Int4Error::ZeroMinusOne`] names the first zero point of 0. Without one,
/// [`Int4Error::CodeOutOfRange`] names the first outside 1..=16.
pub fn pack_gptq_zeros(zeros: [u8; 8]) -> Result<u32, Int4Error> {
    todo!("task 4: {zeros:?} as GPTQ v1 stores them")
}

/// Task 4. The zero points of a GPTQ v1 word, which are the nibbles plus one. Each is in 1..=16.
pub fn unpack_gptq_zeros(word: u32) -> [u8; 8] {
    todo!("task 4: the zero points in {word:08x}")
}

/// Task 5. The layer, dequantized on the way: `x @ dequantize_groups(w).T`, without ever building
/// that matrix.
///
/// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`. Each scale is multiplied once
/// for each token. The sums are in `f32`.
///
/// # Errors
/// [`Int4Error::FeaturesDiffer`] if `x` has another number of features than `w`.
pub fn int4_linear(x: &Array2<f32>, w: &Int4Groups) -> Result<Array2<f32>, Int4Error> {
    todo!("task 5: {} tokens, groups {:?}", x.nrows(), w.scales().dim())
}

/// Task 5. Bytes of the packed matrix: a byte for two codes, where a last half byte counts as one,
/// and two bytes for each scale.
pub fn memory_bytes(w: &Int4Groups) -> usize {
    todo!("task 5: {} codes and {} scales", w.q().len(), w.scales().len())
}

/// Task 6. The scale of a group that [`quantize_groups_by_search`] takes.
///
/// The candidates are [`group_scale`] of each of [`shrunk_maxima`] of the group's largest magnitude.
/// The result is the candidate with the least squared error, and the first of those that are equal.
pub fn search_scale(group: ArrayView1<f32>) -> f16 {
    todo!("task 6: the best scale for a group of {}, among `shrunk_maxima`", group.len())
}

/// Task 6. Quantizes `w` as [`quantize_groups`] does, with the scale of each group from
/// [`search_scale`].
///
/// # Errors
/// Those of [`quantize_groups`], in the same cases: [`Int4Error::ScaleOverflow`] names the largest
/// magnitude of the group, whichever smaller maximum would fit.
pub fn quantize_groups_by_search(
    w: &Array2<f32>,
    group_size: usize,
) -> Result<Int4Groups, Int4Error> {
    todo!("task 6: {:?} in groups of {group_size}, each with its own best scale", w.dim())
}
