//! How the codes and the scales of a block are found.

use half::f16;

use super::decode::IQ4_NL;
use super::layout::{Block, Layout, MOST, MOST_IN_SUB, MOST_SUBS};
use super::search::{
    Candidates, LANES, copy_lane, in_lanes, nearest, of_scales, signed, signed_by_codes,
    signed_of_one, with_minimum,
};
use crate::gguf::TensorType;
use crate::magnitude::furthest;
use crate::rules;

/// A scale or a minimum that `f16` does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overflow {
    /// The block of the row.
    pub block: usize,
    /// The number.
    pub value: f32,
}

/// Which scales of a sub-block are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Those that llama.cpp tries.
    Full,
    /// None but that of the extremes, in Q2_K, Q4_K and Q5_K: what the search is compared with.
    Extremes,
}

/// A row, `[in_features]`, in whole blocks of `layout`.
///
/// `importance` says how much the error of each column counts: the mean square of the input that the column
/// multiplies. Without it, the numbers' own magnitudes decide, or the extremes of the block.
///
/// # Errors
/// [`Overflow`] for a scale that `f16` does not hold.
pub fn encode(
    layout: &Layout,
    row: &[f32],
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, Overflow> {
    encode_by(layout, row, importance, Search::Full)
}

/// As [`encode`], by a search.
///
/// # Errors
/// As [`encode`].
pub fn encode_by(
    layout: &Layout,
    row: &[f32],
    importance: Option<&[f32]>,
    search: Search,
) -> Result<Vec<u8>, Overflow> {
    let of_32 = OF_32.iter().find(|of_32| of_32.kind == layout.kind);
    if let (Some(of_32), Some(importance)) = (of_32, importance) {
        return of_32.encode_weighted(layout, row, importance);
    }
    let mut bytes = Vec::with_capacity(row.len() / layout.weights * layout.bytes());
    for (index, x) in row.chunks_exact(layout.weights).enumerate() {
        let from = index * layout.weights;
        let importance = importance.map(|all| &all[from..from + layout.weights]);
        let mut found = Found::default();
        match layout.kind {
            TensorType::IQ4_NL => of_the_table(x, importance, &mut found),
            TensorType::Q3_K => three_bits(x, importance, &mut found),
            TensorType::Q6_K => six_bits(x, importance, &mut found),
            _ => {
                if let Some(of_32) = of_32 {
                    of_32.nearest(x, &mut found);
                }
                if let Some(grid) = AFFINE.iter().find(|grid| grid.kind == layout.kind) {
                    affine(grid, layout, x, importance, search, &mut found);
                }
            }
        }
        found.write(layout, index, &mut bytes)?;
    }
    Ok(bytes)
}

/// A block, and its scale and minimum before they are rounded to `f16`.
#[derive(Default)]
struct Found {
    block: Block,
    scale: f32,
    minimum: f32,
}

impl Found {
    fn set(&mut self, scale: f32, minimum: f32) {
        (self.scale, self.minimum) = (scale, minimum);
        (self.block.scale, self.block.minimum) = (f16::from_f32(scale), f16::from_f32(minimum));
    }

    /// Scale, minimum and codes of a rule.
    fn take(&mut self, (scale, minimum, codes): (f32, f32, impl Iterator<Item = i32>)) {
        self.block.codes.iter_mut().zip(codes).for_each(|(stored, code)| *stored = code as u8);
        self.set(scale, minimum);
    }

    /// Appends the bytes of the block, which is number `index` of its row.
    fn write(&self, layout: &Layout, index: usize, bytes: &mut Vec<u8>) -> Result<(), Overflow> {
        let beyond = |stored: f16, value| (!stored.is_finite()).then_some(value);
        let scale = beyond(self.block.scale, self.scale);
        if let Some(value) = scale.or(beyond(self.block.minimum, self.minimum)) {
            return Err(Overflow { block: index, value });
        }
        layout.write(&self.block, bytes);
        Ok(())
    }

    /// Takes the codes again, with the scales that the block stores. A sub-block whose scale is 0 keeps the
    /// codes that it has.
    fn round_again(&mut self, x: &[f32], sub: usize, range: [i32; 2]) {
        let (scale, minimum) = (self.block.scale.to_f32(), self.block.minimum.to_f32());
        let codes = self.block.codes.chunks_exact_mut(sub);
        for (index, (x, codes)) in x.chunks_exact(sub).zip(codes).enumerate() {
            let scale = scale * f32::from(self.block.scales[index]);
            let minimum = minimum * f32::from(self.block.minima[index]);
            if scale == 0.0 {
                continue;
            }
            for (code, x) in codes.iter_mut().zip(x) {
                let [least, most] = range;
                *code = (nearest((x + minimum) / scale).clamp(least, most) - least) as u8;
            }
        }
    }
}

fn mean_square(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, x| sum + x * x) / x.len() as f32
}

