//! What R1 does to the error of rounded weights behind a norm.
//!
//! A norm divides the stream to `h`, and multiplies `h` by its weights `g`. With errors of the same size in all
//! elements of `W`, the squared error of an output is proportional to `|h g|^2 |W|^2` as long as the norm keeps
//! its weights. R1 fuses them, and then the error is proportional to `|h|^2 |W g|^2`, because no rotation
//! changes a norm. The ratio of the two says what R1 costs where nothing but the weights is rounded.

use anyhow::{Context, Result};
use model::{LayerId, Model, Norm, Projection};
use ndarray::{Array1, Array2};
use quantizer::CHUNK;

use super::rotation_meters::Noise;
use crate::subject::Subject;

/// Chunks of the passage that are looked at.
const CHUNKS: usize = 4;

/// The ratio behind each norm of each decoder layer.
///
/// # Errors
/// If the model fails.
pub fn run(subject: &Subject) -> Result<Vec<Noise>> {
    let model = Model::load(subject.weights.path())?;
    let chunks = subject.passage().chunks_exact(CHUNK).take(CHUNKS);
    let mut hidden = chunks.map(|chunk| model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    for layer in 0..model.config().layers {
        let mut at = Vec::new();
        for x in hidden {
            at.push(model.enter(layer, x)?);
        }
        for (projection, norm) in
            [(Projection::Q, Norm::Attention(layer)), (Projection::Gate, Norm::Mlp(layer))]
        {
            while at.first().is_some_and(|at| at.readers()[0] != projection) {
                at = at.into_iter().map(|at| model.go_on(at)).collect::<Result<_, _>>()?;
            }
            let w = model.linear(LayerId::Layer(layer, projection))?.weight();
            let w = w.context("the weights are f32")?;
            let g = Array1::from(model.norm(norm)?.to_vec());
            let inputs: Vec<&Array2<f32>> = at.iter().map(|at| at.input()).collect();
            let [first, others] = ratios(&inputs, w, &g);
            all.push(Noise { layer, reader: projection.name().into(), first, others });
        }
        hidden = at.into_iter().map(|at| model.leave(at)).collect::<Result<_, _>>()?;
    }
    Ok(all)
}

/// The mean ratio of the first tokens, and that of all others.
fn ratios(inputs: &[&Array2<f32>], w: &Array2<f32>, g: &Array1<f32>) -> [f64; 2] {
    let square = |x: f32| f64::from(x).powi(2);
    let fused: f64 = w
        .rows()
        .into_iter()
        .map(|w| w.iter().zip(g).map(|(w, g)| square(w * g)).sum::<f64>())
        .sum();
    let weights: f64 = w.iter().map(|&w| square(w)).sum();
    let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
    for (token, x) in inputs.iter().flat_map(|x| x.rows().into_iter().enumerate()) {
        // A channel whose weight is 0 has lost what the norm was given, and no R1 brings it back.
        let before: f64 =
            x.iter().zip(g).filter(|(_, g)| **g != 0.0).map(|(x, g)| square(x / g)).sum();
        let behind: f64 = x.iter().map(|&x| square(x)).sum();
        let of = usize::from(token > 0);
        sums[of] += before * fused / (behind * weights);
        counts[of] += 1.0;
    }
    [sums[0] / counts[0], sums[1] / counts[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr1, arr2};

    #[test]
    fn a_norm_that_shrinks_the_largest_channel_is_worth_what_it_shrinks() {
        // h = (8, 1), shrunk to (1, 1): the error falls from 65 to 2, and the weights from 1 to 65/128.
        let (x, w, g) = (arr2(&[[1.0, 1.0], [1.0, 1.0]]), arr2(&[[1.0, 1.0]]), arr1(&[0.125, 1.0]));
        let expected = 65.0 * (1.0 + 1.0 / 64.0) / (2.0 * 2.0);
        assert_eq!(ratios(&[&x], &w, &g), [expected; 2]);
        assert_eq!(ratios(&[&x], &w, &arr1(&[1.0, 1.0])), [1.0; 2]);
    }
}
