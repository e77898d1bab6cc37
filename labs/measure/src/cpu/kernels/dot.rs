//! The inner loops: one row of weights times the activations.
//!
//! Each keeps several partial sums, because an addition takes a few cycles and the next one should
//! not have to wait for it. The order of a sum is therefore not that of the readable reference, and
//! its last bits differ; the tests bound by how much.

use half::f16;

use ::kernels::dispatch::{dispatched, multiply_add};
use ::kernels::rounding::to_f32;

/// Partial sums that one vector register holds.
const LANES: usize = 8;

/// Adds the lanes up.
#[inline(always)]
fn total(lanes: &[f32]) -> f32 {
    lanes.iter().sum()
}

dispatched! {
    /// The products of the rows of codes, `[y.len(), x.len()]`, with `x`, each times its row's scale.
    pub(super) fn rows_int8(codes: &[i8], scales: &[f32], x: &[f32], y: &mut [f32])
        = rows_int8_body
}

#[inline(always)]
fn rows_int8_body<const FMA: bool>(codes: &[i8], scales: &[f32], x: &[f32], y: &mut [f32]) {
    for ((y, scale), row) in y.iter_mut().zip(scales).zip(codes.chunks_exact(x.len())) {
        *y = dot_int8::<FMA>(row, x) * scale;
    }
}

// ANCHOR: dot_int8
#[inline(always)]
fn dot_int8<const FMA: bool>(codes: &[i8], x: &[f32]) -> f32 {
    let (blocks, rest) = codes.as_chunks::<{ 4 * LANES }>();
    let (x_blocks, x_rest) = x.as_chunks::<{ 4 * LANES }>();
    let mut sums = [0.0; 4 * LANES];
    for (codes, x) in blocks.iter().zip(x_blocks) {
        for lane in 0..4 * LANES {
            sums[lane] = multiply_add::<FMA>(f32::from(codes[lane]), x[lane], sums[lane]);
        }
    }
    let rest = rest.iter().zip(x_rest);
    rest.fold(total(&sums), |sum, (&code, x)| multiply_add::<FMA>(f32::from(code), *x, sum))
}
// ANCHOR_END: dot_int8

dispatched! {
    /// The products of the rows of packed codes, `[y.len(), x.len() / 2]` bytes, with `x`.
    /// `scales` has one scale for every `group_size` weights.
    pub(super) fn rows_int4(
        bytes: &[u8], scales: &[f16], group_size: usize, x: &[f32], y: &mut [f32],
    ) = rows_int4_body
}

#[inline(always)]
fn rows_int4_body<const FMA: bool>(
    bytes: &[u8],
    scales: &[f16],
    group_size: usize,
    x: &[f32],
    y: &mut [f32],
) {
    let rows = bytes.chunks_exact(x.len() / 2).zip(scales.chunks_exact(x.len() / group_size));
    for (y, (bytes, scales)) in y.iter_mut().zip(rows) {
        *y = match group_size {
            // A size that the compiler knows lets it unroll the loop over the group.
            32 => dot_int4::<FMA>(bytes, scales, 32, x),
            64 => dot_int4::<FMA>(bytes, scales, 64, x),
            128 => dot_int4::<FMA>(bytes, scales, 128, x),
            _ => dot_int4::<FMA>(bytes, scales, group_size, x),
        };
    }
}

// ANCHOR: dot_int4
/// One row: the sum over `x * code` of each group, times the scale of the group, once.
#[inline(always)]
fn dot_int4<const FMA: bool>(bytes: &[u8], scales: &[f16], group_size: usize, x: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let groups = bytes.chunks_exact(group_size / 2).zip(x.chunks_exact(group_size));
    for ((bytes, x), scale) in groups.zip(scales) {
        let (group, scale) = (group_sums::<FMA>(bytes, x), to_f32(*scale));
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FMA>(group[lane], scale, sums[lane]);
        }
    }
    total(&sums)
}

