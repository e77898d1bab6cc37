//! The interface of a store of weights.

use ndarray::Array2;

use super::weight::Weight;
use crate::ModelError;

/// A store of tensors under its own names. A tensor that was read has the Hugging Face layout.
pub(crate) trait Tensors {
    /// The store's name of the weight.
    fn name(&self, weight: Weight) -> String;

    /// Every tensor's name and shape.
    fn list(&self) -> Vec<(String, Vec<usize>)>;

    /// Reads a weight that is listed, `[rows, columns]`; a vector is one row.
    fn read(&mut self, weight: Weight) -> Result<Array2<f32>, ModelError>;

    /// Whether the store may hold `name` although no computation needs it.
    fn is_ignored(&self, _name: &str) -> bool {
        false
    }
}
