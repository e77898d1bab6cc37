//! How a product is cut into tasks and tiles.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::loops::{self, MostTokens, ROWS, Tokens};

/// The fewest multiplications of a task, about the time that it takes to wake a thread.
const MIN_TASK: usize = 1 << 16;
/// Tokens that are interleaved: the most that a tile has, and as many as rows, so that a factor of a product
/// can stand on either side.
const WIDTH: usize = ROWS;
/// Tokens that a task multiplies with some panels before the next tokens, few enough that their
/// activations stay in the core's cache.
const BLOCK: usize = 3 * WIDTH;
/// Bytes of the panels that a task multiplies with all tokens before the next panels, few enough that
/// they stay in the core's cache.
const PANEL_BYTES: usize = 1 << 18;

/// Values of tokens, [`WIDTH`] tokens interleaved, so that a loop finds those of its tile in one place.
/// The last tokens are fewer, and one token is a plain row.
pub(crate) struct Interleaved<Value> {
    /// `[tokens / WIDTH][places, WIDTH]`.
    values: Vec<Value>,
    tokens: usize,
    places: usize,
}

impl<Value: Copy + Default + Send + Sync> Interleaved<Value> {
    /// From rows of `places` values, one after the other.
    pub(crate) fn of<In: Copy + Sync>(
        rows: &[In],
        places: usize,
        convert: impl Fn(In) -> Value + Sync,
    ) -> Self {
        Self::by_groups(rows, places, |rows, values| scatter(rows, places, values, &convert))
    }

    /// Calls `interleave` with the rows of [`WIDTH`] tokens and the place for their values.
    fn by_groups<In: Sync>(
        rows: &[In],
        places: usize,
        interleave: impl Fn(&[In], &mut [Value]) + Sync,
    ) -> Self {
        let group = (WIDTH * places).max(1);
        let mut values = vec![Value::default(); rows.len()];
        let groups = rows.par_chunks(group).zip(values.par_chunks_mut(group));
        let groups = groups.with_min_len(MIN_TASK.div_ceil(group));
        groups.for_each(|(rows, values)| interleave(rows, values));
        Self { values, tokens: rows.len() / places.max(1), places }
    }

    /// No place of any token, for a form of the values that no loop reads.
    pub(crate) fn none(tokens: usize) -> Self {
        Self { values: Vec::new(), tokens, places: 0 }
    }

    /// The values of a tile whose first token is `token`.
    pub(crate) fn at(&self, token: usize) -> Tokens<'_, Value> {
        let first = token % WIDTH;
        let group = token - first;
        let width = WIDTH.min(self.tokens - group);
        Tokens { values: &self.values[group * self.places..][..width * self.places], width, first }
    }
}

impl Interleaved<f32> {
    /// As [`Interleaved::of`], in fewer instructions.
    pub(crate) fn of_rows(rows: &[f32], places: usize) -> Self {
        Self::by_groups(rows, places, |rows, values| {
            if rows.len() < ROWS * places {
                return scatter(rows, places, values, |value| value);
            }
            let rows = std::array::from_fn(|row| &rows[row * places..][..places]);
            loops::interleave(rows, values.as_chunks_mut().0);
        })
    }

    /// From the rows of `x`. Neighbours along a row or along a column are read together.
    pub(crate) fn of_view(x: ArrayView2<f32>) -> Self {
        let (tokens, places) = x.dim();
        if x.strides()[0] != 1 {
            return Self::of_rows(x.as_standard_layout().as_slice().unwrap_or_default(), places);
        }
        let mut values = vec![0.0; x.len()];
        for (place, column) in x.columns().into_iter().enumerate() {
            // A column of such a matrix is a slice.
            for (group, some) in column.to_slice().unwrap_or_default().chunks(WIDTH).enumerate() {
                let first = group * WIDTH * places + place * some.len();
                values[first..][..some.len()].copy_from_slice(some);
            }
        }
        Self { values, tokens, places }
    }

    /// The values as a panel of weights, with zeros in the padding rows.
    pub(crate) fn panel(&self, panel: usize, numbers: &mut [[f32; ROWS]]) {
        let all = self.at(panel * ROWS);
        for (numbers, values) in numbers.iter_mut().zip(all.values.chunks_exact(all.width)) {
            numbers[..values.len()].copy_from_slice(values);
            numbers[values.len()..].fill(0.0);
        }
    }
}

/// Writes rows of `places` values one beside the other.
fn scatter<In: Copy, Value>(
    rows: &[In],
    places: usize,
    values: &mut [Value],
    convert: impl Fn(In) -> Value,
) {
    let width = rows.len() / places;
    for (token, row) in rows.chunks_exact(places).enumerate() {
        for (values, value) in values.chunks_exact_mut(width).zip(row) {
            values[token] = convert(*value);
        }
    }
}

/// A part of the output, which one task fills.
pub(crate) struct Piece<'rows> {
    /// Which panels of the weights it takes.
    panels: Range<usize>,
    /// Its columns of the output, `[tokens][16 for each panel, fewer for the last]`.
    rows: Vec<&'rows mut [f32]>,
}

