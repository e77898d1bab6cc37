//! Which rows of a matrix are kept.

use std::fmt::{self, Display};

use half::f16;
use ndarray::Array2;

/// The largest `|w|` of each row.
pub fn row_absmax(weights: &Array2<f16>) -> Vec<f32> {
    let peak = |max: f32, weight: &f16| max.max(weight.to_f32().abs());
    weights.rows().into_iter().map(|row| row.iter().fold(0.0, peak)).collect()
}

/// The largest absmax of a row over the median.
pub fn outlier_ratio(absmax: &[f32]) -> f32 {
    let mut sorted = absmax.to_vec();
    sorted.sort_by(f32::total_cmp);
    let middle = [sorted.len().saturating_sub(1) / 2, sorted.len() / 2];
    let median = middle.iter().filter_map(|&at| sorted.get(at)).sum::<f32>() / 2.0;
    sorted.last().map_or(0.0, |largest| largest / median)
}

/// Every `step`th row, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    first: usize,
    step: usize,
    of: usize,
}

impl Kept {
    /// Every `step`th row, the row with the largest absmax among them.
    ///
    /// The largest weight decides the scale of a tensor, so a slice without that weight would quantize
    /// better than the whole tensor.
    pub fn every(step: usize, absmax: &[f32]) -> Self {
        // The first of equals, as numpy's argmax takes it.
        let larger = |best: usize, row: usize| if absmax[row] > absmax[best] { row } else { best };
        let largest = (0..absmax.len()).reduce(larger).unwrap_or(0);
        Self { first: largest % step, step, of: absmax.len() }
    }

    /// The numbers of the kept rows.
    pub fn rows(self) -> Vec<usize> {
        (self.first..self.of).step_by(self.step).collect()
    }
}

impl Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, step, of } = self;
        match step {
            1 => write!(f, "all {of} rows"),
            3 => write!(f, "every 3rd row from {first} of {of}"),
            step => write!(f, "every {step}th row from {first} of {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outliers_at(rows: &[usize]) -> Vec<f32> {
        let weights = Array2::from_shape_fn((8, 2), |(row, column)| {
            let outlier = rows.contains(&row) && column == 1;
            f16::from_f32(if outlier { -9.0 } else { 1.0 })
        });
        row_absmax(&weights)
    }

    #[test]
    fn the_row_with_the_largest_absmax_is_kept_and_of_equals_the_first() {
        assert_eq!(Kept::every(3, &outliers_at(&[7])).rows(), [1, 4, 7]);
        assert_eq!(Kept::every(3, &outliers_at(&[5, 7])).rows(), [2, 5]);
        assert_eq!(Kept::every(1, &outliers_at(&[5])).rows(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_outlier_ratio_is_the_largest_over_the_median() {
        assert_eq!(outlier_ratio(&outliers_at(&[7])), 9.0);
        assert_eq!(outlier_ratio(&[1.0, 8.0, 3.0, 2.0]), 3.2);
        assert_eq!(outlier_ratio(&[4.0, 8.0, 2.0]), 2.0);
    }

    #[test]
    fn the_rule_is_written_in_words() {
        assert_eq!(Kept::every(3, &outliers_at(&[7])).to_string(), "every 3rd row from 1 of 8");
        assert_eq!(Kept::every(1, &outliers_at(&[7])).to_string(), "all 8 rows");
    }
}
