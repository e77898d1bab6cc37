//! The loops in plain Rust, for machines without AVX2 and as the reference of the tests.

use half::f16;

use super::{BLOCK, OFFSET_4, OFFSET_8, PerGroup8, PerToken8, Quad4, Quad8, ROWS, Tile, Tokens};
use crate::dispatch::{PORTABLE_FMA, multiply_add};

pub(super) fn f32_tile<const T: usize>(w: &[[f32; ROWS]], x: Tokens<'_, f32>) -> Tile<f32, T> {
    let mut sums = [[0.0; ROWS]; T];
    for (w, x) in w.iter().zip(x.each::<T>()) {
        for (sums, x) in sums.iter_mut().zip(x) {
            add(sums, w, *x);
        }
    }
    sums
}

/// `sums += w * x`.
fn add(sums: &mut [f32; ROWS], w: &[f32; ROWS], x: f32) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = multiply_add::<PORTABLE_FMA>(*w, x, *sum);
    }
}

pub(super) fn w8a8<const T: usize>(w: &[Quad8], x: PerToken8<'_>) -> Tile<i32, T> {
    let mut sums = [[0; ROWS]; T];
    for (w, x) in w.iter().zip(x.quads.each::<T>()) {
        for (codes, feature) in codes_of_bytes(w).iter().zip(0..) {
            // The offset of the sums is not needed, because the codes have their sign here.
            for (sums, x) in sums.iter_mut().zip(x) {
                add_codes(sums, codes, x[feature]);
            }
        }
    }
    sums
}

/// `sums += w * x`.
fn add_codes(sums: &mut [i32; ROWS], codes: &[i8; ROWS], x: i8) {
    for (sum, code) in sums.iter_mut().zip(codes) {
        *sum += i32::from(*code) * i32::from(x);
    }
}

pub(super) fn w8a16(w: &[Quad8], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = [0.0; ROWS];
    for (w, x) in w.iter().zip(x) {
        for (codes, x) in codes_of_bytes(w).iter().zip(x) {
            add(&mut sums, &codes.map(f32::from), *x);
        }
    }
    sums
}

pub(super) fn expand8(w: &[Quad8], numbers: &mut [[f32; ROWS]]) {
    for (w, numbers) in w.iter().zip(numbers.as_chunks_mut::<4>().0) {
        *numbers = codes_of_bytes(w).map(|codes| codes.map(f32::from));
    }
}

/// The codes of the 16 rows, feature by feature.
fn codes_of_bytes(w: &Quad8) -> [[i8; ROWS]; 4] {
    let (rows, _) = w.as_chunks::<4>();
    let code = |row: usize, feature: usize| (i32::from(rows[row][feature]) - OFFSET_8) as i8;
    std::array::from_fn(|feature| std::array::from_fn(|row| code(row, feature)))
}

pub(super) fn w4a16(w: &[Quad4], scales: &[[f16; ROWS]], x: &[[f32; 4]]) -> [f32; ROWS] {
    let mut sums = [0.0; ROWS];
    let in_group = w.len() / scales.len().max(1);
    for (at, scales) in scales.iter().enumerate() {
        let quads = at * in_group..(at + 1) * in_group;
        // A group is summed in codes, because one product with its scale is then enough.
        let mut group = [0.0; ROWS];
        for (bytes, x) in w[quads.clone()].iter().zip(&x[quads]) {
            for (codes, x) in codes_of_quad(bytes).iter().zip(x) {
                add(&mut group, &codes.map(f32::from), *x);
            }
        }
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = multiply_add::<PORTABLE_FMA>(group[row], scales[row].to_f32(), *sum);
        }
    }
    sums
}

pub(super) fn expand4(w: &[Quad4], scales: &[[f16; ROWS]], numbers: &mut [[f32; ROWS]]) {
    let in_group = w.len() / scales.len().max(1);
    for (at, (bytes, numbers)) in w.iter().zip(numbers.as_chunks_mut::<4>().0).enumerate() {
        let scales = scales[at / in_group].map(f16::to_f32);
        *numbers = codes_of_quad(bytes)
            .map(|codes| std::array::from_fn(|row| f32::from(codes[row]) * scales[row]));
    }
}

/// The codes of the 16 rows, feature by feature.
fn codes_of_quad(bytes: &Quad4) -> [[i8; ROWS]; 4] {
    let mut codes = [[0; ROWS]; 4];
    for (row, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
        for (feature, byte) in bytes.iter().enumerate() {
            codes[feature][row] = (byte & 0x0F).cast_signed() - OFFSET_4;
            codes[feature][row + ROWS / 2] = (byte >> 4).cast_signed() - OFFSET_4;
        }
    }
    codes
}

pub(super) fn w4a8<const T: usize>(
    w: &[Quad4],
    scales: &[[f16; ROWS]],
    x: PerGroup8<'_>,
) -> Tile<f32, T> {
    let mut sums = [[0.0; ROWS]; T];
    let in_group = (w.len() / (BLOCK / 4) / scales.len().max(1)).max(1);
    let mut blocks = w.chunks_exact(BLOCK / 4).zip(x.quads.parts(BLOCK / 4));
    for (of_w, of_x) in scales.iter().zip(x.scales.each::<T>()) {
        let of_w = of_w.map(f16::to_f32);
        for (w, x) in blocks.by_ref().take(in_group) {
            let exact = block_sums::<T>(w, x);
            for ((sums, exact), of_x) in sums.iter_mut().zip(exact).zip(of_x) {
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = multiply_add::<PORTABLE_FMA>(exact[row] as f32, of_w[row] * of_x, *sum);
                }
            }
        }
    }
    sums
}

/// The sums of `code * code` over a block.
fn block_sums<const T: usize>(w: &[Quad4], x: Tokens<'_, [i8; 4]>) -> Tile<i32, T> {
    let mut sums = [[0; ROWS]; T];
    for (w, x) in w.iter().zip(x.each::<T>()) {
        for (codes, feature) in codes_of_quad(w).iter().zip(0..) {
            for (sums, x) in sums.iter_mut().zip(x) {
                add_codes(sums, codes, x[feature]);
            }
        }
    }
    sums
}

pub(super) fn interleave(rows: [&[f32]; ROWS], numbers: &mut [[f32; ROWS]]) {
    for (row, values) in rows.into_iter().enumerate() {
        for (numbers, value) in numbers.iter_mut().zip(values) {
            numbers[row] = *value;
        }
    }
}

pub(super) fn across(arrays: &[[f32; ROWS]; ROWS]) -> [f32; ROWS] {
    arrays.each_ref().map(|lanes| {
        let half: [f32; 8] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 8]);
        let four: [f32; 4] = std::array::from_fn(|lane| half[lane] + half[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    })
}