/// Weights of numbers by their importance: a number of size 0 still counts as one of the size of its
/// neighbours.
fn weighted<const N: usize>(x: &[f32], importance: &[f32], mean_square: f32) -> [f32; N] {
    let mut weights = [0.0; N];
    for ((weight, x), of_x) in weights.iter_mut().zip(x).zip(importance) {
        *weight = of_x * (mean_square + x * x).sqrt();
    }
    weights
}

fn squares<const N: usize>(x: &[f32]) -> [f32; N] {
    each(x, |x| x * x)
}

/// The weights of a sub-block, and zeros behind them.
type Weights = [f32; MOST_IN_SUB];

fn each<const N: usize>(x: &[f32], weight: impl Fn(f32) -> f32) -> [f32; N] {
    let mut weights = [0.0; N];
    weights.iter_mut().zip(x).for_each(|(of_x, x)| *of_x = weight(*x));
    weights
}

/// A type with one scale for 32 weights.
struct Of32 {
    kind: TensorType,
    bits: u32,
    has_minimum: bool,
}

const OF_32: [Of32; 4] = [
    Of32 { kind: TensorType::Q4_0, bits: 4, has_minimum: false },
    Of32 { kind: TensorType::Q5_0, bits: 5, has_minimum: false },
    Of32 { kind: TensorType::Q4_1, bits: 4, has_minimum: true },
    Of32 { kind: TensorType::Q5_1, bits: 5, has_minimum: true },
];

impl Of32 {
    /// The nearest codes under the scale that the extremes ask for.
    fn nearest(&self, x: &[f32], found: &mut Found) {
        if self.has_minimum {
            found.take(rules::ggml::above_minimum(x, self.bits));
        } else {
            found.take(rules::ggml::signed(x, self.bits));
        }
    }

    /// A row with an importance matrix, [`LANES`] blocks at a time. The row may end within them.
    fn encode_weighted(
        &self,
        layout: &Layout,
        row: &[f32],
        importance: &[f32],
    ) -> Result<Vec<u8>, Overflow> {
        let together = LANES * layout.weights;
        let mut bytes = Vec::with_capacity(row.len() / layout.weights * layout.bytes());
        let in_row = mean_square(row);
        let parts = row.chunks(together).zip(importance.chunks(together)).enumerate();
        for (part, (x, of_x)) in parts {
            let blocks = x.chunks_exact(layout.weights);
            let weights = blocks.clone().zip(of_x.chunks_exact(layout.weights));
            let weights: Vec<Weights> =
                weights.map(|(x, of_x)| weighted(x, of_x, in_row)).collect();
            let (count, x) = (blocks.len(), in_lanes(blocks));
            let weights = in_lanes(weights.iter().map(|weights| &weights[..]));
            let mut codes = [[0; LANES]; MOST_IN_SUB];
            let (scales, minima) = if self.has_minimum {
                let most = (1 << self.bits) - 1;
                let affine = with_minimum(&x, &weights, most, WEIGHTED, &mut codes);
                (affine.scales, affine.minima.map(|minimum| -minimum))
            } else {
                let most = 1 << (self.bits - 1);
                (signed(&x, &weights, most, &mut codes), [0.0; LANES])
            };
            for lane in 0..count {
                let mut found = Found::default();
                found.set(scales[lane], minima[lane]);
                copy_lane(&codes, lane, &mut found.block.codes);
                found.write(layout, part * LANES + lane, &mut bytes)?;
            }
        }
        Ok(bytes)
    }
}

