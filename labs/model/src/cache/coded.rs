//! Keys or values of one head in codes.

use half::f16;
use half::slice::HalfFloatSliceExt;
use kernels::cached::{Codes, add_weighted, dots};
use kernels::plain;
use ndarray::{Array2, ArrayView2};

use crate::cache_format::{Along, CacheFormat, Coding};

/// Keys or values of one head: the first tokens in `f32`, then tokens in codes, then the most recent ones
/// in `f32`. Rows are tokens, of `head_dim` numbers.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    coding: Coding,
    /// The scale of all numbers, of a format that has one scale for a layer.
    tensor_scale: f32,
    head_dim: usize,
    window: usize,
    sinks: usize,
    first: Vec<f32>,
    bytes: Vec<u8>,
    /// Of each block of tokens in turn.
    scales: Vec<f16>,
    zeros: Vec<f16>,
    recent: Vec<f32>,
}

impl Coded {
    pub(super) fn new(
        format: &CacheFormat,
        coding: Coding,
        head_dim: usize,
        capacity: usize,
        tensor_scale: f32,
    ) -> Self {
        let CacheFormat { window, sinks, .. } = *format;
        let sinks = sinks.min(capacity);
        let coded = capacity - sinks;
        let scales = coded / coding.block() * coding.scales_of_block(head_dim);
        let zeros = if coding.rule.has_zero() { scales } else { 0 };
        Self {
            coding,
            tensor_scale,
            head_dim,
            window,
            sinks,
            first: Vec::with_capacity(sinks * head_dim),
            bytes: Vec::with_capacity(coding.codes.bytes(coded * head_dim)),
            scales: Vec::with_capacity(scales),
            zeros: Vec::with_capacity(zeros),
            recent: Vec::with_capacity(coded.min(window + coding.block()) * head_dim),
        }
    }

    /// Bytes of what has been written, and of what there is room for.
    pub(super) fn bytes(&self) -> usize {
        let floats = self.first.capacity() + self.recent.capacity();
        let halves = self.scales.capacity() + self.zeros.capacity();
        size_of::<f32>() * floats + self.bytes.capacity() + size_of::<f16>() * halves
    }

    fn row_bytes(&self) -> usize {
        self.coding.codes.bytes(self.head_dim)
    }

