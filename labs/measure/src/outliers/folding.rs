//! Smoothing, folded into the model: nothing is left to do when it runs.
//!
//! The reference implementation of SmoothQuant smooths what a norm feeds: Q, K and V share one input
//! and so one set of scales, gate and up another (`smooth_ln_fcs`, `smoothquant/smooth.py`). The input
//! of `down_proj` is `silu(gate) * up`, so its scales fold into the rows of up; that of `o_proj` is a
//! mix of values, so its scales fold into the rows of V, where the query heads that read one
//! key-value head must share.

use std::sync::Arc;

use anyhow::{Context, Result};
use model::{Dense, LayerId, Model, Norm, Projection};
use ndarray::{Array1, Array2, Axis};

use super::calibration::Calibration;
use quantizer::smooth::weight_absmax;
use smoothquant::solution::{fold_into_norm, smoothing_scales};

/// Which inputs are smoothed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What norms feed, as in the reference implementation.
    Norms,
    /// The inputs of `o_proj` and `down_proj` too.
    Everything,
}

/// A model with its outliers migrated, in `f32`: it computes the same function.
pub struct Smoothed {
    /// The model.
    pub model: Model,
    /// The largest magnitude of each layer's input on the calibration text, smoothed.
    pub calibrated: Vec<(LayerId, f32)>,
}

/// Smooths `model`, whose layers are dense, with strength `alpha`.
///
/// # Errors
/// If a layer is not dense or was not calibrated, or a channel was 0 in all of the calibration text.
pub fn smooth_model(
    model: &Model,
    calibration: &Calibration,
    alpha: f32,
    reach: Reach,
) -> Result<Smoothed> {
    let mut work = Work { model: model.clone(), calibration, alpha, calibrated: Vec::new() };
    for layer in 0..model.config().layers {
        let id = |projection| LayerId::Layer(layer, projection);
        let attention = [Projection::Q, Projection::K, Projection::V].map(id);
        work.behind_norm(Norm::Attention(layer), &attention)?;
        work.behind_norm(Norm::Mlp(layer), &[Projection::Gate, Projection::Up].map(id))?;
        if reach == Reach::Everything {
            work.o_into_v(layer)?;
            work.down_into_up(layer)?;
        }
    }
    let Work { model, mut calibrated, .. } = work;
    for id in model.layer_ids().filter(|id| id.layer().is_some()) {
        if !calibrated.iter().any(|(done, _)| *done == id) {
            calibrated.push((id, calibration.at(id)?.max()));
        }
    }
    Ok(Smoothed { model, calibrated })
}

struct Work<'c> {
    model: Model,
    calibration: &'c Calibration,
    alpha: f32,
    calibrated: Vec<(LayerId, f32)>,
}

impl Work<'_> {
    /// Layers that read one norm share their scales.
    fn behind_norm(&mut self, norm: Norm, ids: &[LayerId]) -> Result<()> {
        let first = ids.first().context("a norm feeds some layer")?;
        let act = &self.calibration.at(*first)?.channels;
        let weights = weight_absmax(&self.model, ids.iter().copied())?;
        let scales = smoothing_scales(act, &weights, self.alpha)?;
        let folded = fold_into_norm(&Array1::from(self.model.norm(norm)?.to_vec()), &scales)?;
        self.model.replace_norm(norm, &folded.to_vec())?;
        ids.iter().try_for_each(|id| self.columns(*id, &scales))
    }

    fn down_into_up(&mut self, layer: usize) -> Result<()> {
        let [up, down] = [Projection::Up, Projection::Down].map(|p| LayerId::Layer(layer, p));
        let act = &self.calibration.at(down)?.channels;
        let scales = smoothing_scales(act, &weight_absmax(&self.model, [down])?, self.alpha)?;
        self.rows(up, &scales)?;
        self.columns(down, &scales)
    }

    fn o_into_v(&mut self, layer: usize) -> Result<()> {
        let [v, o] = [Projection::V, Projection::O].map(|p| LayerId::Layer(layer, p));
        let config = self.model.config();
        let (head_dim, group) = (config.head_dim, config.heads / config.kv_heads);
        // Channel `h * head_dim + d` of O reads row `h / group * head_dim + d` of V.
        let row = |channel: usize| channel / head_dim / group * head_dim + channel % head_dim;
        let shared = |magnitudes: &Array1<f32>| {
            let mut shared = Array1::<f32>::zeros(config.kv_heads * head_dim);
            for (channel, &magnitude) in magnitudes.iter().enumerate() {
                shared[row(channel)] = shared[row(channel)].max(magnitude);
            }
            shared
        };
        let act = shared(&self.calibration.at(o)?.channels);
        let weight_max = shared(&weight_absmax(&self.model, [o])?);
        let scales = smoothing_scales(&act, &weight_max, self.alpha)?;
        let channels = config.heads * head_dim;
        let spread: Array1<f32> = (0..channels).map(|channel| scales[row(channel)]).collect();
        self.rows(v, &scales)?;
        self.columns(o, &spread)
    }

    /// Multiplies the columns of a weight, and notes what its input becomes.
    fn columns(&mut self, id: LayerId, scales: &Array1<f32>) -> Result<()> {
        let smoothed = weight(&self.model, id)? * scales;
        self.model.replace(id, Arc::new(Dense::new(smoothed)))?;
        let act = &self.calibration.at(id)?.channels / scales;
        self.calibrated.push((id, super::calibration::largest(&act)));
        Ok(())
    }

    /// Divides the rows of a weight.
    fn rows(&mut self, id: LayerId, scales: &Array1<f32>) -> Result<()> {
        let smoothed = weight(&self.model, id)? / &scales.view().insert_axis(Axis(1));
        self.model.replace(id, Arc::new(Dense::new(smoothed)))?;
        Ok(())
    }
}

