//! What the layout leaves free after lab 06: scales that fit the codes, and codes that fit each other.
//!
//! GPTQ visits each column once, and takes the scales as they are given. Here, with the codes chosen, the
//! scales of a row are the least-squares solution (one small system a row), and each weight is visited
//! again and gets the code that is best while all others stay (coordinate descent, as in QuantEase,
//! Behdin and others, 2023). Neither can raise the objective, but for the rounding of scales to `f16`.

use gptq::{Grid, Rounded, Stored};
use half::f16;
use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, s};
use rayon::prelude::*;

/// Candidates for the scale of a group.
const CANDIDATES: u8 = 24;
/// The last candidate is the scale of the maximum times this.
const SMALLEST: f32 = 0.55;

/// The scale of each group of `group_size` weights of `w`, `[out_features, in_features]`, with the least
/// sum of squared errors, each times the diagonal element of the Hessian `importance`. A grid with one
/// more negative code is tried in both directions: a negative scale lets the extra code stand for a
/// positive weight.
pub(crate) fn searched_scales(
    w: &Array2<f64>,
    importance: ArrayView1<f64>,
    group_size: usize,
    grid: &Grid,
) -> Array2<f32> {
    let mut scales = Array2::zeros((w.nrows(), w.ncols() / group_size));
    let importance: Vec<f32> = importance.iter().map(|&value| value as f32).collect();
    let rows: Vec<_> = scales.rows_mut().into_iter().zip(w.rows()).collect();
    rows.into_par_iter().for_each(|(mut scales, row)| {
        let row: Vec<f32> = row.iter().map(|&weight| weight as f32).collect();
        let groups = row.chunks(group_size).zip(importance.chunks(group_size));
        for (scale, (weights, importance)) in scales.iter_mut().zip(groups) {
            *scale = searched_scale(weights, importance, grid);
        }
    });
    scales
}

fn searched_scale(weights: &[f32], importance: &[f32], grid: &Grid) -> f32 {
    let absmax = weights.iter().fold(0.0, |max: f32, weight| max.max(weight.abs()));
    let largest = f32::from(grid.min.unsigned_abs().max(grid.max.unsigned_abs()));
    let directions: &[f32] = if grid.min == -grid.max { &[1.0] } else { &[1.0, -1.0] };
    let mut best = (f32::INFINITY, grid.scale(absmax));
    for step in 0..CANDIDATES {
        let shrink = 1.0 - (1.0 - SMALLEST) * f32::from(step) / f32::from(CANDIDATES - 1);
        let size = stored(absmax / largest * shrink, grid);
        if size == 0.0 || size.is_infinite() {
            continue;
        }
        for direction in directions {
            let error = weighted_error(weights, importance, direction * size, grid);
            if error < best.0 {
                best = (error, direction * size);
            }
        }
    }
    best.1
}

/// A scale as the file stores it.
fn stored(scale: f32, grid: &Grid) -> f32 {
    match grid.stored {
        Stored::F16 => f16::from_f32(scale).to_f32(),
        Stored::Bf16 => half::bf16::from_f32(scale).to_f32(),
        Stored::F32 => scale,
    }
}

fn weighted_error(weights: &[f32], importance: &[f32], scale: f32, grid: &Grid) -> f32 {
    let (inverse, min, max) = (1.0 / scale, f32::from(grid.min), f32::from(grid.max));
    let errors = weights.iter().zip(importance).map(|(&weight, &importance)| {
        // Adding and subtracting 1.5 * 2^23 rounds to a whole number, and unlike `round` a compiler makes
        // one instruction of it on every processor.
        let code = (weight * inverse).clamp(min, max) + 12_582_912.0 - 12_582_912.0;
        let error = weight - code * scale;
        error * error * importance
    });
    errors.sum()
}