    /// Tokens in codes.
    fn coded(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// Writes tokens to the positions from `at` on, in `f32`. Later tokens are forgotten.
    pub(super) fn write(&mut self, at: usize, rows: &ArrayView2<f32>) {
        self.truncate(at);
        let sinks = (self.sinks - self.first.len() / self.head_dim).min(rows.nrows());
        for (token, row) in rows.outer_iter().enumerate() {
            let floats = if token < sinks { &mut self.first } else { &mut self.recent };
            floats.extend(row);
        }
        if self.window == 0 {
            self.settle();
        }
    }

    pub(super) fn width(&self) -> usize {
        self.head_dim
    }

    fn truncate(&mut self, length: usize) {
        let Self { head_dim, coding, .. } = *self;
        self.first.truncate(length * head_dim);
        let after = length.saturating_sub(self.first.len() / head_dim);
        let coded = self.coded();
        if after >= coded {
            return self.recent.truncate((after - coded) * head_dim);
        }
        // Of a block that is cut, the tokens that stay become floats again, because the tokens that
        // follow will share scales with them.
        let whole = after - after % coding.block();
        let kept = self.decoded(whole, after);
        self.bytes.truncate(whole * self.row_bytes());
        let scales = whole / coding.block() * coding.scales_of_block(head_dim);
        self.scales.truncate(scales);
        self.zeros.truncate(scales);
        self.recent = kept;
    }

    /// Codes the whole blocks of tokens that have left the window. A scale is that of tokens that are
    /// there, and never changes.
    pub(super) fn settle(&mut self) {
        let (block, head_dim) = (self.coding.block(), self.head_dim);
        let outside = (self.recent.len() / head_dim).saturating_sub(self.window);
        let leaving = (outside - outside % block) * head_dim;
        let recent = std::mem::take(&mut self.recent);
        recent[..leaving].chunks_exact(block * head_dim).for_each(|rows| self.code(rows));
        self.recent = recent;
        self.recent.drain(..leaving);
        self.recent.shrink_to((self.window + block) * head_dim);
    }

    /// Codes one block, `[block, head_dim]`.
    fn code(&mut self, rows: &[f32]) {
        let Self { coding, head_dim, .. } = *self;
        let mut codes = vec![0; rows.len()];
        let scales = coding.scales_of_block(head_dim);
        // One scale for a layer is not stored, and its numbers are one group.
        let groups = scales.max(1);
        for group in 0..groups {
            // The places of a group: neighbours in a row, or one below the other.
            let places = match coding.along {
                Along::Token => {
                    (group * head_dim / groups..(group + 1) * head_dim / groups).step_by(1)
                }
                Along::Channel => (group..rows.len()).step_by(head_dim),
            };
            let (scale, zero) = coding.rule.fit(places.clone().map(|place| rows[place]));
            let of_group = if scales > 0 { scale.to_f32() } else { self.tensor_scale };
            for place in places {
                codes[place] = coding.rule.code(rows[place], of_group, zero.to_f32());
            }
            if scales > 0 {
                self.scales.push(scale);
            }
            if coding.rule.has_zero() {
                self.zeros.push(zero);
            }
        }
        coding.codes.pack(&codes, &mut self.bytes);
    }

    /// The numbers that the codes of the tokens from `from` to `to` stand for, counted behind the sinks.
    fn decoded(&self, from: usize, to: usize) -> Vec<f32> {
        let Self { coding, head_dim, .. } = *self;
        let row = self.row_bytes();
        let mut numbers = coding.codes.unpack(&self.bytes[from * row..to * row]);
        let per_block = coding.scales_of_block(head_dim);
        for (token, numbers) in (from..to).zip(numbers.chunks_exact_mut(head_dim)) {
            let of_block = token / coding.block() * per_block;
            for (channel, number) in numbers.iter_mut().enumerate() {
                if per_block == 0 {
                    *number *= self.tensor_scale;
                    continue;
                }
                let scale = of_block + channel * per_block / head_dim;
                let zero = self.zeros.get(scale).map_or(0.0, |zero| zero.to_f32());
                *number = *number * self.scales[scale].to_f32() + zero;
            }
        }
        numbers
    }

    /// The numbers of all tokens, `[tokens, head_dim]`.
    pub(super) fn numbers(&self) -> Array2<f32> {
        let all = [&self.first[..], &self.decoded(0, self.coded()), &self.recent].concat();
        Array2::from_shape_vec((all.len() / self.head_dim, self.head_dim), all)
            .unwrap_or_else(|_| Array2::zeros((0, self.head_dim)))
    }

    /// What [`Reader`] needs of the codes.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { of: self, scales: self.scales.to_f32_vec(), zeros: self.zeros.to_f32_vec() }
    }
}

/// Reads codes without writing their numbers down. Scales and zeros are converted once for all query heads
/// of the group.
pub(crate) struct Reader<'c> {
    of: &'c Coded,
    scales: Vec<f32>,
    zeros: Vec<f32>,
}

