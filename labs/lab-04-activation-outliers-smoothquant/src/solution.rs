//! The reference, which the chapter shows piece by piece.

use ndarray::{Array1, Array2, Axis, Zip};

use crate::{
    Granularity, MIN_SCALE, Migrated, QMAX, QuantError, Quantized, SmoothError, quantize_weight,
};

// ANCHOR: channel_absmax
/// The largest magnitude in each column (channel) of `m`, `[rows, channels]`: `[channels]`.
///
/// Of an activation the rows are tokens, of a weight output channels; the columns of both are
/// `in_features`.
///
/// # Errors
/// [`QuantError::NotFinite`] names the first value that is NaN or infinite.
pub fn channel_absmax(m: &Array2<f32>) -> Result<Array1<f32>, SmoothError> {
    // Checked first, because `f32::max` drops a NaN.
    check_finite(m)?;
    Ok(m.map_axis(Axis(0), |channel| channel.iter().fold(0.0, |max: f32, v| max.max(v.abs()))))
}
// ANCHOR_END: channel_absmax

// ANCHOR: calibrate
/// The largest magnitude of each channel over all `batches`, each `[tokens, in_features]`:
/// `[in_features]`.
///
/// # Errors
/// [`SmoothError::NoTokens`] without a token, [`SmoothError::BatchesDiffer`] if the batches have
/// different widths, [`QuantError::NotFinite`] if one holds NaN or infinity.
pub fn calibrate(batches: &[Array2<f32>]) -> Result<Array1<f32>, SmoothError> {
    let expected = batches.first().map_or(0, Array2::ncols);
    let mut absmax = Array1::zeros(expected);
    for (batch, x) in batches.iter().enumerate() {
        if x.ncols() != expected {
            return Err(SmoothError::BatchesDiffer { batch, found: x.ncols(), expected });
        }
        Zip::from(&mut absmax).and(&channel_absmax(x)?).for_each(|max, &now| *max = now.max(*max));
    }
    let tokens: usize = batches.iter().map(Array2::nrows).sum();
    if tokens == 0 { Err(SmoothError::NoTokens) } else { Ok(absmax) }
}
// ANCHOR_END: calibrate

// ANCHOR: quantize_activations
/// Quantizes `x`, `[tokens, in_features]`, with one scale for all tokens: scales `[1, 1]`.
///
/// A code is the value divided by its scale, rounded half to even and clipped to -127..=127, as in
/// lab 01.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_tensor(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    check_finite(x)?;
    quantize(x, Array2::from_elem((1, 1), scale_of(x)))
}

/// Quantizes `x`, `[tokens, in_features]`, with one scale for each token: scales `[tokens, 1]`. The
/// codes are those of [`quantize_activations_per_tensor`] under these scales.
///
/// # Errors
/// [`QuantError::NotFinite`] if `x` holds NaN or infinity.
pub fn quantize_activations_per_token(x: &Array2<f32>) -> Result<Quantized, SmoothError> {
    check_finite(x)?;
    quantize(x, x.map_axis(Axis(1), scale_of).insert_axis(Axis(1)))
}

/// The scale that puts the largest magnitude on the last code, 127, or 1 if that scale is 0.
fn scale_of<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    // The scale is compared and not the maximum, because the smallest f32 over 127 underflows to 0.
    let scale = values.into_iter().fold(0.0, |max: f32, value| max.max(value.abs())) / QMAX;
    if scale > 0.0 { scale } else { 1.0 }
}

/// Codes for `x` under `scales` of shape `[1, 1]` or `[tokens, 1]`.
fn quantize(x: &Array2<f32>, scales: Array2<f32>) -> Result<Quantized, SmoothError> {
    let code = |value: &f32| value.round_ties_even().clamp(-QMAX, QMAX) as i8;
    Ok(Quantized::new((x / &scales).map(code), scales)?)
}
// ANCHOR_END: quantize_activations

// ANCHOR: w8a8_linear
/// The layer in int8: products of codes summed in `i32`, rescaled once by the token's scale and the
/// output channel's.
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
    let (x_features, w_features) = (x.q().ncols(), w.q().ncols());
    if x_features != w_features {
        return Err(QuantError::FeaturesDiffer { x: x_features, w: w_features }.into());
    }
    for side in [x, w] {
        if let (rows, columns @ 2..) = side.scales().dim() {
            return Err(QuantError::ScaleInsideTheSum([rows, columns]).into());
        }
    }
    let sums = x.q().mapv(i32::from).dot(&w.q().mapv(i32::from).t());
    Ok(sums.mapv(|sum| sum as f32) * x.scales() * w.scales().t())
}
// ANCHOR_END: w8a8_linear

