//! What this lab takes from lab 01, under the names that engines use for activations: the reader's own
//! functions, with `LAB_IMPL=starter`.
//!
//! A wrong answer to this lab is tried with the solution of lab 01, so that a failure is due to the
//! step that the wrong answer replaces.

#[cfg(not(lab_impl = "wrong"))]
use fake_quant_linear as lab_01;
#[cfg(lab_impl = "wrong")]
use fake_quant_linear::solution as lab_01;

use kit::int8::{QuantError, Quantized};
use ndarray::Array2;

use crate::SmoothError;

/// Refuses a matrix that holds NaN or infinity: `check_finite` of lab 01.
///
/// # Errors
/// [`QuantError::NotFinite`] names the first such value, its row and its column.
pub fn check_finite(m: &Array2<f32>) -> Result<(), QuantError> {
    lab_01::check_finite(m)
}

/// Quantizes a weight, `[out_features, in_features]`, with one scale per output channel:
/// `quantize_per_channel` of lab 01.
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_weight(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    lab_01::quantize_per_channel(w)
}

/// Quantizes an activation, `[tokens, in_features]`, with one scale for all tokens:
/// `quantize_per_tensor` of lab 01.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_tensor(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    Ok(lab_01::quantize_per_tensor(x)?)
}

/// Quantizes an activation, `[tokens, in_features]`, with one scale for each token: lab 01's
/// `quantize_per_channel`, because a token is a row.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_token(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    Ok(lab_01::quantize_per_channel(x)?)
}

/// The numbers that codes stand for: `dequantize` of lab 01.
pub fn dequantize(q: &Quantized) -> Array2<f32> {
    lab_01::dequantize(q)
}

/// The layer in int8, `[tokens, out_features]`: `int8_linear` of lab 01.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the widths differ, [`QuantError::ScaleInsideTheSum`] if a scale
/// varies along the features.
pub fn w8a8_linear(x: &Quantized, w: &Quantized) -> Result<Array2<f32>, SmoothError> {
    Ok(lab_01::int8_linear(x, w)?)
}
