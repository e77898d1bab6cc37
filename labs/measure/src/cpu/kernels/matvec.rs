//! One product of a matrix with the activations of one token, four ways.

use ::kernels::plain;
use ndarray::Array2;
use rayon::prelude::*;

use super::{Int4Matrix, Int8Matrix, KernelError, dot, expect_length};

/// Rows that one thread takes at a time.
const ROWS: usize = 16;

/// `w @ x` for `w` of `[out_features, in_features]`, in f32.
///
/// # Errors
/// [`KernelError::Length`] if `x` has not `in_features` values, [`KernelError::NotRowMajor`] if `w`
/// is a transposed or cut-out matrix.
pub fn matvec_f32(w: &Array2<f32>, x: &[f32]) -> Result<Vec<f32>, KernelError> {
    let (out_features, in_features) = w.dim();
    expect_length("x", x.len(), in_features)?;
    let w = w.as_slice().ok_or(KernelError::NotRowMajor)?;
    Ok(by_rows(out_features, in_features, |rows, y| {
        plain::rows(&w[rows.start * in_features..rows.end * in_features], x, y);
    }))
}

/// `w @ x` for int8 codes: each row is summed in its codes, and multiplied by its scale once.
///
/// # Errors
/// [`KernelError::Length`] if `x` has not `in_features` values.
pub fn matvec_int8(w: &Int8Matrix, x: &[f32]) -> Result<Vec<f32>, KernelError> {
    let in_features = w.in_features;
    expect_length("x", x.len(), in_features)?;
    Ok(by_rows(w.scales.len(), in_features, |rows, y| {
        let codes = &w.codes[rows.start * in_features..rows.end * in_features];
        dot::rows_int8(codes, &w.scales[rows], x, y);
    }))
}

// ANCHOR: matvec_int4
/// `w @ x` for packed int4 codes: dequantized in registers, each group multiplied by its scale once.
///
/// # Errors
/// [`KernelError::Length`] if `x` has not `in_features` values.
pub fn matvec_int4(w: &Int4Matrix, x: &[f32]) -> Result<Vec<f32>, KernelError> {
    expect_length("x", x.len(), w.in_features)?;
    Ok(by_rows(w.out_features, w.in_features, |rows, y| {
        let (bytes, scales) = w.rows(rows);
        dot::rows_int4(bytes, scales, w.group_size, x, y);
    }))
}

/// `w @ x` the slow way: first the whole matrix as f32 in memory, then the product with that.
///
/// `buffer` is kept between calls, so that what is measured is not the allocation.
///
/// # Errors
/// [`KernelError::Length`] if `x` has not `in_features` values.
pub fn matvec_int4_materialized(
    w: &Int4Matrix,
    x: &[f32],
    buffer: &mut Vec<f32>,
) -> Result<Vec<f32>, KernelError> {
    expect_length("x", x.len(), w.in_features)?;
    let in_features = w.in_features;
    // The first call pays for the pages; `products` does not keep the time of its first round.
    buffer.resize(w.out_features * in_features, 0.0);
    let blocks = buffer.par_chunks_mut((ROWS * in_features).max(1)).enumerate();
    blocks.for_each(|(block, numbers)| {
        let end = w.out_features.min((block + 1) * ROWS);
        let (bytes, scales) = w.rows(block * ROWS..end);
        dot::dequantize_rows(bytes, scales, w.group_size, numbers);
    });
    Ok(by_rows(w.out_features, in_features, |rows, y| {
        plain::rows(&buffer[rows.start * in_features..rows.end * in_features], x, y);
    }))
}
// ANCHOR_END: matvec_int4

impl Int4Matrix {
    /// The bytes and the scales of some rows.
    fn rows(&self, rows: std::ops::Range<usize>) -> (&[u8], &[half::f16]) {
        let (bytes, groups) = (self.in_features / 2, self.in_features / self.group_size);
        let bytes = &self.bytes[rows.start * bytes..rows.end * bytes];
        (bytes, &self.scales[rows.start * groups..rows.end * groups])
    }
}

/// Fills `out_features` results, a few rows at a time, on the threads of the pool.
fn by_rows(
    out_features: usize,
    in_features: usize,
    product: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut y = vec![0.0; out_features];
    // The sum over no features is 0, and no row can be cut out of nothing.
    if in_features > 0 {
        y.par_chunks_mut(ROWS).enumerate().for_each(|(block, y)| {
            let start = block * ROWS;
            product(start..start + y.len(), y);
        });
    }
    y
}
