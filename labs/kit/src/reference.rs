//! The slow product with which tests compare every faster one.

use ndarray::{Array2, Axis};

/// `x @ w.T` in `f64`: `x` is `[batch, in_features]`, `w` is `[out_features, in_features]`, the
/// result `[batch, out_features]`, rounded to `f32` once at the end.
///
/// Plain loops in a fixed order, because a table that a snapshot pins must not depend on the machine. A
/// library product chooses its instructions at run time (FMA or not, 8 or 16 lanes), and so its last
/// bits.
///
/// # Panics
/// If `x` and `w` differ in `in_features`.
pub fn linear_f64(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f32> {
    assert!(
        x.ncols() == w.ncols(),
        "x has {} features a row and w {}: both must be in_features",
        x.ncols(),
        w.ncols(),
    );
    let mut product = Array2::zeros((x.nrows(), w.nrows()));
    for (mut out, token) in product.axis_iter_mut(Axis(0)).zip(x.rows()) {
        for (value, channel) in out.iter_mut().zip(w.rows()) {
            let pairs = token.iter().zip(channel);
            *value = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_product_is_x_times_w_transposed() {
        let x = array![[1.0, 2.0, 3.0]];
        let w = array![[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]];
        assert_eq!(linear_f64(&x, &w), array![[1.0, 5.0]]);
    }

    #[test]
    #[should_panic(expected = "x has 3 features a row and w 2")]
    fn feature_counts_that_differ_are_named() {
        linear_f64(&array![[1.0, 2.0, 3.0]], &array![[1.0, 2.0]]);
    }
}