// ANCHOR: smoothing_scales
/// The smoothing scales, which move a part of each channel's absmax from the activation to the
/// weight, `[in_features]`:
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
    if !(0.0..=1.0).contains(&alpha) {
        return Err(SmoothError::AlphaOutOfRange(alpha));
    }
    let act = ("act_absmax", act_absmax.len());
    same_channels(act, ("weight_absmax", weight_absmax.len()))?;
    check_magnitudes("act_absmax", act_absmax)?;
    check_magnitudes("weight_absmax", weight_absmax)?;
    if let Some(channel) = act_absmax.iter().position(|&absmax| absmax == 0.0) {
        return Err(SmoothError::DeadChannel { channel });
    }
    Ok(Zip::from(act_absmax).and(weight_absmax).map_collect(|&act, &weight| {
        let weight = weight.max(MIN_SCALE);
        (act.powf(alpha) / weight.powf(1.0 - alpha)).max(MIN_SCALE)
    }))
}
// ANCHOR_END: smoothing_scales

// ANCHOR: smooth
/// Divides each channel of `x`, `[tokens, in_features]`, by its scale and multiplies the same
/// channel of `w`, `[out_features, in_features]`, with it. The product of the two does not change.
///
/// # Errors
/// [`SmoothError::ChannelsDiffer`] if the widths differ, [`SmoothError::NotAScale`] with the first
/// channel whose scale is not above 0 and finite.
pub fn smooth(
    x: &Array2<f32>,
    w: &Array2<f32>,
    scales: &Array1<f32>,
) -> Result<(Array2<f32>, Array2<f32>), SmoothError> {
    // Compared before the product, because ndarray stretches a width of 1.
    same_channels(("x", x.ncols()), ("the weight", w.ncols()))?;
    same_channels(("the smoothing", scales.len()), ("the weight", w.ncols()))?;
    check_scales(scales)?;
    Ok((x / scales, w * scales))
}

/// Divides the weight of a norm, `[in_features]`, by the scales. The output of the norm is then the
/// divided activation of [`smooth`], so the division costs nothing when the model runs.
///
/// # Errors
/// As [`smooth`].
pub fn fold_into_norm(
    norm: &Array1<f32>,
    scales: &Array1<f32>,
) -> Result<Array1<f32>, SmoothError> {
    same_channels(("the smoothing", scales.len()), ("the norm", norm.len()))?;
    check_scales(scales)?;
    Ok(norm / scales)
}
// ANCHOR_END: smooth

// ANCHOR: migrate
/// A layer with its outliers migrated: calibrates on `batches`, each `[tokens, in_features]`,
/// smooths the weight `w`, `[out_features, in_features]`, and quantizes it.
///
/// # Errors
/// Those of [`calibrate`], [`smoothing_scales`] and [`smooth`].
pub fn migrate(
    batches: &[Array2<f32>],
    w: &Array2<f32>,
    alpha: f32,
) -> Result<Migrated, SmoothError> {
    let smoothing = smoothing_scales(&calibrate(batches)?, &channel_absmax(w)?, alpha)?;
    Ok(Migrated { weight: quantize_weight(&(w * &smoothing))?, smoothing })
}

/// Runs a migrated layer on `x`, `[tokens, in_features]`: divides by the smoothing, quantizes the
/// activation, multiplies in int8. The result is `[tokens, out_features]`.
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
    same_channels(("x", x.ncols()), ("the smoothing", layer.smoothing.len()))?;
    check_scales(&layer.smoothing)?;
    let x = x / &layer.smoothing;
    let x = match granularity {
        Granularity::PerTensor => quantize_activations_per_tensor(&x)?,
        Granularity::PerToken => quantize_activations_per_token(&x)?,
    };
    w8a8_linear(&x, &layer.weight)
}
// ANCHOR_END: migrate

/// Refuses a matrix that holds NaN or infinity.
fn check_finite(m: &Array2<f32>) -> Result<(), QuantError> {
    match m.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
        None => Ok(()),
    }
}

/// Refuses two tensors of different widths.
fn same_channels(
    (what, found): (&'static str, usize),
    (other, expected): (&'static str, usize),
) -> Result<(), SmoothError> {
    if found == expected {
        return Ok(());
    }
    Err(SmoothError::ChannelsDiffer { what, found, other, expected })
}

/// Refuses a maximum that is negative, NaN or infinite.
fn check_magnitudes(what: &'static str, absmax: &Array1<f32>) -> Result<(), SmoothError> {
    match absmax.iter().position(|value| !value.is_finite() || *value < 0.0) {
        Some(channel) => Err(SmoothError::NotAMagnitude { what, channel, value: absmax[channel] }),
        None => Ok(()),
    }
}

/// Refuses a scale that is not above 0 and finite.
fn check_scales(scales: &Array1<f32>) -> Result<(), SmoothError> {
    match scales.iter().position(|scale| !scale.is_finite() || *scale <= 0.0) {
        Some(channel) => Err(SmoothError::NotAScale { channel, value: scales[channel] }),
        None => Ok(()),
    }
}
