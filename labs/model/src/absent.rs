//! A linear layer whose weights are not in memory.

use ndarray::Array2;

use crate::linear::{Linear, LinearError};

/// The place of a weight, `[out_features, in_features]`.
pub(crate) struct Absent(pub(crate) [usize; 2]);

impl Linear for Absent {
    fn forward(&self, _: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        Err("its weights are not in memory: put them in with `Model::replace`".into())
    }

    fn out_features(&self) -> usize {
        self.0[0]
    }

    fn in_features(&self) -> usize {
        self.0[1]
    }

    fn bytes(&self) -> usize {
        0
    }
}
