//! The interfaces of the two stages before storing.

use formats::registry::{Codes, StorageFormat};
use ndarray::Array2;

use crate::WriteError;

/// The first stage: an exact change of the tensors before rounding. The model computes the same with
/// the changed tensors.
pub trait Transform: Sync {
    /// The tensor `name`, `[rows, columns]`, changed; a vector is one row.
    ///
    /// # Errors
    /// If the change does not fit the tensor.
    fn apply(&self, name: &str, tensor: Array2<f32>) -> Result<Array2<f32>, WriteError>;
}

/// The second stage: the choice of codes, where the nearest codes are not the best.
pub trait Rounding: Sync {
    /// The number of the lab whose functions choose.
    fn lab(&self) -> &'static str;

    /// Refuses a format whose codes it does not choose, before a tensor is read.
    ///
    /// # Errors
    /// If the rounding is not for `format`; the message says for which it is.
    fn check(&self, _format: StorageFormat) -> Result<(), WriteError> {
        Ok(())
    }

    /// The codes of the weight `name`, `[out_features, in_features]`, on the grid of `format`.
    ///
    /// # Errors
    /// If the weight cannot be rounded.
    fn round(
        &self,
        name: &str,
        w: &Array2<f32>,
        format: StorageFormat,
    ) -> Result<Codes, WriteError>;
}
