//! The reference, which the chapter shows piece by piece.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::{GptqError, Grid, GroupScales, Hessian, Rounded, Settings};

// ANCHOR: add_batch
/// Adds the tokens of `x`, `[tokens, in_features]`, to the Hessian. `h.matrix` is then
/// `2 / n * sum of x x^T` over the `n` tokens of all batches so far, and `h.tokens` is `n`.
///
/// Sums are in `f64`. A batch without tokens changes nothing.
///
/// # Errors
/// [`GptqError::FeaturesDiffer`] if `x` has another width than the Hessian, [`GptqError::NotFinite`]
/// with the first value of "the batch" that is NaN or infinite. The Hessian is then as before.
pub fn add_batch(h: &mut Hessian, x: &Array2<f32>) -> Result<(), GptqError> {
    same_features("the batch", x.ncols(), h)?;
    check_finite("the batch", x)?;
    if x.nrows() == 0 {
        return Ok(());
    }
    let (before, after) = (h.tokens, h.tokens + x.nrows());
    let x = x.mapv(f64::from);
    // A running mean: the old mean counts for the tokens before, each new token for one.
    let (old, new) = (before as f64 / after as f64, 2.0 / after as f64);
    general_mat_mul(new, &x.t(), &x, old, &mut h.matrix);
    h.tokens = after;
    Ok(())
}
// ANCHOR_END: add_batch

// ANCHOR: prepare
/// The weight, `[out_features, in_features]`, and the Hessian as the loop needs them, both in `f64`.
///
/// First, an input that was 0 in every token is **dead**: its diagonal element is 0. It becomes 1, and
/// the column of the weight becomes 0. Then `damping` times the mean of the diagonal is added to each
/// element of the diagonal.
///
/// # Errors
/// [`GptqError::NoTokens`], [`GptqError::FeaturesDiffer`] and [`GptqError::NotFinite`] of "the weight",
/// [`GptqError::DampingOutOfRange`] if `damping` is negative, NaN or infinite.
pub fn prepare(
    w: &Array2<f32>,
    h: &Hessian,
    damping: f64,
) -> Result<(Array2<f64>, Array2<f64>), GptqError> {
    same_features("the weight", w.ncols(), h)?;
    check_finite("the weight", w)?;
    if h.tokens == 0 {
        return Err(GptqError::NoTokens);
    }
    if !(damping.is_finite() && damping >= 0.0) {
        return Err(GptqError::DampingOutOfRange(damping));
    }
    let (mut w, mut h) = (w.mapv(f64::from), h.matrix.clone());
    for column in 0..h.ncols() {
        if h[(column, column)] == 0.0 {
            h[(column, column)] = 1.0;
            w.column_mut(column).fill(0.0);
        }
    }
    // After the dead columns, because damping makes their diagonal elements positive.
    let damp = damping * h.diag().mean().unwrap_or(0.0);
    h.diag_mut().mapv_inplace(|element| element + damp);
    Ok((w, h))
}
// ANCHOR_END: prepare

// ANCHOR: cholesky
/// The Cholesky factor of a symmetric matrix: lower triangular `L`, zeros above the diagonal, with
/// `L L^T = a`. Only the lower half of `a` is read.
///
/// # Errors
/// [`GptqError::NotSquare`]; [`GptqError::NotPositiveDefinite`] with the first pivot (what is left of a
/// diagonal element) that is NaN, or not above `n * f64::EPSILON` times the diagonal element, because
/// so much may be left of a 0 by rounding.
pub fn cholesky(a: &Array2<f64>) -> Result<Array2<f64>, GptqError> {
    let n = a.nrows();
    if !a.is_square() {
        return Err(GptqError::NotSquare([n, a.ncols()]));
    }
    let mut l = Array2::<f64>::zeros((n, n));
    for row in 0..n {
        for column in 0..row {
            let known = l.slice(s![row, ..column]).dot(&l.slice(s![column, ..column]));
            l[(row, column)] = (a[(row, column)] - known) / l[(column, column)];
        }
        let known = l.slice(s![row, ..row]);
        let pivot = a[(row, row)] - known.dot(&known);
        let rounding = n as f64 * f64::EPSILON * a[(row, row)];
        // A comparison with NaN is false.
        if pivot.is_nan() || pivot <= rounding {
            return Err(GptqError::NotPositiveDefinite { pivot });
        }
        l[(row, row)] = pivot.sqrt();
    }
    Ok(l)
}

/// The factor that the loop reads: upper triangular `U` with `U^T U = h^-1`, zeros below the diagonal.
///
/// # Errors
/// As [`cholesky`].
pub fn inverse_factor(h: &Array2<f64>) -> Result<Array2<f64>, GptqError> {
    // Factored from the last column to the first, h is R R^T with R upper triangular. Then h^-1 is
    // R^-T R^-1, so U is R^-1, and h^-1 itself is not needed.
    let lower = cholesky(&reversed(h))?;
    Ok(reversed(&inverse_of_lower(&lower.view())))
}

