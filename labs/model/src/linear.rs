//! The interface of a linear layer, whatever format its weights have.

use ndarray::Array2;

/// The error of a linear layer, which may come from any lab.
pub type LinearError = Box<dyn std::error::Error + Send + Sync>;

/// A linear layer without bias, `y = x W^T`, whatever format `W` is stored in.
///
/// Every lab's format enters the model by implementing the trait. [`Dense`](crate::Dense) is the layer
/// of plain `f32`.
pub trait Linear: Send + Sync {
    /// The product: `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
    ///
    /// # Errors
    /// If `x` has another width, or for a reason of the format.
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError>;

    /// Columns of the output: rows of the weight matrix.
    fn out_features(&self) -> usize;

    /// Columns of the input: columns of the weight matrix.
    fn in_features(&self) -> usize;

    /// Bytes that the weights take, scales and zero points with them.
    fn bytes(&self) -> usize;

    /// The weights, `[out_features, in_features]`, if the layer keeps them as `f32`, which a quantizer
    /// needs.
    fn weight(&self) -> Option<&Array2<f32>> {
        None
    }

    /// Row `index` of the weights as `f32`, `[in_features]`; `None` if there is no such row or the layer
    /// does not support the lookup. A tied embedding is looked up with it.
    fn row(&self, index: usize) -> Option<Vec<f32>> {
        let weight = self.weight()?;
        (index < weight.nrows()).then(|| weight.row(index).to_vec())
    }
}
