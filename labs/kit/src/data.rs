//! Seeded tensors and planted outliers: the controls of every experiment.
//!
//! The numbers must be the same on every machine and in every year, because snapshots are made of
//! them. Three guarantees make them so:
//!
//! - ChaCha8 is specified, and `rand_chacha` promises the same output on every platform. (`StdRng`
//!   may change with a release.)
//! - `libm` computes `log`, `sin` and `cos` in plain Rust from IEEE 754 operations, which round the
//!   same way everywhere. The `ln` and `cos` of the standard library have no specified precision.
//! - The tests below pin the stream bit by bit, so that a new version of either crate cannot change
//!   the stream unnoticed.
//!
//! `rand_distr::StandardNormal` (0.6.0) is no substitute for the Box-Muller transform here, because
//! the tail of its ziggurat takes `ln` from `num-traits`, and `num-traits` uses `libm` only while no
//! crate in the build enables its feature `std`. `ndarray` enables `std`, so that the stream depends
//! on the platform's C library: on Linux with glibc, variate 1,746,724 of seed 1 differs in its last
//! bit from the one that `libm` gives. The README of `rand_distr` and the chapter on
//! reproducibility of the Rand Book both name this limit.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of standard normal variates, decided by its seed alone.
pub struct Normal {
    generator: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normal {
    /// Starts the stream of `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { generator: ChaCha8Rng::seed_from_u64(seed), spare: None }
    }

    /// The next variate: mean 0, variance 1 (Box and Muller, 1958: two uniforms give two normals).
    pub fn sample(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// The next uniform number of the generator, in (0, 1]: never 0, whose logarithm would be infinite.
    pub fn uniform(&mut self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64;
        ((self.generator.next_u64() >> 11) as f64 + 1.0) / STEPS
    }
}

/// A `[rows, columns]` matrix of standard normal values, filled row by row from `seed`.
pub fn normal_matrix(seed: u64, rows: usize, columns: usize) -> Array2<f32> {
    let mut normal = Normal::seeded(seed);
    Array2::from_shape_simple_fn((rows, columns), || normal.sample() as f32)
}

/// A copy of `matrix` with a planted outlier: row `row` is multiplied by `factor`.
///
/// # Panics
/// If there is no such row.
pub fn with_outlier_row(matrix: &Array2<f32>, row: usize, factor: f32) -> Array2<f32> {
    assert!(row < matrix.nrows(), "no row {row} in a matrix of {} rows", matrix.nrows());
    let mut planted = matrix.clone();
    planted.row_mut(row).mapv_inplace(|value| value * factor);
    planted
}

/// A copy of `matrix` with a planted outlier channel: column `channel` is multiplied by `factor`.
///
/// # Panics
/// If there is no such column.
pub fn with_outlier_channel(matrix: &Array2<f32>, channel: usize, factor: f32) -> Array2<f32> {
    let columns = matrix.ncols();
    assert!(channel < columns, "no channel {channel} in a matrix of {columns} columns");
    let mut planted = matrix.clone();
    planted.column_mut(channel).mapv_inplace(|value| value * factor);
    planted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first four values of seed 1: they may never change.
    const PINNED: [u32; 4] = [1066868988, 1059528232, 1044864698, 1065313266];

    /// A checksum of the next test's variates, in `f64`: the first values alone, and values rounded
    /// to `f32`, would not show that a few results of `log`, `sin` or `cos` differ in the last bit.
    const PINNED_CHECKSUM: u64 = 6_185_416_581_118_384_767;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let bits: Vec<u32> = normal_matrix(1, 1, 4).iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, PINNED, "the stream of seed 1 has changed: every snapshot would move");
    }

    #[test]
    fn two_hundred_thousand_variates_are_the_same_to_the_last_bit() {
        let mut normal = Normal::seeded(1);
        let checksum = (0..200_000).fold(0_u64, |sum, _| {
            sum.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(normal.sample().to_bits())
        });
        assert_eq!(checksum, PINNED_CHECKSUM);
    }

    #[test]
    fn the_variates_have_mean_0_variance_1_and_the_tails_of_a_normal() {
        let values = normal_matrix(7, 400, 500);
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        let beyond_two = values.iter().filter(|v| v.abs() > 2.0).count() as f64 / count;
        // Five standard errors of each estimate, for 200,000 samples.
        assert!(mean.abs() < 5.0 / count.sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "variance {variance}");
        assert!((beyond_two - 0.0455).abs() < 5.0 * (0.0455 / count).sqrt(), "{beyond_two}");
    }

    #[test]
    fn planting_changes_one_row_or_one_channel_and_nothing_else() {
        let matrix = normal_matrix(3, 4, 5);
        let row = with_outlier_row(&matrix, 2, 100.0);
        let channel = with_outlier_channel(&matrix, 1, 20.0);
        for ((r, c), &value) in matrix.indexed_iter() {
            assert_eq!(row[(r, c)], if r == 2 { value * 100.0 } else { value });
            assert_eq!(channel[(r, c)], if c == 1 { value * 20.0 } else { value });
        }
    }
}
