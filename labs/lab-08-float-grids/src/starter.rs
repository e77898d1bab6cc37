//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-08`, or `LAB_IMPL=starter cargo test -p lab-08-float-grids --test
//! spec`. On the untouched file every test of the spec fails, because every body is a `todo!`.

use ndarray::Array2;

#[allow(unused_imports)] // Yours to use.
use crate::{
    Blocks, DOUBLE_BLOCK, DoubleScales, E2M1, E4M3, FloatError, FloatGrid, MX_BLOCK, NF4_OFFSET,
    NVFP4_BLOCK, NibbleOrder, ScaleRule, Specials, TableBlocks, check_finite, check_matrix,
    linspace, normal_quantile, power_of_two,
};

/// Task 1. The value of a code. Bits of `code` above those of the grid are ignored.
pub fn decode(grid: &FloatGrid, code: u8) -> f32 {
    todo!("task 1: sign, exponent and fraction of {code:#04x} on {}, then its specials", grid.name)
}

/// Task 1. The largest finite value of a grid.
pub fn largest(grid: &FloatGrid) -> f32 {
    todo!("task 1: the last finite code of {}, decoded", grid.name)
}

/// Task 2. `floor(log2(value))` of a positive, finite value, exact. Subnormal values of `f32`
/// included.
pub fn floor_log2(value: f32) -> i32 {
    todo!("task 2: the exponent field of the bits of {value}, less 127; and subnormal values")
}

/// Task 2. The code nearest to `value`. A tie goes to the even code, and a magnitude beyond the
/// largest value, infinity too, to the largest value. The sign is kept, also that of a zero.
///
/// NaN is the code whose exponent and fraction are all ones. On a grid without NaN that is the
/// largest value, so a caller that can meet NaN has to look for it first.
pub fn encode(grid: &FloatGrid, value: f32) -> u8 {
    todo!("task 2: {value} in steps of its power of two on {}, half to even", grid.name)
}

/// Task 3. The value of a code of E8M0: `2^(code - 127)`, and NaN for 255. There is no zero and no
/// sign.
pub fn decode_e8m0(code: u8) -> f32 {
    todo!("task 3: 2^({code} - 127), and NaN for 255")
}

/// Task 3. The E8M0 code of the scale of a block with the largest magnitude `absmax`, on `grid`, by
/// `rule`.
///
/// Exponents beyond the ends become code 0 or 254. A block of zeros has code 0. `absmax` is finite
/// and not negative.
pub fn block_exponent(absmax: f32, grid: &FloatGrid, rule: ScaleRule) -> u8 {
    todo!("task 3: the exponent for {absmax} on {} by {rule:?}, plus 127", grid.name)
}

/// Task 4. Quantizes `w`, `[out_features, in_features]`, to codes of `grid` in blocks of
/// [`MX_BLOCK`], each with an E8M0 scale by `rule`.
///
/// # Errors
/// [`FloatError::BlockDoesNotDivide`] if the rows are no whole blocks, [`FloatError::NotFinite`].
pub fn quantize_mx(
    w: &Array2<f32>,
    grid: &FloatGrid,
    rule: ScaleRule,
) -> Result<Blocks, FloatError> {
    todo!("task 4: {:?} in blocks of MX_BLOCK on {} by {rule:?}", w.dim(), grid.name)
}

/// Task 4. The numbers that MX codes of `grid` stand for: `[out_features, in_features]`.
pub fn dequantize_mx(blocks: &Blocks, grid: &FloatGrid) -> Array2<f32> {
    todo!("task 4: {:?} codes of {}, each times its power of two", blocks.codes().dim(), grid.name)
}

/// Task 5. The global scale of a tensor with the largest magnitude `absmax`: `448 * 6 / absmax`, by
/// which stored scales are **divided**. 1 where that is not finite, as for a tensor of zeros.
///
/// torch computes a number over a tensor as the number times `1 / absmax`, in `f32`, and so does
/// this.
pub fn nvfp4_global(absmax: f32) -> f32 {
    todo!("task 5: 448 * 6 / {absmax}, or 1")
}

/// Task 5. The E4M3 code of the scale of a block with the largest magnitude `absmax`: that of
/// `absmax / 6 * global`. Where it would be 0, it is code 1, the smallest scale.
pub fn nvfp4_scale(absmax: f32, global: f32) -> u8 {
    todo!("task 5: {absmax} / 6 * {global} as a code of E4M3, at least code 1")
}

