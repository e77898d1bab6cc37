//! `x W^T` on all cores: by rows for one token, by blocks for many.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, Axis};
use rayon::prelude::*;

/// Independent sums in a dot product, so that its additions need not wait for each other.
const LANES: usize = 32;
/// Rows of the weight matrix that one task takes at least.
const ROWS: usize = 32;

/// `x` is `[tokens, in_features]`, `w` is `[out_features, in_features]` in row order.
pub(crate) fn product(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f32> {
    match (x.nrows(), w.as_slice()) {
        (1, Some(rows)) if w.ncols() > 0 => one_token(x.row(0), rows, w.nrows()),
        _ => many_tokens(x, w),
    }
}

/// Each row of the weights is read once: the time is that of the memory.
fn one_token(x: ArrayView1<f32>, w: &[f32], out_features: usize) -> Array2<f32> {
    let x = x.to_vec();
    let mut out = Array2::zeros((1, out_features));
    if let Some(out) = out.as_slice_mut() {
        let rows = w.par_chunks_exact(x.len());
        out.par_iter_mut().zip(rows).with_min_len(ROWS).for_each(|(out, row)| *out = dot(row, &x));
    }
    out
}

/// Each core multiplies its own rows of the weights. Every element is summed in the same order
/// whatever the number of cores.
fn many_tokens(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((x.nrows(), w.nrows()));
    let share = w.nrows().div_ceil(rayon::current_num_threads()).max(1);
    let columns: Vec<_> = out.axis_chunks_iter_mut(Axis(1), share).collect();
    let rows: Vec<_> = w.axis_chunks_iter(Axis(0), share).collect();
    columns.into_par_iter().zip(rows).for_each(|(mut columns, rows)| {
        general_mat_mul(1.0, x, &rows.t(), 0.0, &mut columns);
    });
    out
}

/// The dot product of two slices of one length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use kit::data::normal_matrix;

    use super::*;

    /// The product in `f64`.
    fn exact(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f64> {
        x.mapv(f64::from).dot(&w.mapv(f64::from).t())
    }

    /// Worst-case error of a dot product of n terms: n u sum |a||b| (Higham, Accuracy and Stability
    /// of Numerical Algorithms, 2nd edition, section 3.1), with 1 % for the terms in u^2.
    fn bound(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f64> {
        let unit = f64::from(f32::EPSILON) / 2.0;
        let terms = 1.01 * x.ncols() as f64;
        exact(&x.mapv(f32::abs), &w.mapv(f32::abs)) * (terms * unit)
    }

    #[test]
    fn one_token_and_many_give_the_product_within_the_error_of_a_dot_product() {
        for (tokens, rows, columns) in [(1, 40, 64), (1, 37, 45), (5, 37, 45), (33, 3, 1)] {
            let (x, w) = (normal_matrix(1, tokens, columns), normal_matrix(2, rows, columns));
            let (got, exact, bound) = (product(&x, &w), exact(&x, &w), bound(&x, &w));
            for ((at, got), (exact, bound)) in got.indexed_iter().zip(exact.iter().zip(&bound)) {
                let error = (f64::from(*got) - exact).abs();
                assert!(error <= *bound, "{at:?}: {got} against {exact}, bound {bound}");
            }
        }
    }

    #[test]
    fn the_number_of_cores_changes_no_bit() {
        let (x, w) = (normal_matrix(3, 9, 70), normal_matrix(4, 101, 70));
        let row = x.slice(ndarray::s![..1, ..]).to_owned();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a few threads can be started");
            pool.install(|| (product(&x, &w), product(&row, &w)))
        };
        for threads in [2, 3, 7] {
            assert_eq!(on(threads), on(1), "{threads} threads");
        }
    }
}
