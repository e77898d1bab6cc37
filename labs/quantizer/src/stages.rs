//! The interfaces of the two stages before storing.

use formats::bytes::Float;
use formats::checkpoint::Tensor;
use formats::registry::{Codes, StorageFormat, StoredPart};
use model::{Model, Weights};
use ndarray::Array2;
use serde_json::{Map, Value};

use crate::WriteError;

/// The first stage: an exact change of the tensors before rounding. The model computes the same with
/// the changed tensors.
pub trait Transform: Sync {
    /// Refuses a format that the change does not help, before a tensor is read.
    ///
    /// # Errors
    /// If the transform is not for `format`; the message says for which it is.
    fn check(&self, format: StorageFormat) -> Result<(), WriteError>;

    /// The number of the lab whose functions change the tensors.
    fn lab(&self) -> &'static str;

    /// The choices that decide the change, beside the weights and the calibration: a part of the name under
    /// which work on the changed tensors is kept.
    fn settings(&self) -> String;

    /// The tensor `name`, `[rows, columns]`, changed; a vector is one row.
    ///
    /// # Errors
    /// If the change does not fit the tensor.
    fn apply(&self, name: &str, tensor: Array2<f32>) -> Result<Array2<f32>, WriteError>;

    /// The tensors of the changed model, where `tensors` are those of the original: a head that was the
    /// embedding may become a matrix of its own.
    fn tensors(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        tensors.to_vec()
    }

    /// The tensor of the original that becomes `name`.
    fn origin<'n>(&self, name: &'n str) -> &'n str {
        name
    }

    /// What the file holds beside the tensors of the model, with floats as `float`.
    ///
    /// # Errors
    /// If a number cannot be stored.
    fn added(&self, _float: Float) -> Result<Vec<StoredPart>, WriteError> {
        Ok(Vec::new())
    }

    /// Changes what of `model` is in no decoder layer and no norm: embedding, head, and what the model does
    /// while it runs.
    ///
    /// # Errors
    /// If the change does not fit the model.
    fn finish(&self, _weights: &Weights, _model: &mut Model) -> Result<(), WriteError> {
        Ok(())
    }

    /// Changes the entries of `config.json`.
    fn config(&self, _config: &mut Map<String, Value>) {}
}

/// The second stage: the choice of codes, where the nearest codes are not the best.
pub trait Rounding: Sync {
    /// The number of the lab whose functions choose the codes of `format`; `None` where no lab does.
    fn lab(&self, format: StorageFormat) -> Option<&'static str>;

    /// Refuses a format whose codes it does not choose, before a tensor is read.
    ///
    /// # Errors
    /// If the rounding is not for `format`; the message says for which it is.
    fn check(&self, _format: StorageFormat) -> Result<(), WriteError> {
        Ok(())
    }

    /// The codes of the weight `name`, `[out_features, in_features]`, on the grid of `format`; `None` for a weight
    /// that it has no choice for, which gets the nearest codes.
    ///
    /// # Errors
    /// If the weight cannot be rounded.
    fn round(
        &self,
        name: &str,
        w: &Array2<f32>,
        format: StorageFormat,
    ) -> Result<Option<Codes>, WriteError>;
}
