//! The reference, which the chapter shows piece by piece.

use half::f16;
use ndarray::{Array2, ArrayView1, Axis};

use crate::{
    Int4Error, Int4Groups, NibbleOrder, QMAX, check_finite, quantize_value, shrunk_maxima,
};

// ANCHOR: check_group_size
/// Refuses a `group_size` that does not cut rows of `in_features` into equal groups.
///
/// # Errors
/// [`Int4Error::GroupDoesNotDivide`], also for a size or a row of 0.
pub fn check_group_size(in_features: usize, group_size: usize) -> Result<(), Int4Error> {
    // 0 is a multiple of every size, and nothing else is a multiple of 0.
    let divides = in_features > 0 && in_features.is_multiple_of(group_size);
    if divides { Ok(()) } else { Err(Int4Error::GroupDoesNotDivide { in_features, group_size }) }
}
// ANCHOR_END: check_group_size

// ANCHOR: group_scale
/// The scale that puts `absmax` on the last code of the grid: `absmax / 7`, rounded to `f16`.
///
/// The scale is 1 where that is 0, because `0 / 0` is NaN. That is so for a group of zeros, and for
/// an `absmax` so small that the scale underflows in `f16`.
pub fn group_scale(absmax: f32) -> f16 {
    // Divided in f32 and rounded to f16 once. The stored scale is compared, because a small
    // quotient is above 0 in f32 and 0 in f16.
    let scale = f16::from_f32(absmax / QMAX);
    if scale > f16::ZERO { scale } else { f16::ONE }
}
// ANCHOR_END: group_scale

// ANCHOR: quantize_groups
/// Quantizes `w`, `[out_features, in_features]`, with one scale for every `group_size` neighbours
/// inside a row.
///
/// # Errors
/// [`Int4Error::GroupDoesNotDivide`] if `group_size` does not divide `in_features`,
/// [`Int4Error::NotFinite`] if `w` holds NaN or infinity, [`Int4Error::ScaleOverflow`] if a scale
/// is beyond `f16`.
pub fn quantize_groups(w: &Array2<f32>, group_size: usize) -> Result<Int4Groups, Int4Error> {
    in_groups(w, group_size, |group| group_scale(absmax(group)))
}

/// Quantizes `w` in groups, the scale of a group being `scale_of` it.
fn in_groups(
    w: &Array2<f32>,
    group_size: usize,
    scale_of: impl Fn(ArrayView1<f32>) -> f16,
) -> Result<Int4Groups, Int4Error> {
    check_group_size(w.ncols(), group_size)?;
    check_finite(w)?;
    let mut scales = Array2::from_elem((w.nrows(), w.ncols() / group_size), f16::ONE);
    for ((row, group), scale) in scales.indexed_iter_mut() {
        let weights = group_of(w.row(row), group, group_size);
        let absmax = absmax(weights);
        if group_scale(absmax).is_infinite() {
            return Err(Int4Error::ScaleOverflow { row, group, absmax });
        }
        *scale = scale_of(weights);
    }
    let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
        quantize_value(w[(row, column)], scales[(row, column / group_size)])
    });
    Int4Groups::new(codes, scales)
}

/// Group `group` of a row: `group_size` neighbours.
fn group_of(row: ArrayView1<f32>, group: usize, group_size: usize) -> ArrayView1<f32> {
    let start = group * group_size;
    row.slice_move(ndarray::s![start..start + group_size])
}

/// The largest magnitude of `values`, or 0 if there are none.
fn absmax(values: ArrayView1<f32>) -> f32 {
    values.iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}
// ANCHOR_END: quantize_groups

// ANCHOR: dequantize_groups
/// The numbers that the codes stand for, each code times the scale of its group:
/// `[out_features, in_features]`.
pub fn dequantize_groups(w: &Int4Groups) -> Array2<f32> {
    let group_size = w.group_size();
    Array2::from_shape_fn(w.q().dim(), |(row, column)| {
        f32::from(w.q()[(row, column)]) * w.scales()[(row, column / group_size)].to_f32()
    })
}
// ANCHOR_END: dequantize_groups

// ANCHOR: nibbles
/// Packs codes of four bits, two to a byte, with the first of each pair in the low nibble.
///
/// A code is its lowest four bits in two's complement: -1 is `1111`, 7 is `0111`, -8 is `1000`.
///
/// # Errors
/// [`Int4Error::HalfAByte`] for an odd number of codes, and else [`Int4Error::CodeOutOfRange`], which
/// names the first code that is not in -8..=7.
pub fn pack_nibbles(codes: &[i8]) -> Result<Vec<u8>, Int4Error> {
    let (pairs, rest) = codes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Int4Error::HalfAByte(codes.len()));
    }
    if let Some(index) = codes.iter().position(|code| !(-8..=7).contains(code)) {
        let code = codes[index].into();
        return Err(Int4Error::CodeOutOfRange { index, code, range: "-8..=7" });
    }
    let nibble = |code: i8| code.cast_unsigned() & 0x0F;
    Ok(pairs.iter().map(|&[low, high]| nibble(low) | nibble(high) << 4).collect())
}

/// The codes in `bytes`, two to a byte, the low nibble first. Each code is in -8..=7.
pub fn unpack_nibbles(bytes: &[u8]) -> Vec<i8> {
    // Shifted to the top of the byte and back, because the right shift of an i8 copies the sign.
    let low = |byte: u8| (byte << 4).cast_signed() >> 4;
    let high = |byte: u8| byte.cast_signed() >> 4;
    bytes.iter().flat_map(|&byte| [low(byte), high(byte)]).collect()
}
// ANCHOR_END: nibbles