/// Fits scales and codes of `rounded` to `w`, `[out_features, in_features]`, under the damped Hessian `h`,
/// `sweeps` times.
pub(crate) fn refine(
    rounded: &Rounded,
    w: &Array2<f64>,
    h: &Array2<f64>,
    grid: &Grid,
    sweeps: usize,
) -> (Array2<i8>, Array2<f32>) {
    let (mut codes, mut scales) = (rounded.q().clone(), rounded.scales().clone());
    let rows = codes.rows_mut().into_iter().zip(scales.rows_mut()).zip(w.rows());
    let rows: Vec<_> = rows.collect();
    rows.into_par_iter()
        .for_each(|((codes, scales), w)| refine_row(codes, scales, w, h, grid, sweeps));
    (codes, scales)
}

fn refine_row(
    mut codes: ArrayViewMut1<i8>,
    mut scales: ArrayViewMut1<f32>,
    w: ArrayView1<f64>,
    h: &Array2<f64>,
    grid: &Grid,
    sweeps: usize,
) {
    let group_size = w.len() / scales.len();
    let target = h.dot(&w);
    // The product of the codes of each group with the Hessian: `[groups, in_features]`.
    let mut effects = Array2::zeros((scales.len(), w.len()));
    for (column, &code) in codes.iter().enumerate() {
        effects.row_mut(column / group_size).scaled_add(f64::from(code), &h.row(column));
    }
    for _ in 0..sweeps {
        fit_scales(scales.view_mut(), codes.view(), &effects, &target, grid);
        let mut gradient = target.clone();
        for (effect, &scale) in effects.rows().into_iter().zip(&scales) {
            gradient.scaled_add(-f64::from(scale), &effect);
        }
        for (column, code) in codes.iter_mut().enumerate() {
            let scale = scales[column / group_size];
            let value = grid.value(*code, scale);
            let best = grid.code(value + gradient[column] / h[(column, column)], scale);
            if best != *code {
                let change = f64::from(best) - f64::from(*code);
                gradient.scaled_add(-change * f64::from(scale), &h.row(column));
                effects.row_mut(column / group_size).scaled_add(change, &h.row(column));
                *code = best;
            }
        }
    }
}

/// The scales with the least error for these codes: `A s = b`, where `A` has the products of the codes of
/// two groups under the Hessian, and `b` those of the codes of a group and the weights.
fn fit_scales(
    mut scales: ArrayViewMut1<f32>,
    codes: ArrayView1<i8>,
    effects: &Array2<f64>,
    target: &Array1<f64>,
    grid: &Grid,
) {
    let (groups, size) = (scales.len(), codes.len() / scales.len());
    let wide: Array1<f64> = codes.mapv(f64::from);
    let of_group = |group: usize| s![group * size..(group + 1) * size];
    let mut a = Array2::from_shape_fn((groups, groups), |(left, right)| {
        wide.slice(of_group(left)).dot(&effects.slice(s![right, ..]).slice(of_group(left)))
    });
    // A group whose codes are all 0 keeps its scale.
    for group in 0..groups {
        if a[(group, group)] == 0.0 {
            a[(group, group)] = 1.0;
        }
    }
    let Ok(l) = gptq::cholesky(&a) else { return };
    let b =
        (0..groups).map(|group| wide.slice(of_group(group)).dot(&target.slice(of_group(group))));
    let mut solved: Vec<f64> = b.collect();
    for row in 0..groups {
        let known: f64 = (0..row).map(|k| l[(row, k)] * solved[k]).sum();
        solved[row] = (solved[row] - known) / l[(row, row)];
    }
    for row in (0..groups).rev() {
        let known: f64 = (row + 1..groups).map(|k| l[(k, row)] * solved[k]).sum();
        solved[row] = (solved[row] - known) / l[(row, row)];
    }
    for (scale, solved) in scales.iter_mut().zip(solved) {
        let fitted = stored(solved as f32, grid);
        if fitted != 0.0 && fitted.is_finite() {
            *scale = fitted;
        }
    }
}