/// Fills `[tokens, out_features]` piece by piece. `features` is the length of a row of the weights.
pub(crate) fn by_panels(
    tokens: usize,
    out_features: usize,
    features: usize,
    work: impl Fn(Piece<'_>) + Sync,
) -> Array2<f32> {
    let mut out = Array2::zeros((tokens, out_features));
    if tokens == 0 || features == 0 {
        return out;
    }
    let panels = out_features.div_ceil(ROWS);
    // Two tasks a thread, so that a fast thread can take work from a slow one.
    let share = panels.div_ceil(2 * rayon::current_num_threads());
    let fewest = MIN_TASK / (ROWS * features * tokens);
    split(out.view_mut(), 0, share.max(fewest).max(1), &work);
    out
}

/// Cuts the columns in halves until at most `share` panels are left.
fn split(out: ArrayViewMut2<f32>, first: usize, share: usize, work: &(impl Fn(Piece<'_>) + Sync)) {
    let panels = out.ncols().div_ceil(ROWS);
    if panels > share {
        let half = panels / 2;
        let (left, right) = out.split_at(Axis(1), half * ROWS);
        let right = || split(right, first + half, share, work);
        rayon::join(|| split(left, first, share, work), right);
        return;
    }
    work(Piece::new(out, first..first + panels));
}

/// A loop that computes a panel for `T` tokens from `first` on.
pub(crate) trait Tile {
    /// The results of those tokens.
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T];
}

impl<'rows> Piece<'rows> {
    /// The columns `out` of the output, which are those of `panels`. `out` is in row order.
    pub(crate) fn new(mut out: ArrayViewMut2<'rows, f32>, panels: Range<usize>) -> Self {
        let mut rows = Vec::with_capacity(out.nrows());
        while out.nrows() > 0 {
            let (first, rest) = out.split_at(Axis(0), 1);
            // One row of a matrix in row order is a slice.
            rows.extend(first.into_slice());
            out = rest;
        }
        Self { panels, rows }
    }

    /// Runs the tile of each panel for all tokens, at most `most` together. A panel has so many bytes.
    pub(crate) fn in_tiles<T: Tile>(
        &mut self,
        bytes: usize,
        most: usize,
        tile: impl Fn(usize) -> T,
    ) {
        for panels in in_cache(self.panels.clone(), bytes) {
            self.some_in_tiles(panels, most, &tile);
        }
    }

    /// As [`Piece::in_tiles`], with panels of numbers that `expand` writes, `[features][rows]`, which
    /// happens once for all tokens. `scales` is what the sums of a panel's rows are multiplied by.
    pub(crate) fn in_tiles_of_numbers<'s>(
        &mut self,
        x: &Interleaved<f32>,
        expand: impl Fn(usize, &mut [[f32; ROWS]]),
        scales: impl Fn(usize) -> Option<&'s [f32; ROWS]>,
    ) {
        let features = x.places;
        let mut room = Vec::new();
        for panels in in_cache(self.panels.clone(), 4 * ROWS * features) {
            room.resize(room.len().max(panels.len() * features), [0.0; ROWS]);
            for (panel, numbers) in panels.clone().zip(room.chunks_exact_mut(features.max(1))) {
                expand(panel, numbers);
            }
            let first = panels.start;
            self.some_in_tiles(panels, MostTokens::here().f32, &|panel| {
                let numbers = &room[(panel - first) * features..][..features];
                Expanded { numbers, x, scales: scales(panel) }
            });
        }
    }

    fn some_in_tiles<T: Tile>(
        &mut self,
        panels: Range<usize>,
        most: usize,
        tile: &impl Fn(usize) -> T,
    ) {
        for (block, rows) in self.rows.chunks_mut(BLOCK).enumerate() {
            for panel in panels.clone() {
                let (tile, column) = (tile(panel), (panel - self.panels.start) * ROWS);
                for (group, rows) in rows.chunks_mut(WIDTH).enumerate() {
                    run(&tile, block * BLOCK + group * WIDTH, column, rows, most);
                }
            }
        }
    }
}

/// The panels in parts that stay in a core's cache; a panel has so many bytes.
fn in_cache(panels: Range<usize>, bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let share = (PANEL_BYTES / bytes.max(1)).max(1);
    panels.clone().step_by(share).map(move |first| first..panels.end.min(first + share))
}

/// Runs `tile` for the tokens from `token` on, and writes the results to `rows` from `column` on.
fn run(tile: &impl Tile, token: usize, column: usize, rows: &mut [&mut [f32]], most: usize) {
    let (mut token, mut rows) = (token, rows);
    while !rows.is_empty() {
        // Few sizes, because each is a loop of its own in the program.
        token += match rows.len().min(most) {
            16.. => tile_of::<16>(tile, token, column, &mut rows),
            8.. => tile_of::<8>(tile, token, column, &mut rows),
            6.. => tile_of::<6>(tile, token, column, &mut rows),
            4.. => tile_of::<4>(tile, token, column, &mut rows),
            2.. => tile_of::<2>(tile, token, column, &mut rows),
            _ => tile_of::<1>(tile, token, column, &mut rows),
        };
    }
}

/// Writes `T` tokens to the first rows, takes these rows away, and returns `T`.
fn tile_of<const T: usize>(
    tile: &impl Tile,
    token: usize,
    column: usize,
    rows: &mut &mut [&mut [f32]],
) -> usize {
    let results = tile.run::<T>(token);
    let (first, rest) = std::mem::take(rows).split_at_mut(T);
    for (row, results) in first.iter_mut().zip(&results) {
        let row = &mut row[column..];
        let columns = row.len().min(ROWS);
        row[..columns].copy_from_slice(&results[..columns]);
    }
    *rows = rest;
    T
}

/// A panel of `f32` weights, and activations of as many features.
struct Expanded<'a> {
    numbers: &'a [[f32; ROWS]],
    x: &'a Interleaved<f32>,
    scales: Option<&'a [f32; ROWS]>,
}

impl Tile for Expanded<'_> {
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T] {
        let mut sums = loops::f32_tile::<T>(self.numbers, self.x.at(first));
        if let Some(scales) = self.scales {
            for (sum, scale) in sums.iter_mut().flat_map(|sums| sums.iter_mut().zip(scales)) {
                *sum *= scale;
            }
        }
        sums
    }
}