/// The `f32` weight of a layer, `[out_features, in_features]`.
///
/// # Errors
/// If there is no such layer, or it keeps none.
pub fn weight(model: &Model, id: LayerId) -> Result<&Array2<f32>> {
    model.linear(id)?.weight().with_context(|| format!("{id} does not keep its f32 weight"))
}

#[cfg(test)]
mod tests {
    use model::Cache;

    use super::*;

    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/golden/tiny");

    fn logits(model: &Model, ids: &[u32]) -> Array2<f32> {
        let mut cache = Cache::new(model.config(), ids.len()).expect("they fit the model");
        model.forward(ids, &mut cache).expect("they are in the vocabulary")
    }

    #[test]
    fn smoothing_folded_into_the_model_leaves_its_logits() -> Result<()> {
        let model = Model::load(TINY)?;
        let ids: Vec<u32> = (0..48).map(|i| (i * i * 11 + i) % 320).collect();
        let calibration = Calibration::of(&model, std::slice::from_ref(&ids))?;
        let exact = logits(&model, &ids);
        let largest = exact.fold(0.0, |max: f32, x| max.max(x.abs()));
        // As in labs/model/tests/tiny.rs: six products of at most 80 terms in each of two layers, and
        // the head, summed in two orders; three more roundings at each, of weight, norm and scale.
        let config = model.config();
        let longest = config.hidden_size.max(config.intermediate_size) + 3;
        let products = 6 * config.layers + 1;
        let bound = (products * longest) as f64 * f64::from(f32::EPSILON);
        for reach in [Reach::Norms, Reach::Everything] {
            for alpha in [0.3, 0.5, 0.9] {
                let smoothed = smooth_model(&model, &calibration, alpha, reach)?;
                let error = kit::meters::max_abs_error(&exact, &logits(&smoothed.model, &ids));
                let error = error / f64::from(largest);
                assert!(error <= bound, "{reach:?} {alpha}: {error:.2e}, bound {bound:.2e}");
                assert!(error > 0.0, "{reach:?} {alpha}: nothing was smoothed");
            }
        }
        Ok(())
    }

    #[test]
    fn the_absmax_that_smoothing_predicts_is_that_of_the_smoothed_model() -> Result<()> {
        let model = Model::load(TINY)?;
        let ids: Vec<u32> = (0..48).map(|i| (i * 7 + 3) % 320).collect();
        let calibration = Calibration::of(&model, std::slice::from_ref(&ids))?;
        let smoothed = smooth_model(&model, &calibration, 0.5, Reach::Everything)?;
        let shown = Calibration::of(&smoothed.model, std::slice::from_ref(&ids))?;
        for (id, said) in smoothed.calibrated {
            let shown = shown.at(id)?.max();
            // Sums of two orders, and thrice a rounding: far less than the hundredth allowed here.
            assert!((shown / said - 1.0).abs() < 1e-2, "{id}: said {said}, shown {shown}");
        }
        Ok(())
    }
}
