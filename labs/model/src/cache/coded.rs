//! Keys or values of one head in codes.

use half::f16;
use half::slice::HalfFloatSliceExt;
use kernels::cached::{Affine, Shared, decode};
use ndarray::{Array2, ArrayView2};

use crate::cache_format::{Along, CacheFormat, Coding};

/// Tokens that are decoded together, whole blocks: with heads of 128 channels they fill half of a first cache of
/// 32 KiB.
pub(super) const TILE: usize = 32;

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

    /// The numbers that the codes of the tokens from `from` to `to` stand for, counted behind the sinks. `from` is
    /// the first token of a block.
    fn decoded(&self, from: usize, to: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; (to - from) * self.head_dim];
        if from < to {
            self.reader().decode(from, &mut numbers);
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

/// Decodes tokens. Scales and zeros are converted once for all of them.
pub(crate) struct Reader<'c> {
    of: &'c Coded,
    scales: Vec<f32>,
    zeros: Vec<f32>,
}

impl Reader<'_> {
    pub(super) fn width(&self) -> usize {
        self.of.width()
    }

    /// Calls `read` with some tokens at a time: the place of the first one, and the numbers of all. The numbers of
    /// codes are written down for these tokens alone, where the core's first cache keeps them for all queries.
    pub(super) fn each_tile(&self, mut read: impl FnMut(usize, &[f32])) {
        let Coded { first, recent, head_dim, .. } = self.of;
        let (sinks, coded) = (first.len() / head_dim, self.of.coded());
        read(0, first);
        let mut numbers = vec![0.0; TILE * head_dim];
        for token in (0..coded).step_by(TILE) {
            let numbers = &mut numbers[..TILE.min(coded - token) * head_dim];
            self.decode(token, numbers);
            read(sinks + token, numbers);
        }
        read(sinks + coded, recent);
    }

    /// Writes the numbers of the tokens from `token` on, counted behind the sinks, as many as there is room for, one at
    /// least. `token` is the first token of a block.
    fn decode(&self, token: usize, numbers: &mut [f32]) {
        let Coded { coding, head_dim, tensor_scale, .. } = *self.of;
        let (codes, bytes) = (coding.codes, &self.of.bytes[token * self.of.row_bytes()..]);
        let per_block = coding.scales_of_block(head_dim);
        let first = token / coding.block() * per_block;
        let (scales, zeros) = (&self.scales[first..], self.zeros.get(first..).unwrap_or_default());
        let group = |scales, group| Affine { scales, zeros, shared: Shared::Group(group) };
        match coding.along {
            _ if per_block == 0 => {
                decode(codes, bytes, group(&[tensor_scale], numbers.len()), numbers)
            }
            Along::Token => decode(codes, bytes, group(scales, head_dim / per_block), numbers),
            Along::Channel => {
                let blocks = numbers.chunks_mut(coding.block() * head_dim);
                let bytes = bytes.chunks(coding.block() * self.of.row_bytes());
                let columns = scales.chunks_exact(head_dim).zip(zeros.chunks_exact(head_dim));
                for ((numbers, bytes), (scales, zeros)) in blocks.zip(bytes).zip(columns) {
                    decode(codes, bytes, Affine { scales, zeros, shared: Shared::Column }, numbers);
                }
            }
        }
    }
}
