//! The sum of `x x^T` over many tokens, of which a Hessian is made.

use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::plain::multiply;

/// Rows and columns of a tile: few enough that its sum stays in a core's cache, many enough that packing
/// the tokens takes little of the time.
const TILE: usize = 192;

/// The sum of `x x^T`, `[features, features]`, over tokens `x`.
///
/// Products of one batch are summed in `f32`, batches in `f64`. An element is then off by at most
/// `t * u / (1 - t * u)` times the sum of `|x_i * x_j|`, where `t` is the tokens of the largest batch and
/// `u` is 2^-24, beside the rounding of `f64`. Only tiles on and below the diagonal are computed, because
/// the sum is symmetric.
#[derive(Clone, Debug)]
pub struct Gram {
    features: usize,
    tiles: Vec<Tile>,
}

#[derive(Clone, Debug)]
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    sum: Array2<f64>,
}

impl Gram {
    /// The sum over no token.
    pub fn new(features: usize) -> Self {
        let range = |tile: usize| tile * TILE..features.min((tile + 1) * TILE);
        let all = 0..features.div_ceil(TILE);
        let places = all.flat_map(|row| (0..=row).map(move |column| (range(row), range(column))));
        let tiles = places.map(|(rows, columns)| {
            let sum = Array2::zeros((rows.len(), columns.len()));
            Tile { rows, columns, sum }
        });
        Self { features, tiles: tiles.collect() }
    }

    /// Adds the tokens of `batches`, each `[tokens, features]`, on the threads of the pool. The number of
    /// threads changes no bit.
    ///
    /// # Panics
    /// If a batch has another number of features.
    pub fn add(&mut self, batches: &[&Array2<f32>]) {
        self.tiles.par_iter_mut().with_max_len(1).for_each(|tile| {
            let mut product = Array2::<f32>::zeros(tile.sum.dim());
            for x in batches {
                let [left, right] =
                    [&tile.rows, &tile.columns].map(|range| x.slice(s![.., range.clone()]));
                multiply(left.t(), right.t(), product.view_mut());
                tile.sum.zip_mut_with(&product, |sum, &product| *sum += f64::from(product));
            }
        });
    }

    /// The whole sum, symmetric.
    pub fn matrix(&self) -> Array2<f64> {
        let mut matrix = Array2::zeros((self.features, self.features));
        for Tile { rows, columns, sum } in &self.tiles {
            matrix.slice_mut(s![columns.clone(), rows.clone()]).assign(&sum.t());
            matrix.slice_mut(s![rows.clone(), columns.clone()]).assign(sum);
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of both signs, in no order.
    fn batch(tokens: usize, features: usize) -> Array2<f32> {
        Array2::from_shape_fn((tokens, features), |(t, f)| {
            (((t * 7919 + f * 104_729) % 2003) as f32 / 1001.0 - 1.0) * (1.0 + (f % 5) as f32)
        })
    }

    #[test]
    fn the_sum_is_that_of_a_loop_in_f64_within_the_bound_that_is_promised() {
        for features in [1, 7, TILE, TILE + 3, 2 * TILE + 1] {
            let batches = [batch(40, features), batch(9, features)];
            let mut gram = Gram::new(features);
            gram.add(&[&batches[0]]);
            gram.add(&[&batches[1]]);
            let found = gram.matrix();
            let wide = batches.each_ref().map(|x| x.mapv(f64::from));
            let exact = wide[0].t().dot(&wide[0]) + wide[1].t().dot(&wide[1]);
            let size = wide.map(|x| x.mapv(f64::abs));
            let size = size[0].t().dot(&size[0]) + size[1].t().dot(&size[1]);
            let tokens = 40.0 * 2f64.powi(-24);
            for (at, found) in found.indexed_iter() {
                let (error, bound) =
                    ((found - exact[at]).abs(), tokens / (1.0 - tokens) * size[at] + 1e-12);
                assert!(error <= bound, "{features} features, {at:?}: {error:e} over {bound:e}");
            }
            assert_eq!(found, found.t());
        }
    }
}