/// IQ4_NL: the grid of a table, and a search for the scale as in [`signed`].
fn of_the_table(x: &[f32], importance: Option<&[f32]>, found: &mut Found) {
    const TRIES: i32 = 7;
    let value = |code: usize| f32::from(IQ4_NL[code]);
    let sigma2 = x.iter().fold(0.0, |sum, x| sum + x * x) * (2.0 / x.len() as f32);
    let weights: Weights = importance.map_or_else(|| squares(x), |of_x| weighted(x, of_x, sigma2));
    let sums = |inverse: f32| {
        let (mut sum_qx, mut sum_q2) = (0.0, 0.0);
        for (x, w) in x.iter().zip(&weights) {
            let q = value(entry(inverse * x));
            sum_qx += w * q * x;
            sum_q2 += w * q * q;
        }
        (sum_qx, sum_q2)
    };
    let mut scale = 0.0;
    if let Some(max) = super::search::furthest(x) {
        let (sum_qx, sum_q2) = sums(1.0 / (-max / value(0)));
        scale = if sum_q2 > 0.0 { sum_qx / sum_q2 } else { 0.0 };
        let mut best = scale * sum_qx;
        for step in -TRIES..=TRIES {
            let (sum_qx, sum_q2) = sums((step as f32 + value(0)) / max);
            if sum_q2 > 0.0 && sum_qx * sum_qx > best * sum_q2 {
                scale = sum_qx / sum_q2;
                best = scale * sum_qx;
            }
        }
    }
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (code, x) in found.block.codes.iter_mut().zip(x) {
        *code = entry(inverse * x) as u8;
    }
    found.set(scale, 0.0);
}

/// The entry of the table that is nearest to `x`, of two the larger.
fn entry(x: f32) -> usize {
    let above = IQ4_NL.partition_point(|&value| f32::from(value) <= x);
    match above {
        0 => 0,
        16 => 15,
        above => {
            let [below, next] = [IQ4_NL[above - 1], IQ4_NL[above]].map(f32::from);
            if x - below < next - x { above - 1 } else { above }
        }
    }
}

/// A type of super-block whose sub-blocks have minima.
struct Affine {
    kind: TensorType,
    /// The last code.
    most: i32,
    /// The last multiple that a sub-block's scale or minimum can be.
    most_of_sub: i32,
    /// The search without an importance matrix.
    plain: Candidates,
    /// The weights of a sub-block in that search.
    weights: fn(&[f32]) -> Weights,
    /// With an importance matrix: the part of the super-block's mean square that is added to each square.
    mean_squares: f32,
}

/// The search with an importance matrix, in every type.
const WEIGHTED: Candidates =
    Candidates { first: -0.9, step: 0.05, count: 36, absolute: false, cut_off_first: true };
const PLAIN: Candidates =
    Candidates { first: -0.5, step: 0.1, count: 15, absolute: false, cut_off_first: false };

const AFFINE: [Affine; 3] = [
    Affine {
        kind: TensorType::Q2_K,
        most: 3,
        most_of_sub: 15,
        plain: Candidates { absolute: true, ..PLAIN },
        weights: |x| each(x, f32::abs),
        mean_squares: 1.0,
    },
    Affine {
        kind: TensorType::Q4_K,
        most: 15,
        most_of_sub: 63,
        plain: Candidates { first: -1.0, count: 20, ..PLAIN },
        weights: root_mean_square_more,
        mean_squares: 2.0,
    },
    Affine {
        kind: TensorType::Q5_K,
        most: 31,
        most_of_sub: 63,
        plain: PLAIN,
        weights: root_mean_square_more,
        mean_squares: 2.0,
    },
];

