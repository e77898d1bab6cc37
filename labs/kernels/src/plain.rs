//! Products with `f32` weights: by rows for one token, by panels for more.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use crate::dispatch::{dispatched, multiply_add};
use crate::loops::{self, ROWS};
use crate::panels::{Interleaved, Piece, by_panels};

/// Values that one vector register of AVX2 holds.
const LANES: usize = 8;
/// The fewest rows of the weight matrix that one task takes.
const ROWS_OF_A_TASK: usize = 32;

/// `x @ w.T` on the threads of the pool: `x` is `[tokens, in_features]`, `w` is
/// `[out_features, in_features]`, the result `[tokens, out_features]`. The caller has checked that
/// both have the same number of features; if the numbers differ, the smaller one counts.
pub fn product(x: &Array2<f32>, w: &Array2<f32>) -> Array2<f32> {
    let (x, w) = (x.as_standard_layout(), w.as_standard_layout());
    match (x.as_slice(), w.as_slice()) {
        (Some(values), Some(rows)) if x.ncols() == w.ncols() && w.ncols() > 0 => match x.nrows() {
            1 => one_token(values, rows),
            _ => some_tokens(values, rows, w.ncols()),
        },
        _ => x.dot(&w.t()),
    }
}

/// `x @ w.T` into `out`, which is in row order, on the calling thread. `x` is `[tokens, features]`, `w` is
/// `[rows, features]`, each in row or in column order, `out` is `[tokens, rows]`.
///
/// # Panics
/// If the shapes do not fit.
pub fn multiply(x: ArrayView2<f32>, w: ArrayView2<f32>, mut out: ArrayViewMut2<f32>) {
    assert_eq!((x.nrows(), w.nrows(), x.ncols()), (out.nrows(), out.ncols(), w.ncols()), "shapes");
    if x.ncols() == 0 {
        return out.fill(0.0);
    }
    let panels = w.nrows().div_ceil(ROWS);
    let (x, w) = (Interleaved::of_view(x), Interleaved::of_view(w));
    let panel = |panel: usize, numbers: &mut [_]| w.panel(panel, numbers);
    Piece::new(out, 0..panels).in_tiles_of_numbers(&x, panel, |_| None);
}

/// Each row of the weights is read once, so the time is that of reading memory.
fn one_token(x: &[f32], w: &[f32]) -> Array2<f32> {
    let mut out = Array2::zeros((1, w.len() / x.len()));
    if let Some(out) = out.as_slice_mut() {
        let blocks = w.par_chunks(ROWS_OF_A_TASK * x.len());
        out.par_chunks_mut(ROWS_OF_A_TASK).zip(blocks).for_each(|(out, w)| rows(w, x, out));
    }
    out
}

/// Sixteen rows of the weights at a time, interleaved to a panel. Every element is summed in the same
/// order for any number of threads.
fn some_tokens(x: &[f32], w: &[f32], features: usize) -> Array2<f32> {
    let (tokens, out_features) = (x.len() / features, w.len() / features);
    let x = Interleaved::of_rows(x, features);
    let rest = vec![0.0; features];
    by_panels(tokens, out_features, features, |mut piece| {
        let interleave = |panel: usize, numbers: &mut [[f32; ROWS]]| {
            let mut rows = w[panel * ROWS * features..].chunks_exact(features);
            loops::interleave(std::array::from_fn(|_| rows.next().unwrap_or(&rest)), numbers);
        };
        piece.in_tiles_of_numbers(&x, interleave, |_| None);
    })
}

dispatched! {
    /// The products of the rows of `w`, `[y.len(), x.len()]`, with `x`.
    pub fn rows(w: &[f32], x: &[f32], y: &mut [f32]) = rows_body
}

#[inline(always)]
fn rows_body<const FMA: bool>(w: &[f32], x: &[f32], y: &mut [f32]) {
    let width = x.len().max(1);
    for (w, y) in w.chunks(ROWS * width).zip(y.chunks_mut(ROWS)) {
        let (mut lanes, mut rests) = ([[0.0; ROWS]; ROWS], [0.0; ROWS]);
        for (row, w) in w.chunks_exact(width).enumerate() {
            let (sums, rest) = lanes_body::<FMA>(w, x);
            for lane in 0..ROWS {
                lanes[row][lane] = sums[lane] + sums[lane + ROWS];
            }
            rests[row] = rest;
        }
        for ((y, sum), rest) in y.iter_mut().zip(loops::across(&lanes)).zip(rests) {
            *y = sum + rest;
        }
    }
}

dispatched! {
    /// The dot product of two slices; the shorter length counts.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body
}

#[inline(always)]
fn dot_body<const FMA: bool>(row: &[f32], x: &[f32]) -> f32 {
    let (sums, rest) = lanes_body::<FMA>(row, x);
    sums.iter().sum::<f32>() + rest
}

// Sums in 32 lanes, four registers of AVX2, because a compiler must not reorder one sum, and because an
// FMA waits several cycles for the sum that it adds to. The sum of the last features is apart.
#[inline(always)]
fn lanes_body<const FMA: bool>(row: &[f32], x: &[f32]) -> ([f32; 4 * LANES], f32) {
    let (blocks, rest) = row.as_chunks::<{ 4 * LANES }>();
    let (x_blocks, x_rest) = x.as_chunks::<{ 4 * LANES }>();
    let mut sums = [0.0; 4 * LANES];
    for (w, x) in blocks.iter().zip(x_blocks) {
        for lane in 0..4 * LANES {
            sums[lane] = multiply_add::<FMA>(w[lane], x[lane], sums[lane]);
        }
    }
    let last = rest.iter().zip(x_rest);
    (sums, last.fold(0.0, |sum, (w, x)| multiply_add::<FMA>(*w, *x, sum)))
}

dispatched! {
    /// Adds the rows of `values`, `[weights.len(), out.len()]`, each times its weight, to `out`.
    pub fn add_weighted(weights: &[f32], values: &[f32], out: &mut [f32]) = add_weighted_body
}

#[inline(always)]
fn add_weighted_body<const FMA: bool>(weights: &[f32], values: &[f32], out: &mut [f32]) {
    let columns = out.len().max(1);
    for (at, out) in out.chunks_mut(8 * LANES).enumerate() {
        // The sums of 64 columns stay in registers while all rows are read, so `out` is written once.
        let mut sums = [0.0; 8 * LANES];
        sums[..out.len()].copy_from_slice(out);
        for (weight, row) in weights.iter().zip(values.chunks_exact(columns)) {
            let row = &row[at * 8 * LANES..];
            if let Some(row) = row.first_chunk::<{ 8 * LANES }>() {
                for lane in 0..8 * LANES {
                    sums[lane] = multiply_add::<FMA>(*weight, row[lane], sums[lane]);
                }
            } else {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum = multiply_add::<FMA>(*weight, *value, *sum);
                }
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}
