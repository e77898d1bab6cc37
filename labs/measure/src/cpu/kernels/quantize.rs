//! Encoders: f32 weights in, packed bytes out, on all threads of the pool.
//!
//! Nothing is allocated but the output that the caller brings: a tensor of any size needs its input
//! and its output and no more.

use ::kernels::dispatch::dispatched;
use ::kernels::rounding::{INFINITE, absmax_bits, nearest};
use half::f16;
use rayon::prelude::*;

use super::{KernelError, expect_length};
use int4_groups::solution::{check_group_size, group_scale};
use int4_groups::{Int4Error, QMAX};

/// Weights in a block of GGML.
pub const BLOCK: usize = 32;
/// Bytes of a block of Q8_0: an `f16` scale and 32 codes.
pub const Q8_0_BYTES: usize = 34;
/// Bytes of a block of Q4_0: an `f16` scale and 16 bytes of two codes each.
pub const Q4_0_BYTES: usize = 18;

/// Values that one vector register holds.
const LANES: usize = 8;
/// Blocks, or groups, that one thread takes at a time.
const AT_A_TIME: usize = 1024;

/// Quantizes `weights` to Q8_0, the bytes of `ggml-quants.c`: `d = absmax / 127`, stored as f16;
/// codes are `x * (1 / d)` in f32, rounded half away from zero.
///
/// Where `1 / d` is not finite the codes are 0: a block of zeros, and one so small that `d` is 0 or
/// nearly so in f32 (there `d` is 0 in f16 in any case). `out` needs 34 bytes per 32 weights.
///
/// # Errors
/// [`KernelError::NotWholeBlocks`], [`KernelError::Length`], [`KernelError::NotFinite`],
/// [`KernelError::ScaleOverflow`]; `out` is then partly written.
pub fn q8_0(weights: &[f32], out: &mut [u8]) -> Result<(), KernelError> {
    blocks(weights, out, Q8_0_BYTES, q8_0_blocks, |absmax| absmax / 127.0)
}

/// Quantizes `weights` to Q4_0, the bytes of `ggml-quants.c`: `d` is the weight of largest magnitude,
/// with its sign, over -8, stored as f16; codes are `x * (1 / d) + 8.5` in f32, truncated, at most
/// 15. Byte `j` has code `j` in its low nibble and code `j + 16` in the high one.
///
/// Where `1 / d` is not finite the codes are 8, which stands for 0. `out` needs 18 bytes per 32
/// weights.
///
/// # Errors
/// As [`q8_0`].
pub fn q4_0(weights: &[f32], out: &mut [u8]) -> Result<(), KernelError> {
    blocks(weights, out, Q4_0_BYTES, q4_0_blocks, |absmax| absmax / 8.0)
}

/// Quantizes rows of `in_features` weights to int4 in groups: the codes of
/// [`quantize_groups`](int4_groups::solution::quantize_groups), packed as
/// [`pack_nibbles`](int4_groups::solution::pack_nibbles) packs them, into `bytes`, half as many as weights,
/// and one scale per group into `scales`.
///
/// # Errors
/// Those of `quantize_groups`, [`KernelError::OddGroup`], [`KernelError::NotWholeRows`] and
/// [`KernelError::Length`]; the output is then partly written.
pub fn int4_groups(
    weights: &[f32],
    in_features: usize,
    group_size: usize,
    bytes: &mut [u8],
    scales: &mut [f16],
) -> Result<(), KernelError> {
    check_group_size(in_features, group_size)?;
    if group_size % 2 == 1 {
        return Err(KernelError::OddGroup(group_size));
    }
    if !weights.len().is_multiple_of(in_features) {
        return Err(KernelError::NotWholeRows { weights: weights.len(), in_features });
    }
    expect_length("bytes", bytes.len(), weights.len() / 2)?;
    expect_length("scales", scales.len(), weights.len() / group_size)?;
    // As much work for a thread as with blocks of 32.
    let groups = (AT_A_TIME * BLOCK / group_size).max(1);
    let out = bytes.par_chunks_mut(groups * group_size / 2).zip(scales.par_chunks_mut(groups));
    let done = weights.par_chunks(groups * group_size).zip(out).try_for_each(|(w, (b, s))| {
        if int4_some_groups(w, group_size, b, s) { Some(()) } else { None }
    });
    done.ok_or_else(|| refused_group(weights, in_features, group_size).into())
}