/// The magnitude of each number, plus the root mean square of all.
fn root_mean_square_more(x: &[f32]) -> Weights {
    let more = mean_square(x).sqrt();
    each(x, |x| more + x.abs())
}

/// Q2_K, Q4_K and Q5_K.
fn affine(
    grid: &Affine,
    layout: &Layout,
    x: &[f32],
    importance: Option<&[f32]>,
    search: Search,
    found: &mut Found,
) {
    let subs = layout.subs();
    let (mut scales, mut minima, mut weight) =
        ([0.0; MOST_SUBS], [0.0; MOST_SUBS], [0.0; MOST_SUBS]);
    let sigma2 = grid.mean_squares * mean_square(x);
    let candidates = if importance.is_some() { WEIGHTED } else { grid.plain };
    // The candidates after the extremes are those from 0 on.
    let count = if search == Search::Full { candidates.count } else { -1 };
    let candidates = Candidates { count, ..candidates };
    for (index, together) in x.chunks_exact(LANES * layout.sub).enumerate() {
        let from = index * LANES * layout.sub;
        let weights = |lane: usize| {
            let sub = lane * layout.sub..(lane + 1) * layout.sub;
            match importance {
                Some(of_x) => weighted(&together[sub.clone()], &of_x[from..][sub], sigma2),
                None => (grid.weights)(&together[sub]),
            }
        };
        let weights: [Weights; LANES] = std::array::from_fn(weights);
        let mut codes = [[0; LANES]; MOST_IN_SUB];
        let affine = with_minimum(
            &in_lanes(together.chunks_exact(layout.sub))[..layout.sub],
            &in_lanes(weights.iter().map(|weights| &weights[..layout.sub]))[..layout.sub],
            grid.most,
            candidates,
            &mut codes[..layout.sub],
        );
        for (lane, weights) in weights.iter().enumerate() {
            let sub = index * LANES + lane;
            (scales[sub], minima[sub]) = (affine.scales[lane], affine.minima[lane]);
            weight[sub] = weights[..layout.sub].iter().fold(0.0, |sum, w| sum + w);
            let stored = &mut found.block.codes[sub * layout.sub..];
            copy_lane(&codes[..layout.sub], lane, stored);
        }
    }
    let multiples = |of: &[f32], codes: &mut [u8]| match importance {
        Some(_) => of_scales(of, &weight[..subs], grid.most_of_sub, codes),
        None => nearest_multiples(of, grid.most_of_sub, codes),
    };
    let mut stored = [0; MOST_SUBS];
    let scale = multiples(&scales[..subs], &mut stored[..subs]);
    found.block.scales = stored.map(u8::cast_signed);
    let minimum = multiples(&minima[..subs], &mut found.block.minima[..subs]);
    found.set(scale, minimum);
    found.round_again(x, layout.sub, [0, grid.most]);
}

/// The largest number over `most`, and the nearest multiples of that.
fn nearest_multiples(of: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let max = of.iter().copied().fold(0.0, |max, x| if x > max { x } else { max });
    let inverse = if max > 0.0 { most as f32 / max } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(of) {
        *code = (nearest(inverse * x) as u8).min(most as u8);
    }
    max / most as f32
}

/// Weights of a sub-block of the types without minima.
const SIGNED_SUB: usize = 16;

