//! Keys or values of one head: what is written, and what attention reads.

use std::ops::Range;

use kernels::plain;
use ndarray::{Array2, ArrayView2, CowArray, Ix2, s};

use super::coded::{Coded, TILE};
use crate::cache_format::{CacheFormat, Coding};

/// Tokens of a part, whole tiles.
pub(crate) const PART: usize = 8 * TILE;

/// Keys or values of one head, `[tokens, head_dim]`.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// `[capacity, head_dim]`.
    Floats(Array2<f32>),
    /// In codes.
    Coded(Coded),
}

impl Rows {
    pub(super) fn new(
        format: &CacheFormat,
        coding: Option<Coding>,
        [capacity, head_dim]: [usize; 2],
        scale: f32,
    ) -> Self {
        match coding {
            // The whole capacity at once, because a cache that grows has to be copied.
            None => Self::Floats(Array2::zeros((capacity, head_dim))),
            Some(coding) => Self::Coded(Coded::new(format, coding, head_dim, capacity, scale)),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Floats(floats) => size_of::<f32>() * floats.len(),
            Self::Coded(coded) => coded.bytes(),
        }
    }

    /// Numbers of a token.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.ncols(),
            Self::Coded(coded) => coded.width(),
        }
    }

    /// Writes tokens to the positions from `at` on.
    pub(super) fn write(&mut self, at: usize, rows: &ArrayView2<f32>) {
        match self {
            Self::Floats(floats) => floats.slice_mut(s![at..at + rows.nrows(), ..]).assign(rows),
            Self::Coded(coded) => coded.write(at, rows),
        }
    }

    /// Codes what has left the window.
    pub(super) fn settle(&mut self) {
        if let Self::Coded(coded) = self {
            coded.settle();
        }
    }

    /// The numbers of the first `length` tokens, `[length, head_dim]`.
    pub(crate) fn numbers(&self, length: usize) -> CowArray<'_, f32, Ix2> {
        match self {
            Self::Floats(floats) => floats.slice(s![..length, ..]).into(),
            Self::Coded(coded) => coded.numbers().into(),
        }
    }

    /// The first `length` tokens in parts for threads that read them at the same time. The parts depend on the length
    /// alone, and not on the number of threads.
    pub(crate) fn parts(&self, length: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let sinks = match self {
            Self::Floats(_) => 0,
            Self::Coded(coded) => coded.first_tokens(),
        };
        let place = move |part: usize| (sinks + part * PART).min(length);
        let parts = length.saturating_sub(sinks).div_ceil(PART).max(1);
        (0..parts).map(move |part| if part == 0 { 0 } else { place(part) }..place(part + 1))
    }

    /// The products of the rows of `tokens`, a part, with each query, `[queries, tokens]`. `queries` is
    /// `[queries, head_dim]`.
    pub(crate) fn scores(&self, tokens: Range<usize>, queries: &[f32], scores: &mut [f32]) {
        let (width, start, count) = (self.width(), tokens.start, tokens.len());
        self.each_tile(tokens, |token, rows| {
            let place = token - start..token - start + rows.len() / width;
            let of_queries = queries.chunks_exact(width).zip(scores.chunks_exact_mut(count));
            for (query, scores) in of_queries {
                plain::rows(rows, query, &mut scores[place.clone()]);
            }
        });
    }

    /// Adds to each query's row of `out`, `[queries, head_dim]`, the rows of `tokens`, a part, times their weights, which
    /// are `[queries, tokens]`.
    pub(crate) fn add_weighted(&self, tokens: Range<usize>, weights: &[f32], out: &mut [f32]) {
        let (width, start, count) = (self.width(), tokens.start, tokens.len());
        self.each_tile(tokens, |token, rows| {
            let place = token - start..token - start + rows.len() / width;
            let of_queries = weights.chunks_exact(count).zip(out.chunks_exact_mut(width));
            for (weights, out) in of_queries {
                plain::add_weighted(&weights[place.clone()], rows, out);
            }
        });
    }

    /// Calls `read` with the place of some tokens and with their rows, so that all queries read the rows while the
    /// core's first cache holds them.
    fn each_tile(&self, tokens: Range<usize>, mut read: impl FnMut(usize, &[f32])) {
        match self {
            Self::Floats(floats) => {
                let width = floats.ncols();
                let numbers = floats.as_slice().unwrap_or_default();
                let rows = &numbers[tokens.start * width..tokens.end * width];
                let tiles = rows.chunks((TILE * width).max(1)).enumerate();
                tiles.for_each(|(tile, rows)| read(tokens.start + tile * TILE, rows));
            }
            Self::Coded(coded) => coded.each_tile(tokens, read),
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::data::normal_matrix;
    use kit::difference::assert_same;

    use super::*;
    use crate::cache_format::Rule;

    const WIDTH: usize = 64;
    /// More than a window and two blocks, and no whole block.
    const TOKENS: usize = 203;
    /// Queries that read the same rows.
    const QUERIES: usize = 3;

    /// Numbers whose channels and tokens differ in size, and lie around other places than 0.
    fn numbers(tokens: usize) -> Array2<f32> {
        let mut x = normal_matrix(5, tokens, WIDTH);
        for (token, mut row) in x.rows_mut().into_iter().enumerate() {
            row.mapv_inplace(|x| x * (1.0 + token as f32 / 50.0));
            row[WIDTH - 1] += 40.0;
        }
        x
    }

    fn empty(format: &CacheFormat, coding: Option<Coding>, capacity: usize) -> Rows {
        Rows::new(format, coding, [capacity, WIDTH], 0.25)
    }

    /// Every format, its keys and its values.
    fn all() -> impl Iterator<Item = (&'static CacheFormat, Option<Coding>)> {
        CacheFormat::ALL.iter().flat_map(|format| [(format, format.keys), (format, format.values)])
    }

    fn written(format: &CacheFormat, coding: Option<Coding>, x: &Array2<f32>, pass: usize) -> Rows {
        // Room for the tokens that a test writes behind a cut.
        let mut rows = empty(format, coding, x.nrows() + 40);
        for at in (0..x.nrows()).step_by(pass) {
            rows.write(at, &x.slice(s![at..x.nrows().min(at + pass), ..]));
            rows.settle();
        }
        rows
    }

    #[test]
    fn each_query_reads_from_codes_what_the_numbers_of_the_codes_give() {
        // Three parts. The last one has tokens in codes, and all of the window.
        const TOKENS: usize = 2 * PART + 203;
        let (x, queries) = (numbers(TOKENS), normal_matrix(6, QUERIES, WIDTH));
        let weights = normal_matrix(7, QUERIES, TOKENS).mapv(f32::abs);
        for (format, coding) in all() {
            let rows = written(format, coding, &x, 1);
            let exact = rows.numbers(TOKENS).mapv(f64::from);
            let mut scores = Array2::from_elem((QUERIES, TOKENS), f32::NAN);
            let mut sums = vec![0.0; QUERIES * WIDTH];
            assert_eq!(rows.parts(TOKENS).count(), 3, "{}", format.name);
            for part in rows.parts(TOKENS) {
                let mut of_part = scores.slice_mut(s![.., part.clone()]);
                let mut found = of_part.to_owned().into_raw_vec_and_offset().0;
                rows.scores(part.clone(), queries.as_slice().unwrap_or_default(), &mut found);
                of_part.iter_mut().zip(found).for_each(|(score, found)| *score = found);
                let weights = weights.slice(s![.., part.clone()]);
                rows.add_weighted(part, &weights.iter().copied().collect::<Vec<_>>(), &mut sums);
            }
            let found = [scores.into_iter().collect(), sums];
            let (queries, weights) = (queries.mapv(f64::from), weights.mapv(f64::from));
            let expected = [queries.dot(&exact.t()), weights.dot(&exact)];
            // A zero is 40 here and a number of a group may be near 0, so each term is taken as large as
            // the largest number.
            let most = exact.fold(0.0, |most: f64, x| most.max(x.abs()));
            for ((found, expected), of) in found.into_iter().zip(expected).zip([queries, weights]) {
                for (((query, at), expected), found) in expected.indexed_iter().zip(found) {
                    let terms = 4.0 * most * of.row(query).mapv(f64::abs).sum();
                    let bound = (TOKENS + WIDTH) as f64 * 2f64.powi(-24) * terms;
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error <= bound,
                        "{} {coding:?}, query {query}, {at}: {error:e}, bound {bound:e}",
                        format.name
                    );
                }
            }
        }
    }

    #[test]
    fn a_number_comes_back_within_half_a_step_of_its_group() {
        let x = numbers(TOKENS);
        for (format, coding) in all() {
            let Some(coding) = coding else { continue };
            let rows = written(format, Some(coding), &x, 1);
            let back = rows.numbers(TOKENS);
            for ((token, channel), &x_here) in x.indexed_iter() {
                let error = f64::from((back[(token, channel)] - x_here).abs());
                // A step of the whole matrix is at least that of any group. Scale and zero are rounded to
                // 11 bits, which the codes at the far end multiply.
                let of = |places: Array2<f32>| {
                    let (min, max) = (
                        places.fold(f32::MAX, |a, b| a.min(*b)),
                        places.fold(f32::MIN, |a, b| a.max(*b)),
                    );
                    (f64::from(max - min), f64::from(max.abs().max(min.abs())))
                };
                let (range, absmax) = of(x.clone());
                let step = match coding.rule {
                    Rule::Absmax(most) => absmax / f64::from(most),
                    Rule::MinMax(most) => range / f64::from(most),
                    Rule::PerTensor => absmax / 8.0,
                };
                let bound = step / 2.0 + 2.0 * absmax * 2f64.powi(-11);
                assert!(
                    error <= bound,
                    "{} at {token}, {channel}: {error}, bound {bound}",
                    format.name
                );
            }
        }
    }

    #[test]
    fn the_window_and_the_sinks_stay_as_they_were_written() {
        let x = numbers(TOKENS);
        for (format, coding) in all() {
            let back = written(format, coding, &x, 1).numbers(TOKENS).into_owned();
            for rows in [s![..format.sinks, ..], s![TOKENS - format.window.., ..]] {
                assert_eq!(back.slice(rows), x.slice(rows), "{}", format.name);
            }
            let is_coded = format.keys.is_some();
            assert_eq!(back != x, is_coded, "{}: something between them is in codes", format.name);
        }
    }

    #[test]
    fn tokens_that_come_one_by_one_are_stored_as_those_that_come_together() {
        let x = numbers(TOKENS);
        for (format, coding) in all() {
            let [single, together] = [1, TOKENS]
                .map(|pass| written(format, coding, &x, pass).numbers(TOKENS).into_owned());
            assert_same(single.view(), together.view(), format.name);
        }
    }

    #[test]
    fn a_cut_inside_a_block_keeps_the_tokens_before_the_cut() {
        let (x, more) = (numbers(TOKENS), numbers(40));
        for (format, coding) in all() {
            for cut in [0, 2, 5, 32, 40, 75, 202] {
                let mut rows = written(format, coding, &x, 1);
                let before = rows.numbers(TOKENS).into_owned();
                rows.write(cut, &more.view());
                let after = rows.numbers(cut + 40);
                assert_eq!(after.nrows(), cut + 40, "{}", format.name);
                let kept = s![..cut, ..];
                let what = format!("{} cut at {cut}", format.name);
                assert_same(after.slice(kept), before.slice(kept), what);
            }
        }
    }

    #[test]
    fn a_full_cache_takes_the_bytes_of_its_codes_scales_and_floats() {
        let bytes = |name: &str| {
            let format = CacheFormat::named(name).expect("a format of the table");
            [format.keys, format.values].map(|coding| empty(format, coding, 256).bytes())
        };
        let floats = 4 * 256 * WIDTH;
        assert_eq!(bytes("f32"), [floats, floats]);
        // The row that is coded next is a float before.
        let row = 4 * WIDTH;
        assert_eq!(bytes("int8"), [256 * (WIDTH + 2) + row; 2]);
        assert_eq!(bytes("fp8"), [256 * WIDTH + row; 2]);
        assert_eq!(bytes("int4"), [256 * (WIDTH / 2 + 4) + row; 2]);
        assert_eq!(bytes("int4-g32"), [256 * (WIDTH / 2 + 8) + row; 2]);
        let codes = 256 * WIDTH / 4;
        let keys = codes + 256 / 32 * WIDTH * 4 + (128 + 32) * row;
        assert_eq!(bytes("kivi2"), [keys, codes + 256 * 2 * 4 + (128 + 1) * row]);
    }
}
