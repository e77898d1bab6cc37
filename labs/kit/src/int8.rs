//! A matrix of int8 codes with its scales, and its errors, for labs 01 and 04.

use ndarray::Array2;

/// The largest code of the grid: int8 without -128, so that the grid is symmetric around 0.
pub const QMAX: f32 = 127.0;

/// A matrix of int8 codes and the scales that turn them back into numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    q: Array2<i8>,
    scales: Array2<f32>,
}

impl Quantized {
    /// Puts codes `q`, `[rows, columns]`, and their `scales` together.
    ///
    /// The scales are `[1, 1]` (per tensor) or `[rows, 1]` (per channel); `[1, columns]` and
    /// `[rows, columns]` stretch over the codes as well.
    ///
    /// # Errors
    /// [`QuantError::ScalesDoNotFit`] if the scales have any other shape.
    pub fn new(q: Array2<i8>, scales: Array2<f32>) -> Result<Self, QuantError> {
        let fits = |have: usize, want: usize| have == 1 || have == want;
        if fits(scales.nrows(), q.nrows()) && fits(scales.ncols(), q.ncols()) {
            return Ok(Self { q, scales });
        }
        Err(QuantError::ScalesDoNotFit {
            scales: [scales.nrows(), scales.ncols()],
            codes: [q.nrows(), q.ncols()],
        })
    }

    /// The codes, `[rows, columns]`.
    pub fn q(&self) -> &Array2<i8> {
        &self.q
    }

    /// The scales, `[1, 1]` or `[rows, 1]`: a code is worth `code * scale`.
    pub fn scales(&self) -> &Array2<f32> {
        &self.scales
    }
}

/// The errors of quantizing a matrix to int8 and of its products.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// A value is NaN or infinite: its row would get a NaN or infinite scale.
    #[error(
        "row {row} holds {value} at column {column}: only finite values have a place on a grid"
    )]
    NotFinite {
        /// The row of the value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value, NaN or infinite.
        value: f32,
    },
    /// The input and the weight disagree about `in_features`.
    #[error("x has {x} features a row and the weight has {w}: both must be in_features")]
    FeaturesDiffer {
        /// Columns of `x`.
        x: usize,
        /// Columns of the weight.
        w: usize,
    },
    /// The scales cannot be stretched over the codes.
    #[error(
        "scales of shape {scales:?} do not fit codes of shape {codes:?}: use [1, 1] for one scale \
         or [{}, 1] for one per row", codes[0]
    )]
    ScalesDoNotFit {
        /// Shape of the scales.
        scales: [usize; 2],
        /// Shape of the codes.
        codes: [usize; 2],
    },
    /// An integer product was asked of scales that differ along the summed axis.
    #[error(
        "scales of shape {0:?} differ along in_features: such a scale sits inside the sum over \
         in_features and cannot be pulled out of an integer product"
    )]
    ScaleInsideTheSum([usize; 2]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_that_do_not_fit_are_refused_with_both_shapes() {
        let error = Quantized::new(Array2::zeros((4, 8)), Array2::ones((8, 1))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("[8, 1]") && text.contains("[4, 8]") && text.contains("[4, 1]"));
    }

    #[test]
    fn one_scale_and_one_per_row_fit() {
        for rows in [1, 4] {
            assert!(Quantized::new(Array2::zeros((4, 8)), Array2::ones((rows, 1))).is_ok());
        }
    }
}
