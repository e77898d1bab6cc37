//! The fast transform against the product with the dense matrix.

use kernels::{Hadamard, KernelError};
use ndarray::{Array1, Array2, array};

/// Sylvester's matrix: the sign counts the bits that row and column share.
fn sylvester(size: usize) -> Array2<f64> {
    Array2::from_shape_fn((size, size), |(i, j)| [1.0, -1.0][(i & j).count_ones() as usize % 2])
}

/// Paley's matrix of order 12, from the squares modulo 11: not symmetric.
fn paley_12() -> Array2<i8> {
    let is_square = |x: i32| (1..11).any(|y| (y * y - x).rem_euclid(11) == 0);
    Array2::from_shape_fn((12, 12), |(i, j)| match (i, j) {
        (0, _) => 1,
        (_, 0) => -1,
        (i, j) if i == j => 1,
        (i, j) if is_square(j as i32 - i as i32) => 1,
        _ => -1,
    })
}

/// `A (x) B`.
fn kronecker(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let (n, m) = (a.nrows(), b.nrows());
    Array2::from_shape_fn((n * m, n * m), |(i, j)| a[(i / m, j / m)] * b[(i % m, j % m)])
}

#[test]
fn the_fast_transform_is_the_product_with_the_dense_matrix_in_each_block() -> Result<(), KernelError>
{
    for (small, power) in [(array![[1]], 1), (array![[1]], 64), (paley_12(), 1), (paley_12(), 8)] {
        let transform = Hadamard::new(&small, power)?;
        let block = transform.block();
        let dense = kronecker(&small.mapv(f64::from), &sylvester(power)) / (block as f64).sqrt();
        let x = kit::data::normal_matrix(7, 5, 3 * block);
        let mut fast = x.clone();
        transform.rotate(&mut fast)?;
        for (x, fast) in x.rows().into_iter().zip(fast.rows()) {
            for at in (0..x.len()).step_by(block) {
                let part: Array1<f64> = (at..at + block).map(|i| f64::from(x[i])).collect();
                let expected = part.dot(&dense);
                // Each output is a sum of `block` products, in any order: (block + 1) roundings of
                // at most the sum of the magnitudes.
                let bound =
                    (block + 1) as f64 * f64::from(f32::EPSILON) * part.mapv(f64::abs).sum()
                        / (block as f64).sqrt();
                for (i, expected) in expected.iter().enumerate() {
                    let error = (f64::from(fast[at + i]) - expected).abs();
                    assert!(error <= bound, "block {block}, {i}: {error:.2e}, bound {bound:.2e}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_matrix_that_is_no_hadamard_matrix_and_a_row_of_broken_blocks_are_refused() {
    let refused = |small: Array2<i8>, power| {
        Hadamard::new(&small, power).map(drop).expect_err("refused").to_string()
    };
    assert!(Hadamard::of_power(12).is_err_and(|error| error.to_string().contains("12")));
    for small in [array![[1, 1], [1, 1]], array![[0]], array![[1, 1, 1]], Array2::zeros((0, 0))] {
        let error = refused(small, 2);
        assert!(error.contains("Hadamard"), "{error}");
    }
    let four = Hadamard::of_power(4).expect("a power of two");
    let error = four.rotate(&mut Array2::zeros((2, 10))).expect_err("10 is no multiple of 4");
    assert!(error.to_string().contains("10 features"), "{error}");
}
