//! The loops with AVX-512 and VNNI: a register holds the 16 rows of a panel.
//!
//! Arithmetic on registers is safe in a function that enables the instructions. Only loads and stores
//! of whole registers are `unsafe`, and each goes through a reference to an array of their size.

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, OFFSET_4, OFFSET_8, PerGroup8, PerToken8, Quad4, Quad8, ROWS, Tile, Tokens};

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &Quad8) -> __m512i {
    // SAFETY: the reference is to 64 bytes, and this load takes any alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f32(numbers: &[f32; ROWS]) -> __m512 {
    // SAFETY: the reference is to 64 bytes, and this load takes any alignment.
    unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f16(numbers: &[f16; ROWS]) -> __m512 {
    // SAFETY: an `f16` is 16 bits of memory, so the reference is to 32 bytes; any alignment will do.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_f32(numbers: &mut [f32; ROWS], register: __m512) {
    // SAFETY: the reference is to 64 bytes, and this store takes any alignment.
    unsafe { _mm512_storeu_ps(numbers.as_mut_ptr(), register) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_i32(numbers: &mut [i32; ROWS], register: __m512i) {
    // SAFETY: the reference is to 64 bytes, and this store takes any alignment.
    unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn f32_results<const T: usize>(sums: [__m512; T]) -> Tile<f32, T> {
    let mut results = [[0.0; ROWS]; T];
    for t in 0..T {
        store_f32(&mut results[t], sums[t]);
    }
    results
}

#[target_feature(enable = "avx512f")]
pub(super) fn f32_tile<const T: usize>(w: &[[f32; ROWS]], x: Tokens<'_, f32>) -> Tile<f32, T> {
    let mut sums = [_mm512_setzero_ps(); T];
    for (w, x) in w.iter().zip(x.each::<T>()) {
        let w = load_f32(w);
        for t in 0..T {
            // One activation for 16 rows: a lane holds a row, so no lanes are added at the end.
            sums[t] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[t]), sums[t]);
        }
    }
    f32_results(sums)
}

/// The four codes of a token as the lane that each row multiplies.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_each_lane(quad: [i8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(quad.map(i8::cast_unsigned)))
}

/// What sums of codes with an offset start from.
#[inline]
#[target_feature(enable = "avx512f")]
fn less<const T: usize>(offsets: &[i32; T]) -> [__m512i; T] {
    let mut sums = [_mm512_setzero_si512(); T];
    for t in 0..T {
        sums[t] = _mm512_set1_epi32(-offsets[t]);
    }
    sums
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn w8a8<const T: usize>(w: &[Quad8], x: PerToken8<'_>) -> Tile<i32, T> {
    let mut sums = [_mm512_setzero_si512(); T];
    for offsets in x.offsets.each::<T>() {
        sums = less(offsets);
    }
    for (w, x) in w.iter().zip(x.quads.each::<T>()) {
        let w = load(w);
        for t in 0..T {
            // Four products, added in 32 bits without saturation, so that a sum that leaves the 32 bits on
            // its way comes back with the offset.
            sums[t] = _mm512_dpbusd_epi32(sums[t], w, in_each_lane(x[t]));
        }
    }
    let mut results = [[0; ROWS]; T];
    for t in 0..T {
        store_i32(&mut results[t], sums[t]);
    }
    results
}

/// The codes of a quad as numbers, feature by feature.
#[inline]
#[target_feature(enable = "avx512f")]
fn numbers_of_bytes(w: &Quad8) -> [__m512; 4] {
    // A code plus 128 with its top bit flipped is the code in two's complement. A byte moved to the top
    // of its lane and back is then the code, because the arithmetic shift copies the sign.
    const { assert!(OFFSET_8 == 0x80) };
    let v = _mm512_xor_si512(load(w), _mm512_set1_epi32(0x8080_8080_u32.cast_signed()));
    [
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(v))),
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<16>(v))),
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(_mm512_slli_epi32::<8>(v))),
        _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(v)),
    ]
}

/// The products of a quad with one token, added to a sum for each feature, because an FMA waits several
/// cycles for the sum that it adds to: four chains hide this latency.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_quad(sums: &mut [__m512; 4], codes: [__m512; 4], x: &[f32; 4]) {
    for feature in 0..4 {
        sums[feature] = _mm512_fmadd_ps(codes[feature], _mm512_set1_ps(x[feature]), sums[feature]);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: [__m512; 4]) -> __m512 {
    _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]))
}

#[target_feature(enable = "avx512f")]
pub(super) fn w8a16(w: &[Quad8], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = [_mm512_setzero_ps(); 4];
    for (w, x) in w.iter().zip(x) {
        add_quad(&mut sums, numbers_of_bytes(w), x);
    }
    f32_results([total(sums)])[0]
}

#[target_feature(enable = "avx512f")]
pub(super) fn expand8(w: &[Quad8], numbers: &mut [[f32; ROWS]]) {
    for (w, numbers) in w.iter().zip(numbers.as_chunks_mut::<4>().0) {
        let codes = numbers_of_bytes(w);
        for feature in 0..4 {
            store_f32(&mut numbers[feature], codes[feature]);
        }
    }
}

/// A byte for each row and feature, whose low four bits are the code plus 8.
#[inline]
#[target_feature(enable = "avx512f")]
fn nibbles(w: &Quad4) -> __m512i {
    // SAFETY: the reference is to 32 bytes, and this load takes any alignment.
    let v = unsafe { _mm256_loadu_si256(w.as_ptr().cast()) };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(v), _mm256_srli_epi16::<4>(v))
}

