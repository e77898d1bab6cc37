//! How the codes and the scales of a block are found.

use half::f16;

use super::decode::IQ4_NL;
use super::layout::{Block, Layout, MOST_SUBS};
use super::search::{
    Candidates, cut_off_first, nearest, of_scales, rounded_first, signed, signed_by_codes,
    with_minimum,
};
use crate::gguf::TensorType;
use crate::rules;

/// A scale or a minimum that `f16` does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overflow {
    /// The block of the row.
    pub block: usize,
    /// The number.
    pub value: f32,
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
    let mut bytes = Vec::with_capacity(row.len() / layout.weights * layout.bytes());
    let in_row = mean_square(row);
    for (index, x) in row.chunks_exact(layout.weights).enumerate() {
        let from = index * layout.weights;
        let importance = importance.map(|all| &all[from..from + layout.weights]);
        let mut found = Found::default();
        match layout.kind {
            TensorType::Q4_0 => of_32_signed(x, importance, in_row, 4, &mut found),
            TensorType::Q5_0 => of_32_signed(x, importance, in_row, 5, &mut found),
            TensorType::Q4_1 => of_32_above(x, importance, in_row, 4, &mut found),
            TensorType::Q5_1 => of_32_above(x, importance, in_row, 5, &mut found),
            TensorType::IQ4_NL => of_the_table(x, importance, &mut found),
            TensorType::Q3_K => three_bits(x, importance, &mut found),
            TensorType::Q6_K => six_bits(x, importance, &mut found),
            _ => {
                if let Some(grid) = AFFINE.iter().find(|grid| grid.kind == layout.kind) {
                    affine(grid, layout, x, importance, &mut found);
                }
            }
        }
        if let Some(value) = found.overflow() {
            return Err(Overflow { block: index, value });
        }
        layout.write(&found.block, &mut bytes);
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

    /// The number that `f16` does not hold.
    fn overflow(&self) -> Option<f32> {
        let of = |stored: f16, value| (!stored.is_finite()).then_some(value);
        of(self.block.scale, self.scale).or(of(self.block.minimum, self.minimum))
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
fn weighted(x: &[f32], importance: &[f32], mean_square: f32) -> Vec<f32> {
    x.iter().zip(importance).map(|(x, of_x)| of_x * (mean_square + x * x).sqrt()).collect()
}

fn squares(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x * x).collect()
}

/// Q4_0 and Q5_0.
fn of_32_signed(x: &[f32], importance: Option<&[f32]>, in_row: f32, bits: u32, found: &mut Found) {
    let codes = &mut found.block.codes[..x.len()];
    let scale = match importance {
        Some(importance) => signed(x, &weighted(x, importance, in_row), 1 << (bits - 1), codes),
        None => {
            let (scale, _, nearest) = rules::ggml::signed(x, bits);
            codes.iter_mut().zip(nearest).for_each(|(code, nearest)| *code = nearest as u8);
            scale
        }
    };
    found.set(scale, 0.0);
}

/// Q4_1 and Q5_1.
fn of_32_above(x: &[f32], importance: Option<&[f32]>, in_row: f32, bits: u32, found: &mut Found) {
    let codes = &mut found.block.codes[..x.len()];
    let (scale, minimum) = match importance {
        Some(importance) => {
            let weights = weighted(x, importance, in_row);
            let (scale, minimum) = with_minimum(x, &weights, (1 << bits) - 1, WEIGHTED, codes);
            (scale, -minimum)
        }
        None => {
            let (scale, minimum, nearest) = rules::ggml::above_minimum(x, bits);
            codes.iter_mut().zip(nearest).for_each(|(code, nearest)| *code = nearest as u8);
            (scale, minimum)
        }
    };
    found.set(scale, minimum);
}

/// IQ4_NL: the grid of a table, and a search for the scale as in [`signed`].
fn of_the_table(x: &[f32], importance: Option<&[f32]>, found: &mut Found) {
    const TRIES: i32 = 7;
    let value = |code: usize| f32::from(IQ4_NL[code]);
    let sigma2 = x.iter().fold(0.0, |sum, x| sum + x * x) * (2.0 / x.len() as f32);
    let weights = importance.map_or_else(|| squares(x), |of_x| weighted(x, of_x, sigma2));
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
    weights: fn(&[f32]) -> Vec<f32>,
    /// With an importance matrix: the part of the super-block's mean square that is added to each square.
    mean_squares: f32,
}

/// The search with an importance matrix, in every type.
const WEIGHTED: Candidates =
    Candidates { first: -0.9, step: 0.05, count: 36, absolute: false, code: cut_off_first };
const PLAIN: Candidates =
    Candidates { first: -0.5, step: 0.1, count: 15, absolute: false, code: rounded_first };

const AFFINE: [Affine; 3] = [
    Affine {
        kind: TensorType::Q2_K,
        most: 3,
        most_of_sub: 15,
        plain: Candidates { absolute: true, ..PLAIN },
        weights: |x| x.iter().map(|x| x.abs()).collect(),
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
fn root_mean_square_more(x: &[f32]) -> Vec<f32> {
    let more = mean_square(x).sqrt();
    x.iter().map(|x| more + x.abs()).collect()
}

/// Q2_K, Q4_K and Q5_K.
fn affine(
    grid: &Affine,
    layout: &Layout,
    x: &[f32],
    importance: Option<&[f32]>,
    found: &mut Found,
) {
    let subs = layout.subs();
    let (mut scales, mut minima, mut weight) =
        ([0.0; MOST_SUBS], [0.0; MOST_SUBS], [0.0; MOST_SUBS]);
    let sigma2 = grid.mean_squares * mean_square(x);
    for (index, sub) in x.chunks_exact(layout.sub).enumerate() {
        let from = index * layout.sub;
        let codes = &mut found.block.codes[from..from + layout.sub];
        let (weights, candidates) = match importance {
            Some(of_x) => (weighted(sub, &of_x[from..from + layout.sub], sigma2), WEIGHTED),
            None => ((grid.weights)(sub), grid.plain),
        };
        (scales[index], minima[index]) = with_minimum(sub, &weights, grid.most, candidates, codes);
        weight[index] = weights.iter().fold(0.0, |sum, w| sum + w);
    }
    let search = |of: &[f32], codes: &mut [u8]| match importance {
        Some(_) => of_scales(of, &weight[..subs], grid.most_of_sub, codes),
        None => nearest_multiples(of, grid.most_of_sub, codes),
    };
    let mut stored = [0; MOST_SUBS];
    let scale = search(&scales[..subs], &mut stored[..subs]);
    found.block.scales = stored.map(u8::cast_signed);
    let minimum = search(&minima[..subs], &mut found.block.minima[..subs]);
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

/// The number of the largest magnitude, the first of several.
fn largest(of: &[f32]) -> f32 {
    of.iter().fold(0.0, |largest: f32, &x| if x.abs() > largest.abs() { x } else { largest })
}

/// Q3_K.
fn three_bits(x: &[f32], importance: Option<&[f32]>, found: &mut Found) {
    const MOST_OF_SUB: i32 = 32;
    let (mut scales, mut weight) = ([0.0; MOST_SUBS], [0.0; MOST_SUBS]);
    let sigma2 = 2.0 * mean_square(x);
    for (index, sub) in x.chunks_exact(SIGNED_SUB).enumerate() {
        let from = index * SIGNED_SUB;
        let codes = &mut found.block.codes[from..from + SIGNED_SUB];
        scales[index] = match importance {
            Some(of_x) => {
                let weights = weighted(sub, &of_x[from..from + SIGNED_SUB], sigma2);
                weight[index] = weights.iter().fold(0.0, |sum, w| sum + w);
                signed(sub, &weights, 4, codes)
            }
            None => signed_by_codes(sub, 4, codes),
        };
    }
    let mut stored = [0; MOST_SUBS];
    let scale = match importance {
        Some(_) => signed(&scales, &weight, MOST_OF_SUB, &mut stored),
        None => {
            let max = largest(&scales);
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
    let mut scales = [0.0; MOST_SUBS];
    for (index, sub) in x.chunks_exact(SIGNED_SUB).enumerate() {
        let from = index * SIGNED_SUB;
        let codes = &mut found.block.codes[from..from + SIGNED_SUB];
        let weights = match importance {
            Some(of_x) => of_x[from..from + SIGNED_SUB].to_vec(),
            None => squares(sub),
        };
        scales[index] = signed(sub, &weights, 32, codes);
    }
    let max = largest(&scales);
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
