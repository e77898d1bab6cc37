//! The largest magnitudes that the `f32` model shows on the calibration text.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use model::{Cache, LayerId, Model};
use ndarray::{Array1, Axis, s};

use smoothquant::solution::channel_absmax;

/// What one layer was given.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The largest magnitude of each channel, over all tokens.
    pub channels: Array1<f32>,
    /// The largest magnitude, each chunk's first token left out.
    pub without_first: f32,
}

impl Seen {
    /// The largest magnitude over all tokens.
    pub fn max(&self) -> f32 {
        largest(&self.channels)
    }
}

/// What every layer was given.
pub struct Calibration(BTreeMap<LayerId, Seen>);

impl Calibration {
    /// Runs the model on `chunks`, each from an empty cache.
    ///
    /// # Errors
    /// If the model fails, or gives NaN.
    pub fn of(model: &Model, chunks: &[Vec<u32>]) -> Result<Self> {
        let mut seen: BTreeMap<LayerId, Seen> = BTreeMap::new();
        for chunk in chunks {
            let mut cache = Cache::new(model.config(), chunk.len())?;
            let mut problem = None;
            model.hidden(chunk, &mut cache, &mut |id, x| {
                let rest = x.slice(s![1.., ..]).to_owned();
                match (channel_absmax(x), channel_absmax(&rest)) {
                    (Ok(channels), Ok(rest)) => {
                        let now = Seen { without_first: largest(&rest), channels };
                        seen.entry(id).and_modify(|seen| seen.widen(&now)).or_insert(now);
                    }
                    (Err(error), _) | (_, Err(error)) => problem = Some((id, error)),
                }
            })?;
            if let Some((id, error)) = problem {
                return Err(error).context(format!("the input of {id}"));
            }
        }
        Ok(Self(seen))
    }

    /// What the layer at `layer` was given.
    ///
    /// # Errors
    /// If the layer was not run.
    pub fn at(&self, id: LayerId) -> Result<&Seen> {
        self.0.get(&id).with_context(|| format!("{id} was not calibrated"))
    }
}

impl Seen {
    fn widen(&mut self, now: &Self) {
        self.channels.zip_mut_with(&now.channels, |max, &now| *max = max.max(now));
        self.without_first = self.without_first.max(now.without_first);
    }
}

/// The largest of some magnitudes.
pub fn largest(magnitudes: &Array1<f32>) -> f32 {
    magnitudes.fold(0.0, |max, &value| max.max(value))
}

/// The largest magnitude in each column of a weight, over all `weights`: they read one input.
///
/// # Errors
/// If a weight holds NaN or infinity.
pub fn column_max(weights: &[&ndarray::Array2<f32>]) -> Result<Array1<f32>> {
    let views: Vec<_> = weights.iter().map(|weight| weight.view()).collect();
    let all = ndarray::concatenate(Axis(0), &views)?;
    Ok(channel_absmax(&all)?)
}
