//! Rows of a weight matrix: their absmax, and their order.

use std::ops::Range;

use kit::table::percent;
use ndarray::{Array2, ArrayView1};

/// The absmax of each row of `w`, `[rows, columns]`.
pub fn row_absmaxes(w: &Array2<f32>) -> Vec<f64> {
    w.rows().into_iter().map(absmax).collect()
}

/// The largest `|w|` of one row.
pub fn absmax(row: ArrayView1<f32>) -> f64 {
    f64::from(row.iter().fold(0.0, |max: f32, value| max.max(value.abs())))
}

/// The `shown` neighbours around the largest magnitude of a row, as near to its middle as the row allows.
pub fn around_absmax(row: ArrayView1<f32>, shown: usize) -> Range<usize> {
    let sizes: Vec<f64> = row.iter().map(|value| f64::from(value.abs())).collect();
    let center = ascending(&sizes)[sizes.len() - 1];
    let start = center.saturating_sub(shown / 2).min(sizes.len() - shown);
    start..start + shown
}

/// Indices that sort `values` from small to large; of equals the first comes first.
pub fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

/// The index of the median value, the upper one of two.
pub fn median_index(values: &[f64]) -> usize {
    ascending(values)[values.len() / 2]
}

/// The median value, the upper one of two.
pub fn median(values: &[f64]) -> f64 {
    values[median_index(values)]
}

/// The largest value.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The smallest value.
pub fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The smallest and the largest of some errors, in words.
pub fn range(errors: &[f64]) -> String {
    format!("{} to {}", percent(smallest(errors)), percent(largest(errors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_ordered_by_their_largest_weight() {
        let maxima = row_absmaxes(&array![[1.0, -3.0], [0.5, 0.25], [3.0, 0.0], [2.0, 2.0]]);
        assert_eq!(maxima, [3.0, 0.5, 3.0, 2.0]);
        assert_eq!(ascending(&maxima), [1, 3, 0, 2]);
        assert_eq!(median(&maxima), 3.0);
        assert_eq!((smallest(&maxima), largest(&maxima)), (0.5, 3.0));
    }
}
