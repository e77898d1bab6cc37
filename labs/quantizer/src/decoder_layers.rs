//! The decoder layers of a checkpoint, in memory one at a time.

use std::sync::Arc;

use model::{Dense, LayerId, Model, Norm, Projection, Weights};
use ndarray::{Array1, Array2, Axis};

use crate::{Transform, WriteError};

/// The decoder layers of a checkpoint, as a transform changes their tensors.
#[derive(Clone, Copy)]
pub struct DecoderLayers<'a> {
    /// The checkpoint.
    pub weights: &'a Weights,
    /// The exact change of its tensors, if there is one.
    pub transform: Option<&'a dyn Transform>,
}

impl DecoderLayers<'_> {
    /// The model with its embedding, its norms and its head, and without the matrices of its layers.
    ///
    /// # Errors
    /// If the architecture is not supported, or the transform does not fit a norm.
    pub(crate) fn outline(&self) -> Result<Model, WriteError> {
        let mut model = Model::load_without_layers(self.weights.path())?;
        let Some(transform) = self.transform else { return Ok(model) };
        let norms = |layer| [Norm::Attention(layer), Norm::Mlp(layer)];
        for norm in (0..model.config().layers).flat_map(norms).chain([Norm::Last]) {
            let weight = Array1::from(model.norm(norm)?.to_vec()).insert_axis(Axis(0));
            let changed = transform.apply(&format!("{norm}.weight"), weight)?;
            model.replace_norm(norm, &changed.into_raw_vec_and_offset().0)?;
        }
        transform.finish(self.weights, &mut model)?;
        Ok(model)
    }

    /// The whole model, all of it in `f32`.
    ///
    /// # Errors
    /// If the architecture is not supported, or the transform does not fit a tensor.
    pub fn model(&self) -> Result<Model, WriteError> {
        let mut model = self.outline()?;
        for layer in 0..model.config().layers {
            self.fill(&mut model, layer)?;
        }
        Ok(model)
    }

    /// Puts the matrices of a layer into the model.
    ///
    /// # Errors
    /// If a tensor cannot be read, or the transform does not fit it.
    pub(crate) fn fill(&self, model: &mut Model, layer: usize) -> Result<(), WriteError> {
        for id in Projection::ALL.map(|projection| LayerId::Layer(layer, projection)) {
            model.replace(id, Arc::new(Dense::new(self.read(&format!("{id}.weight"))?)))?;
        }
        Ok(())
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// If it cannot be read, or the transform does not fit it.
    pub fn read(&self, name: &str) -> Result<Array2<f32>, WriteError> {
        match self.transform {
            Some(transform) => transform.apply(name, self.weights.read(transform.origin(name))?),
            None => Ok(self.weights.read(name)?),
        }
    }
}