/// Cuts the work into pieces and runs `encode` on each; it says whether all went well.
fn blocks(
    weights: &[f32],
    out: &mut [u8],
    bytes: usize,
    encode: fn(&[f32], &mut [u8]) -> bool,
    scale: fn(f32) -> f32,
) -> Result<(), KernelError> {
    let count = weights.len() / BLOCK;
    if !weights.len().is_multiple_of(BLOCK) {
        return Err(KernelError::NotWholeBlocks { weights: weights.len(), block: BLOCK });
    }
    // A length that does not fit a usize cannot be that of a slice either.
    expect_length("out", out.len(), count.saturating_mul(bytes))?;
    let pieces = weights.par_chunks(AT_A_TIME * BLOCK).zip(out.par_chunks_mut(AT_A_TIME * bytes));
    let done = pieces.try_for_each(|(w, out)| if encode(w, out) { Some(()) } else { None });
    done.ok_or_else(|| refused_block(weights, scale))
}

/// What was wrong with the first bad block. Only looked for once it is known that there is one.
fn refused_block(weights: &[f32], scale: fn(f32) -> f32) -> KernelError {
    if let Some(index) = weights.iter().position(|value| !value.is_finite()) {
        return KernelError::NotFinite { index, value: weights[index] };
    }
    let absmaxes = weights.chunks(BLOCK).map(absmax).enumerate();
    let mut overflowing = absmaxes.filter(|&(_, max)| f16::from_f32(scale(max)).is_infinite());
    let (block, absmax) = overflowing.next().unwrap_or_default();
    KernelError::ScaleOverflow { block, absmax }
}

/// What `quantize_groups` says about the same weights.
fn refused_group(weights: &[f32], in_features: usize, group_size: usize) -> Int4Error {
    if let Some(index) = weights.iter().position(|value| !value.is_finite()) {
        let (row, column) = (index / in_features, index % in_features);
        return Int4Error::NotFinite { row, column, value: weights[index] };
    }
    let absmaxes = weights.chunks(group_size).map(absmax).enumerate();
    let mut overflowing = absmaxes.filter(|&(_, max)| group_scale(max).is_infinite());
    let (index, absmax) = overflowing.next().unwrap_or_default();
    let in_row = in_features / group_size;
    Int4Error::ScaleOverflow { row: index / in_row, group: index % in_row, absmax }
}

fn absmax(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}

/// `1 / d`, or 0 where that is not finite.
#[inline(always)]
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

dispatched! {
    /// Encodes whole blocks. `false` if one of them cannot be.
    fn q8_0_blocks(weights: &[f32], out: &mut [u8]) -> bool = q8_0_body
}

#[inline(always)]
fn q8_0_body<const FMA: bool>(weights: &[f32], out: &mut [u8]) -> bool {
    let (blocks, _) = weights.as_chunks::<BLOCK>();
    let (outs, _) = out.as_chunks_mut::<Q8_0_BYTES>();
    for (block, out) in blocks.iter().zip(outs) {
        // As bits, because positive floats sort as integers do, and an integer maximum needs no care
        // for NaN: the bits of NaN and infinity lie above those of every number.
        let bits = absmax_bits(block);
        let d = f32::from_bits(bits) / 127.0;
        let stored = f16::from_f32(d);
        if bits >= INFINITE || stored.is_infinite() {
            return false;
        }
        let inverse = inverse(d);
        let (head, codes) = out.split_at_mut(2);
        head.copy_from_slice(&stored.to_le_bytes());
        // A loop, and not `block.map`: inside that function the closure would be compiled without
        // AVX2, and each rounding would be a call.
        for (code, value) in codes.iter_mut().zip(block) {
            *code = nearest((value * inverse).round()) as u8;
        }
    }
    true
}

dispatched! {
    /// Encodes whole blocks. `false` if one of them cannot be.
    fn q4_0_blocks(weights: &[f32], out: &mut [u8]) -> bool = q4_0_body
}

#[inline(always)]
fn q4_0_body<const FMA: bool>(weights: &[f32], out: &mut [u8]) -> bool {
    let (blocks, _) = weights.as_chunks::<BLOCK>();
    let (outs, _) = out.as_chunks_mut::<Q4_0_BYTES>();
    for (block, out) in blocks.iter().zip(outs) {
        let Some(peak) = peak(block) else { return false };
        // The sign of `d` puts the weight of largest magnitude on -8, the one code without a mirror.
        let d = peak / -8.0;
        let stored = f16::from_f32(d);
        if stored.is_infinite() {
            return false;
        }
        let inverse = inverse(d);
        let mut codes = [0; BLOCK];
        for (code, value) in codes.iter_mut().zip(block) {
            // Not a fused multiply-add: the reference rounds the product.
            *code = nearest((value * inverse + 8.5).min(15.0).trunc()) as u8;
        }
        let (head, bytes) = out.split_at_mut(2);
        head.copy_from_slice(&stored.to_le_bytes());
        // Halves and not neighbours, because a mask and a shift then give 16 neighbouring codes each.
        let (low, high) = codes.split_at(BLOCK / 2);
        for (byte, (low, high)) in bytes.iter_mut().zip(low.iter().zip(high)) {
            *byte = low | high << 4;
        }
    }
    true
}