impl Reader<'_> {
    /// The products of each token's row with `query`.
    pub(super) fn scores(&self, query: &[f32], scores: &mut [f32]) {
        let Coded { first, recent, head_dim, .. } = self.of;
        let (of_first, rest) = scores.split_at_mut(first.len() / head_dim);
        let (of_codes, of_recent) = rest.split_at_mut(self.of.coded());
        plain::rows(first, query, of_first);
        plain::rows(recent, query, of_recent);
        match self.of.coding.along {
            Along::Token => self.scores_by_token(query, of_codes),
            Along::Channel => self.scores_by_channel(query, of_codes),
        }
    }

    /// The sum of the tokens' rows, each times its weight.
    pub(super) fn weighted_sum(&self, weights: &[f32], out: &mut [f32]) {
        let Coded { first, recent, head_dim, .. } = self.of;
        let (of_first, rest) = weights.split_at(first.len() / head_dim);
        let (of_codes, of_recent) = rest.split_at(self.of.coded());
        plain::weighted_sum(of_recent, recent, out);
        let mut sums = vec![0.0; out.len()];
        plain::weighted_sum(of_first, first, &mut sums);
        match self.of.coding.along {
            Along::Token => self.add_by_token(of_codes, &mut sums),
            Along::Channel => self.add_by_channel(of_codes, &mut sums),
        }
        out.iter_mut().zip(&sums).for_each(|(out, sum)| *out += sum);
    }

    fn codes(&self) -> (Codes, &[u8]) {
        (self.of.coding.codes, &self.of.bytes)
    }

    fn scores_by_token(&self, query: &[f32], scores: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let group = self.of.coding.group.min(query.len());
        let groups = query.len() / group;
        let mut sums = vec![0.0; scores.len() * groups];
        dots(codes, bytes, query, group, &mut sums);
        if self.scales.is_empty() {
            return scores
                .iter_mut()
                .zip(sums)
                .for_each(|(score, sum)| *score = sum * self.of.tensor_scale);
        }
        sums.iter_mut().zip(&self.scales).for_each(|(sum, scale)| *sum *= scale);
        // A zero is in every number of its group, so it meets the sum of the query there.
        let of_query: Vec<f32> =
            query.chunks_exact(group).map(|query| query.iter().sum()).collect();
        for (zeros, sums) in self.zeros.chunks_exact(groups).zip(sums.chunks_exact_mut(groups)) {
            sums.iter_mut()
                .zip(zeros.iter().zip(&of_query))
                .for_each(|(sum, (zero, q))| *sum += zero * q);
        }
        for (score, sums) in scores.iter_mut().zip(sums.chunks_exact(groups)) {
            *score = sums.iter().sum();
        }
    }

    fn scores_by_channel(&self, query: &[f32], scores: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let (block, width) = (self.of.coding.block(), query.len());
        let scales = self.scales.chunks_exact(width).zip(self.zeros.chunks_exact(width));
        let blocks = bytes.chunks_exact(codes.bytes(block * width)).zip(scales);
        for (scores, (bytes, (scales, zeros))) in scores.chunks_exact_mut(block).zip(blocks) {
            let scaled: Vec<f32> = query.iter().zip(scales).map(|(q, scale)| q * scale).collect();
            dots(codes, bytes, &scaled, width, scores);
            let of_zeros = plain::dot(query, zeros);
            scores.iter_mut().for_each(|score| *score += of_zeros);
        }
    }

    fn add_by_token(&self, weights: &[f32], sums: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let group = self.of.coding.group.min(sums.len());
        let groups = sums.len() / group;
        if self.scales.is_empty() {
            let scaled: Vec<f32> =
                weights.iter().map(|weight| weight * self.of.tensor_scale).collect();
            return add_weighted(codes, bytes, &scaled, group, sums);
        }
        let scales = weights.iter().zip(self.scales.chunks_exact(groups));
        let coefficients: Vec<f32> = scales
            .flat_map(|(weight, scales)| scales.iter().map(move |scale| weight * scale))
            .collect();
        add_weighted(codes, bytes, &coefficients, group, sums);
        let mut of_zeros = vec![0.0; groups];
        for (weight, zeros) in weights.iter().zip(self.zeros.chunks_exact(groups)) {
            of_zeros.iter_mut().zip(zeros).for_each(|(sum, zero)| *sum += weight * zero);
        }
        for (sums, zero) in sums.chunks_exact_mut(group).zip(of_zeros) {
            sums.iter_mut().for_each(|sum| *sum += zero);
        }
    }

    fn add_by_channel(&self, weights: &[f32], sums: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let (block, width) = (self.of.coding.block(), sums.len());
        let scales = self.scales.chunks_exact(width).zip(self.zeros.chunks_exact(width));
        let blocks = bytes.chunks_exact(codes.bytes(block * width)).zip(scales);
        for (weights, (bytes, (scales, zeros))) in weights.chunks_exact(block).zip(blocks) {
            let mut of_block = vec![0.0; width];
            add_weighted(codes, bytes, weights, width, &mut of_block);
            let weight: f32 = weights.iter().sum();
            for (channel, sum) in sums.iter_mut().enumerate() {
                *sum += of_block[channel] * scales[channel] + weight * zeros[channel];
            }
        }
    }
}
