//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-06`, or `LAB_IMPL=starter cargo test -p lab-06-gptq`. On the
//! untouched file every test of the spec fails, because every body is a `todo!`.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::{GptqError, Grid, Hessian, Rounded, Settings};

/// Task 1. Adds the tokens of `x`, `[tokens, in_features]`, to the Hessian. `h.matrix` is then `2 /
/// n * sum of x x^T` over the `n` tokens of all batches so far, and `h.tokens` is `n`.
///
/// Sums are in `f64`. A batch without tokens changes nothing.
///
/// # Errors
/// [`GptqError::FeaturesDiffer`] if `x` has another width than the Hessian, [`GptqError::NotFinite`]
/// with the first value of "the batch" that is NaN or infinite. The Hessian is then as before.
pub fn add_batch(h: &mut Hessian, x: &Array2<f32>) -> Result<(), GptqError> {
    todo!("task 1: the mean of {} old and {} new tokens, in f64", h.tokens, x.nrows())
}

/// Task 2. The weight, `[out_features, in_features]`, and the Hessian as the loop needs them, both
/// in `f64`.
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
    todo!(
        "task 2: the dead columns of {:?} and {:?}, then damping {damping}",
        w.dim(),
        h.matrix.dim()
    )
}

/// Task 3. The Cholesky factor of a symmetric matrix: lower triangular `L`, zeros above the
/// diagonal, with `L L^T = a`. Only the lower half of `a` is read.
///
/// # Errors
/// [`GptqError::NotSquare`]; [`GptqError::NotPositiveDefinite`] with the first pivot (what is left of a
/// diagonal element) that is NaN, or not above `n * f64::EPSILON` times the diagonal element, because
/// so much may be left of a 0 by rounding.
pub fn cholesky(a: &Array2<f64>) -> Result<Array2<f64>, GptqError> {
    todo!("task 3: L L^T of {:?}, row by row", a.dim())
}

/// Task 3. The factor that the loop reads: upper triangular `U` with `U^T U = h^-1`, zeros below
/// the diagonal.
///
/// # Errors
/// As [`cholesky`].
pub fn inverse_factor(h: &Array2<f64>) -> Result<Array2<f64>, GptqError> {
    todo!("task 3: the upper factor of the inverse of {:?}", h.dim())
}

/// Task 4. Rounds the columns of `w`, `[out_features, columns]`, from the first to the last. After
/// each, the columns behind it make up for its error.
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
    todo!(
        "task 4: {:?} rounded on {grid:?} under {:?}, each error through the rows of {:?}",
        w.dim(),
        scales.dim(),
        u.dim()
    )
}

/// Task 5. The codes of all columns of `w`, `[out_features, in_features]`, under the factor `u` and
/// the scale of each weight, `[out_features, in_features]`.
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
    todo!(
        "task 5: {:?} in blocks of {block} under {:?} and {:?} on {grid:?}",
        w.dim(),
        u.dim(),
        scales.dim()
    )
}

/// Task 6. The scales of `w`, `[out_features, in_features]`, by the rule of `grid`, one for every
/// `group_size` neighbours inside a row: `[out_features, in_features / group_size]`.
///
/// # Errors
/// [`GptqError::ScaleOverflow`] with the first scale that is infinite.
pub fn group_scales(
    w: ArrayView2<f64>,
    group_size: usize,
    grid: &Grid,
) -> Result<Array2<f32>, GptqError> {
    todo!("task 6: a scale for every {group_size} neighbours of {:?} on {grid:?}", w.dim())
}

/// Task 6. As [`round_static`], but the scale of a group is computed from its weights as they are
/// when its first column is rounded, with the updates of every column before. Returns codes and
/// scales, `[out_features, in_features / group_size]`. `block` changes no code and no scale.
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
    todo!(
        "task 6: {:?} in groups of {group_size} and blocks of {block} under {:?} on {grid:?}",
        w.dim(),
        u.dim()
    )
}

/// Task 7. The columns in **act-order**: by their diagonal elements in `h`, from the largest to the
/// smallest. Columns with equal elements keep their order.
pub fn activation_order(h: &Array2<f64>) -> Vec<usize> {
    todo!("task 7: {} columns by their diagonal elements", h.ncols())
}

/// Task 7. The codes and scales of `w`, `[out_features, in_features]`, under the Hessian `h` of its
/// inputs.
///
/// With act-order the columns are rounded in [`activation_order`], and each keeps the scale of the
/// group in which it stands in `w`. Codes come back in the order of `w`. Static scales are those of the
/// weight after dead columns have become 0.
///
/// # Errors
/// Those of [`Settings::check`], [`prepare`], [`inverse_factor`] and [`group_scales`].
pub fn gptq(w: &Array2<f32>, h: &Hessian, settings: &Settings) -> Result<Rounded, GptqError> {
    todo!("task 7: {:?} under a Hessian of {} tokens, as {settings:?}", w.dim(), h.tokens)
}
