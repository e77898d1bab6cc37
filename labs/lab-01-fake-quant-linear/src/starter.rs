//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-01`, or `LAB_IMPL=starter cargo test -p
//! lab-01-fake-quant-linear`. On the untouched file every test of the spec fails, because every
//! body is a `todo!`.

use ndarray::Array2;

use crate::{QMAX, QuantError, Quantized};

/// Task 1. The scale that puts `absmax` on the last code of the grid: `absmax / 127`.
///
/// The scale is 1 where that is 0, because `0 / 0` is NaN. That is so for a row of zeros, and for
/// an `absmax` so small that the quotient underflows.
pub fn scale_for(absmax: f32) -> f32 {
    todo!("task 1: divide {absmax} by QMAX, {QMAX}; where that is 0, return 1")
}

/// Task 1. The code of one value: the value is divided by the scale, rounded half to even as torch
/// does, and clipped to -127..=127.
pub fn quantize_value(value: f32, scale: f32) -> i8 {
    todo!("task 1: round {value} / {scale} half to even, then clip to -{QMAX}..={QMAX}")
}

/// Task 2. Refuses a matrix that holds NaN or infinity.
///
/// # Errors
/// [`QuantError::NotFinite`] names the first such value, row by row, with its row and its column.
pub fn check_finite(w: &Array2<f32>) -> Result<(), QuantError> {
    todo!("task 2: find the first value of these {} that is not finite", w.len())
}

/// Task 2. Quantizes `w`, `[out_features, in_features]`, with one scale for the whole tensor.
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_per_tensor(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    todo!("task 2: one scale, of shape [1, 1], for all {} weights", w.len())
}

/// Task 2. Quantizes `w`, `[out_features, in_features]`, with one scale per row (output channel).
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_per_channel(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    todo!("task 2: scales of shape [{}, 1], one per row", w.nrows())
}

/// Task 3. The numbers that the codes stand for, `code * scale`: `[out_features, in_features]`.
pub fn dequantize(w: &Quantized) -> Array2<f32> {
    todo!("task 3: multiply the {} codes by their scales", w.q().len())
}

/// Task 3. The layer with fake-quantized weights: `x @ dequantize(w).T`.
///
/// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if `x` has another number of features than `w`.
pub fn quant_linear(x: &Array2<f32>, w: &Quantized) -> Result<Array2<f32>, QuantError> {
    todo!("task 3: {} tokens times the dequantized {:?} weight", x.nrows(), w.q().dim())
}

/// Task 4. The layer as an int8 engine computes it: `dequantize(x) @ dequantize(w).T`, by sums of
/// products of codes. A sum is exact up to 100,000 features, and is rescaled once.
///
/// `x` is `[tokens, in_features]` and `w` `[out_features, in_features]`, both quantized per tensor
/// or per row. The result is `[tokens, out_features]`.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the feature counts differ, and else
/// [`QuantError::ScaleInsideTheSum`] if a scale varies along the features.
pub fn int8_linear(x: &Quantized, w: &Quantized) -> Result<Array2<f32>, QuantError> {
    todo!("task 4: {:?} codes times {:?} codes, without floats", x.q().dim(), w.q().dim())
}

/// Task 4. Bytes of the quantized matrix, one for each code and four for each scale.
pub fn memory_bytes(w: &Quantized) -> usize {
    todo!("task 4: {} codes and {} scales", w.q().len(), w.scales().len())
}

/// Task 4. Bytes of the same matrix in `f32`.
pub fn memory_bytes_f32(w: &Array2<f32>) -> usize {
    todo!("task 4: {} values of four bytes", w.len())
}
