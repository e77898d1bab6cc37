//! The reference, which the chapter shows piece by piece.

use kit::meters::relative_error;
use kit::reference::linear_f64;
use ndarray::{Array1, Array2, Axis, Zip};

use crate::{
    Granularity, MIN_SCALE, Migrated, QuantError, SideErrors, SmoothError, check_finite,
    dequantize, quantize_activations, quantize_weight, w8a8_linear,
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
/// different widths, [`QuantError::NotFinite`] if one holds NaN or infinity. A batch without tokens adds
/// nothing. Of two errors either may be returned.
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

// ANCHOR: side_errors
/// The relative error of the layer's output, `x @ w.T`, that each side makes alone: with only `x`,
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
    let (x_features, w_features) = (x.ncols(), w.ncols());
    if x_features != w_features {
        return Err(QuantError::FeaturesDiffer { x: x_features, w: w_features }.into());
    }
    let (on_grid_x, on_grid_w) = (quantize_activations(x, granularity)?, quantize_weight(w)?);
    let exact = linear_f64(x, w);
    let error = |x: &Array2<f32>, w: &Array2<f32>| relative_error(&exact, &linear_f64(x, w));
    Ok(SideErrors {
        activation: error(&dequantize(&on_grid_x), w),
        weight: error(x, &dequantize(&on_grid_w)),
    })
}
// ANCHOR_END: side_errors

// ANCHOR: smoothing_scales
/// The smoothing scales, `[in_features]`, which move a part of each channel's absmax from the
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
    let x = quantize_activations(&(x / &layer.smoothing), granularity)?;
    w8a8_linear(&x, &layer.weight)
}
// ANCHOR_END: migrate

// ANCHOR: choose_alpha
/// The one of `candidates` for alpha under which the migrated layer loses least on `batches`, each
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
    let mut best: Option<(f64, f32)> = None;
    for &alpha in candidates {
        let layer = migrate(batches, w, alpha)?;
        let mut loss = 0.0;
        for x in batches {
            loss += squared_error(&linear_f64(x, w), &migrated_linear(x, &layer, granularity)?);
        }
        if best.is_none_or(|(least, _)| loss < least) {
            best = Some((loss, alpha));
        }
    }
    best.map(|(_, alpha)| alpha).ok_or(SmoothError::NoAlpha)
}

/// The squared error of an output, added over the tokens because an outlier token counts for as much as
/// what it adds to the output.
fn squared_error(exact: &Array2<f32>, found: &Array2<f32>) -> f64 {
    exact.iter().zip(found).map(|(exact, found)| f64::from(exact - found).powi(2)).sum()
}
// ANCHOR_END: choose_alpha

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
