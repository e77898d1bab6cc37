//! How a product is cut into tasks and tiles.

use ndarray::{Array2, ArrayViewMut2, Axis};

use crate::loops::{self, ROWS};

/// Multiplications that are worth a task of their own: about the time of waking a thread up.
const WORTH: usize = 1 << 16;

/// Rows of the output, `[tokens][some of out_features]`.
pub(crate) type Rows<'a> = [&'a mut [f32]];

/// Fills `[tokens, out_features]`: calls `work` with the number of a panel, how many follow from it,
/// and the columns of the output that are theirs. `features` is what a row of the weights has.
pub(crate) fn by_panels(
    tokens: usize,
    out_features: usize,
    features: usize,
    work: impl Fn(std::ops::Range<usize>, &mut Rows<'_>) + Sync,
) -> Array2<f32> {
    let mut out = Array2::zeros((tokens, out_features));
    let panels = out_features.div_ceil(ROWS);
    let share = panels.div_ceil(2 * rayon::current_num_threads());
    let worth = WORTH / (ROWS * features * tokens).max(1);
    split(out.view_mut(), 0, share.max(worth).max(1), &work);
    out
}

/// Cuts the columns in halves until at most `share` panels are left.
fn split(
    out: ArrayViewMut2<f32>,
    first: usize,
    share: usize,
    work: &(impl Fn(std::ops::Range<usize>, &mut Rows<'_>) + Sync),
) {
    let panels = out.ncols().div_ceil(ROWS);
    if panels > share {
        let half = panels / 2;
        let (left, right) = out.split_at(Axis(1), half * ROWS);
        let right = || split(right, first + half, share, work);
        rayon::join(|| split(left, first, share, work), right);
        return;
    }
    let rows = out.into_iter_rows();
    let mut rows: Vec<&mut [f32]> = rows.collect();
    work(first..first + panels, &mut rows);
}

/// The rows of a view as slices.
trait IntoRows<'a> {
    fn into_iter_rows(self) -> impl Iterator<Item = &'a mut [f32]>;
}

impl<'a> IntoRows<'a> for ArrayViewMut2<'a, f32> {
    fn into_iter_rows(mut self) -> impl Iterator<Item = &'a mut [f32]> {
        let mut rows = Vec::new();
        while self.nrows() > 0 {
            let (first, rest) = self.split_at(Axis(0), 1);
            // One row of a matrix in row order is a slice.
            rows.extend(first.into_slice());
            self = rest;
        }
        rows.into_iter()
    }
}

/// A loop that computes a panel for `T` tokens from `first` on.
pub(crate) trait Tile {
    /// The results of those tokens.
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T];
}

/// Runs `tile` for all tokens, `MOST` (at most 6) at a time, and writes the results of its panel to
/// the columns from `column` on.
pub(crate) fn in_tiles<const MOST: usize>(rows: &mut Rows<'_>, column: usize, tile: &impl Tile) {
    let mut first = 0;
    while first < rows.len() {
        let left = &mut rows[first..];
        match left.len().min(MOST) {
            1 => write(left, column, tile.run::<1>(first)),
            2 => write(left, column, tile.run::<2>(first)),
            3 => write(left, column, tile.run::<3>(first)),
            4 => write(left, column, tile.run::<4>(first)),
            5 => write(left, column, tile.run::<5>(first)),
            _ => write(left, column, tile.run::<6>(first)),
        }
        first += MOST;
    }
}

fn write<const T: usize>(rows: &mut Rows<'_>, column: usize, results: [[f32; ROWS]; T]) {
    for (row, results) in rows.iter_mut().zip(&results) {
        let row = &mut row[column..];
        let columns = row.len().min(ROWS);
        row[..columns].copy_from_slice(&results[..columns]);
    }
}

/// A panel of `f32` weights, and the rows of `x` as it has its features.
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