/// The matrix from its last row and column to its first, in the usual order of memory: `to_owned` would
/// keep the rows backwards in memory, where the loop that reads them is slow.
fn reversed(m: &Array2<f64>) -> Array2<f64> {
    m.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned()
}

/// The inverse of a lower triangular matrix, half by half: the inverse of `[[a, 0], [b, c]]` is
/// `[[a^-1, 0], [-c^-1 b a^-1, c^-1]]`.
pub(crate) fn inverse_of_lower(l: &ArrayView2<f64>) -> Array2<f64> {
    let (n, half) = (l.nrows(), l.nrows() / 2);
    if n < 2 {
        return l.mapv(f64::recip);
    }
    let a = inverse_of_lower(&l.slice(s![..half, ..half]));
    let c = inverse_of_lower(&l.slice(s![half.., half..]));
    let mut inverse = Array2::zeros((n, n));
    let below = -c.dot(&l.slice(s![half.., ..half])).dot(&a);
    inverse.slice_mut(s![half.., ..half]).assign(&below);
    inverse.slice_mut(s![..half, ..half]).assign(&a);
    inverse.slice_mut(s![half.., half..]).assign(&c);
    inverse
}
// ANCHOR_END: cholesky

// ANCHOR: round_block
/// Rounds the columns of `w`, `[out_features, columns]`, from the first to the last. After each, the
/// columns behind it make up for its error.
///
/// `u` is the square of the factor that belongs to these columns, `[columns, columns]`, and `scales`
/// has the scale of each weight, `[out_features, columns]`. Returns the codes and the errors, both
/// `[out_features, columns]`: an error is weight minus rounded weight, divided by the diagonal element
/// of `u`. Column `k` behind a column `j` loses error times `u[(j, k)]`. Afterwards `w` has each
/// weight as it was when it was rounded.
pub fn round_block(
    w: &mut ArrayViewMut2<f64>,
    u: ArrayView2<f64>,
    scales: ArrayView2<f32>,
    grid: &Grid,
) -> (Array2<i8>, Array2<f64>) {
    let (mut codes, mut errors) = (Array2::zeros(w.dim()), Array2::zeros(w.dim()));
    for (row, mut w) in w.rows_mut().into_iter().enumerate() {
        for column in 0..w.len() {
            let (value, scale) = (w[column], scales[(row, column)]);
            let code = grid.code(value, scale);
            let error = (value - grid.value(code, scale)) / u[(column, column)];
            w.slice_mut(s![column + 1..]).scaled_add(-error, &u.slice(s![column, column + 1..]));
            codes[(row, column)] = code;
            errors[(row, column)] = error;
        }
    }
    (codes, errors)
}
// ANCHOR_END: round_block

// ANCHOR: round_static
/// The codes of all columns of `w`, `[out_features, in_features]`, under the factor `u` and the scale
/// of each weight, `[out_features, in_features]`.
///
/// [`round_block`] takes `block` columns at a time, and the columns behind the block follow in one
/// product: errors times the rows of `u` that belong to the block. The last block may be shorter.
pub fn round_static(
    w: &Array2<f64>,
    u: &Array2<f64>,
    scales: &Array2<f32>,
    block: usize,
    grid: &Grid,
) -> Array2<i8> {
    // `select` in `gptq` leaves columns together in memory, and the loop walks along rows.
    let mut w = w.as_standard_layout().into_owned();
    let mut codes = Array2::zeros(w.dim());
    for start in (0..w.ncols()).step_by(block) {
        let columns = start..w.ncols().min(start + block);
        let scales = scales.slice(s![.., columns.clone()]);
        let rounded = round_and_update(&mut w, u, columns.clone(), scales, grid);
        codes.slice_mut(s![.., columns]).assign(&rounded);
    }
    codes
}

/// Rounds `columns` of `w` and updates every column behind them.
fn round_and_update(
    w: &mut Array2<f64>,
    u: &Array2<f64>,
    columns: Range<usize>,
    scales: ArrayView2<f32>,
    grid: &Grid,
) -> Array2<i8> {
    let end = columns.end;
    let (mut done, mut rest) = w.view_mut().split_at(Axis(1), end);
    let mut now = done.slice_mut(s![.., columns.start..]);
    let of_block = u.slice(s![columns.clone(), columns.clone()]);
    let (codes, errors) = round_block(&mut now, of_block, scales, grid);
    general_mat_mul(-1.0, &errors, &u.slice(s![columns, end..]), 1.0, &mut rest);
    codes
}
// ANCHOR_END: round_static

