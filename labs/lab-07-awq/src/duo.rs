//! The second formula for scales, which AutoAWQ and llm-compressor take unless they are told otherwise.
//!
//! The paper's scales are powers of the mean magnitudes of the inputs, which are the reader's
//! `candidate_scales`. The second formula ("duo scaling") divides these powers by powers of the weights' own
//! magnitudes. Sources: `_compute_best_scale` in `awq/quantize/quantizer.py` of autoawq 0.2.9 and
//! `llmcompressor/modifiers/transform/awq/base.py` of llm-compressor 0.14.

use ndarray::{Array1, Array2, Axis, s};

use crate::{AwqError, Candidate, MIN_SCALE};

/// The mean of each channel's magnitudes over the rows of all `layers`, each weight over the largest
/// magnitude of its group: `[in_features]`.
///
/// # Panics
/// If the layers have different widths, or `group_size` does not divide them.
pub fn weight_means(layers: &[Array2<f32>], group_size: usize) -> Array1<f32> {
    let in_features = layers.first().map_or(0, Array2::ncols);
    let (mut sum, mut rows) = (Array1::<f64>::zeros(in_features), 0);
    for w in layers {
        for row in w.rows() {
            for group in 0..in_features / group_size {
                let columns = s![group * group_size..(group + 1) * group_size];
                let weights = row.slice(columns).mapv(f32::abs);
                // The libraries' guard of a group of zeros.
                let largest = weights.fold(0.0, |max: f32, w| max.max(*w)) + 1e-6;
                sum.slice_mut(columns)
                    .zip_mut_with(&weights, |sum, w| *sum += f64::from(w / largest));
            }
        }
        rows += w.len_of(Axis(0));
    }
    sum.mapv(|sum| (sum / rows as f64) as f32)
}

/// The scales of the second formula: `means^ratio / (weight_means^(1 - ratio) + 1e-4)`, normalized as the
/// paper's are.
pub fn scales(means: &Array1<f32>, weight_means: &Array1<f32>, ratio: f32) -> Array1<f32> {
    let pairs = means.iter().zip(weight_means);
    let scale = |(x, w): (&f32, &f32)| x.powf(ratio) / (w.powf(1.0 - ratio) + 1e-4);
    let scales: Array1<f32> = pairs.map(scale).map(|scale| scale.max(MIN_SCALE)).collect();
    let largest = scales.fold(0.0, |max: f32, s| max.max(*s));
    let smallest = scales.fold(f32::INFINITY, |min: f32, s| min.min(*s));
    scales / (largest * smallest).sqrt()
}

/// The candidates of llm-compressor: the identity, then the second formula at 19 ratios from 0 to 1.
/// AutoAWQ has 20 ratios from 0 to 0.95 and no identity, so that its best may be worse than no scales.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if the two vectors have different lengths.
pub fn candidates(
    means: &Array1<f32>,
    weight_means: &Array1<f32>,
) -> Result<Vec<Candidate>, AwqError> {
    let (found, expected) = (weight_means.len(), means.len());
    if found != expected {
        let (what, other) = ("the means of the weights", "the means of the inputs");
        return Err(AwqError::ChannelsDiffer { what, found, other, expected });
    }
    let identity = Candidate { ratio: 0.0, scales: Array1::ones(expected) };
    let duo = (0..19u8).map(|k| f32::from(k) / 18.0);
    let duo = duo.map(|ratio| Candidate { ratio, scales: scales(means, weight_means, ratio) });
    Ok([identity].into_iter().chain(duo).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn weights_are_compared_inside_their_group() {
        let layers = [array![[1.0, -2.0, 10.0, 5.0]], array![[4.0, 1.0, 0.0, 8.0]]];
        let found = weight_means(&layers, 2);
        for (found, expected) in found.iter().zip([0.75, 0.625, 0.5, 0.75]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn at_ratio_1_the_weights_hardly_count_and_at_0_the_inputs_do_not() {
        let (x, w) = (array![4.0, 1.0], array![0.25, 1.0]);
        assert_eq!(scales(&x, &w, 1.0), array![2.0, 0.5]);
        let found = scales(&x, &w, 0.0);
        assert!((found[0] - 2.0).abs() < 1e-3 && (found[1] - 0.5).abs() < 1e-3, "{found}");
    }
}
