//! The experiment that AWQ begins with, on the whole model: the nearest codes, and one channel in a hundred
//! of each projection's inputs stays in 16 bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::awq::{Grid, Rounding};
use anyhow::{Context, Result};
use half::f16;
use kit::data::normal_matrix;
use model::{Dense, LayerId, Model, Projection};
use ndarray::{Array1, Array2, Axis};
use quantizer::CHUNK;
use quantizer::smooth::each_input;

use super::awq_meters::Kept;
use super::plan::GROUP_SIZE;
use crate::subject::Subject;

/// The name of the experiment among the runs.
pub const NAME: &str = "one percent";
/// The ways in which channels are chosen.
pub const CHOSEN_BY: [&str; 3] = ["largest inputs", "largest weights", "at random"];

/// Scores the model with each choice of channels. Inputs are seen on `tokens`.
pub(crate) fn run(subject: &Subject, tokens: &[u32]) -> Result<Vec<Kept>> {
    let model = Model::load(subject.weights.path())?;
    let inputs = summed_magnitudes(&model, tokens)?;
    let mut all = Vec::new();
    for chosen_by in CHOSEN_BY {
        let mut changed = model.clone();
        for (&id, of_inputs) in &inputs {
            let w = model.linear(id)?.weight().with_context(|| format!("{id} has no floats"))?;
            let by = match chosen_by {
                "largest inputs" => of_inputs.clone(),
                "largest weights" => w.mapv(f32::abs).sum_axis(Axis(0)),
                _ => normal_matrix(seed(id), 1, w.ncols()).row(0).to_owned(),
            };
            changed.replace(id, Arc::new(Dense::new(kept(w, &by)?)))?;
        }
        let quality = subject.score(&changed)?;
        println!("{NAME}, {chosen_by}: perplexity {:.3}", quality.perplexity);
        all.push(Kept { chosen_by: chosen_by.into(), quality });
    }
    Ok(all)
}

/// The sum of the magnitudes of each channel of the input of each projection.
fn summed_magnitudes(model: &Model, tokens: &[u32]) -> Result<BTreeMap<LayerId, Array1<f32>>> {
    let chunks: Vec<&[u32]> = tokens.chunks_exact(CHUNK).collect();
    let mut sums: BTreeMap<LayerId, Array1<f64>> = BTreeMap::new();
    each_input(model, &chunks, |id, x| {
        if id != LayerId::Head {
            let now = x.mapv(|x| f64::from(x.abs())).sum_axis(Axis(0));
            let sum = sums.entry(id).or_insert_with(|| Array1::zeros(now.len()));
            *sum += &now;
        }
        Ok(())
    })?;
    Ok(sums.into_iter().map(|(id, sum)| (id, sum.mapv(|sum| sum as f32))).collect())
}

/// The values of the nearest codes of `w`, but in the columns with the largest of `by`, which are in `f16`.
fn kept(w: &Array2<f32>, by: &Array1<f32>) -> Result<Array2<f32>> {
    let mut values = Rounding::new(Grid::LlmCompressor, GROUP_SIZE).values(w)?;
    let mut order: Vec<usize> = (0..by.len()).collect();
    order.sort_by(|&a, &b| by[b].total_cmp(&by[a]));
    for &column in &order[..by.len().div_ceil(100)] {
        values.column_mut(column).assign(&w.column(column).mapv(|w| f16::from_f32(w).to_f32()));
    }
    Ok(values)
}

/// Another number for each projection, so that no channel is chosen in all of them.
fn seed(id: LayerId) -> u64 {
    match id {
        LayerId::Layer(layer, projection) => {
            (layer * Projection::ALL.len() + projection as usize) as u64
        }
        LayerId::Head => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_column_in_a_hundred_keeps_its_weights_and_the_others_are_rounded() -> Result<()> {
        let (w, by) = (normal_matrix(1, 4, 192), normal_matrix(2, 1, 192).row(0).to_owned());
        let values = kept(&w, &by)?;
        let half = w.mapv(|w| f16::from_f32(w).to_f32());
        let same: Vec<usize> =
            (0..192).filter(|&column| values.column(column) == half.column(column)).collect();
        assert_eq!(same.len(), 2, "{same:?}");
        let others = (0..192).filter(|column| !same.contains(column));
        assert!(others.into_iter().all(|column| same.iter().all(|&kept| by[column] < by[kept])));
        Ok(())
    }
}