/// The scales and the codes of the sub-blocks of a super-block without minima.
fn signed_subs(x: &[f32], weights: &[f32], most: i32, codes: &mut [u8; MOST]) -> [f32; MOST_SUBS] {
    const TOGETHER: usize = LANES * SIGNED_SUB;
    let mut scales = [0.0; MOST_SUBS];
    let parts = x.chunks_exact(TOGETHER).zip(weights.chunks_exact(TOGETHER));
    let parts = parts.zip(codes.chunks_exact_mut(TOGETHER)).zip(scales.as_chunks_mut().0);
    for (((x, weights), codes), scales) in parts {
        let mut in_lanes_of = [[0; LANES]; SIGNED_SUB];
        *scales = signed(
            &in_lanes(x.chunks_exact(SIGNED_SUB))[..SIGNED_SUB],
            &in_lanes(weights.chunks_exact(SIGNED_SUB))[..SIGNED_SUB],
            most,
            &mut in_lanes_of,
        );
        for (lane, codes) in codes.chunks_exact_mut(SIGNED_SUB).enumerate() {
            copy_lane(&in_lanes_of, lane, codes);
        }
    }
    scales
}

/// Q3_K.
fn three_bits(x: &[f32], importance: Option<&[f32]>, found: &mut Found) {
    const MOST_OF_SUB: i32 = 32;
    let (mut scales, mut weight) = ([0.0; MOST_SUBS], [0.0; MOST_SUBS]);
    match importance {
        Some(of_x) => {
            let sigma2 = 2.0 * mean_square(x);
            let weights: [f32; MOST] = weighted(x, of_x, sigma2);
            for (weight, of_sub) in weight.iter_mut().zip(weights.chunks_exact(SIGNED_SUB)) {
                *weight = of_sub.iter().fold(0.0, |sum, w| sum + w);
            }
            scales = signed_subs(x, &weights, 4, &mut found.block.codes);
        }
        None => {
            let codes = found.block.codes.chunks_exact_mut(SIGNED_SUB);
            for ((scale, x), codes) in scales.iter_mut().zip(x.chunks_exact(SIGNED_SUB)).zip(codes)
            {
                *scale = signed_by_codes(x, 4, codes);
            }
        }
    }
    let mut stored = [0; MOST_SUBS];
    let scale = match importance {
        Some(_) => signed_of_one(&scales, &weight, MOST_OF_SUB, &mut stored),
        None => {
            let max = furthest(&scales);
            let inverse = -(MOST_OF_SUB as f32) / max;
            for (stored, scale) in stored.iter_mut().zip(scales).filter(|_| max != 0.0) {
                let multiple = nearest(inverse * scale).clamp(-MOST_OF_SUB, MOST_OF_SUB - 1);
                *stored = (multiple + MOST_OF_SUB) as u8;
            }
            if max == 0.0 { 0.0 } else { 1.0 / inverse }
        }
    };
    found.block.scales = stored.map(|stored| stored.cast_signed() - MOST_OF_SUB as i8);
    found.set(scale, 0.0);
    found.round_again(x, SIGNED_SUB, [-4, 3]);
}

/// Q6_K.
fn six_bits(x: &[f32], importance: Option<&[f32]>, found: &mut Found) {
    let squares: [f32; MOST] = squares(x);
    let scales = signed_subs(x, importance.unwrap_or(&squares), 32, &mut found.block.codes);
    let max = furthest(&scales);
    if max.abs() < super::search::ZERO {
        *found = Found::default();
        return;
    }
    let inverse = -128.0 / max;
    for (stored, scale) in found.block.scales.iter_mut().zip(scales) {
        *stored = nearest(inverse * scale).min(127) as i8;
    }
    found.set(1.0 / inverse, 0.0);
    found.round_again(x, SIGNED_SUB, [-32, 31]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_zeros_comes_back_as_zeros() {
        for layout in &super::super::layout::ALL {
            for importance in [None, Some(vec![1.0; layout.weights])] {
                let row = vec![0.0; layout.weights];
                let bytes = encode(layout, &row, importance.as_deref()).expect("zero is finite");
                let mut back = Vec::new();
                super::super::decode(layout, &bytes, &mut back);
                assert!(back.iter().all(|x| *x == 0.0), "{}: {back:?}", layout.kind);
            }
        }
    }
}
