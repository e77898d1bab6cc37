//! What a layer was given, in one matrix, and the error of a layer under it.

use ndarray::Array2;

/// The Hessian of the squared error of a layer's output, by one row of the weight:
/// `2 / tokens * sum of x x^T` over all tokens `x`.
///
/// The error of a row that is off by `d` is `d H d^T / 2`, the mean over tokens of `(x d^T)^2`. Only ratios
/// between elements decide the codes, so a program that divides by sequences, or by nothing, chooses
/// the same codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hessian {
    /// `[in_features, in_features]`, symmetric. Zeros before the first token.
    pub matrix: Array2<f64>,
    /// Tokens seen so far.
    pub tokens: usize,
}

impl Hessian {
    /// The Hessian of a layer that has seen no token.
    pub fn new(in_features: usize) -> Self {
        Self { matrix: Array2::zeros((in_features, in_features)), tokens: 0 }
    }

    /// `tr(D H D^T)`, where `D` is the difference of two weights `[out_features, in_features]`: twice
    /// the mean over tokens of the squared error of all outputs.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn error(&self, w: &Array2<f32>, values: &Array2<f32>) -> f64 {
        let wide = |m: &Array2<f32>| m.mapv(f64::from);
        self.quadratic(&(wide(w) - wide(values)))
    }

    /// The error of the output relative to the output, `sqrt(tr(D H D^T) / tr(W H W^T))`.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn relative_error(&self, w: &Array2<f32>, values: &Array2<f32>) -> f64 {
        (self.error(w, values) / self.quadratic(&w.mapv(f64::from))).sqrt()
    }

    fn quadratic(&self, rows: &Array2<f64>) -> f64 {
        (rows.dot(&self.matrix) * rows).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_error_is_twice_the_mean_squared_error_of_the_outputs() {
        // Tokens [1, 2] and [3, 0]: 2 / 2 * sum of x x^T.
        let h = Hessian { matrix: array![[10.0, 2.0], [2.0, 4.0]], tokens: 2 };
        let (w, values) = (array![[1.0, 1.0]], array![[0.0, 2.0]]);
        // The outputs are 3 and 3, then 4 and 0: (1 + 9) / 2 * 2.
        assert_eq!(h.error(&w, &values), 10.0);
        assert_eq!(h.relative_error(&w, &values), (10.0f64 / 18.0).sqrt());
    }
}
