//! The loops in plain Rust, for machines without AVX2 and as the reference of the tests.

use half::f16;

use super::{BLOCK, OFFSET, Pair8, Quad4, ROWS, Tile, Token8};
use crate::dispatch::{PORTABLE_FMA, multiply_add};

pub(super) fn f32_tile<const T: usize>(w: &[[f32; ROWS]], x: [&[f32]; T]) -> Tile<f32, T> {
    let mut sums = [[0.0; ROWS]; T];
    for (feature, w) in w.iter().enumerate() {
        for (sums, x) in sums.iter_mut().zip(x) {
            add(sums, w, x[feature]);
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

pub(super) fn w8a8<const T: usize>(w: &[Pair8], x: [&[[i16; 2]]; T]) -> Tile<i32, T> {
    let mut sums = [[0; ROWS]; T];
    for (at, codes) in w.iter().enumerate() {
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = x[at].map(i32::from);
            for (sum, code) in sums.iter_mut().zip(codes.as_chunks::<2>().0) {
                *sum += i32::from(code[0]) * x[0] + i32::from(code[1]) * x[1];
            }
        }
    }
    sums
}

pub(super) fn w8a16(w: &[Pair8], x: &[[f32; 2]]) -> [f32; ROWS] {
    let mut sums = [0.0; ROWS];
    for (codes, x) in w.iter().zip(x) {
        let [first, second] = numbers_of_pair(codes);
        add(&mut sums, &first, x[0]);
        add(&mut sums, &second, x[1]);
    }
    sums
}

pub(super) fn expand8(w: &[Pair8], numbers: &mut [[f32; ROWS]]) {
    for (codes, numbers) in w.iter().zip(numbers.as_chunks_mut::<2>().0) {
        *numbers = numbers_of_pair(codes);
    }
}

fn numbers_of_pair(codes: &Pair8) -> [[f32; ROWS]; 2] {
    let (codes, _) = codes.as_chunks::<2>();
    [0, 1].map(|feature| std::array::from_fn(|row| f32::from(codes[row][feature])))
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
            codes[feature][row] = (byte & 0x0F).cast_signed() - OFFSET;
            codes[feature][row + ROWS / 2] = (byte >> 4).cast_signed() - OFFSET;
        }
    }
    codes
}

pub(super) fn w4a8<const T: usize>(
    w: &[Quad4],
    scales: &[[f16; ROWS]],
    x: [Token8<'_>; T],
) -> Tile<f32, T> {
    let mut sums = [[0.0; ROWS]; T];
    let in_group = (w.len() / (BLOCK / 4) / scales.len().max(1)).max(1);
    for (at, quads) in w.chunks_exact(BLOCK / 4).enumerate() {
        let scales = scales[at / in_group].map(f16::to_f32);
        let mut exact = [[0; ROWS]; T];
        for (quad, bytes) in quads.iter().enumerate() {
            let codes = codes_of_quad(bytes);
            for (exact, x) in exact.iter_mut().zip(&x) {
                // `x.offsets` are not needed, because the codes have their sign here.
                let x = x.quads[at * BLOCK / 4 + quad];
                for (codes, x) in codes.iter().zip(x) {
                    exact.iter_mut().zip(codes).for_each(|(sum, &code)| {
                        *sum += i32::from(code) * i32::from(x);
                    });
                }
            }
        }
        for ((sums, exact), x) in sums.iter_mut().zip(exact).zip(&x) {
            let x = x.scales[at / in_group];
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = multiply_add::<PORTABLE_FMA>(exact[row] as f32, scales[row] * x, *sum);
            }
        }
    }
    sums
}
