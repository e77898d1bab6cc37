//! The reference, which the chapter shows piece by piece.

use ndarray::{Array2, Axis};

use crate::{QMAX, QuantError, Quantized};

// ANCHOR: scale_for
/// The scale that puts `absmax` on the last code of the grid: `absmax / 127`.
///
/// The scale is 1 where that is 0, because `0 / 0` is NaN. That is so for a row of zeros, and for
/// an `absmax` so small that the quotient underflows.
pub fn scale_for(absmax: f32) -> f32 {
    // The scale is compared and not `absmax`, because the smallest f32 over 127 underflows to 0.
    let scale = absmax / QMAX;
    if scale > 0.0 { scale } else { 1.0 }
}
// ANCHOR_END: scale_for

// ANCHOR: quantize_value
/// The code of one value: the value is divided by the scale, rounded half to even as torch does,
/// and clipped to -127..=127.
pub fn quantize_value(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-QMAX, QMAX) as i8
}
// ANCHOR_END: quantize_value

// ANCHOR: check_finite
/// Refuses a matrix that holds NaN or infinity.
///
/// # Errors
/// [`QuantError::NotFinite`] names the first such value, row by row, with its row and its column.
pub fn check_finite(w: &Array2<f32>) -> Result<(), QuantError> {
    match w.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
        None => Ok(()),
    }
}
// ANCHOR_END: check_finite

// ANCHOR: quantize
/// Quantizes `w`, `[out_features, in_features]`, with one scale for the whole tensor.
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_per_tensor(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    check_finite(w)?;
    quantize(w, Array2::from_elem((1, 1), scale_for(absmax(w))))
}

/// Quantizes `w`, `[out_features, in_features]`, with one scale per row (output channel).
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_per_channel(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    check_finite(w)?;
    let scales = w.map_axis(Axis(1), |row| scale_for(absmax(row)));
    quantize(w, scales.insert_axis(Axis(1)))
}

/// The largest magnitude of `values`, or 0 if there are none.
fn absmax<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}

/// Codes for `w` under `scales` of shape `[1, 1]` or `[out_features, 1]`.
fn quantize(w: &Array2<f32>, scales: Array2<f32>) -> Result<Quantized, QuantError> {
    let codes = ndarray::Zip::from(w)
        .and_broadcast(&scales)
        .map_collect(|&value, &scale| quantize_value(value, scale));
    Quantized::new(codes, scales)
}
// ANCHOR_END: quantize

// ANCHOR: dequantize
/// The numbers that the codes stand for, `code * scale`: `[out_features, in_features]`.
pub fn dequantize(w: &Quantized) -> Array2<f32> {
    w.q().mapv(f32::from) * w.scales()
}
// ANCHOR_END: dequantize

// ANCHOR: quant_linear
/// The layer with fake-quantized weights: `x @ dequantize(w).T`.
///
/// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if `x` has another number of features than `w`.
pub fn quant_linear(x: &Array2<f32>, w: &Quantized) -> Result<Array2<f32>, QuantError> {
    same_features(x.ncols(), w.q().ncols())?;
    Ok(x.dot(&dequantize(w).t()))
}
// ANCHOR_END: quant_linear

// ANCHOR: int8_linear
/// The layer as an int8 engine computes it: `dequantize(x) @ dequantize(w).T`, by sums of
/// products of codes. A sum is exact up to 100,000 features, and is rescaled once.
///
/// `x` is `[tokens, in_features]` and `w` `[out_features, in_features]`, both quantized per tensor
/// or per row. The result is `[tokens, out_features]`.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the feature counts differ, and else
/// [`QuantError::ScaleInsideTheSum`] if a scale varies along the features.
pub fn int8_linear(x: &Quantized, w: &Quantized) -> Result<Array2<f32>, QuantError> {
    same_features(x.q().ncols(), w.q().ncols())?;
    let outside = |q: &Quantized| match q.scales().dim() {
        (_, 1) => Ok(()),
        (rows, columns) => Err(QuantError::ScaleInsideTheSum([rows, columns])),
    };
    outside(x)?;
    outside(w)?;
    // An i32 holds 133,144 products of 127 and 127.
    let sums = x.q().mapv(i32::from).dot(&w.q().mapv(i32::from).t());
    Ok(sums.mapv(|sum| sum as f32) * x.scales() * w.scales().t())
}

fn same_features(x: usize, w: usize) -> Result<(), QuantError> {
    if x == w { Ok(()) } else { Err(QuantError::FeaturesDiffer { x, w }) }
}
// ANCHOR_END: int8_linear

// ANCHOR: memory
/// Bytes of the quantized matrix, one for each code and four for each scale.
pub fn memory_bytes(w: &Quantized) -> usize {
    w.q().len() + w.scales().len() * size_of::<f32>()
}

/// Bytes of the same matrix in `f32`.
pub fn memory_bytes_f32(w: &Array2<f32>) -> usize {
    w.len() * size_of::<f32>()
}
// ANCHOR_END: memory
