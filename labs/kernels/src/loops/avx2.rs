//! The loops with AVX2, FMA and F16C.
//!
//! Arithmetic on registers is safe in a function that enables the instructions. Only loads and stores
//! of whole registers are `unsafe`, and each goes through a reference to an array of their size.

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, OFFSET, Pair8, Quad4, ROWS, Tile, Token8};

/// 32-bit numbers in a register: half of the rows of a panel.
const LANES: usize = ROWS / 2;

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and this load takes any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen codes, each in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn load_codes(codes: &[i8; 16]) -> __m256i {
    // SAFETY: the reference is to 16 bytes, and this load takes any alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}

/// The two codes of eight rows as 32 bits each, the first feature in the low byte.
#[inline]
#[target_feature(enable = "avx2")]
fn load_pairs(codes: &[i8; 16]) -> __m256i {
    // SAFETY: the reference is to 16 bytes, and this load takes any alignment.
    _mm256_cvtepi16_epi32(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(numbers: &[f32; LANES]) -> __m256 {
    // SAFETY: the reference is to 32 bytes, and this load takes any alignment.
    unsafe { _mm256_loadu_ps(numbers.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(numbers: &[f16; LANES]) -> __m256 {
    // SAFETY: an `f16` is 16 bits of memory, so the reference is to 16 bytes; any alignment will do.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_f32(numbers: &mut [f32; LANES], register: __m256) {
    // SAFETY: the reference is to 32 bytes, and this store takes any alignment.
    unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_i32(numbers: &mut [i32; LANES], register: __m256i) {
    // SAFETY: the reference is to 32 bytes, and this store takes any alignment.
    unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), register) }
}

/// The two halves of 16 values.
#[inline(always)]
fn halves<Value, const HALF: usize>(values: &[Value]) -> [&[Value; HALF]; 2] {
    match values.as_chunks::<HALF>().0 {
        [first, second] => [first, second],
        _ => unreachable!("a panel has two halves"),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_both(numbers: &mut [f32; ROWS], registers: [__m256; 2]) {
    if let [first, second] = numbers.as_chunks_mut::<LANES>().0 {
        store_f32(first, registers[0]);
        store_f32(second, registers[1]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn f32_results<const T: usize>(sums: [[__m256; 2]; T]) -> Tile<f32, T> {
    let mut results = [[0.0; ROWS]; T];
    for t in 0..T {
        store_both(&mut results[t], sums[t]);
    }
    results
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn f32_tile<const T: usize>(w: &[[f32; ROWS]], mut x: [&[f32]; T]) -> Tile<f32, T> {
    // One length for all, so that the compiler can drop the bounds checks inside the loop.
    for x in &mut x {
        *x = &x[..w.len()];
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    for (feature, w) in w.iter().enumerate() {
        let [low, high] = halves::<_, LANES>(w);
        let (low, high) = (load_f32(low), load_f32(high));
        for t in 0..T {
            // One activation for eight rows: a lane holds a row, so no lanes are added at the end.
            let x = _mm256_set1_ps(x[t][feature]);
            sums[t][0] = _mm256_fmadd_ps(low, x, sums[t][0]);
            sums[t][1] = _mm256_fmadd_ps(high, x, sums[t][1]);
        }
    }
    f32_results(sums)
}

/// Two codes in one lane.
#[inline(always)]
fn lane(pair: [i16; 2]) -> i32 {
    let [low, high] = pair.map(|code| u32::from(code.cast_unsigned()));
    (low | high << 16).cast_signed()
}

#[target_feature(enable = "avx2")]
pub(super) fn w8a8<const T: usize>(w: &[Pair8], mut x: [&[[i16; 2]]; T]) -> Tile<i32, T> {
    for x in &mut x {
        *x = &x[..w.len()];
    }
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (at, codes) in w.iter().enumerate() {
        let [low, high] = halves::<_, 16>(codes);
        let (low, high) = (load_codes(low), load_codes(high));
        for t in 0..T {
            let x = _mm256_set1_epi32(lane(x[t][at]));
            // Two products of 16 bits and their sum in 32 bits, exact for any codes. The twice as wide
            // `maddubs` is no substitute, because its 16-bit sums saturate.
            sums[t][0] = _mm256_add_epi32(sums[t][0], _mm256_madd_epi16(low, x));
            sums[t][1] = _mm256_add_epi32(sums[t][1], _mm256_madd_epi16(high, x));
        }
    }
    let mut results = [[0; ROWS]; T];
    for t in 0..T {
        if let [first, second] = results[t].as_chunks_mut::<LANES>().0 {
            store_i32(first, sums[t][0]);
            store_i32(second, sums[t][1]);
        }
    }
    results
}

/// The codes of both features as numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn numbers_of_pairs(pairs: __m256i) -> [__m256; 2] {
    // To the top of the lane and back, because the arithmetic shift right copies the sign.
    let first = _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(pairs));
    // `load_pairs` extended the sign of the second code already.
    let second = _mm256_srai_epi32::<8>(pairs);
    [_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(second)]
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn w8a16(w: &[Pair8], x: &[[f32; 2]]) -> [f32; ROWS] {
    // One sum for each half of the rows and each of the two features, because an FMA waits several
    // cycles for the sum that it adds to: four chains hide a part of this latency.
    let mut sums = [[_mm256_setzero_ps(); 2]; 2];
    for (codes, x) in w.iter().zip(x) {
        let [low, high] = halves::<_, 16>(codes);
        let (low, high) = (numbers_of_pairs(load_pairs(low)), numbers_of_pairs(load_pairs(high)));
        for feature in 0..2 {
            let x = _mm256_set1_ps(x[feature]);
            sums[0][feature] = _mm256_fmadd_ps(low[feature], x, sums[0][feature]);
            sums[1][feature] = _mm256_fmadd_ps(high[feature], x, sums[1][feature]);
        }
    }
    let mut results = [0.0; ROWS];
    let total = [_mm256_add_ps(sums[0][0], sums[0][1]), _mm256_add_ps(sums[1][0], sums[1][1])];
    store_both(&mut results, total);
    results
}

#[target_feature(enable = "avx2")]
pub(super) fn expand8(w: &[Pair8], numbers: &mut [[f32; ROWS]]) {
    for (codes, numbers) in w.iter().zip(numbers.as_chunks_mut::<2>().0) {
        let [low, high] = halves::<_, 16>(codes);
        let (low, high) = (numbers_of_pairs(load_pairs(low)), numbers_of_pairs(load_pairs(high)));
        for feature in 0..2 {
            store_both(&mut numbers[feature], [low[feature], high[feature]]);
        }
    }
}

/// The codes of a quad as numbers: of four features, of the two halves of the rows.
#[inline]
#[target_feature(enable = "avx2")]
fn numbers_of_quad(bytes: &Quad4) -> [[__m256; 2]; 4] {
    // A code plus 8 with its top bit flipped is the code in two's complement. A nibble moved to the
    // top of its lane and back is then the code, because the arithmetic shift copies the sign.
    let v = _mm256_xor_si256(load(bytes), _mm256_set1_epi32(0x8888_8888_u32.cast_signed()));
    let number = |moved| _mm256_cvtepi32_ps(_mm256_srai_epi32::<28>(moved));
    [
        [number(_mm256_slli_epi32::<28>(v)), number(_mm256_slli_epi32::<24>(v))],
        [number(_mm256_slli_epi32::<20>(v)), number(_mm256_slli_epi32::<16>(v))],
        [number(_mm256_slli_epi32::<12>(v)), number(_mm256_slli_epi32::<8>(v))],
        [number(_mm256_slli_epi32::<4>(v)), number(v)],
    ]
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn w4a16(w: &[Quad4], scales: &[[f16; ROWS]], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = [_mm256_setzero_ps(); 2];
    let in_group = (w.len() / scales.len().max(1)).max(1);
    let groups = w.chunks_exact(in_group).zip(x.chunks_exact(in_group));
    for ((w, x), scales) in groups.zip(scales) {
        // Even and odd features apart, because four chains of FMA hide more latency than two.
        let mut group = [[_mm256_setzero_ps(); 2]; 2];
        for (bytes, x) in w.iter().zip(x) {
            let codes = numbers_of_quad(bytes);
            for feature in 0..4 {
                let x = _mm256_set1_ps(x[feature]);
                let group = &mut group[feature % 2];
                group[0] = _mm256_fmadd_ps(codes[feature][0], x, group[0]);
                group[1] = _mm256_fmadd_ps(codes[feature][1], x, group[1]);
            }
        }
        // The scale is applied once for a group, because all of its codes share the scale.
        let scales = halves::<_, LANES>(scales);
        for half in 0..2 {
            let group = _mm256_add_ps(group[0][half], group[1][half]);
            sums[half] = _mm256_fmadd_ps(group, load_f16(scales[half]), sums[half]);
        }
    }
    let mut results = [0.0; ROWS];
    store_both(&mut results, sums);
    results
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn expand4(w: &[Quad4], scales: &[[f16; ROWS]], numbers: &mut [[f32; ROWS]]) {
    let in_group = (w.len() / scales.len().max(1)).max(1);
    let groups = w.chunks_exact(in_group).zip(numbers.chunks_exact_mut(4 * in_group));
    for ((w, numbers), scales) in groups.zip(scales) {
        let [low, high] = halves::<_, LANES>(scales);
        let (low, high) = (load_f16(low), load_f16(high));
        for (bytes, numbers) in w.iter().zip(numbers.as_chunks_mut::<4>().0) {
            let codes = numbers_of_quad(bytes);
            for feature in 0..4 {
                let first = _mm256_mul_ps(codes[feature][0], low);
                let second = _mm256_mul_ps(codes[feature][1], high);
                store_both(&mut numbers[feature], [first, second]);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn w4a8<const T: usize>(
    w: &[Quad4],
    scales: &[[f16; ROWS]],
    x: [Token8<'_>; T],
) -> Tile<f32, T> {
    let (blocks, _) = w.as_chunks::<{ BLOCK / 4 }>();
    let in_group = (blocks.len() / scales.len().max(1)).max(1);
    let mut quads = [&[][..]; T];
    for t in 0..T {
        quads[t] = &x[t].quads.as_chunks::<{ BLOCK / 4 }>().0[..blocks.len()];
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    let groups = blocks.chunks_exact(in_group).zip(scales);
    for (group, (blocks, scales)) in groups.enumerate() {
        let scales = halves::<_, LANES>(scales);
        let scales = [load_f16(scales[0]), load_f16(scales[1])];
        for (at, block) in blocks.iter().enumerate() {
            let at = group * in_group + at;
            let exact = block_sums::<T>(block, quads.map(|quads| &quads[at]));
            for t in 0..T {
                // The sums are of `(code + 8) * x`, so 8 times the sum of `x` is subtracted.
                let offset = _mm256_set1_epi32(x[t].offsets[at]);
                let x = _mm256_set1_ps(x[t].scales[group]);
                for half in 0..2 {
                    // Exact in `f32`, because a block's sum is below 2^24.
                    let exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(exact[t][half], offset));
                    let scale = _mm256_mul_ps(scales[half], x);
                    sums[t][half] = _mm256_fmadd_ps(exact, scale, sums[t][half]);
                }
            }
        }
    }
    f32_results(sums)
}

/// The sums of `(code + 8) * code` over a block.
#[inline]
#[target_feature(enable = "avx2")]
fn block_sums<const T: usize>(
    quads: &[Quad4; BLOCK / 4],
    x: [&[[i8; 4]; BLOCK / 4]; T],
) -> [[__m256i; 2]; T] {
    const { assert!(BLOCK as i32 / 2 * (7 + OFFSET as i32) * 127 <= i16::MAX as i32) };
    let nibbles = _mm256_set1_epi8(0x0F);
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (quad, bytes) in quads.iter().enumerate() {
        let both = load(bytes);
        let low = _mm256_and_si256(both, nibbles);
        // The shift moves bits across bytes, since there is none for bytes; the mask removes them.
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibbles);
        for t in 0..T {
            let x = x[t][quad].map(i8::cast_unsigned);
            let x = _mm256_set1_epi32(i32::from_le_bytes(x));
            // Unsigned times signed bytes, two products added in 16 bits. This is why int4 codes are
            // stored without a sign; the assertion above says that no block saturates.
            sums[t][0] = _mm256_add_epi16(sums[t][0], _mm256_maddubs_epi16(low, x));
            sums[t][1] = _mm256_add_epi16(sums[t][1], _mm256_maddubs_epi16(high, x));
        }
    }
    // Widened to 32 bits once a block, because a block is as long as 16 bits allow.
    let ones = _mm256_set1_epi16(1);
    for sums in &mut sums {
        *sums = [_mm256_madd_epi16(sums[0], ones), _mm256_madd_epi16(sums[1], ones)];
    }
    sums
}
