//! GPTQ on a grid that is not of integers: lab 06's method needs the nearest value of a grid, and no code.

use std::sync::Arc;

use anyhow::{Context, Result};
use float_grids::{E2M1, E4M3, NVFP4_BLOCK, decode, encode, nvfp4_global, quantize_nvfp4};
use formats::magnitude::absmax;
use gptq::{Grid, Hessian, activation_order, group_scales, inverse_factor, prepare};
use kernels::Gram;
use model::{Dense, LayerId, Model, READERS};
use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

/// A share of the mean of the diagonal, as llm-compressor has it.
const DAMPING: f64 = 0.01;

/// A grid and its scales, which are chosen before anything is rounded.
#[derive(Clone, Copy)]
pub struct Feedback {
    /// The run.
    pub name: &'static str,
    /// The name of the same format with the nearest codes.
    pub nearest_codes: &'static str,
    /// The scale of each weight, `[out_features, in_features]`.
    scales: fn(&Array2<f32>) -> Result<Array2<f32>>,
    /// The value of the grid that is nearest to a weight over its scale.
    nearest: fn(f32) -> f32,
}

/// NVFP4, and int4 of the same size, which the method was made for.
pub static ALL: &[Feedback] = &[
    Feedback {
        name: "int4 g32, max / 7.5, GPTQ",
        nearest_codes: "int4 g32, max / 7.5",
        scales: |w| {
            let groups = group_scales(w.mapv(f64::from).view(), 32, &Grid::LLM_COMPRESSOR)?;
            Ok(Array2::from_shape_fn(w.dim(), |(row, column)| groups[(row, column / 32)]))
        },
        nearest: |value| value.round_ties_even().clamp(-8.0, 7.0),
    },
    Feedback {
        name: "NVFP4, GPTQ",
        nearest_codes: super::stored::NVFP4,
        scales: |w| {
            let global = nvfp4_global(absmax(w));
            let blocks = quantize_nvfp4(w, global)?;
            let scale = |(row, column)| {
                decode(&E4M3, blocks.scales()[(row, column / NVFP4_BLOCK)]) / global
            };
            Ok(Array2::from_shape_fn(w.dim(), scale))
        },
        nearest: |value| decode(&E2M1, encode(&E2M1, value)),
    },
];

impl Feedback {
    /// Rounds each decoder layer of `model` under the inputs that the rounded layers before give it, on
    /// `chunks` of tokens, and tells `watch` the number of layers that are done.
    ///
    /// # Errors
    /// If the model cannot be run, or lab 06 refuses; the layer is named.
    pub fn round_model(
        &self,
        model: &mut Model,
        chunks: &[&[u32]],
        mut watch: impl FnMut(usize),
    ) -> Result<()> {
        let embedded = chunks.iter().map(|chunk| model.embed(chunk));
        let mut hidden = embedded.collect::<Result<Vec<_>, _>>()?;
        for layer in 0..model.config().layers {
            let entered = hidden.into_iter().map(|x| model.enter(layer, x));
            let mut at = entered.collect::<Result<Vec<_>, _>>()?;
            for (stage, readers) in READERS.into_iter().enumerate() {
                if stage > 0 {
                    at = at.into_iter().map(|at| model.go_on(at)).collect::<Result<_, _>>()?;
                }
                let h = hessian(&at.iter().map(|at| at.input()).collect::<Vec<_>>());
                for &projection in readers {
                    let id = LayerId::Layer(layer, projection);
                    let w =
                        model.linear(id)?.weight().with_context(|| format!("{id} has codes"))?;
                    let rounded = self.round(w, &h).with_context(|| id.to_string())?;
                    model.replace(id, Arc::new(Dense::new(rounded)))?;
                }
            }
            hidden = at.into_iter().map(|at| model.leave(at)).collect::<Result<_, _>>()?;
            watch(layer + 1);
        }
        Ok(())
    }

    /// The values of the grid that stand for `w`, `[out_features, in_features]`, with act-order.
    ///
    /// # Errors
    /// If lab 06 or lab 08 refuses.
    pub fn round(&self, w: &Array2<f32>, h: &Hessian) -> Result<Array2<f32>> {
        let scales = (self.scales)(w)?;
        let (prepared, damped) = prepare(w, h, DAMPING)?;
        let order = activation_order(&damped);
        let u = inverse_factor(&damped.select(Axis(0), &order).select(Axis(1), &order))?;
        let row = |row: usize| {
            let mut w = prepared.row(row).select(Axis(0), &order);
            let mut rounded = vec![0.0; w.len()];
            for (at, &column) in order.iter().enumerate() {
                let scale = scales[(row, column)];
                let value = (self.nearest)(w[at] as f32 / scale) * scale;
                let error = (w[at] - f64::from(value)) / u[(at, at)];
                w.slice_mut(s![at + 1..]).scaled_add(-error, &u.slice(s![at, at + 1..]));
                rounded[column] = value;
            }
            rounded
        };
        let rows: Vec<f32> = (0..w.nrows()).into_par_iter().flat_map_iter(row).collect();
        Ok(Array2::from_shape_vec(w.dim(), rows)?)
    }
}

/// The Hessian of inputs, as lab 06's `add_batch` scales it.
fn hessian(inputs: &[&Array2<f32>]) -> Hessian {
    let tokens: usize = inputs.iter().map(|input| input.nrows()).sum();
    let mut gram = Gram::new(inputs.first().map_or(0, |input| input.ncols()));
    gram.add(inputs);
    Hessian { matrix: gram.matrix() * (2.0 / tokens.max(1) as f64), tokens }
}

#[cfg(test)]
mod tests {
    use gptq::{Settings, add_batch};
    use kit::data::normal_matrix;

    use super::*;

    /// Weights, and the Hessian of inputs that are correlated.
    fn layer() -> (Array2<f32>, Hessian) {
        let (w, mix) = (normal_matrix(1, 8, 64), normal_matrix(2, 64, 64));
        let mut h = Hessian::new(64);
        add_batch(&mut h, &normal_matrix(3, 256, 64).dot(&mix)).expect("64 features");
        (w, h)
    }

    #[test]
    fn on_integers_the_values_are_those_of_lab_06() -> Result<()> {
        let (w, h) = layer();
        let settings = Settings {
            act_order: true,
            damping: DAMPING,
            ..Settings::new(Grid::LLM_COMPRESSOR, 32)
        };
        let lab_06 = gptq::gptq(&w, &h, &settings)?.values();
        // The lazy block sums in another order, so a value may be off by an ulp of the scale.
        let same = ALL[0].round(&w, &h)?;
        assert!(kit::meters::relative_error(&lab_06, &same) < 1e-6);
        Ok(())
    }

    #[test]
    fn feedback_lowers_the_error_of_the_outputs_and_stays_on_the_grid() -> Result<()> {
        let (w, h) = layer();
        let nvfp4 = &ALL[1];
        let (rounded, scales) = (nvfp4.round(&w, &h)?, (nvfp4.scales)(&w)?);
        let nearest = (super::super::stored::ALL.iter())
            .find(|stored| stored.name == nvfp4.nearest_codes)
            .context("it is in the list")?;
        assert!(h.error(&w, &rounded) < 0.8 * h.error(&w, &(nearest.back)(&w)?));
        for ((row, column), &value) in rounded.indexed_iter() {
            let scale = scales[(row, column)];
            let again = (nvfp4.nearest)(value / scale) * scale;
            assert_eq!(again, value, "row {row}, column {column} is not on the grid");
        }
        Ok(())
    }
}