// ANCHOR: round_fresh
/// The scales of `w`, `[out_features, in_features]`, by the rule of `grid`, one for every `group_size`
/// neighbours inside a row: `[out_features, in_features / group_size]`.
///
/// # Errors
/// [`GptqError::ScaleOverflow`] with the first scale that is infinite.
pub fn group_scales(
    w: ArrayView2<f64>,
    group_size: usize,
    grid: &Grid,
) -> Result<Array2<f32>, GptqError> {
    let mut scales = Array2::zeros((w.nrows(), w.ncols() / group_size));
    for ((row, group), scale) in scales.indexed_iter_mut() {
        let weights = w.slice(s![row, group * group_size..(group + 1) * group_size]);
        let absmax = weights.fold(0.0, |max: f64, weight| max.max(weight.abs())) as f32;
        *scale = grid.scale(absmax);
        if scale.is_infinite() {
            return Err(GptqError::ScaleOverflow { row, group, absmax });
        }
    }
    Ok(scales)
}

/// As [`round_static`], but the scale of a group is computed from its weights as they are when its
/// first column is rounded, with the updates of every column before. Returns codes and scales,
/// `[out_features, in_features / group_size]`. `block` changes no code and no scale.
///
/// # Errors
/// As [`group_scales`].
pub fn round_fresh(
    w: &Array2<f64>,
    u: &Array2<f64>,
    group_size: usize,
    block: usize,
    grid: &Grid,
) -> Result<(Array2<i8>, Array2<f32>), GptqError> {
    let mut w = w.clone();
    let mut codes = Array2::zeros(w.dim());
    let mut scales = Array2::zeros((w.nrows(), w.ncols() / group_size));
    for group in 0..scales.ncols() {
        let (first, end) = (group * group_size, (group + 1) * group_size);
        let of_group = group_scales(w.slice(s![.., first..end]), group_size, grid)
            .map_err(|error| in_group(error, group))?;
        scales.column_mut(group).assign(&of_group.column(0));
        // A block ends where a group ends, so that a group begins with every update made.
        for start in (first..end).step_by(block) {
            let columns = start..end.min(start + block);
            let each = of_group.broadcast((w.nrows(), columns.len()));
            let each = each.unwrap_or(of_group.view());
            let rounded = round_and_update(&mut w, u, columns.clone(), each, grid);
            codes.slice_mut(s![.., columns]).assign(&rounded);
        }
    }
    Ok((codes, scales))
}

/// An overflow in the only group of a slice, with the group's number in the whole row.
fn in_group(error: GptqError, group: usize) -> GptqError {
    match error {
        GptqError::ScaleOverflow { row, absmax, .. } => {
            GptqError::ScaleOverflow { row, group, absmax }
        }
        other => other,
    }
}
// ANCHOR_END: round_fresh

// ANCHOR: gptq
/// The columns in **act-order**: by their diagonal elements in `h`, from the largest to the smallest.
/// Columns with equal elements keep their order.
pub fn activation_order(h: &Array2<f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..h.ncols()).collect();
    order.sort_by(|&a, &b| h[(b, b)].total_cmp(&h[(a, a)]));
    order
}

/// The codes and scales of `w`, `[out_features, in_features]`, under the Hessian `h` of its inputs.
///
/// With act-order the columns are rounded in [`activation_order`], and each keeps the scale of the
/// group in which it stands in `w`. Codes come back in the order of `w`. Static scales are those of the
/// weight after dead columns have become 0.
///
/// # Errors
/// Those of [`Settings::check`], [`prepare`], [`inverse_factor`] and [`group_scales`].
pub fn gptq(w: &Array2<f32>, h: &Hessian, settings: &Settings) -> Result<Rounded, GptqError> {
    let Settings { grid, group_size, block, .. } = *settings;
    settings.check(w.ncols())?;
    let (w, h) = prepare(w, h, settings.damping)?;
    if settings.scales == GroupScales::Fresh {
        let (codes, scales) = round_fresh(&w, &inverse_factor(&h)?, group_size, block, &grid)?;
        return Rounded::new(codes, scales);
    }
    let scales = group_scales(w.view(), group_size, &grid)?;
    let in_order = || (0..w.ncols()).collect();
    let order = if settings.act_order { activation_order(&h) } else { in_order() };
    let u = inverse_factor(&h.select(Axis(0), &order).select(Axis(1), &order))?;
    let each = Array2::from_shape_fn(w.dim(), |(row, at)| scales[(row, order[at] / group_size)]);
    let rounded = round_static(&w.select(Axis(1), &order), &u, &each, block, &grid);
    let mut codes = Array2::zeros(w.dim());
    for (at, &column) in order.iter().enumerate() {
        codes.column_mut(column).assign(&rounded.column(at));
    }
    Rounded::new(codes, scales)
}
// ANCHOR_END: gptq

/// Refuses a tensor that has another number of features than the Hessian.
fn same_features(what: &'static str, found: usize, h: &Hessian) -> Result<(), GptqError> {
    let expected = h.matrix.ncols();
    if found == expected {
        return Ok(());
    }
    Err(GptqError::FeaturesDiffer { what, found, expected })
}

/// Refuses a matrix that holds NaN or infinity.
fn check_finite(what: &'static str, m: &Array2<f32>) -> Result<(), GptqError> {
    match m.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(GptqError::NotFinite { what, row, column, value }),
        None => Ok(()),
    }
}
