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
    /// The products of each token's row with each of the queries, `[queries, tokens]`.
    pub(super) fn scores(&self, queries: &[f32], scores: &mut [f32]) {
        let Coded { first, recent, head_dim, .. } = self.of;
        let (sinks, coded) = (first.len() / head_dim, self.of.coded());
        let tokens = sinks + coded + recent.len() / head_dim;
        for (query, scores) in queries.chunks_exact(*head_dim).zip(scores.chunks_exact_mut(tokens))
        {
            plain::rows(first, query, &mut scores[..sinks]);
            plain::rows(recent, query, &mut scores[sinks + coded..]);
        }
        let of_codes = match self.of.coding.along {
            Along::Token => self.scores_by_token(queries),
            Along::Channel => self.scores_by_channel(queries),
        };
        let of_codes = of_codes.chunks_exact(coded.max(1));
        for (scores, of_codes) in scores.chunks_exact_mut(tokens).zip(of_codes) {
            scores[sinks..sinks + coded].copy_from_slice(of_codes);
        }
    }

    /// For each query the sum of the tokens' rows, each times its weight. `weights` is `[queries, tokens]`, the sums
    /// are `[queries, head_dim]`.
    pub(super) fn weighted_sum(&self, weights: &[f32], out: &mut [f32]) {
        let Coded { first, recent, head_dim, .. } = self.of;
        let (sinks, coded) = (first.len() / head_dim, self.of.coded());
        let tokens = sinks + coded + recent.len() / head_dim;
        let mut sums = vec![0.0; out.len()];
        let mut of_codes = Vec::with_capacity(out.len() / head_dim * coded);
        let rows = out.chunks_exact_mut(*head_dim).zip(sums.chunks_exact_mut(*head_dim));
        for (weights, (out, sums)) in weights.chunks_exact(tokens).zip(rows) {
            plain::weighted_sum(&weights[..sinks], first, sums);
            plain::weighted_sum(&weights[sinks + coded..], recent, out);
            of_codes.extend(&weights[sinks..sinks + coded]);
        }
        match self.of.coding.along {
            Along::Token => self.add_by_token(&of_codes, &mut sums),
            Along::Channel => self.add_by_channel(&of_codes, &mut sums),
        }
        out.iter_mut().zip(&sums).for_each(|(out, sum)| *out += sum);
    }

    fn codes(&self) -> (Codes, &[u8]) {
        (self.of.coding.codes, &self.of.bytes)
    }

    fn scores_by_token(&self, queries: &[f32]) -> Vec<f32> {
        let (codes, bytes) = self.codes();
        let width = self.of.head_dim;
        let group = self.of.coding.group.min(width);
        let groups = width / group;
        let of_query = self.of.coded() * groups;
        let mut sums = vec![0.0; queries.len() / width * of_query];
        dots(codes, bytes, queries, width, group, &mut sums);
        if self.scales.is_empty() {
            sums.iter_mut().for_each(|sum| *sum *= self.of.tensor_scale);
            return sums;
        }
        for (query, sums) in queries.chunks_exact(width).zip(sums.chunks_exact_mut(of_query.max(1)))
        {
            sums.iter_mut().zip(&self.scales).for_each(|(sum, scale)| *sum *= scale);
            // A zero is in every number of its group, so it meets the sum of the query there.
            let of_group = query.chunks_exact(group).map(|query| query.iter().sum::<f32>());
            let of_group: Vec<f32> = of_group.collect();
            let zeros = self.zeros.chunks_exact(groups).zip(sums.chunks_exact_mut(groups));
            for (zeros, sums) in zeros {
                for (sum, (zero, q)) in sums.iter_mut().zip(zeros.iter().zip(&of_group)) {
                    *sum += zero * q;
                }
            }
        }
        if groups == 1 {
            return sums;
        }
        sums.chunks_exact(groups).map(|sums| sums.iter().sum()).collect()
    }

    fn scores_by_channel(&self, queries: &[f32]) -> Vec<f32> {
        let (codes, bytes) = self.codes();
        let (block, width) = (self.of.coding.block(), self.of.head_dim);
        let (count, coded) = (queries.len() / width, self.of.coded());
        let mut scores = vec![0.0; count * coded];
        let scales = self.scales.chunks_exact(width).zip(self.zeros.chunks_exact(width));
        let blocks = bytes.chunks_exact(codes.bytes(block * width)).zip(scales);
        let (mut scaled, mut sums) = (vec![0.0; queries.len()], vec![0.0; count * block]);
        for (at, (bytes, (scales, zeros))) in blocks.enumerate() {
            let of_queries = scaled.iter_mut().zip(queries).zip(scales.iter().cycle());
            of_queries.for_each(|((scaled, q), scale)| *scaled = q * scale);
            dots(codes, bytes, &scaled, width, width, &mut sums);
            for (query, sums) in sums.chunks_exact(block).enumerate() {
                let of_zeros = plain::dot(&queries[query * width..][..width], zeros);
                let scores = &mut scores[query * coded + at * block..][..block];
                scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = sum + of_zeros);
            }
        }
        scores
    }

    fn add_by_token(&self, weights: &[f32], sums: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let width = self.of.head_dim;
        let group = self.of.coding.group.min(width);
        let groups = width / group;
        if self.scales.is_empty() {
            let scaled: Vec<f32> =
                weights.iter().map(|weight| weight * self.of.tensor_scale).collect();
            return add_weighted(codes, bytes, &scaled, width, group, sums);
        }
        let of_query = self.scales.len().max(1);
        let mut coefficients = vec![0.0; weights.len() * groups];
        let rows = coefficients.chunks_exact_mut(groups).zip(weights);
        for ((coefficients, weight), scales) in rows.zip(self.scales.chunks_exact(groups).cycle()) {
            coefficients.iter_mut().zip(scales).for_each(|(of, scale)| *of = weight * scale);
        }
        add_weighted(codes, bytes, &coefficients, width, group, sums);
        let of_queries = weights.chunks_exact((of_query / groups).max(1));
        for (weights, sums) in of_queries.zip(sums.chunks_exact_mut(width)) {
            let mut of_zeros = vec![0.0; groups];
            for (weight, zeros) in weights.iter().zip(self.zeros.chunks_exact(groups)) {
                of_zeros.iter_mut().zip(zeros).for_each(|(sum, zero)| *sum += weight * zero);
            }
            for (sums, zero) in sums.chunks_exact_mut(group).zip(of_zeros) {
                sums.iter_mut().for_each(|sum| *sum += zero);
            }
        }
    }

    fn add_by_channel(&self, weights: &[f32], sums: &mut [f32]) {
        let (codes, bytes) = self.codes();
        let (block, width) = (self.of.coding.block(), self.of.head_dim);
        let coded = self.of.coded().max(1);
        let scales = self.scales.chunks_exact(width).zip(self.zeros.chunks_exact(width));
        let blocks = bytes.chunks_exact(codes.bytes(block * width)).zip(scales);
        let mut of_block = vec![0.0; sums.len()];
        for (at, (bytes, (scales, zeros))) in blocks.enumerate() {
            let of_queries = weights.chunks_exact(coded).map(|of| &of[at * block..][..block]);
            let together: Vec<f32> = of_queries.clone().flatten().copied().collect();
            of_block.fill(0.0);
            add_weighted(codes, bytes, &together, width, width, &mut of_block);
            let rows = sums.chunks_exact_mut(width).zip(of_block.chunks_exact(width));
            for ((sums, of_block), weights) in rows.zip(of_queries) {
                let weight: f32 = weights.iter().sum();
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum += of_block[channel] * scales[channel] + weight * zeros[channel];
                }
            }
        }
    }
}
