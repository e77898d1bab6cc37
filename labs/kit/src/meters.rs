//! The error of an approximation against its reference.
//!
//! Every meter accumulates in `f64`, takes the reference first, and lets NaN through, because an error
//! that is NaN fails every `error < bound`. A broken result then cannot look like a good one.

use ndarray::{Array1, Array2};

/// Relative Frobenius error, `‖reference - approximation‖ / ‖reference‖`, without unit.
///
/// One number for the whole matrix. A row with outliers dominates both norms, so the number can hide
/// large errors of other rows; [`row_relative_errors`] shows them. A reference of zeros gives 0 when
/// the approximation is zero as well, and infinity otherwise.
///
/// # Panics
/// If the shapes differ.
pub fn relative_error(reference: &Array2<f32>, approximation: &Array2<f32>) -> f64 {
    same_shape(reference, approximation);
    error_of(reference.iter().zip(approximation))
}

/// The relative error of each row of `[rows, columns]`: `‖r - a‖ / ‖r‖` row by row.
///
/// For a weight matrix `[out_features, in_features]` a row is one output channel.
///
/// # Panics
/// If the shapes differ.
pub fn row_relative_errors(reference: &Array2<f32>, approximation: &Array2<f32>) -> Array1<f64> {
    same_shape(reference, approximation);
    let rows = reference.rows().into_iter().zip(approximation.rows());
    rows.map(|(r, a)| error_of(r.iter().zip(a))).collect()
}

/// Signal to quantization noise ratio in decibels, `20 log10(‖reference‖ / ‖error‖)`.
///
/// Infinite when the approximation is exact. A uniform quantizer gains about 6.02 dB per bit.
///
/// # Panics
/// If the shapes differ.
pub fn sqnr_db(reference: &Array2<f32>, approximation: &Array2<f32>) -> f64 {
    -20.0 * relative_error(reference, approximation).log10()
}

/// The largest `|reference - approximation|`, in the unit of the data. NaN if any value is NaN.
///
/// # Panics
/// If the shapes differ.
pub fn max_abs_error(reference: &Array2<f32>, approximation: &Array2<f32>) -> f64 {
    same_shape(reference, approximation);
    let errors = reference.iter().zip(approximation);
    // `f64::max` drops NaN; a meter must not.
    errors
        .map(|(&r, &a)| (f64::from(r) - f64::from(a)).abs())
        .fold(0.0, |worst, error| if error.is_nan() || error > worst { error } else { worst })
}

/// The mean of `values`, in `f64`. NaN for no values.
pub fn mean<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0u32), |(sum, n), &v| (sum + v, n + 1));
    sum / f64::from(count)
}

/// The norm of the differences over the norm of the first of each pair.
fn error_of<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (mut error, mut reference) = (0.0, 0.0);
    for (&r, &a) in pairs {
        let (r, a) = (f64::from(r), f64::from(a));
        error += (r - a).powi(2);
        reference += r * r;
    }
    if error == 0.0 { 0.0 } else { (error / reference).sqrt() }
}

fn same_shape(reference: &Array2<f32>, approximation: &Array2<f32>) {
    assert!(
        reference.dim() == approximation.dim(),
        "the reference has the shape {:?} and the approximation {:?}: they must agree",
        reference.shape(),
        approximation.shape(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn an_exact_copy_has_no_error_and_infinite_sqnr() {
        let a = array![[1.0, -2.0], [0.0, 0.0]];
        assert_eq!(relative_error(&a, &a), 0.0);
        assert_eq!(row_relative_errors(&a, &a).to_vec(), [0.0, 0.0]);
        assert_eq!(sqnr_db(&a, &a), f64::INFINITY);
        assert_eq!(max_abs_error(&a, &a), 0.0);
    }

    #[test]
    fn the_meters_agree_with_arithmetic_by_hand() {
        let r = array![[3.0, 4.0], [0.0, 1.0]];
        let a = array![[3.0, 3.0], [0.0, 1.5]];
        assert_eq!(relative_error(&r, &a), (1.25f64 / 26.0).sqrt());
        assert_eq!(row_relative_errors(&r, &a).to_vec(), [0.2, 0.5]);
        assert_eq!(max_abs_error(&r, &a), 1.0);
        let ten_percent = sqnr_db(&array![[10.0]], &array![[9.0]]);
        assert!((ten_percent - 20.0).abs() < 1e-12);
    }

    #[test]
    fn a_nan_is_never_lost() {
        let r = array![[1.0, 2.0, 3.0]];
        let a = array![[1.0, f32::NAN, 2.0]];
        assert!(relative_error(&r, &a).is_nan());
        assert!(max_abs_error(&r, &a).is_nan());
        assert!(row_relative_errors(&r, &a)[0].is_nan());
    }

    #[test]
    fn an_error_where_the_reference_is_zero_is_infinite() {
        assert_eq!(relative_error(&array![[0.0]], &array![[0.1]]), f64::INFINITY);
    }

    #[test]
    #[should_panic(expected = "the reference has the shape [1, 2] and the approximation [2, 1]")]
    fn shapes_that_differ_are_named() {
        relative_error(&array![[1.0, 2.0]], &array![[1.0], [2.0]]);
    }
}
