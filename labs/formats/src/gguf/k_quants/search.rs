//! The searches for a scale: llama.cpp's, step by step, in `f32`.
//!
//! Each tries some scales near the one that the extremes of a block ask for, takes the codes of each, finds the
//! best scale for those codes by least squares, and keeps the best of all. `weights` say how much the
//! error of each number counts. Sums run in the order of the numbers, because another order would round
//! otherwise and could choose another scale.

use super::layout::MOST_IN_SUB;
use crate::magnitude;

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
    /// Whether a code is cut off before it is rounded, so that infinity is the last code
    /// (`make_qkx3_quants`), or after (`make_qkx2_quants`).
    pub(super) cut_off_first: bool,
}

/// Sub-blocks that are searched together. Each has a lane of its own, in which its sums run in the order of
/// its numbers, so the results are those of one sub-block after the other.
pub(super) const LANES: usize = 8;
/// A number of each lane.
pub(super) type Lane<T> = [T; LANES];

/// The numbers of [`LANES`] sub-blocks, the first of each, the second of each and so on.
pub(super) fn in_lanes<'a>(subs: impl IntoIterator<Item = &'a [f32]>) -> [Lane<f32>; MOST_IN_SUB] {
    let mut lanes = [Lane::default(); MOST_IN_SUB];
    for (lane, sub) in subs.into_iter().enumerate() {
        lanes.iter_mut().zip(sub).for_each(|(place, x)| place[lane] = *x);
    }
    lanes
}

/// Copies the codes of one lane.
pub(super) fn copy_lane(codes: &[Lane<u8>], lane: usize, to: &mut [u8]) {
    to.iter_mut().zip(codes).for_each(|(to, codes)| *to = codes[lane]);
}

fn lanes<T>(of: impl FnMut(usize) -> T) -> Lane<T> {
    std::array::from_fn(of)
}

/// What a search found, for each lane.
pub(super) struct Affine {
    pub(super) scales: Lane<f32>,
    pub(super) minima: Lane<f32>,
}

/// Scale and minimum of codes `0..=most`, and the codes of `x`: `x` is near `scale * code - minimum`. The
/// minimum is at least 0, so 0 always lies on or above the first code. `x`, `weights` and `codes` have the same
/// length.
pub(super) fn with_minimum(
    x: &[Lane<f32>],
    weights: &[Lane<f32>],
    most: i32,
    candidates: Candidates,
    codes: &mut [Lane<u8>],
) -> Affine {
    let Candidates { first, step, count, absolute, cut_off_first } = candidates;
    let (mut min, mut max) = (x[0], x[0]);
    for x in x {
        for lane in 0..LANES {
            min[lane] = if x[lane] < min[lane] { x[lane] } else { min[lane] };
            max[lane] = if x[lane] > max[lane] { x[lane] } else { max[lane] };
        }
    }
    // Not `f32::min`, which may return either of 0 and -0.
    let mut min = min.map(|min| if min > 0.0 { 0.0 } else { min });
    let (is_flat, least) = (lanes(|lane| max[lane] == min[lane]), min);
    // Not from 0 on, because 0 and the first product would be added.
    let (mut sum_w, mut sum_x) = (weights[0], lanes(|lane| weights[0][lane] * x[0][lane]));
    for (x, w) in x.iter().zip(weights).skip(1) {
        for lane in 0..LANES {
            sum_w[lane] += w[lane];
            sum_x[lane] += w[lane] * x[lane];
        }
    }
    let most_f = most as f32;
    let error = |scale: &Lane<f32>, min: &Lane<f32>, codes: &[Lane<u8>]| {
        let mut sum = Lane::<f32>::default();
        for ((x, w), code) in x.iter().zip(weights).zip(codes) {
            for lane in 0..LANES {
                let difference = scale[lane] * f32::from(code[lane]) + min[lane] - x[lane];
                sum[lane] +=
                    w[lane] * if absolute { difference.abs() } else { difference * difference };
            }
        }
        sum
    };
    let inverse = lanes(|lane| most_f / (max[lane] - min[lane]));
    let mut scale = inverse.map(|inverse| 1.0 / inverse);
    for (code, x) in codes.iter_mut().zip(x) {
        *code = lanes(|lane| nearest(inverse[lane] * (x[lane] - min[lane])).clamp(0, most) as u8);
    }
    let mut best = error(&scale, &min, codes);
    let mut tried = [Lane::<u8>::default(); MOST_IN_SUB];
    let tried = &mut tried[..x.len()];
    for candidate in 0..=count {
        let steps = first + step * candidate as f32 + most_f;
        let inverse = lanes(|lane| steps / (max[lane] - min[lane]));
        let [mut sum_l, mut sum_l2, mut sum_xl] = [Lane::<f32>::default(); 3];
        for ((tried, x), w) in tried.iter_mut().zip(x).zip(weights) {
            for lane in 0..LANES {
                let steps = inverse[lane] * (x[lane] - min[lane]);
                let code = if cut_off_first {
                    let cut = nearest(if steps < most_f { steps } else { most_f });
                    if steps > 0.0 { cut } else { 0 }
                } else {
                    nearest(steps).clamp(0, most)
                };
                tried[lane] = code as u8;
                let l = code as f32;
                sum_l[lane] += w[lane] * l;
                sum_l2[lane] += w[lane] * l * l;
                sum_xl[lane] += w[lane] * l * x[lane];
            }
        }
        let (mut fitted, mut fitted_min) = (scale, min);
        let mut has_fit = [false; LANES];
        for lane in 0..LANES {
            let determinant = sum_w[lane] * sum_l2[lane] - sum_l[lane] * sum_l[lane];
            if determinant > 0.0 {
                has_fit[lane] = true;
                fitted[lane] =
                    (sum_w[lane] * sum_xl[lane] - sum_x[lane] * sum_l[lane]) / determinant;
                fitted_min[lane] =
                    (sum_l2[lane] * sum_x[lane] - sum_l[lane] * sum_xl[lane]) / determinant;
                if fitted_min[lane] > 0.0 {
                    (fitted[lane], fitted_min[lane]) = (sum_xl[lane] / sum_l2[lane], 0.0);
                }
            }
        }
        let found = error(&fitted, &fitted_min, tried);
        let is_better = lanes(|lane| has_fit[lane] && found[lane] < best[lane]);
        if !is_better.contains(&true) {
            continue;
        }
        for (code, tried) in codes.iter_mut().zip(tried.iter()) {
            *code = lanes(|lane| if is_better[lane] { tried[lane] } else { code[lane] });
        }
        for lane in (0..LANES).filter(|&lane| is_better[lane]) {
            (best[lane], scale[lane], min[lane]) = (found[lane], fitted[lane], fitted_min[lane]);
        }
    }
    for lane in (0..LANES).filter(|&lane| is_flat[lane]) {
        (scale[lane], min[lane]) = (0.0, least[lane]);
        codes.iter_mut().for_each(|code| code[lane] = 0);
    }
    Affine { scales: scale, minima: min.map(|min| -min) }
}

