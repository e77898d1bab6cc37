//! What a store of weights does.

use ndarray::Array2;

use super::weight::Weight;
use crate::ModelError;

/// A store of tensors with names of its own, in the Hugging Face layout once read.
pub(crate) trait Tensors {
    /// What this store calls the weight.
    fn name(&self, weight: Weight) -> String;

    /// Every tensor's name and shape.
    fn list(&self) -> Vec<(String, Vec<usize>)>;

    /// Reads a weight, `[rows, columns]`; a vector is one row. Only for one that is listed.
    fn read(&mut self, weight: Weight) -> Result<Array2<f32>, ModelError>;

    /// Names that this store may hold and that no computation needs.
    fn is_needless(&self, name: &str) -> bool;
}