/// As [`numbers_of_bytes`].
#[inline]
#[target_feature(enable = "avx512f")]
fn numbers_of_nibbles(w: &Quad4) -> [__m512; 4] {
    const { assert!(OFFSET_4 == 8) };
    let v = nibbles(w);
    // A permutation looks at the low four bits of a lane, so a table of 16 numbers needs no mask.
    let numbers =
        _mm512_setr_ps(-8., -7., -6., -5., -4., -3., -2., -1., 0., 1., 2., 3., 4., 5., 6., 7.);
    [
        _mm512_permutexvar_ps(v, numbers),
        _mm512_permutexvar_ps(_mm512_srli_epi32::<8>(v), numbers),
        _mm512_permutexvar_ps(_mm512_srli_epi32::<16>(v), numbers),
        _mm512_permutexvar_ps(_mm512_srli_epi32::<24>(v), numbers),
    ]
}

#[target_feature(enable = "avx512f")]
pub(super) fn w4a16(w: &[Quad4], scales: &[[f16; ROWS]], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = _mm512_setzero_ps();
    let in_group = (w.len() / scales.len().max(1)).max(1);
    let groups = w.chunks_exact(in_group).zip(x.chunks_exact(in_group));
    for ((w, x), scales) in groups.zip(scales) {
        let mut group = [_mm512_setzero_ps(); 4];
        for (w, x) in w.iter().zip(x) {
            add_quad(&mut group, numbers_of_nibbles(w), x);
        }
        // The scale is applied once for a group, because all of its codes share the scale.
        sums = _mm512_fmadd_ps(total(group), load_f16(scales), sums);
    }
    f32_results([sums])[0]
}

#[target_feature(enable = "avx512f")]
pub(super) fn expand4(w: &[Quad4], scales: &[[f16; ROWS]], numbers: &mut [[f32; ROWS]]) {
    let in_group = (w.len() / scales.len().max(1)).max(1);
    let groups = w.chunks_exact(in_group).zip(numbers.chunks_exact_mut(4 * in_group));
    for ((w, numbers), scales) in groups.zip(scales) {
        let scales = load_f16(scales);
        for (w, numbers) in w.iter().zip(numbers.as_chunks_mut::<4>().0) {
            let codes = numbers_of_nibbles(w);
            for feature in 0..4 {
                store_f32(&mut numbers[feature], _mm512_mul_ps(codes[feature], scales));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn w4a8<const T: usize>(
    w: &[Quad4],
    scales: &[[f16; ROWS]],
    x: PerGroup8<'_>,
) -> Tile<f32, T> {
    let (blocks, _) = w.as_chunks::<{ BLOCK / 4 }>();
    let in_group = (blocks.len() / scales.len().max(1)).max(1);
    let mut blocks = blocks.iter().zip(x.offsets.each::<T>()).zip(x.quads.parts(BLOCK / 4));
    let mask = _mm512_set1_epi8(0x0F);
    let mut sums = [_mm512_setzero_ps(); T];
    for (of_w, of_x) in scales.iter().zip(x.scales.each::<T>()) {
        let of_w = load_f16(of_w);
        for ((w, offsets), x) in blocks.by_ref().take(in_group) {
            let mut exact = less(offsets);
            for (w, x) in w.iter().zip(x.each::<T>()) {
                let w = _mm512_and_si512(nibbles(w), mask);
                for t in 0..T {
                    exact[t] = _mm512_dpbusd_epi32(exact[t], w, in_each_lane(x[t]));
                }
            }
            for t in 0..T {
                // Exact in `f32`, because a block's sum is below 2^24.
                let exact = _mm512_cvtepi32_ps(exact[t]);
                let scale = _mm512_mul_ps(of_w, _mm512_set1_ps(of_x[t]));
                sums[t] = _mm512_fmadd_ps(exact, scale, sums[t]);
            }
        }
    }
    f32_results(sums)
}

#[target_feature(enable = "avx2")]
pub(super) fn interleave(rows: [&[f32]; ROWS], numbers: &mut [[f32; ROWS]]) {
    super::avx2::interleave(rows, numbers);
}

#[target_feature(enable = "avx512f")]
pub(super) fn across(arrays: &[[f32; ROWS]; ROWS]) -> [f32; ROWS] {
    // Rows `i`, `i + 4`, `i + 8` and `i + 12` become the quarters of a register, so that the rows end in
    // their order.
    let mut four = [_mm512_setzero_ps(); 4];
    for (row, quarters) in four.iter_mut().enumerate() {
        let [a, b, c, d] = [row, row + 4, row + 8, row + 12].map(|row| &arrays[row]);
        let (a, b, c, d) = (load_f32(a), load_f32(b), load_f32(c), load_f32(d));
        let low = _mm512_shuffle_f32x4::<0x44>(a, b);
        let ab = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xEE>(a, b));
        let low = _mm512_shuffle_f32x4::<0x44>(c, d);
        let cd = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xEE>(c, d));
        let even = _mm512_shuffle_f32x4::<0x88>(ab, cd);
        *quarters = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0xDD>(ab, cd));
    }
    let [a, b, c, d] = four;
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let low = _mm512_shuffle_ps::<0x44>(ab, cd);
    f32_results([_mm512_add_ps(low, _mm512_shuffle_ps::<0xEE>(ab, cd))])[0]
}