/// The number of the largest magnitude, the first of several; `None` where all count as zero.
pub(super) fn furthest(x: &[f32]) -> Option<f32> {
    Some(magnitude::furthest(x)).filter(|max| max.abs() >= ZERO)
}

/// The scale of codes from `-most` to `most - 1` around 0, and the codes of `x` plus `most`
/// (`make_qx_quants`), for each lane. The scale has the sign that puts the number of the largest magnitude on
/// `-most`.
pub(super) fn signed(
    x: &[Lane<f32>],
    weights: &[Lane<f32>],
    most: i32,
    codes: &mut [Lane<u8>],
) -> Lane<f32> {
    let (mut max, mut absmax) = (Lane::<f32>::default(), Lane::<f32>::default());
    for x in x {
        for lane in 0..LANES {
            let is_further = x[lane].abs() > absmax[lane];
            max[lane] = if is_further { x[lane] } else { max[lane] };
            absmax[lane] = if is_further { x[lane].abs() } else { absmax[lane] };
        }
    }
    let code = |inverse: f32, x: f32| nearest(inverse * x).clamp(-most, most - 1);
    let sums = |inverse: &Lane<f32>| {
        let [mut sum_lx, mut sum_l2] = [Lane::<f32>::default(); 2];
        for (x, w) in x.iter().zip(weights) {
            for lane in 0..LANES {
                let l = code(inverse[lane], x[lane]) as f32;
                sum_lx[lane] += w[lane] * x[lane] * l;
                sum_l2[lane] += w[lane] * l * l;
            }
        }
        (sum_lx, sum_l2)
    };
    let mut inverse = max.map(|max| -(most as f32) / max);
    let (sum_lx, sum_l2) = sums(&inverse);
    let mut scale =
        lanes(|lane| if sum_l2[lane] != 0.0 { sum_lx[lane] / sum_l2[lane] } else { 0.0 });
    let mut best = lanes(|lane| scale[lane] * sum_lx[lane]);
    for step in (-9..=9).filter(|&step| step != 0) {
        let tried = max.map(|max| -(most as f32 + 0.1 * step as f32) / max);
        let (sum_lx, sum_l2) = sums(&tried);
        for lane in 0..LANES {
            let is_better =
                sum_l2[lane] > 0.0 && sum_lx[lane] * sum_lx[lane] > best[lane] * sum_l2[lane];
            if is_better {
                (inverse[lane], scale[lane]) = (tried[lane], sum_lx[lane] / sum_l2[lane]);
                best[lane] = scale[lane] * sum_lx[lane];
            }
        }
    }
    let is_zero = absmax.map(|absmax| absmax < ZERO);
    for (stored, x) in codes.iter_mut().zip(x) {
        *stored = lanes(|lane| match is_zero[lane] {
            true => 0,
            false => (code(inverse[lane], x[lane]) + most) as u8,
        });
    }
    lanes(|lane| if is_zero[lane] { 0.0 } else { scale[lane] })
}

/// [`signed`] for one block.
pub(super) fn signed_of_one(x: &[f32], weights: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let mut in_lane = [[0; LANES]; MOST_IN_SUB];
    let (x, weights) = (&in_lanes([x])[..x.len()], &in_lanes([weights])[..x.len()]);
    let [scale, ..] = signed(x, weights, most, &mut in_lane[..x.len()]);
    copy_lane(&in_lane, 0, codes);
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
    let mut found = [0; MOST_IN_SUB];
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
