//! The searches for a scale: llama.cpp's, step by step, in `f32`.
//!
//! Each tries some scales near the one that the extremes of a block ask for, takes the codes of each, finds the
//! best scale for those codes by least squares, and keeps the best of all. `weights` say how much the
//! error of each number counts. Sums run in the order of the numbers, because another order would round
//! otherwise and could choose another scale.

/// Blocks whose magnitudes are all below count as zero (`GROUP_MAX_EPS`).
pub(super) const ZERO: f32 = 1e-15;

/// The nearest integer, half to even, as `nearest_int` of `ggml-quants.c`: an addition rounds, and what is beyond
/// 22 bits is cut off.
pub(super) fn nearest(x: f32) -> i32 {
    let bits = (x + 12_582_912.0).to_bits() & 0x007F_FFFF;
    bits.cast_signed() - 0x0040_0000
}

/// The scales that are tried for codes with a minimum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidates {
    /// The first candidate has so many steps more than there are codes.
    pub(super) first: f32,
    /// Steps from one candidate to the next.
    pub(super) step: f32,
    /// Candidates after the first.
    pub(super) count: i32,
    /// Whether the error is the absolute difference, else its square.
    pub(super) absolute: bool,
    /// How a code is found: for the weights of an importance matrix it is cut off before it is rounded.
    pub(super) code: fn(f32, i32) -> i32,
}

/// Rounds, then cuts off (`make_qkx2_quants`).
pub(super) fn rounded_first(x: f32, most: i32) -> i32 {
    nearest(x).clamp(0, most)
}

/// Cuts off, then rounds, so that infinity is the last code (`make_qkx3_quants`).
pub(super) fn cut_off_first(x: f32, most: i32) -> i32 {
    if x > 0.0 { nearest(x.min(most as f32)) } else { 0 }
}

/// Scale and minimum of codes `0..=most`, and the codes of `x`: `x` is near `scale * code - minimum`. The
/// minimum is at least 0, so 0 always lies on or above the first code.
pub(super) fn with_minimum(
    x: &[f32],
    weights: &[f32],
    most: i32,
    candidates: Candidates,
    codes: &mut [u8],
) -> (f32, f32) {
    let Candidates { first, step, count, absolute, code } = candidates;
    let (mut min, mut max) = (x[0], x[0]);
    for &x in x {
        if x < min {
            min = x;
        }
        if x > max {
            max = x;
        }
    }
    // Not `f32::min`, which may return either of 0 and -0.
    if min > 0.0 {
        min = 0.0;
    }
    if max == min {
        codes.fill(0);
        return (0.0, -min);
    }
    // Not `sum`, because that begins at -0.
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (x, w) in x.iter().zip(weights).skip(1) {
        sum_w += w;
        sum_x += w * x;
    }
    let most_f = most as f32;
    let error = |scale: f32, min: f32, codes: &[u8]| {
        let mut sum = 0.0;
        for ((x, w), code) in x.iter().zip(weights).zip(codes) {
            let difference = scale * f32::from(*code) + min - x;
            sum += w * if absolute { difference.abs() } else { difference * difference };
        }
        sum
    };
    let inverse = most_f / (max - min);
    let mut scale = 1.0 / inverse;
    for (code, x) in codes.iter_mut().zip(x) {
        *code = nearest(inverse * (x - min)).clamp(0, most) as u8;
    }
    let mut best = error(scale, min, codes);
    let mut tried = [0; super::layout::MOST];
    let tried = &mut tried[..x.len()];
    for candidate in 0..=count {
        let inverse = (first + step * candidate as f32 + most_f) / (max - min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for ((tried, x), w) in tried.iter_mut().zip(x).zip(weights) {
            let l = code(inverse * (x - min), most);
            *tried = l as u8;
            let l = l as f32;
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut fitted = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut fitted_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if fitted_min > 0.0 {
                (fitted, fitted_min) = (sum_xl / sum_l2, 0.0);
            }
            let found = error(fitted, fitted_min, tried);
            if found < best {
                codes.copy_from_slice(tried);
                (best, scale, min) = (found, fitted, fitted_min);
            }
        }
    }
    (scale, -min)
}

/// The number of the largest magnitude, the first of several; `None` where all count as zero.
pub(super) fn furthest(x: &[f32]) -> Option<f32> {
    let (mut max, mut absmax) = (0.0, 0.0);
    for &x in x {
        if x.abs() > absmax {
            (max, absmax) = (x, x.abs());
        }
    }
    (absmax >= ZERO).then_some(max)
}

/// The scale of codes from `-most` to `most - 1` around 0, and the codes of `x` plus `most`
/// (`make_qx_quants`). The scale has the sign that puts the number of the largest magnitude on `-most`.
pub(super) fn signed(x: &[f32], weights: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let Some(max) = furthest(x) else {
        codes.fill(0);
        return 0.0;
    };
    let code = |inverse: f32, x: f32| nearest(inverse * x).clamp(-most, most - 1);
    let sums = |inverse: f32| {
        let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
        for (x, w) in x.iter().zip(weights) {
            let l = code(inverse, *x) as f32;
            sum_lx += w * x * l;
            sum_l2 += w * l * l;
        }
        (sum_lx, sum_l2)
    };
    let mut inverse = -(most as f32) / max;
    let (sum_lx, sum_l2) = sums(inverse);
    let mut scale = if sum_l2 != 0.0 { sum_lx / sum_l2 } else { 0.0 };
    let mut best = scale * sum_lx;
    for step in (-9..=9).filter(|&step| step != 0) {
        let tried = -(most as f32 + 0.1 * step as f32) / max;
        let (sum_lx, sum_l2) = sums(tried);
        if sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            (inverse, scale) = (tried, sum_lx / sum_l2);
            best = scale * sum_lx;
        }
    }
    for (stored, x) in codes.iter_mut().zip(x) {
        *stored = (code(inverse, *x) + most) as u8;
    }
    scale
}