/// The weight of largest magnitude, the first of several; `None` if a weight is not finite.
#[inline(always)]
fn peak(block: &[f32; BLOCK]) -> Option<f32> {
    // As integers with a sign positive floats are the largest, as integers without one negative
    // ones are: two plain maxima, no branches.
    let (mut highest, mut lowest) = ([0; LANES], [0; LANES]);
    for register in block.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let bits = register[lane].to_bits();
            highest[lane] = highest[lane].max(bits.cast_signed());
            lowest[lane] = lowest[lane].max(bits);
        }
    }
    let positive = highest.into_iter().fold(0, i32::max).cast_unsigned();
    let lowest = lowest.into_iter().fold(0, u32::max);
    let negative = if lowest > 0x7FFF_FFFF { lowest & 0x7FFF_FFFF } else { 0 };
    let magnitude = f32::from_bits(positive.max(negative));
    if !magnitude.is_finite() {
        return None;
    }
    Some(match positive.cmp(&negative) {
        std::cmp::Ordering::Greater => magnitude,
        std::cmp::Ordering::Less => -magnitude,
        std::cmp::Ordering::Equal if magnitude == 0.0 => 0.0,
        // Both signs reach the magnitude, and the reference keeps the sign that it meets first.
        std::cmp::Ordering::Equal => *block.iter().find(|value| value.abs() == magnitude)?,
    })
}

dispatched! {
    /// Encodes whole groups. `false` if one of them cannot be.
    fn int4_some_groups(
        weights: &[f32], group_size: usize, bytes: &mut [u8], scales: &mut [f16],
    ) -> bool = int4_body
}

#[inline(always)]
fn int4_body<const FMA: bool>(
    weights: &[f32],
    group_size: usize,
    bytes: &mut [u8],
    scales: &mut [f16],
) -> bool {
    let outs = bytes.chunks_exact_mut(group_size / 2).zip(scales);
    for (group, (bytes, stored)) in weights.chunks_exact(group_size).zip(outs) {
        let bits = absmax_bits(group);
        // Weights are divided by the scale as it is stored, because a reader multiplies with that one.
        *stored = group_scale(f32::from_bits(bits));
        if bits >= INFINITE || stored.is_infinite() {
            return false;
        }
        let scale = stored.to_f32();
        // Clipped first: -7 and 7 are whole, so rounding afterwards gives the same codes.
        let code = |value: f32| nearest((value / scale).clamp(-QMAX, QMAX)) as u8;
        // Fixed blocks, because the compiler makes vector instructions of loops of a known length.
        let (blocks, rest) = group.as_chunks::<BLOCK>();
        let (packed, packed_rest) = bytes.as_chunks_mut::<{ BLOCK / 2 }>();
        for (block, packed) in blocks.iter().zip(packed) {
            let mut codes = [0; BLOCK];
            for (nibble, value) in codes.iter_mut().zip(block) {
                *nibble = code(*value);
            }
            let (pairs, _) = codes.as_chunks::<2>();
            for (byte, pair) in packed.iter_mut().zip(pairs) {
                *byte = byte_of(*pair);
            }
        }
        for (byte, pair) in packed_rest.iter_mut().zip(rest.as_chunks::<2>().0) {
            *byte = byte_of(pair.map(code));
        }
    }
    true
}

/// Two codes in a byte, the first in the low nibble.
#[inline(always)]
fn byte_of([low, high]: [u8; 2]) -> u8 {
    low & 0x0F | high << 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_copies_give_what_the_fast_ones_give() {
        let weights: Vec<f32> = kit::data::normal_matrix(7, 1, 64 * BLOCK).into_iter().collect();
        let (mut fast, mut portable) = (vec![0; 64 * Q8_0_BYTES], vec![1; 64 * Q8_0_BYTES]);
        assert!(q8_0_blocks(&weights, &mut fast) && q8_0_body::<false>(&weights, &mut portable));
        assert_eq!(fast, portable);
        let (fast, portable) = (&mut fast[..64 * Q4_0_BYTES], &mut portable[..64 * Q4_0_BYTES]);
        assert!(q4_0_blocks(&weights, fast) && q4_0_body::<false>(&weights, portable));
        assert_eq!(fast, portable);
        let (mut scales, mut others) = ([f16::ZERO; 64], [f16::ONE; 64]);
        let (fast, portable) = (&mut fast[..16 * 64], &mut portable[..16 * 64]);
        assert!(int4_some_groups(&weights, BLOCK, fast, &mut scales));
        assert!(int4_body::<false>(&weights, BLOCK, portable, &mut others));
        assert_eq!((fast, scales), (portable, others));
    }
}