/// Task 5. Quantizes `w`, `[out_features, in_features]`, to E2M1 in blocks of [`NVFP4_BLOCK`] with
/// E4M3 scales under the scale `global` of the tensor.
///
/// # Errors
/// [`FloatError::GlobalScale`] unless `global` is positive and finite, then
/// [`FloatError::BlockDoesNotDivide`] and [`FloatError::NotFinite`].
pub fn quantize_nvfp4(w: &Array2<f32>, global: f32) -> Result<Blocks, FloatError> {
    todo!("task 5: {:?} in blocks of NVFP4_BLOCK under {global}", w.dim())
}

/// Task 5. The numbers that NVFP4 codes stand for: each code times (the scale of its block divided
/// by `global`). `[out_features, in_features]`.
pub fn dequantize_nvfp4(blocks: &Blocks, global: f32) -> Array2<f32> {
    todo!("task 5: {:?} codes, each times its stored scale / {global}", blocks.codes().dim())
}

/// Task 6. Packs codes of four bits, two to a byte, in an order.
///
/// # Errors
/// [`FloatError::NotWhole`] if the codes are no whole bytes, or with [`NibbleOrder::Halves`] no
/// whole blocks of a positive, even size; [`FloatError::CodeOutOfRange`] with the first code above
/// 15.
pub fn pack_nibbles(codes: &[u8], order: NibbleOrder) -> Result<Vec<u8>, FloatError> {
    todo!("task 6: {} codes, two to a byte, {order:?}", codes.len())
}

/// Task 6. The codes in `bytes`, each 0..=15, back in the order of the weights.
///
/// # Errors
/// [`FloatError::NotWhole`] as for [`pack_nibbles`], of two codes a byte.
pub fn unpack_nibbles(bytes: &[u8], order: NibbleOrder) -> Result<Vec<u8>, FloatError> {
    todo!("task 6: two codes from each of {} bytes, {order:?}", bytes.len())
}

/// Task 6. Bits that one weight costs: those of its code, and of each `(bits, weights)` in
/// `overhead` its share, where `weights` share a number of so many `bits`.
pub fn bits_per_weight(code_bits: u32, overhead: &[(u32, usize)]) -> f64 {
    todo!("task 6: {code_bits} bits and the shares of {overhead:?}")
}

/// Task 7. The sixteen values of NF4 in rising order.
///
/// Eight are positive: the normal quantiles of the first eight of nine values from [`NF4_OFFSET`]
/// to ½. Seven are negative: those of the first seven of eight such values, negated. The last is 0.
/// Each quantile is rounded to `f32`, and then divided by the largest.
pub fn normal_float() -> [f32; 16] {
    todo!("task 7: quantiles of linspace(NF4_OFFSET, 0.5, 8 and 9), a 0, sorted, over the largest")
}

/// Task 7. The place of the value of `table` that is nearest to `value`, the first of equals.
/// `table` is in rising order, and has 1 to 256 values.
pub fn nearest(table: &[f32], value: f32) -> u8 {
    todo!("task 7: the closest of {} values to {value}, the first of equals", table.len())
}

/// Task 7. Quantizes `values` in blocks to codes of `table`: each value is divided by the largest
/// magnitude of its block, and the nearest value of the table is taken. A block of zeros is divided
/// by 1. The last block may be short.
///
/// # Errors
/// [`FloatError::EmptyBlock`] for a block of 0, [`FloatError::NotFinite`].
pub fn quantize_table(
    values: &[f32],
    table: &[f32],
    block: usize,
) -> Result<TableBlocks, FloatError> {
    todo!("task 7: {} values in blocks of {block} on {} values", values.len(), table.len())
}

/// Task 7. The numbers that codes of `table` stand for: the value of the table times the largest
/// magnitude of the block.
pub fn dequantize_table(blocks: &TableBlocks, table: &[f32]) -> Vec<f32> {
    todo!("task 7: {} codes on {} values", blocks.codes.len(), table.len())
}

/// Task 7. Stores the scales of a table grid in eight bits (double quantization): their mean, and
/// what is left of each in blocks of [`DOUBLE_BLOCK`] on `table`. The mean is summed in `f64`.
///
/// # Errors
/// [`FloatError::NotFinite`].
pub fn double_quantize(absmax: &[f32], table: &[f32]) -> Result<DoubleScales, FloatError> {
    todo!("task 7: the mean of {} scales, and what is left on {} values", absmax.len(), table.len())
}

/// Task 7. The scales that come back from [`double_quantize`] with the same `table`.
pub fn double_dequantize(scales: &DoubleScales, table: &[f32]) -> Vec<f32> {
    todo!("task 7: {} codes on {} values, plus the mean", scales.rest.codes.len(), table.len())
}
