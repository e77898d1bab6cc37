//! Keys or values of one head in codes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

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
    /// A ring, because a token leaves in front with each token that comes.
    recent: VecDeque<f32>,
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
            recent: VecDeque::with_capacity(coded.min(window + coding.block()) * head_dim),
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
        let sinks = (self.sinks - self.first_tokens()).min(rows.nrows());
        // A token that is coded at once, and alone, need not wait among the recent ones.
        let at_once = self.window == 0 && self.coding.block() == 1;
        for (token, row) in rows.outer_iter().enumerate() {
            match row.as_slice() {
                _ if token < sinks => self.first.extend(row),
                Some(row) if at_once => self.code(row),
                _ => self.recent.extend(row),
            }
        }
        if !self.recent.as_slices().0.len().is_multiple_of(self.head_dim) {
            self.recent.make_contiguous();
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
        let after = length.saturating_sub(self.first_tokens());
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
        self.recent = kept.into();
    }

    /// Codes the whole blocks of tokens that have left the window. A scale is that of tokens that are
    /// there, and never changes.
    pub(super) fn settle(&mut self) {
        let (block, head_dim) = (self.coding.block(), self.head_dim);
        let outside = (self.recent.len() / head_dim).saturating_sub(self.window);
        let leaving = (outside - outside % block) * head_dim;
        let leaving: Vec<f32> = self.recent.drain(..leaving).collect();
        leaving.chunks_exact(block * head_dim).for_each(|rows| self.code(rows));
        self.recent.shrink_to((self.window + block) * head_dim);
    }

    /// Codes one block, `[block, head_dim]`.
    fn code(&mut self, rows: &[f32]) {
        let Self { coding, head_dim, .. } = *self;
        let scales = coding.scales_of_block(head_dim);
        let numbers = match coding.along {
            Along::Token => Cow::Borrowed(rows),
            Along::Channel => Cow::Owned(transposed(rows, head_dim)),
        };
        let mut codes = Vec::with_capacity(rows.len());
        // One scale for a layer is not stored, and its numbers are one group.
        for group in numbers.chunks_exact(rows.len() / scales.max(1)) {
            let (scale, zero) = coding.rule.fit(group);
            let of_group = if scales > 0 { scale.to_f32() } else { self.tensor_scale };
            let zero_of_group = zero.to_f32();
            codes.extend(group.iter().map(|x| coding.rule.code(*x, of_group, zero_of_group)));
            if scales > 0 {
                self.scales.push(scale);
            }
            if coding.rule.has_zero() {
                self.zeros.push(zero);
            }
        }
        if coding.along == Along::Channel {
            codes = transposed(&codes, rows.len() / head_dim);
        }
        coding.codes.pack(&codes, &mut self.bytes);
    }

    /// The numbers that the codes of the tokens from `from` to `to` stand for, counted behind the sinks. `from` is
    /// the first token of a block.
    fn decoded(&self, from: usize, to: usize) -> Vec<f32> {
        let mut tile = Tile::default();
        if from < to {
            tile.decode(self, from..to);
        }
        tile.numbers
    }

    /// The numbers of all tokens, `[tokens, head_dim]`.
    pub(super) fn numbers(&self) -> Array2<f32> {
        let (older, newer) = self.recent.as_slices();
        let all = [&self.first[..], &self.decoded(0, self.coded()), older, newer].concat();
        Array2::from_shape_vec((all.len() / self.head_dim, self.head_dim), all)
            .unwrap_or_else(|_| Array2::zeros((0, self.head_dim)))
    }

    /// Calls `read` with some of these tokens at a time: the place of the first one, and the numbers of all. The numbers
    /// of codes are written down for these tokens alone, where the core's first cache keeps them for all queries.
    /// `tokens` begins at 0, or whole tiles behind the sinks.
    pub(super) fn each_tile(&self, tokens: Range<usize>, mut read: impl FnMut(usize, &[f32])) {
        let Self { first, recent, head_dim, .. } = self;
        let (sinks, coded) = (self.first_tokens(), self.coded());
        if tokens.start < sinks {
            read(tokens.start, &first[tokens.start * head_dim..tokens.end.min(sinks) * head_dim]);
        }
        let [from, to] = [tokens.start, tokens.end].map(|token| token.saturating_sub(sinks));
        let mut tile = Tile::default();
        for token in (from..to.min(coded)).step_by(TILE) {
            tile.decode(self, token..(token + TILE).min(to).min(coded));
            read(sinks + token, &tile.numbers);
        }
        // No token lies at both ends of the ring: `write` sees to that.
        let (older, newer) = recent.as_slices();
        let mut at = coded;
        for rows in [older, newer] {
            let end = at + rows.len() / head_dim;
            let (from, to) = (from.max(at), to.min(end));
            if from < to {
                read(sinks + from, &rows[(from - at) * head_dim..(to - at) * head_dim]);
            }
            at = end;
        }
    }

    /// Tokens in front of those in codes.
    pub(super) fn first_tokens(&self) -> usize {
        self.first.len() / self.head_dim
    }
}

/// Tokens out of codes, and the memory for the next ones.
#[derive(Default)]
struct Tile {
    numbers: Vec<f32>,
    scales: Vec<f32>,
    zeros: Vec<f32>,
}

impl Tile {
    /// Writes the numbers of `tokens`, counted behind the sinks. The first of them is the first token of a block.
    fn decode(&mut self, of: &Coded, tokens: Range<usize>) {
        let Coded { coding, head_dim, tensor_scale, .. } = *of;
        let (codes, bytes) = (coding.codes, &of.bytes[tokens.start * of.row_bytes()..]);
        let per_block = coding.scales_of_block(head_dim);
        let [first, end] = [tokens.start, tokens.end.next_multiple_of(coding.block())]
            .map(|token| token / coding.block() * per_block);
        let Self { numbers, scales, zeros } = self;
        converted(&of.scales[first..end], scales);
        converted(of.zeros.get(first..end).unwrap_or_default(), zeros);
        numbers.resize(tokens.len() * head_dim, 0.0);
        let group = |scales, group| Affine { scales, zeros, shared: Shared::Group(group) };
        match coding.along {
            _ if per_block == 0 => {
                decode(codes, bytes, group(&[tensor_scale], numbers.len()), numbers)
            }
            Along::Token => decode(codes, bytes, group(scales, head_dim / per_block), numbers),
            Along::Channel => {
                let blocks = numbers.chunks_mut(coding.block() * head_dim);
                let bytes = bytes.chunks(coding.block() * of.row_bytes());
                let columns = scales.chunks_exact(head_dim).zip(zeros.chunks_exact(head_dim));
                for ((numbers, bytes), (scales, zeros)) in blocks.zip(bytes).zip(columns) {
                    decode(codes, bytes, Affine { scales, zeros, shared: Shared::Column }, numbers);
                }
            }
        }
    }
}

/// The columns of rows of so many values, one after the other.
fn transposed<T: Copy>(rows: &[T], width: usize) -> Vec<T> {
    (0..width).flat_map(|column| rows[column..].iter().step_by(width).copied()).collect()
}

/// The same numbers in `f32`.
fn converted(halves: &[f16], floats: &mut Vec<f32>) {
    floats.resize(halves.len(), 0.0);
    halves.convert_to_f32_slice(floats);
}
