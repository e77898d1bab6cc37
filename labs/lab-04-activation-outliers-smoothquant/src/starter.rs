//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-04`, or
//! `LAB_IMPL=starter cargo test -p lab-04-activation-outliers-smoothquant`. On the untouched file
//! every test of the spec fails, because every body is a `todo!`.

use ndarray::{Array1, Array2};

use crate::{Granularity, MIN_SCALE, Migrated, Quantized, SmoothError};

/// Task 1. The largest magnitude in each column (channel) of `m`, `[rows, channels]`: `[channels]`.
///
/// Of an activation the rows are tokens, of a weight output channels; the columns of both are
/// `in_features`.
///
/// # Errors
/// [`QuantError::NotFinite`] names the first value that is NaN or infinite.
pub fn channel_absmax(m: &Array2<f32>) -> Result<Array1<f32>, SmoothError> {
    todo!(
        "task 1: refuse NaN and infinity, then the largest |value| of each of {} columns",
        m.ncols()
    )
}

/// Task 1. The largest magnitude of each channel over all `batches`, each `[tokens, in_features]`:
/// `[in_features]`.
///
/// # Errors
/// [`SmoothError::NoTokens`] without a token, [`SmoothError::BatchesDiffer`] if the batches have
/// different widths, [`QuantError::NotFinite`] if one holds NaN or infinity.
pub fn calibrate(batches: &[Array2<f32>]) -> Result<Array1<f32>, SmoothError> {
    todo!("task 1: the running maximum of channel_absmax over {} batches", batches.len())
}

/// Task 2. Quantizes `x`, `[tokens, in_features]`, with one scale for all tokens: scales `[1, 1]`.
///
/// A code is the value divided by its scale, rounded half to even and clipped to -127..=127, as in
/// lab 01.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_tensor(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    todo!("task 2: one scale, of shape [1, 1], for all {} values", x.len())
}

/// Task 2. Quantizes `x`, `[tokens, in_features]`, with one scale for each token: scales
/// `[tokens, 1]`. The codes are those of [`quantize_activations_per_tensor`] under these scales.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_token(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    todo!("task 2: scales of shape [{}, 1], one per token", x.nrows())
}

/// Task 3. The layer in int8: products of codes summed in `i32`, rescaled once by the token's scale
/// and the output channel's.
///
/// `x` is `[tokens, in_features]` with scales `[1, 1]` or `[tokens, 1]`, `w` is
/// `[out_features, in_features]` with scales `[1, 1]` or `[out_features, 1]`; the result is
/// `[tokens, out_features]`. The `i32` cannot overflow below 133,145 features (`i32::MAX / 127²`);
/// an `i16` could from three on.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the widths differ, [`QuantError::ScaleInsideTheSum`] if a
/// scale varies along the features.
pub fn w8a8_linear(x: &Quantized, w: &Quantized) -> Result<Array2<f32>, SmoothError> {
    todo!("task 3: {:?} codes times {:?} codes, summed in i32", x.q().dim(), w.q().dim())
}

/// Task 4. The smoothing scales, which move a part of each channel's absmax from the activation to
/// the weight, `[in_features]`:
///
/// `s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)`
///
/// (equation 4 of SmoothQuant, Xiao and others, 2022). As in the reference implementation, a weight
/// maximum below [`MIN_SCALE`] counts as [`MIN_SCALE`], and a scale below counts so too.
///
/// # Errors
/// [`SmoothError::AlphaOutOfRange`] if `alpha` is not in 0..=1, [`SmoothError::ChannelsDiffer`] if
/// the lengths differ, [`SmoothError::NotAMagnitude`] with the name of the parameter if a maximum
/// is negative, NaN or infinite, [`SmoothError::DeadChannel`] if an activation maximum is 0. The
/// first such channel is named.
pub fn smoothing_scales(
    act_absmax: &Array1<f32>,
    weight_absmax: &Array1<f32>,
    alpha: f32,
) -> Result<Array1<f32>, SmoothError> {
    todo!(
        "task 4: {} and {} maxima, alpha {alpha}, nothing below {MIN_SCALE}",
        act_absmax.len(),
        weight_absmax.len()
    )
}

/// Task 4. Divides each channel of `x`, `[tokens, in_features]`, by its scale and multiplies the
/// same channel of `w`, `[out_features, in_features]`, with it. The product of the two does not
/// change.
///
/// # Errors
/// [`SmoothError::ChannelsDiffer`] if the widths differ, [`SmoothError::NotAScale`] with the first
/// channel whose scale is not above 0 and finite.
pub fn smooth(
    x: &Array2<f32>,
    w: &Array2<f32>,
    scales: &Array1<f32>,
) -> Result<(Array2<f32>, Array2<f32>), SmoothError> {
    todo!("task 4: {:?} divided and {:?} multiplied by {} scales", x.dim(), w.dim(), scales.len())
}

/// Task 4. Divides the weight of a norm, `[in_features]`, by the scales. The output of the norm is
/// then the divided activation of [`smooth`], so the division costs nothing when the model runs.
///
/// # Errors
/// As [`smooth`].
pub fn fold_into_norm(
    norm: &Array1<f32>,
    scales: &Array1<f32>,
) -> Result<Array1<f32>, SmoothError> {
    todo!("task 4: {} norm weights divided by {} scales", norm.len(), scales.len())
}

/// Task 5. A layer with its outliers migrated: calibrates on `batches`, each
/// `[tokens, in_features]`, smooths the weight `w`, `[out_features, in_features]`, and quantizes
/// it.
///
/// # Errors
/// Those of [`calibrate`], [`smoothing_scales`] and [`smooth`].
pub fn migrate(
    batches: &[Array2<f32>],
    w: &Array2<f32>,
    alpha: f32,
) -> Result<Migrated, SmoothError> {
    todo!(
        "task 5: calibrate on {} batches, smooth {:?} at {alpha}, quantize",
        batches.len(),
        w.dim()
    )
}

/// Task 5. Runs a migrated layer on `x`, `[tokens, in_features]`: divides by the smoothing,
/// quantizes the activation, multiplies in int8. The result is `[tokens, out_features]`.
///
/// # Errors
/// [`SmoothError::ChannelsDiffer`] if `x` has another width than the layer,
/// [`SmoothError::NotAScale`] if a scale of the layer is not above 0 and finite, those of
/// [`w8a8_linear`] otherwise.
pub fn migrated_linear(
    x: &Array2<f32>,
    layer: &Migrated,
    granularity: Granularity,
) -> Result<Array2<f32>, SmoothError> {
    todo!("task 5: {:?} by {} scales, then {granularity:?}", x.dim(), layer.smoothing.len())
}
