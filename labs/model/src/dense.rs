//! The linear layer whose weights are plain `f32`.

use kernels::plain::product;
use ndarray::Array2;

use crate::linear::{Linear, LinearError};

/// A linear layer with `f32` weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    weight: Array2<f32>,
}

impl Dense {
    /// A layer with the weights `[out_features, in_features]`.
    pub fn new(weight: Array2<f32>) -> Self {
        // The product reads rows as slices; a transposed matrix is copied into that order once.
        let weight = if weight.is_standard_layout() {
            weight
        } else {
            weight.as_standard_layout().into_owned()
        };
        Self { weight }
    }
}

impl Linear for Dense {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        if x.ncols() != self.in_features() {
            let (found, wanted) = (x.ncols(), self.in_features());
            return Err(format!("the input has {found} columns, the layer takes {wanted}").into());
        }
        Ok(product(x, &self.weight))
    }

    fn out_features(&self) -> usize {
        self.weight.nrows()
    }

    fn in_features(&self) -> usize {
        self.weight.ncols()
    }

    fn bytes(&self) -> usize {
        size_of::<f32>() * self.weight.len()
    }

    fn weight(&self) -> Option<&Array2<f32>> {
        Some(&self.weight)
    }
}
