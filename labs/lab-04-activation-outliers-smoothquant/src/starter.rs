//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-04`, or
//! `LAB_IMPL=starter cargo test -p lab-04-activation-outliers-smoothquant`. On the untouched file
//! every test of the spec fails, because every body is a `todo!`.

use ndarray::{Array1, Array2};

#[allow(unused_imports)] // Yours to use.
use crate::{
    Granularity, MIN_SCALE, Migrated, QuantError, SideErrors, SmoothError, check_finite,
    dequantize, quantize_activations, quantize_weight, w8a8_linear,
};
#[allow(unused_imports)] // Yours to use.
use kit::{meters::relative_error, reference::linear_f64};

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
/// different widths, [`QuantError::NotFinite`] if one holds NaN or infinity. A batch without tokens adds
/// nothing. Of two errors either may be returned.
pub fn calibrate(batches: &[Array2<f32>]) -> Result<Array1<f32>, SmoothError> {
    todo!("task 1: the running maximum of channel_absmax over {} batches", batches.len())
}

/// Task 2. The relative error of the layer's output, `x @ w.T`, that each side makes alone: with only `x`,
/// `[tokens, in_features]`, on its grid, and with only `w`, `[out_features, in_features]`, on its grid.
///
/// The activation has the scales of `granularity`, the weight one per output channel. `kit` has
/// `relative_error` and `linear_f64`.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the widths differ, [`QuantError::NotFinite`] for NaN or infinity.
pub fn side_errors(
    x: &Array2<f32>,
    w: &Array2<f32>,
    granularity: Granularity,
) -> Result<SideErrors, SmoothError> {
    todo!("task 2: {:?} times {:?} with one side on its grid, {granularity:?}", x.dim(), w.dim())
}

/// Task 3. The smoothing scales, `[in_features]`, which move a part of each channel's absmax from the
/// activation to the weight.
///
/// At `alpha` 1 each channel of the activation reaches 1 afterwards, at 0 each column of the weight
/// does. In between the logarithm of a scale is linear in `alpha`. As in the reference implementation
/// of SmoothQuant (Xiao and others, 2022), a weight maximum below [`MIN_SCALE`] counts as
/// [`MIN_SCALE`], and a scale below counts so too.
///
/// # Errors
/// [`SmoothError::AlphaOutOfRange`] if `alpha` is not in 0..=1, [`SmoothError::ChannelsDiffer`] if
/// the lengths differ, [`SmoothError::NotAMagnitude`] with the name of the parameter if a maximum
/// is negative, NaN or infinite, [`SmoothError::DeadChannel`] if an activation maximum is 0. The
/// first such channel is named, and of two errors either may be returned.
pub fn smoothing_scales(
    act_absmax: &Array1<f32>,
    weight_absmax: &Array1<f32>,
    alpha: f32,
) -> Result<Array1<f32>, SmoothError> {
    todo!(
        "task 3: {} and {} maxima, alpha {alpha}, nothing below {MIN_SCALE}",
        act_absmax.len(),
        weight_absmax.len()
    )
}

/// Task 3. Divides each channel of `x`, `[tokens, in_features]`, by its scale and multiplies the
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
    todo!("task 3: {:?} divided and {:?} multiplied by {} scales", x.dim(), w.dim(), scales.len())
}

/// Task 3. Divides the weight of a norm, `[in_features]`, by the scales. The output of the norm is
/// then the divided activation of [`smooth`], so the division costs nothing when the model runs.
///
/// # Errors
/// As [`smooth`].
pub fn fold_into_norm(
    norm: &Array1<f32>,
    scales: &Array1<f32>,
) -> Result<Array1<f32>, SmoothError> {
    todo!("task 3: {} norm weights divided by {} scales", norm.len(), scales.len())
}

/// Task 4. A layer with its outliers migrated: calibrates on `batches`, each
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
        "task 4: calibrate on {} batches, smooth {:?} at {alpha}, quantize",
        batches.len(),
        w.dim()
    )
}

/// Task 4. Runs a migrated layer on `x`, `[tokens, in_features]`: divides by the smoothing,
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
    todo!("task 4: {:?} by {} scales, then {granularity:?}", x.dim(), layer.smoothing.len())
}

/// Task 5. The one of `candidates` for alpha under which the migrated layer loses least on `batches`, each
/// `[tokens, in_features]`, and the first of those that are equal.
///
/// The layer is calibrated on all `batches`, and runs in `granularity`.
///
/// # Errors
/// [`SmoothError::NoAlpha`] without a candidate, and those of [`migrate`].
pub fn choose_alpha(
    batches: &[Array2<f32>],
    w: &Array2<f32>,
    granularity: Granularity,
    candidates: &[f32],
) -> Result<f32, SmoothError> {
    todo!(
        "task 5: the best of {candidates:?} for {:?} on {} batches, {granularity:?}",
        w.dim(),
        batches.len()
    )
}