/// As [`signed`], with the squares of the numbers as weights: no other scale is tried, but single codes
/// are moved as long as that helps (`make_q3_quants`).
pub(super) fn signed_by_codes(x: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let Some(max) = furthest(x) else {
        codes.fill(0);
        return 0.0;
    };
    let inverse = -(most as f32) / max;
    let mut found = [0; super::layout::MOST];
    let found = &mut found[..x.len()];
    let (mut sum_lx, mut sum_l2) = (0.0_f32, 0.0_f32);
    for (l, x) in found.iter_mut().zip(x) {
        *l = nearest(inverse * x).clamp(-most, most - 1);
        let (w, l) = (x * x, *l as f32);
        sum_lx += w * x * l;
        sum_l2 += w * l * l;
    }
    for _ in 0..5 {
        let mut has_moved = false;
        for (l, x) in found.iter_mut().zip(x) {
            let (w, old) = (x * x, *l as f32);
            let mut without_lx = sum_lx - w * x * old;
            if without_lx > 0.0 {
                let mut without_l2 = sum_l2 - w * old * old;
                let new = nearest(x * without_l2 / without_lx).clamp(-most, most - 1);
                if new != *l {
                    let moved = new as f32;
                    without_lx += w * x * moved;
                    without_l2 += w * moved * moved;
                    if without_l2 > 0.0
                        && without_lx * without_lx * sum_l2 > sum_lx * sum_lx * without_l2
                    {
                        (*l, sum_lx, sum_l2) = (new, without_lx, without_l2);
                        has_moved = true;
                    }
                }
            }
        }
        if !has_moved {
            break;
        }
    }
    for (stored, l) in codes.iter_mut().zip(found) {
        *stored = (*l + most) as u8;
    }
    if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }
}

/// The scale of codes `0..=most` without a minimum, for numbers that are scales or minima themselves, and
/// their codes (`make_qp_quants`).
pub(super) fn of_scales(x: &[f32], weights: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let max = x.iter().copied().fold(0.0, f32::max);
    if max < ZERO {
        codes.fill(0);
        return 0.0;
    }
    let most_f = most as f32;
    let error = |inverse: f32, code: fn(i32, i32) -> i32| {
        let (scale, mut sum) = (1.0 / inverse, 0.0);
        for (x, w) in x.iter().zip(weights) {
            let difference = x - scale * code(nearest(inverse * x), most) as f32;
            sum += w * difference * difference;
        }
        sum
    };
    let mut inverse = most_f / max;
    // A code of the first candidate is not cut off, only stored in a byte.
    let mut best = error(inverse, |code, _| i32::from(code as u8));
    for step in (-4..=4).filter(|&step| step != 0) {
        let tried = (0.1 * step as f32 + most_f) / max;
        let found = error(tried, i32::min);
        if found < best {
            (best, inverse) = (found, tried);
        }
    }
    let (mut sum_lx, mut sum_l2) = (0.0_f32, 0.0_f32);
    for ((code, x), w) in codes.iter_mut().zip(x).zip(weights) {
        let l = nearest(inverse * x).min(most);
        *code = l as u8;
        sum_lx += w * x * l as f32;
        sum_l2 += w * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut has_moved = false;
        for ((code, x), w) in codes.iter_mut().zip(x).zip(weights) {
            let old = f32::from(*code);
            let (mut without_lx, mut without_l2) = (sum_lx - w * x * old, sum_l2 - w * old * old);
            if without_lx > 0.0 && without_l2 > 0.0 {
                let new = nearest(x * without_l2 / without_lx).min(most);
                if new != i32::from(*code) {
                    let moved = new as f32;
                    without_lx += w * x * moved;
                    without_l2 += w * moved * moved;
                    if without_lx * without_lx * sum_l2 > sum_lx * sum_lx * without_l2 {
                        (*code, sum_lx, sum_l2) = (new as u8, without_lx, without_l2);
                        has_moved = true;
                    }
                }
            }
        }
        if !has_moved {
            break;
        }
    }
    if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }
}
