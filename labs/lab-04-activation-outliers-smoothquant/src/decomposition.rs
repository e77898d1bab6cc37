//! Mixed precision: outlier channels stay in floating point.
//!
//! LLM.int8() (Dettmers and others, 2022) looks at each activation as it comes. Channels that reach
//! a threshold in any token stay in 16 bits, with their columns of the weight. The other channels
//! are multiplied in int8, with one scale per token and one per output channel. The two products
//! are added.

use kit::int8::QuantError;
use kit::reference::linear_f64;
use ndarray::{Array2, Axis};

use crate::{SmoothError, quantize_activations_per_token, quantize_weight, w8a8_linear};

/// The threshold of the paper: a magnitude of 6.
pub const THRESHOLD: f32 = 6.0;

/// The channels, ascending, in which some token of `x`, `[tokens, in_features]`, reaches
/// `threshold`.
pub fn outlier_channels(x: &Array2<f32>, threshold: f32) -> Vec<usize> {
    let is_outlier =
        |channel: &usize| x.column(*channel).iter().any(|value| value.abs() >= threshold);
    (0..x.ncols()).filter(is_outlier).collect()
}

/// The layer with its outlier channels in floating point and the rest in int8.
///
/// `x` is `[tokens, in_features]`, `w` `[out_features, in_features]`, the result `[tokens,
/// out_features]`. The scale of a weight row is that of the whole row, because the weights are
/// quantized once, before an activation is known.
///
/// # Errors
/// [`QuantError::FeaturesDiffer`] if the widths differ, [`QuantError::NotFinite`] for NaN or
/// infinity.
pub fn mixed_linear(
    x: &Array2<f32>,
    w: &Array2<f32>,
    threshold: f32,
) -> Result<Array2<f32>, SmoothError> {
    if x.ncols() != w.ncols() {
        return Err(QuantError::FeaturesDiffer { x: x.ncols(), w: w.ncols() }.into());
    }
    let outliers = outlier_channels(x, threshold);
    let mut others = x.clone();
    // Filled with 0 and not removed, because a 0 changes neither a sum nor the scale of a token.
    for &channel in &outliers {
        others.column_mut(channel).fill(0.0);
    }
    let in_int8 = w8a8_linear(&quantize_activations_per_token(&others)?, &quantize_weight(w)?)?;
    let in_float = linear_f64(&x.select(Axis(1), &outliers), &w.select(Axis(1), &outliers));
    Ok(in_int8 + in_float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::data::{normal_matrix, with_outlier_channel};
    use kit::meters::relative_error;

    #[test]
    fn the_outlier_channel_is_found_and_costs_the_others_nothing() -> Result<(), SmoothError> {
        let x = with_outlier_channel(&normal_matrix(1, 16, 64), 5, 80.0);
        let w = normal_matrix(2, 8, 64);
        assert_eq!(outlier_channels(&x, THRESHOLD), [5]);
        let exact = linear_f64(&x, &w);
        let mixed = relative_error(&exact, &mixed_linear(&x, &w, THRESHOLD)?);
        let naive = quantize_activations_per_token(&x)
            .and_then(|x| w8a8_linear(&x, &quantize_weight(&w)?))?;
        assert!(mixed * 10.0 < relative_error(&exact, &naive), "{mixed}");
        Ok(())
    }

    #[test]
    fn without_outlier_channels_it_is_w8a8_and_with_all_of_them_it_is_exact()
    -> Result<(), SmoothError> {
        let (x, w) = (normal_matrix(1, 16, 64), normal_matrix(2, 8, 64));
        let int8 = w8a8_linear(&quantize_activations_per_token(&x)?, &quantize_weight(&w)?)?;
        assert_eq!(mixed_linear(&x, &w, f32::INFINITY)?, int8);
        assert_eq!(mixed_linear(&x, &w, 0.0)?, linear_f64(&x, &w));
        Ok(())
    }
}