/// `x * code` over one group, in eight partial sums.
#[inline(always)]
fn group_sums<const FMA: bool>(bytes: &[u8], x: &[f32]) -> [f32; LANES] {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let (x_blocks, x_rest) = x.as_chunks::<32>();
    // One array of sums for each word of a block, because four chains of additions then run at once.
    let mut sums = [[0.0; LANES]; 4];
    for (block, x) in blocks.iter().zip(x_blocks) {
        let (words, _) = block.as_chunks::<4>();
        for (i, word) in words.iter().enumerate() {
            // Eight codes. Copy the word into every lane, move a lane's own nibble to the top, and
            // back down: the way back copies the sign. These are the numbers; memory has none.
            let word = u32::from_le_bytes(*word);
            for lane in 0..LANES {
                let code = (word << (28 - 4 * lane)).cast_signed() >> 28;
                sums[i][lane] = multiply_add::<FMA>(code as f32, x[8 * i + lane], sums[i][lane]);
            }
        }
    }
    let mut lanes: [f32; LANES] =
        std::array::from_fn(|l| (sums[0][l] + sums[1][l]) + (sums[2][l] + sums[3][l]));
    if !rest.is_empty() {
        lanes[0] += rest_of_group::<FMA>(rest, x_rest);
    }
    lanes
}
// ANCHOR_END: dot_int4

/// The bytes of a group that do not fill sixteen.
#[inline(always)]
fn rest_of_group<const FMA: bool>(bytes: &[u8], x: &[f32]) -> f32 {
    let (pairs, _) = x.as_chunks::<2>();
    bytes.iter().zip(pairs).fold(0.0, |sum, (&byte, x)| {
        let [low, high] = codes_of(byte);
        multiply_add::<FMA>(high, x[1], multiply_add::<FMA>(low, x[0], sum))
    })
}

/// The two codes of a byte, the low nibble first.
#[inline(always)]
fn codes_of(byte: u8) -> [f32; 2] {
    [f32::from((byte << 4).cast_signed() >> 4), f32::from(byte.cast_signed() >> 4)]
}

dispatched! {
    /// Writes the rows of packed codes to memory as numbers, `[rows, in_features]`.
    pub(super) fn dequantize_rows(
        bytes: &[u8], scales: &[f16], group_size: usize, numbers: &mut [f32],
    ) = dequantize_rows_body
}

// ANCHOR: dequantize_rows
#[inline(always)]
fn dequantize_rows_body<const FMA: bool>(
    bytes: &[u8],
    scales: &[f16],
    group_size: usize,
    numbers: &mut [f32],
) {
    let groups = bytes.chunks_exact(group_size / 2).zip(numbers.chunks_exact_mut(group_size));
    for ((bytes, numbers), scale) in groups.zip(scales) {
        let scale = to_f32(*scale);
        for (pair, &byte) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = codes_of(byte).map(|code| code * scale);
        }
    }
}
// ANCHOR_END: dequantize_rows

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_copies_give_what_the_fast_ones_give() {
        // Whole numbers: every order of the sums is exact, with and without fused rounding.
        let (rows, columns, size) = (3, 96, 32);
        let x: Vec<f32> = (0..columns).map(|i| (i as f32 * 7.0) % 11.0 - 5.0).collect();
        let codes: Vec<i8> = (0..rows * columns).map(|i| (i * 5 % 13) as i8 - 6).collect();
        let bytes: Vec<u8> = (0..rows * columns / 2).map(|i| (i * 37) as u8).collect();
        let scales = vec![f16::from_f32(2.0); rows * columns / size];
        let (mut fast, mut portable) = ([0.0; 3], [1.0; 3]);
        rows_int8(&codes, &[0.5, 1.0, 2.0], &x, &mut fast);
        rows_int8_body::<false>(&codes, &[0.5, 1.0, 2.0], &x, &mut portable);
        assert_eq!(fast, portable);
        rows_int4(&bytes, &scales, size, &x, &mut fast);
        rows_int4_body::<false>(&bytes, &scales, size, &x, &mut portable);
        assert_eq!(fast, portable);
        let (mut fast, mut portable) = (vec![0.0; 2 * bytes.len()], vec![1.0; 2 * bytes.len()]);
        dequantize_rows(&bytes, &scales, size, &mut fast);
        dequantize_rows_body::<false>(&bytes, &scales, size, &mut portable);
        assert_eq!(fast, portable);
    }
}
