//! How a product is cut into tasks and tiles.

use ndarray::{Array2, ArrayViewMut2, Axis};

use crate::loops::{self, ROWS};

/// The fewest multiplications of a task, about the time that it takes to wake a thread.
const MIN_TASK: usize = 1 << 16;

/// Tokens that a task multiplies with all of its panels before the next tokens, few enough that their
/// activations stay in the core's cache. A multiple of 4 and of 6, so that only the last tile of a
/// product is partial.
const TOKENS: usize = 48;

/// A part of the output, which one task fills.
pub(crate) struct Piece<'a, 'rows> {
    /// Which panels of the weights it takes.
    pub(crate) panels: std::ops::Range<usize>,
    /// Its first token.
    pub(crate) token: usize,
    /// Its columns of the output, `[tokens][16 for each panel, fewer for the last]`.
    pub(crate) rows: &'a mut [&'rows mut [f32]],
}

/// Fills `[tokens, out_features]` piece by piece. `features` is the length of a row of the weights.
pub(crate) fn by_panels(
    tokens: usize,
    out_features: usize,
    features: usize,
    work: impl Fn(Piece<'_, '_>) + Sync,
) -> Array2<f32> {
    let mut out = Array2::zeros((tokens, out_features));
    let panels = out_features.div_ceil(ROWS);
    // Two tasks a thread, so that a fast thread can take work from a slow one.
    let share = panels.div_ceil(2 * rayon::current_num_threads());
    let fewest = MIN_TASK / (ROWS * features * tokens).max(1);
    split(out.view_mut(), 0, share.max(fewest).max(1), &work);
    out
}

/// Cuts the columns in halves until at most `share` panels are left.
fn split(
    out: ArrayViewMut2<f32>,
    first: usize,
    share: usize,
    work: &(impl Fn(Piece<'_, '_>) + Sync),
) {
    let panels = out.ncols().div_ceil(ROWS);
    if panels > share {
        let half = panels / 2;
        let (left, right) = out.split_at(Axis(1), half * ROWS);
        let right = || split(right, first + half, share, work);
        rayon::join(|| split(left, first, share, work), right);
        return;
    }
    let mut rows = slices(out);
    for (block, rows) in rows.chunks_mut(TOKENS).enumerate() {
        work(Piece { panels: first..first + panels, token: block * TOKENS, rows });
    }
}

/// The rows of a view as slices.
fn slices(mut out: ArrayViewMut2<'_, f32>) -> Vec<&mut [f32]> {
    let mut rows = Vec::with_capacity(out.nrows());
    while out.nrows() > 0 {
        let (first, rest) = out.split_at(Axis(0), 1);
        // One row of a matrix in row order is a slice.
        rows.extend(first.into_slice());
        out = rest;
    }
    rows
}

/// A loop that computes a panel for `T` tokens from `first` on.
pub(crate) trait Tile {
    /// The results of those tokens.
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T];
}

impl Piece<'_, '_> {
    /// Runs `tile`, which is the `at`-th of the panels, for all tokens, `MOST` at a time, and writes the
    /// results to their columns. `MOST` is at most 6: the sums of 6 tokens take 12 of AVX2's 16
    /// registers, two registers hold weights, and one holds the activation.
    pub(crate) fn in_tiles<const MOST: usize>(&mut self, at: usize, tile: &impl Tile) {
        for (index, rows) in self.rows.chunks_mut(MOST).enumerate() {
            let (first, column) = (self.token + index * MOST, at * ROWS);
            match rows.len() {
                1 => write(rows, column, tile.run::<1>(first)),
                2 => write(rows, column, tile.run::<2>(first)),
                3 => write(rows, column, tile.run::<3>(first)),
                4 => write(rows, column, tile.run::<4>(first)),
                5 => write(rows, column, tile.run::<5>(first)),
                _ => write(rows, column, tile.run::<6>(first)),
            }
        }
    }
}

fn write<const T: usize>(rows: &mut [&mut [f32]], column: usize, results: [[f32; ROWS]; T]) {
    for (row, results) in rows.iter_mut().zip(&results) {
        let row = &mut row[column..];
        let columns = row.len().min(ROWS);
        row[..columns].copy_from_slice(&results[..columns]);
    }
}

/// A panel of `f32` weights, and the rows of `x` with the same padding.
pub(crate) struct Expanded<'a> {
    pub(crate) numbers: &'a [[f32; ROWS]],
    pub(crate) x: &'a [f32],
    /// What the sums of each row are multiplied by.
    pub(crate) scales: Option<&'a [f32; ROWS]>,
}

impl Tile for Expanded<'_> {
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T] {
        let features = self.numbers.len();
        let x = std::array::from_fn(|t| &self.x[(first + t) * features..][..features]);
        let mut sums = loops::f32_tile::<T>(self.numbers, x);
        if let Some(scales) = self.scales {
            for (sum, scale) in sums.iter_mut().flat_map(|sums| sums.iter_mut().zip(scales)) {
                *sum *= scale;
            }
        }
        sums
    }
}
