//! The types of this lab, which the starter and the solution share.

use kit::int8::Quantized;
use ndarray::{Array1, Array2};

use crate::SmoothError;
use crate::lab_01::{quantize_activations_per_tensor, quantize_activations_per_token};

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

/// The errors that the two sides of an int8 layer make in its output, each with the other side left in
/// floats. Without a unit: norm of the error over norm of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SideErrors {
    /// With the activation on the grid.
    pub activation: f64,
    /// With the weight on the grid.
    pub weight: f64,
}

/// Quantizes an activation, `[tokens, in_features]`, in the granularity that is asked for.
///
/// # Errors
/// [`QuantError::NotFinite`](crate::QuantError::NotFinite) if `x` holds NaN or infinity.
pub fn quantize_activations(
    x: &Array2<f32>,
    granularity: Granularity,
) -> Result<Quantized, SmoothError> {
    match granularity {
        Granularity::PerTensor => quantize_activations_per_tensor(x),
        Granularity::PerToken => quantize_activations_per_token(x),
    }
}
