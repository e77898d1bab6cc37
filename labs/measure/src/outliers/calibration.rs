//! The largest magnitudes that the `f32` model shows on the calibration text.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use model::{LayerId, Model};
use ndarray::{Array1, s};
use quantizer::smooth::{each_input, widen};
use smoothquant::solution::channel_absmax;

/// The magnitudes of the input of one layer.
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

/// The magnitudes of the inputs of all layers.
pub struct Calibration(BTreeMap<LayerId, Seen>);

impl Calibration {
    /// Runs the model on `chunks`, each from an empty cache.
    ///
    /// # Errors
    /// If the model fails, or gives NaN.
    pub fn of(model: &Model, chunks: &[Vec<u32>]) -> Result<Self> {
        let mut seen: BTreeMap<LayerId, Seen> = BTreeMap::new();
        each_input(model, chunks, |id, x| {
            let without_first = largest(&channel_absmax(&x.slice(s![1.., ..]).to_owned())?);
            let now = Seen { channels: channel_absmax(x)?, without_first };
            seen.entry(id).and_modify(|seen| seen.widen(&now)).or_insert(now);
            Ok(())
        })?;
        Ok(Self(seen))
    }

    /// The magnitudes of the input of layer `id`.
    ///
    /// # Errors
    /// If the layer was not run.
    pub fn at(&self, id: LayerId) -> Result<&Seen> {
        self.0.get(&id).with_context(|| format!("{id} was not calibrated"))
    }
}

impl Seen {
    fn widen(&mut self, now: &Self) {
        widen(&mut self.channels, &now.channels);
        self.without_first = self.without_first.max(now.without_first);
    }
}

/// The largest of some magnitudes.
pub fn largest(magnitudes: &Array1<f32>) -> f32 {
    magnitudes.fold(0.0, |max, &value| max.max(value))
}