// ANCHOR: words
/// Packs eight codes without a sign, 0..=15, into a word: nibble `i`, the bits `4i` to `4i + 3`,
/// holds `codes[order[i]]`.
///
/// # Errors
/// [`Int4Error::CodeOutOfRange`] for a code above 15, which would spill into its neighbour.
pub fn pack_word(codes: [u8; 8], order: &NibbleOrder) -> Result<u32, Int4Error> {
    if let Some(index) = codes.iter().position(|&code| code > 15) {
        let code = codes[index].into();
        return Err(Int4Error::CodeOutOfRange { index, code, range: "0..=15" });
    }
    let nibbles = order.iter().enumerate();
    Ok(nibbles.fold(0, |word, (i, &from)| word | u32::from(codes[from]) << (4 * i)))
}

/// The eight codes of a word, each 0..=15, back in the order of the neighbours.
pub fn unpack_word(word: u32, order: &NibbleOrder) -> [u8; 8] {
    let mut codes = [0; 8];
    for (i, &to) in order.iter().enumerate() {
        codes[to] = (word >> (4 * i) & 0x0F) as u8;
    }
    codes
}
// ANCHOR_END: words

// ANCHOR: zeros
/// Packs eight zero points as GPTQ v1 stores them, each minus one and in linear order.
///
/// # Errors
/// [`Int4Error::ZeroMinusOne`] names the first zero point of 0. Without one,
/// [`Int4Error::CodeOutOfRange`] names the first outside 1..=16.
pub fn pack_gptq_zeros(zeros: [u8; 8]) -> Result<u32, Int4Error> {
    if let Some(index) = zeros.iter().position(|&zero| zero == 0) {
        return Err(Int4Error::ZeroMinusOne { index });
    }
    if let Some(index) = zeros.iter().position(|&zero| zero > 16) {
        let code = zeros[index].into();
        return Err(Int4Error::CodeOutOfRange { index, code, range: "1..=16" });
    }
    pack_word(zeros.map(|zero| zero - 1), &crate::LINEAR_ORDER)
}

/// The zero points of a GPTQ v1 word, which are the nibbles plus one. Each is in 1..=16.
pub fn unpack_gptq_zeros(word: u32) -> [u8; 8] {
    unpack_word(word, &crate::LINEAR_ORDER).map(|stored| stored + 1)
}
// ANCHOR_END: zeros

// ANCHOR: int4_linear
/// The layer, dequantized on the way: `x @ dequantize_groups(w).T`, without ever building that
/// matrix.
///
/// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`. Each scale is multiplied once
/// for each token. The sums are in `f32`.
///
/// # Errors
/// [`Int4Error::FeaturesDiffer`] if `x` has another number of features than `w`.
pub fn int4_linear(x: &Array2<f32>, w: &Int4Groups) -> Result<Array2<f32>, Int4Error> {
    let (x_features, w_features) = (x.ncols(), w.q().ncols());
    if x_features != w_features {
        return Err(Int4Error::FeaturesDiffer { x: x_features, w: w_features });
    }
    let size = w.group_size();
    Ok(Array2::from_shape_fn((x.nrows(), w.q().nrows()), |(token, channel)| {
        let (x, codes) = (x.row(token), w.q().row(channel));
        let groups = x.axis_chunks_iter(Axis(0), size).zip(codes.axis_chunks_iter(Axis(0), size));
        let scaled = groups.zip(w.scales().row(channel));
        scaled.map(|((x, codes), scale)| group_sum(x, codes) * scale.to_f32()).sum()
    }))
}

/// The sum of `x * code` over one group.
fn group_sum(x: ArrayView1<f32>, codes: ArrayView1<i8>) -> f32 {
    x.iter().zip(codes).map(|(x, &code)| x * f32::from(code)).sum()
}
// ANCHOR_END: int4_linear

// ANCHOR: memory
/// Bytes of the packed matrix: a byte for two codes, where a last half byte counts as one, and two
/// bytes for each scale.
pub fn memory_bytes(w: &Int4Groups) -> usize {
    w.q().len().div_ceil(2) + w.scales().len() * size_of::<f16>()
}
// ANCHOR_END: memory

// ANCHOR: search
/// The scale of a group that [`quantize_groups_by_search`] takes.
///
/// The candidates are [`group_scale`] of each of [`shrunk_maxima`] of the group's largest magnitude.
/// The result is the candidate with the least squared error, and the first of those that are equal.
pub fn search_scale(group: ArrayView1<f32>) -> f16 {
    let candidates = shrunk_maxima(absmax(group)).map(group_scale);
    let errors = candidates.map(|scale| (squared_error(group, scale), scale));
    // `min_by` returns the first of equal elements.
    errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(f16::ONE, |(_, scale)| scale)
}

/// The squared error of a group whose codes are the nearest under `scale`. The scale is the stored
/// one, because a reader of the file multiplies by the stored one.
fn squared_error(group: ArrayView1<f32>, scale: f16) -> f64 {
    let error = |w: f32| f64::from(quantize_value(w, scale)) * scale.to_f64() - f64::from(w);
    group.iter().map(|&w| error(w).powi(2)).sum()
}

/// Quantizes `w` as [`quantize_groups`] does, with the scale of each group from
/// [`search_scale`].
///
/// # Errors
/// Those of [`quantize_groups`], in the same cases: [`Int4Error::ScaleOverflow`] names the largest
/// magnitude of the group, whichever smaller maximum would fit.
pub fn quantize_groups_by_search(
    w: &Array2<f32>,
    group_size: usize,
) -> Result<Int4Groups, Int4Error> {
    in_groups(w, group_size, search_scale)
}
// ANCHOR_END: search
