//! The types of a migrated layer, and the quantizer of weights, which is lab 01's. The starter and
//! the solution share both.

use kit::int8::{QMAX, QuantError, Quantized};
use ndarray::{Array1, Array2, Axis};

/// The lower limit of smoothing scales, and of the weight absmax in a smoothing scale. Source:
/// `smooth_ln_fcs` in `smoothquant/smooth.py` of mit-han-lab/smoothquant.
pub const MIN_SCALE: f32 = 1e-5;

/// The granularity of an activation. Per channel is not possible, because such a scale is inside
/// the sum over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One for all tokens.
    PerTensor,
    /// One for each token.
    PerToken,
}

/// A layer after migration: the scales that its input is divided by, and its int8 weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// One scale per channel, `[in_features]`. In a model the scales are folded into the layer
    /// before.
    pub smoothing: Array1<f32>,
    /// The weight, multiplied by the scales and then quantized per output channel.
    pub weight: Quantized,
}

/// Quantizes a weight, `[out_features, in_features]`, with one scale per row: lab 01's
/// `quantize_per_channel`, given.
///
/// # Errors
/// [`QuantError::NotFinite`] if `w` holds NaN or infinity.
pub fn quantize_weight(w: &Array2<f32>) -> Result<Quantized, QuantError> {
    if let Some(((row, column), &value)) = w.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(QuantError::NotFinite { row, column, value });
    }
    let scales = w.map_axis(Axis(1), |row| {
        let scale = row.iter().fold(0.0, |max: f32, value| max.max(value.abs())) / QMAX;
        if scale > 0.0 { scale } else { 1.0 }
    });
    let scales = scales.insert_axis(Axis(1));
    let code = |value: &f32| value.round_ties_even().clamp(-QMAX, QMAX) as i8;
    Quantized::new((w / &scales).map(code), scales)
}
