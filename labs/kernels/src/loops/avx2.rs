//! The loops with AVX2, FMA and F16C.
//!
//! Arithmetic on registers is safe in a function that enables the instructions. Only loads and stores
//! of whole registers are `unsafe`, and each goes through a reference to an array of their size.

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, OFFSET_4, OFFSET_8, PerGroup8, PerToken8, Quad4, Quad8, ROWS, Tile, Tokens};

/// 32-bit numbers in a register: half of the rows of a panel.
const LANES: usize = ROWS / 2;

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and this load takes any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
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
pub(super) fn f32_tile<const T: usize>(w: &[[f32; ROWS]], x: Tokens<'_, f32>) -> Tile<f32, T> {
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    for (w, x) in w.iter().zip(x.each::<T>()) {
        let [low, high] = halves::<_, LANES>(w);
        let (low, high) = (load_f32(low), load_f32(high));
        for t in 0..T {
            // One activation for eight rows: a lane holds a row, so no lanes are added at the end.
            let x = _mm256_set1_ps(x[t]);
            sums[t][0] = _mm256_fmadd_ps(low, x, sums[t][0]);
            sums[t][1] = _mm256_fmadd_ps(high, x, sums[t][1]);
        }
    }
    f32_results(sums)
}

#[target_feature(enable = "avx2")]
pub(super) fn w8a8<const T: usize>(w: &[Quad8], x: PerToken8<'_>) -> Tile<i32, T> {
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for offsets in x.offsets.each::<T>() {
        for t in 0..T {
            sums[t] = [_mm256_set1_epi32(-offsets[t]); 2];
        }
    }
    for (w, x) in w.iter().zip(x.wide.each::<T>()) {
        let [low, high] = halves::<_, 32>(w);
        let (low, high) = (load(low), load(high));
        // The codes have no sign, so zeros make 16 bits of them.
        let bytes = _mm256_set1_epi16(0x00FF);
        let even = [_mm256_and_si256(low, bytes), _mm256_and_si256(high, bytes)];
        let odd = [_mm256_srli_epi16::<8>(low), _mm256_srli_epi16::<8>(high)];
        for t in 0..T {
            let x = [_mm256_set1_epi32(x[t][0]), _mm256_set1_epi32(x[t][1])];
            for half in 0..2 {
                // Two products of 16 bits and their sum in 32 bits, exact for any codes. The twice as wide
                // `maddubs` is no substitute, because its 16-bit sums saturate.
                let even = _mm256_madd_epi16(even[half], x[0]);
                let odd = _mm256_madd_epi16(odd[half], x[1]);
                sums[t][half] = _mm256_add_epi32(sums[t][half], _mm256_add_epi32(even, odd));
            }
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

/// The codes of a quad as numbers: of four features, of one half of the rows.
#[inline]
#[target_feature(enable = "avx2")]
fn numbers_of_bytes(bytes: &[u8; 32]) -> [__m256; 4] {
    // A code plus 128 with its top bit flipped is the code in two's complement. A byte moved to the top
    // of its lane and back is then the code, because the arithmetic shift copies the sign.
    const { assert!(OFFSET_8 == 0x80) };
    let v = _mm256_xor_si256(load(bytes), _mm256_set1_epi32(0x8080_8080_u32.cast_signed()));
    let number = |moved| _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(moved));
    [
        number(_mm256_slli_epi32::<24>(v)),
        number(_mm256_slli_epi32::<16>(v)),
        number(_mm256_slli_epi32::<8>(v)),
        number(v),
    ]
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn w8a16(w: &[Quad8], x: &[[f32; 4]]) -> [f32; ROWS] {
    // Two sums for each half of the rows, because an FMA waits several cycles for the sum that it adds to:
    // four chains hide a part of this latency.
    let mut sums = [[_mm256_setzero_ps(); 2]; 2];
    for (w, x) in w.iter().zip(x) {
        for (half, w) in halves::<_, 32>(w).into_iter().enumerate() {
            let codes = numbers_of_bytes(w);
            for feature in 0..4 {
                let sum = &mut sums[half][feature % 2];
                *sum = _mm256_fmadd_ps(codes[feature], _mm256_set1_ps(x[feature]), *sum);
            }
        }
    }
    let mut results = [0.0; ROWS];
    store_both(&mut results, sums.map(|[even, odd]| _mm256_add_ps(even, odd)));
    results
}

#[target_feature(enable = "avx2")]
pub(super) fn expand8(w: &[Quad8], numbers: &mut [[f32; ROWS]]) {
    for (w, numbers) in w.iter().zip(numbers.as_chunks_mut::<4>().0) {
        let [low, high] = halves::<_, 32>(w);
        let (low, high) = (numbers_of_bytes(low), numbers_of_bytes(high));
        for feature in 0..4 {
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
    x: PerGroup8<'_>,
) -> Tile<f32, T> {
    let (blocks, _) = w.as_chunks::<{ BLOCK / 4 }>();
    let in_group = (blocks.len() / scales.len().max(1)).max(1);
    let mut blocks = blocks.iter().zip(x.offsets.each::<T>()).zip(x.quads.parts(BLOCK / 4));
    let mut sums = [[_mm256_setzero_ps(); 2]; T];
    for (of_w, of_x) in scales.iter().zip(x.scales.each::<T>()) {
        let of_w = halves::<_, LANES>(of_w);
        let of_w = [load_f16(of_w[0]), load_f16(of_w[1])];
        for ((w, offsets), x) in blocks.by_ref().take(in_group) {
            let exact = block_sums::<T>(w, x);
            for t in 0..T {
                // The sums are of `(code + 8) * x`, so 8 times the sum of `x` is subtracted.
                let offset = _mm256_set1_epi32(offsets[t]);
                let x = _mm256_set1_ps(of_x[t]);
                for half in 0..2 {
                    // Exact in `f32`, because a block's sum is below 2^24.
                    let exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(exact[t][half], offset));
                    let scale = _mm256_mul_ps(of_w[half], x);
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
fn block_sums<const T: usize>(w: &[Quad4; BLOCK / 4], x: Tokens<'_, [i8; 4]>) -> [[__m256i; 2]; T] {
    const { assert!(BLOCK as i32 / 2 * (7 + OFFSET_4 as i32) * 127 <= i16::MAX as i32) };
    let nibbles = _mm256_set1_epi8(0x0F);
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (bytes, x) in w.iter().zip(x.each::<T>()) {
        let both = load(bytes);
        let low = _mm256_and_si256(both, nibbles);
        // The shift moves bits across bytes, since there is none for bytes; the mask removes them.
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibbles);
        for t in 0..T {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x[t].map(i8::cast_unsigned)));
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

#[target_feature(enable = "avx2")]
pub(super) fn interleave(rows: [&[f32]; ROWS], numbers: &mut [[f32; ROWS]]) {
    let (squares, rest) = numbers.as_chunks_mut::<LANES>();
    let whole = squares.len() * LANES;
    for half in 0..2 {
        // One length for all, so that the compiler can drop the bounds checks inside the loop.
        let mut parts = [&[][..]; LANES];
        for row in 0..LANES {
            parts[row] = &rows[half * LANES + row].as_chunks::<LANES>().0[..squares.len()];
        }
        for at in 0..squares.len() {
            let mut square = [_mm256_setzero_ps(); LANES];
            for row in 0..LANES {
                square[row] = load_f32(&parts[row][at]);
            }
            let square = transposed(square);
            for column in 0..LANES {
                let numbers = squares[at][column].as_chunks_mut::<LANES>().0;
                store_f32(&mut numbers[half], square[column]);
            }
        }
    }
    super::portable::interleave(rows.map(|row| &row[whole..]), rest);
}

/// Of four rows, the columns of the left half and those of the right half, side by side: 0 and 4, 1 and 5,
/// 2 and 6, 3 and 7.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; LANES / 2] {
    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (low_2, high_2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0x44>(low, low_2),
        _mm256_shuffle_ps::<0xEE>(low, low_2),
        _mm256_shuffle_ps::<0x44>(high, high_2),
        _mm256_shuffle_ps::<0xEE>(high, high_2),
    ]
}

/// The columns of a square of eight rows.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256; LANES]) -> [__m256; LANES] {
    let [a, b, c, d, e, f, g, h] = rows;
    let (first, second) = (pairs(a, b, c, d), pairs(e, f, g, h));
    let mut columns = [_mm256_setzero_ps(); LANES];
    for column in 0..LANES / 2 {
        let (first, second) = (first[column], second[column]);
        columns[column] = _mm256_permute2f128_ps::<0x20>(first, second);
        columns[column + LANES / 2] = _mm256_permute2f128_ps::<0x31>(first, second);
    }
    columns
}

#[target_feature(enable = "avx2")]
pub(super) fn across(arrays: &[[f32; ROWS]; ROWS]) -> [f32; ROWS] {
    let mut results = [0.0; ROWS];
    let halves = results.as_chunks_mut::<LANES>().0.iter_mut();
    for (results, arrays) in halves.zip(arrays.as_chunks::<LANES>().0) {
        let mut eight = [_mm256_setzero_ps(); LANES];
        for row in 0..LANES {
            let [low, high] = self::halves::<_, LANES>(&arrays[row]);
            eight[row] = _mm256_add_ps(load_f32(low), load_f32(high));
        }
        // Row `i` and row `i + 4` become the halves of a register, so that the rows end in their order.
        let mut four = [_mm256_setzero_ps(); LANES / 2];
        for row in 0..LANES / 2 {
            let (a, b) = (eight[row], eight[row + LANES / 2]);
            let low = _mm256_permute2f128_ps::<0x20>(a, b);
            four[row] = _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b));
        }
        let [a, b, c, d] = four;
        let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let low = _mm256_shuffle_ps::<0x44>(ab, cd);
        store_f32(results, _mm256_add_ps(low, _mm256_shuffle_ps::<0xEE>(ab, cd)));
    }
    results
}
