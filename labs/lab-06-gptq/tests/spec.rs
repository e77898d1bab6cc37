//! The spec of lab 06. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-06-gptq` grades `src/starter.rs`.

use gptq::{
    GptqError, Grid, GroupScales, Hessian, Int4Error, Rounded, Settings, Stored, activation_order,
    add_batch, cholesky, gptq, group_scales, inverse_factor, prepare, round_block, round_fresh,
    round_static,
};
use kit::data::normal_matrix;
use kit::difference::assert_same;
use kit::real_slice::{self, Window};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, Axis, array, concatenate, s};
use serde::Deserialize;

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Correlated inputs, `[tokens, features]`: each feature is a mix of its own source and of those before
/// it, and every third feature is larger.
fn inputs(seed: u64, tokens: usize, features: usize) -> Array2<f32> {
    let mix = normal_matrix(seed + 1000, features, features);
    let large = |column: usize| if column % 3 == 1 { 4.0 } else { 1.0 };
    let mix = Array2::from_shape_fn(mix.dim(), |(source, column)| {
        let own = if source == column { 1.0 } else { 0.0 };
        (own + 0.5 * mix[(source, column)]) * large(column)
    });
    normal_matrix(seed, tokens, features).dot(&mix)
}

/// The Hessian of `x` without the code under test.
fn hessian(x: &Array2<f32>) -> Hessian {
    let wide = x.mapv(f64::from);
    let mut h = Hessian::new(x.ncols());
    general_mat_mul(2.0 / x.nrows() as f64, &wide.t(), &wide, 0.0, &mut h.matrix);
    h.tokens = x.nrows();
    h
}

/// A well-conditioned Hessian of `features` correlated inputs.
fn positive_definite(seed: u64, features: usize) -> Array2<f64> {
    let h = hessian(&inputs(seed, 8 * features, features)).matrix;
    let damp = 0.01 * h.diag().mean().unwrap_or_default();
    h + Array2::<f64>::eye(features) * damp
}

/// The solution `x` of `a x = b`, by elimination with the largest pivot.
fn solve(a: &Array2<f64>, b: &Array1<f64>) -> Array1<f64> {
    let n = b.len();
    let mut m = concatenate![Axis(1), a.view(), b.view().insert_axis(Axis(1))];
    for k in 0..n {
        let size = |row: &usize| m[(*row, k)].abs();
        let largest = (k..n).max_by(|a, b| size(a).total_cmp(&size(b))).unwrap_or(k);
        for column in 0..=n {
            m.swap((k, column), (largest, column));
        }
        for row in k + 1..n {
            let factor = m[(row, k)] / m[(k, k)];
            let (above, mut below) = m.view_mut().split_at(Axis(0), row);
            below.row_mut(0).scaled_add(-factor, &above.row(k));
        }
    }
    let mut x = Array1::zeros(n);
    for k in (0..n).rev() {
        x[k] = (m[(k, n)] - m.slice(s![k, k + 1..n]).dot(&x.slice(s![k + 1..]))) / m[(k, k)];
    }
    x
}

/// The weights of a row that are not rounded yet, where they make up best for the first ones: those that
/// minimize the error under `h` while the first weights are `rounded`.
fn best_rest(h: &Array2<f64>, original: ArrayView1<f64>, rounded: &Array1<f64>) -> Array1<f64> {
    let k = rounded.len();
    let moved = rounded - &original.slice(s![..k]);
    let pull = h.slice(s![k.., ..k]).dot(&moved);
    let rest = original.slice(s![k..]);
    &rest - &solve(&h.slice(s![k.., k..]).to_owned(), &pull)
}

/// The upper factor of the inverse of `h`, without the code under test: Gram and Schmidt on the columns
/// of the inverse.
fn factor(h: &Array2<f64>) -> Array2<f64> {
    let n = h.nrows();
    let unit = |k: usize| Array1::from_shape_fn(n, |row| if row == k { 1.0 } else { 0.0 });
    let mut inverse = Array2::<f64>::zeros((n, n));
    for k in 0..n {
        inverse.column_mut(k).assign(&solve(h, &unit(k)));
    }
    // Row after row of U with U^T U = inverse.
    let mut u = Array2::<f64>::zeros((n, n));
    for row in 0..n {
        let known = u.slice(s![..row, row]).dot(&u.slice(s![..row, row]));
        u[(row, row)] = (inverse[(row, row)] - known).sqrt();
        for column in row + 1..n {
            let known = u.slice(s![..row, row]).dot(&u.slice(s![..row, column]));
            u[(row, column)] = (inverse[(row, column)] - known) / u[(row, row)];
        }
    }
    u
}

/// The nearest codes with one scale for every `size` neighbours.
fn nearest(w: &Array2<f32>, size: usize, grid: &Grid) -> Rounded {
    let scales = Array2::from_shape_fn((w.nrows(), w.ncols() / size), |(row, group)| {
        let weights = w.slice(s![row, group * size..(group + 1) * size]);
        grid.scale(weights.fold(0.0, |max: f32, weight| max.max(weight.abs())))
    });
    let code = |(row, column): (usize, usize)| {
        grid.code(w[(row, column)].into(), scales[(row, column / size)])
    };
    must(Rounded::new(Array2::from_shape_fn(w.dim(), code), scales.clone()))
}

/// How far the largest difference is beyond `bound`, a share of the largest value; 0 if it is not.
fn beyond(found: &Array2<f64>, expected: &Array2<f64>, bound: f64) -> f64 {
    assert_eq!(found.dim(), expected.dim(), "the shape");
    let largest = expected.fold(0.0, |max: f64, value| max.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest);
    // Not `max`, which drops NaN.
    differences.fold(0.0, |worst, share| if share <= bound { worst } else { share })
}

/// The same matrix, kept column by column in memory.
fn by_columns<T: Clone>(m: &Array2<T>) -> Array2<T> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// The course's grid without the rounding of scales, for examples by hand.
const PLAIN: Grid = Grid { stored: Stored::F32, ..Grid::LAB_03 };

// ---- task 1: the Hessian ---------------------------------------------------------------------------

#[test]
fn the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches() {
    let batches = [
        array![[1.0, 2.0], [3.0, -1.0], [0.0, 4.0]],
        array![[5.0, 0.0]],
        array![[0.0, 1.0], [2.0, 2.0]],
    ];
    let mut h = Hessian::new(2);
    for (number, x) in batches.iter().enumerate() {
        // The last batch is kept column by column, as a transposed activation is.
        must(add_batch(&mut h, &if number == 2 { by_columns(x) } else { x.clone() }));
    }
    let sum = array![[39.0, 3.0], [3.0, 26.0]];
    let means = array![[182.0 / 9.0, 10.0 / 9.0], [10.0 / 9.0, 19.0 / 3.0]];
    let halves = array![[97.0 / 6.0, 11.0 / 6.0], [11.0 / 6.0, 6.0]];
    let signatures = [
        (&sum * 1.0, "the sum: divide by the tokens, and mind the 2"),
        (&sum * 2.0, "twice the sum: divide by the number of tokens"),
        (&sum / 6.0, "the mean: the second derivative of a square has a 2"),
        (&sum * 2.0 / 3.0, "twice the sum over 3 batches: divide by 6 tokens"),
        (array![[4.0, 4.0], [4.0, 5.0]], "the last batch: the old mean counts for its tokens"),
        (means, "the mean of three means: a batch counts for its tokens"),
        (halves, "the means, half and half: the old mean counts for all its tokens"),
    ];
    let found = |m: &Array2<f64>| beyond(&h.matrix, m, 1e-14) == 0.0;
    let meant = signatures.iter().find(|(pattern, _)| found(pattern));
    let diagnosis = meant.map_or("look at `add_batch`: a running mean", |(_, meaning)| meaning);
    assert!(found(&(&sum / 3.0)), "{}\nis not 2 / 6 times\n{sum}\nYou have {diagnosis}", h.matrix);
    assert_eq!(h.tokens, 6, "3 + 1 + 2 tokens were added");
    let before = h.clone();
    must(add_batch(&mut h, &Array2::zeros((0, 2))));
    assert_eq!(h, before, "a batch without tokens changes nothing: guard 0 / 0");
    let mut empty = Hessian::new(2);
    must(add_batch(&mut empty, &Array2::zeros((0, 2))));
    assert_eq!(empty, Hessian::new(2), "a first batch without tokens: 0 / 0 is NaN");
}

#[test]
fn the_hessian_is_summed_in_f64() {
    let mut h = Hessian::new(2);
    must(add_batch(&mut h, &array![[8193.0, 300.0]]));
    assert!(
        h.matrix.iter().all(|value| value.is_finite()),
        "8193 and 300 gave\n{}\n300 * 300 is beyond f16, whose largest number is 65504",
        h.matrix
    );
    assert_eq!(
        h.matrix,
        array![[134_250_498.0, 4_915_800.0], [4_915_800.0, 180_000.0]],
        "\n8193 * 8193 has 27 bits and f32 keeps 24: widen the inputs before the product"
    );
}

#[test]
fn a_batch_of_another_width_and_nan_are_refused_and_change_nothing() {
    let good = hessian(&array![[1.0, 2.0], [0.0, 1.0]]);
    let mut h = good.clone();
    let refused = add_batch(&mut h, &array![[1.0, 2.0, 3.0]]).err();
    let expected = GptqError::FeaturesDiffer { what: "the batch", found: 3, expected: 2 };
    assert_eq!(refused, Some(expected), "three features for a Hessian of two");
    for value in [f32::NAN, f32::INFINITY] {
        let refused = add_batch(&mut h, &array![[1.0, 2.0], [3.0, 1.0], [value, 1.0]]).err();
        let place = match refused {
            Some(GptqError::NotFinite { what: "the batch", row, column, .. }) => (row, column),
            other => panic!("{value} in a batch gave {other:?}: one such token spoils every sum"),
        };
        assert_eq!(place, (2, 0), "the {value} is in token 2, feature 0");
    }
    assert_eq!(h, good, "a batch that is refused must not have changed the Hessian");
}

// ---- task 2: dead columns, then damping ------------------------------------------------------------

/// A Hessian whose second input was 0 in every token, and a weight.
fn with_dead() -> (Array2<f32>, Hessian) {
    let matrix = array![
        [4.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 0.0, 8.0, 2.0],
        [0.0, 0.0, 2.0, 3.0]
    ];
    (array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], Hessian { matrix, tokens: 2 })
}

#[test]
fn a_dead_column_is_1_and_0_and_damping_comes_after() {
    let (w, h) = with_dead();
    let (weight, damped) = must(prepare(&w, &h, 0.25));
    let diagonal = damped.diag().to_vec();
    let diagnosis = match diagonal.as_slice() {
        [_, 0.937_5, ..] => "damping before the dead columns: no diagonal element is 0 then",
        [_, 1.0, ..] => "the dead column is not damped: add to each element of the diagonal",
        [_, 1.937_5, ..] => "the mean of the diagonal before the 1: fix dead columns first",
        [_, 1.25, 10.0, _] => "a share of each element: add the same number to all",
        [_, 1.25, 8.25, _] => "the share itself: multiply by the mean of the diagonal",
        [_, 5.0, ..] => "the sum of the diagonal: take the mean",
        [_, 3.0, ..] => "the largest element: take the mean",
        _ => "look at `prepare`: 1 where the diagonal is 0, then a quarter of the mean, which is 4",
    };
    assert_eq!(diagonal, [5.0, 2.0, 9.0, 4.0], "\n{diagnosis}");
    let mut expected = h.matrix.clone();
    expected.diag_mut().assign(&Array1::from(diagonal));
    assert_same(damped.view(), expected.view(), "Damping changes the diagonal and nothing else");
    let expected = array![[1.0, 0.0, 3.0, 4.0], [5.0, 0.0, 7.0, 8.0]];
    assert_same(
        weight.view(),
        expected.view(),
        "The column of the dead input becomes 0 in every row, and no other column changes",
    );
    let (_, plain) = must(prepare(&w, &h, 0.0));
    assert_eq!(plain.diag().to_vec(), [4.0, 1.0, 8.0, 3.0], "damping 0 adds nothing");
}

#[test]
fn a_hessian_without_tokens_and_a_damping_that_is_none_are_refused() {
    let (w, h) = with_dead();
    let empty = Hessian::new(4);
    assert_eq!(
        prepare(&w, &empty, 0.01).err(),
        Some(GptqError::NoTokens),
        "without a token every column would be dead and every weight 0"
    );
    for damping in [-0.01, f64::INFINITY] {
        let refused = prepare(&w, &h, damping).err();
        assert_eq!(refused, Some(GptqError::DampingOutOfRange(damping)), "damping {damping}");
    }
    let refused = prepare(&w, &h, f64::NAN).err();
    assert!(
        matches!(refused, Some(GptqError::DampingOutOfRange(damping)) if damping.is_nan()),
        "damping NaN gave {refused:?}: `damping < 0.0` is false for NaN"
    );
    let narrow = w.slice(s![.., ..3]).to_owned();
    let expected = GptqError::FeaturesDiffer { what: "the weight", found: 3, expected: 4 };
    assert_eq!(prepare(&narrow, &h, 0.01).err(), Some(expected), "a weight of three columns");
    let mut bad = w;
    bad[(1, 3)] = f32::INFINITY;
    let value = f32::INFINITY;
    let expected = GptqError::NotFinite { what: "the weight", row: 1, column: 3, value };
    assert_eq!(prepare(&bad, &h, 0.01).err(), Some(expected), "an infinite weight");
}

// ---- task 3: the factor of the inverse -------------------------------------------------------------

#[test]
fn the_lower_factor_times_its_transpose_is_the_matrix() {
    let l = array![[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [-1.0, 2.0, 0.5]];
    let a = l.dot(&l.t());
    let found = must(cholesky(&a));
    let diagnosis = if found == l.t() { "That is the upper factor" } else { "Look at `cholesky`" };
    assert_same(found.view(), l.view(), diagnosis);
    let mut lower_half = a.clone();
    lower_half[(0, 2)] = f64::NAN;
    lower_half[(0, 1)] = 77.0;
    let found = must(cholesky(&lower_half));
    assert_same(found.view(), l.view(), "Only the lower half of the matrix is read");
    let a = positive_definite(1, 20);
    let l = must(cholesky(&a));
    let worst = beyond(&l.dot(&l.t()), &a, 1e-13);
    assert!(worst == 0.0, "L L^T of 20 columns is off by {worst:.1e} of the largest element");
}

#[test]
fn a_matrix_that_is_not_positive_definite_is_an_error_that_names_damping() {
    // The square of a rounded root is a little less than 0.7, so a pivot of 1e-16 is left.
    let rank_one = array![[0.7, 0.7], [0.7, 0.7]];
    for (a, what) in [
        (array![[1.0, 2.0], [2.0, 1.0]], "an eigenvalue of -1"),
        (array![[4.0, 2.0], [2.0, 1.0]], "two inputs that are always alike"),
        (rank_one, "two inputs that are always alike, but for rounding"),
        (array![[1.0, 0.0], [0.0, 0.0]], "an input that was never there"),
        (array![[1.0, f64::NAN], [f64::NAN, 1.0]], "NaN"),
    ] {
        for (name, result) in [("cholesky", cholesky(&a)), ("inverse_factor", inverse_factor(&a))] {
            let Err(error) = result else { panic!("{name} factored {what}:\n{a}") };
            let text = error.to_string();
            assert!(text.contains("damping"), "{name} of {what}: {text}");
        }
    }
    let pivot = cholesky(&array![[1.0, 2.0], [2.0, 1.0]]).err();
    let expected = GptqError::NotPositiveDefinite { pivot: -3.0 };
    assert_eq!(pivot, Some(expected), "1 - 2 * 2 is what is left of the second element");
    let wide = cholesky(&Array2::zeros((2, 3))).err();
    assert_eq!(wide, Some(GptqError::NotSquare([2, 3])), "two rows and three columns");
    // 10 tokens span 10 of 16 directions.
    let few = hessian(&inputs(3, 10, 16));
    let w = normal_matrix(4, 2, 16);
    let settings = |damping| Settings { damping, ..Settings::new(Grid::LAB_03, 16) };
    let refused = gptq(&w, &few, &settings(0.0));
    assert!(
        matches!(refused, Err(GptqError::NotPositiveDefinite { .. })),
        "10 tokens for 16 inputs without damping: rounding leaves small pivots above 0, so compare \
         with `n * f64::EPSILON` times the diagonal element"
    );
    must(gptq(&w, &few, &settings(0.01)));
}

#[test]
fn u_is_upper_triangular_and_its_transpose_times_itself_is_the_inverse() {
    let n = 20;
    let h = positive_definite(2, n);
    let u = must(inverse_factor(&h));
    let is_upper = u.indexed_iter().all(|((row, column), &value)| row <= column || value == 0.0);
    assert!(is_upper, "U has values below its diagonal: the loop reads row j from column j on");
    let expected = factor(&h);
    let is_identity = |product: Array2<f64>| beyond(&product.dot(&h), &Array2::eye(n), 1e-9) == 0.0;
    let diagnosis = if is_identity(u.dot(&u.t())) {
        "U U^T is the inverse: that is the factor from the other end"
    } else if beyond(&u.t().dot(&u), &h, 1e-9) == 0.0 {
        "U^T U is h itself: the loop needs the factor of the inverse"
    } else if u.diag().iter().any(|&value| value < 0.0) {
        "the diagonal of a Cholesky factor is positive"
    } else {
        "U^T U is not the inverse of h"
    };
    let worst = beyond(&u, &expected, 1e-9);
    assert!(worst == 0.0, "{diagnosis} (off by {worst:.1e} of the largest element)");
}

// ---- task 4: the loop with feedback ----------------------------------------------------------------

#[test]
fn under_the_identity_the_codes_are_the_nearest() {
    let w = normal_matrix(5, 6, 24);
    for grid in [Grid::LAB_03, Grid::LLM_COMPRESSOR, Grid::LAB_01] {
        let expected = nearest(&w, 24, &grid);
        let scales = expected.scales().broadcast(w.dim()).expect("a column stretches").to_owned();
        let mut wide = w.mapv(f64::from);
        let eye = Array2::eye(24);
        let (codes, errors) = round_block(&mut wide.view_mut(), eye.view(), scales.view(), &grid);
        let why = "Inputs that are not correlated cannot make up for each other";
        assert_same(codes.view(), expected.q().view(), why);
        let left = Array2::from_shape_fn(w.dim(), |(row, column)| {
            f64::from(w[(row, column)]) - grid.value(codes[(row, column)], scales[(row, column)])
        });
        let worst = beyond(&errors, &left, 1e-12);
        assert!(
            worst == 0.0,
            "an error is weight minus rounded weight under U = 1: off by {worst}"
        );
        assert_same(wide.view(), w.mapv(f64::from).view(), "No weight moves under the identity");
    }
}

#[test]
fn each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before() {
    let (n, rows) = (10, 3);
    let h = positive_definite(7, n);
    let original = normal_matrix(8, rows, n).mapv(f64::from);
    // Each weight has a scale of its own, as after act-order.
    let scales = Array2::from_shape_fn((rows, n), |(row, column)| {
        0.25 + 0.03125 * ((5 * row + 3 * column) % 8) as f32
    });
    let mut w = original.clone();
    let (codes, _) = round_block(&mut w.view_mut(), factor(&h).view(), scales.view(), &PLAIN);
    for row in 0..rows {
        for column in 0..n {
            let value = |k: usize| PLAIN.value(codes[(row, k)], scales[(row, k)]);
            let rounded = Array1::from_iter((0..column).map(value));
            let best = best_rest(&h, original.row(row), &rounded)[0];
            let (found, was) = (w[(row, column)], original[(row, column)]);
            let hint = match found {
                found if (found - was).abs() < 1e-12 => "That is the weight before any feedback",
                _ => "Divide the error by U[j, j], multiply by U[j, k], and leave rounded columns",
            };
            assert!(
                (found - best).abs() < 1e-9,
                "row {row}, column {column} was {was:.4} and was rounded at {found:.4}. It makes up \
                 best for the columns before at {best:.4}. {hint}"
            );
            let code = PLAIN.code(found, scales[(row, column)]);
            assert_eq!(
                codes[(row, column)],
                code,
                "row {row}, column {column}: {found:.4} over the scale of this weight"
            );
        }
    }
}

#[test]
fn after_k_columns_the_rest_is_the_least_squares_optimum_given_those() {
    let (n, rows) = (9, 4);
    let h = positive_definite(9, n);
    let u = factor(&h);
    let original = normal_matrix(10, rows, n).mapv(f64::from);
    for k in 1..n {
        let scales = Array2::from_elem((rows, k), 0.4);
        let mut first = original.slice(s![.., ..k]).to_owned();
        let of_block = u.slice(s![..k, ..k]);
        let (codes, errors) = round_block(&mut first.view_mut(), of_block, scales.view(), &PLAIN);
        let rest = &original.slice(s![.., k..]) - &errors.dot(&u.slice(s![..k, k..]));
        for row in 0..rows {
            let rounded = codes.row(row).mapv(|code| PLAIN.value(code, 0.4));
            let best = best_rest(&h, original.row(row), &rounded);
            let worst = (&rest.row(row) - &best).fold(0.0, |max: f64, d| max.max(d.abs()));
            assert!(
                worst < 1e-9,
                "{k} of {n} columns are rounded, and the errors you returned move the rest of row \
                 {row} {worst:.2e} away from the least squares solution: an error is weight minus \
                 rounded weight, over U[j, j]"
            );
        }
    }
}

#[test]
fn a_row_is_rounded_as_if_it_were_alone() {
    let (n, rows) = (12, 5);
    let u = factor(&positive_definite(11, n));
    let w = normal_matrix(12, rows, n).mapv(f64::from);
    let scales = Array2::from_shape_fn((rows, n), |(row, _)| 0.2 + 0.125 * row as f32);
    let (all, _) = round_block(&mut w.clone().view_mut(), u.view(), scales.view(), &PLAIN);
    for row in 0..rows {
        let only = s![row..=row, ..];
        let mut w = w.slice(only).to_owned();
        let (alone, _) = round_block(&mut w.view_mut(), u.view(), scales.slice(only), &PLAIN);
        let why = format!("Row {row} beside four others, and alone: rows share U and nothing else");
        assert_same(all.slice(only), alone.view(), why);
    }
}

// ---- task 5: lazy blocks ---------------------------------------------------------------------------

#[test]
fn the_block_size_changes_no_code() {
    let (n, rows) = (40, 6);
    let u = factor(&positive_definite(13, n));
    let w = normal_matrix(14, rows, n).mapv(f64::from);
    let scales = Array2::from_shape_fn((rows, n), |(row, column)| {
        0.25 + 0.03125 * ((3 * row + column) % 8) as f32
    });
    let (expected, _) = round_block(&mut w.clone().view_mut(), u.view(), scales.view(), &PLAIN);
    for block in [40, 64, 16, 7, 39, 1] {
        let found = round_static(&w, &u, &scales, block, &PLAIN);
        let same = found.columns().into_iter().zip(expected.columns());
        let same = same.take_while(|(a, b)| a == b).count();
        assert!(
            same == n,
            "blocks of {block} of {n} columns give the codes of one block up to column {same}. {}",
            match same {
                same if same == block =>
                    "The first column behind a block is wrong: subtract errors \
                     times the rows of U of this block, in the columns behind it",
                same if same > block =>
                    "A later block is wrong: its U begins at its first column \
                     in both directions, its scales too",
                _ => "The first block is wrong: it is columns 0 to the block size",
            }
        );
    }
}

// ---- task 6: scales from inside the loop -----------------------------------------------------------

#[test]
fn a_group_has_the_scale_of_its_absmax() {
    let w = array![[7.0, -1.0, 0.5, -14.0], [0.0, 0.0, -3.5, 2.0]];
    let scales = must(group_scales(w.view(), 2, &Grid::LAB_03));
    assert_eq!(scales, array![[1.0, 2.0], [1.0, 0.5]], "absmax over 7, and 1 for a group of zeros");
    let whole = must(group_scales(w.view(), 4, &Grid::LAB_01));
    assert_eq!(whole, array![[14.0 / 127.0], [3.5 / 127.0]], "one group for each row");
    let wide = array![[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, -600_000.0]];
    let refused = group_scales(wide.view(), 2, &Grid::LAB_03).err();
    let expected = GptqError::ScaleOverflow { row: 1, group: 1, absmax: 600_000.0 };
    assert_eq!(refused, Some(expected), "600,000 over 7 is beyond f16: its codes would all be 0");
}

#[test]
fn a_fresh_scale_is_that_of_the_weights_when_the_group_begins() {
    let (n, rows, size) = (24, 5, 8);
    let u = factor(&positive_definite(15, n));
    let w = normal_matrix(16, rows, n).mapv(f64::from);
    // Column by column, every column behind updated at once.
    let (mut now, mut codes) = (w.clone(), Array2::zeros((rows, n)));
    let mut expected = Array2::zeros((rows, n / size));
    for column in 0..n {
        for row in 0..rows {
            let group = column / size;
            if column.is_multiple_of(size) {
                let weights = now.slice(s![row, column..column + size]);
                let absmax = weights.fold(0.0, |max: f64, weight| max.max(weight.abs()));
                expected[(row, group)] = Grid::LLM_COMPRESSOR.scale(absmax as f32);
            }
            let (value, scale) = (now[(row, column)], expected[(row, group)]);
            let code = Grid::LLM_COMPRESSOR.code(value, scale);
            let error = value - Grid::LLM_COMPRESSOR.value(code, scale);
            let behind = u.slice(s![column, column + 1..]);
            let factor = -error / u[(column, column)];
            now.slice_mut(s![row, column + 1..]).scaled_add(factor, &behind);
            codes[(row, column)] = code;
        }
    }
    let before = must(group_scales(w.view(), size, &Grid::LLM_COMPRESSOR));
    for block in [8, 5, 1, 12, 24, 128] {
        let (found, scales) = must(round_fresh(&w, &u, size, block, &Grid::LLM_COMPRESSOR));
        let hint = if scales == before {
            "Those are the scales before anything was rounded"
        } else if scales.column(0) == expected.column(0) {
            "A later group misses an update: end a block where a group ends, then take its absmax"
        } else {
            "The first group begins before anything was rounded"
        };
        let why = format!("blocks of {block}, groups of {size}. {hint}");
        assert_same(scales.view(), expected.view(), why);
        assert_same(found.view(), codes.view(), format!("codes in blocks of {block}"));
    }
    let wide = array![[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, -600_000.0]];
    let refused = round_fresh(&wide, &Array2::eye(4), 2, 2, &Grid::LAB_03).err();
    let expected = GptqError::ScaleOverflow { row: 1, group: 1, absmax: 600_000.0 };
    assert_eq!(refused, Some(expected), "the group is counted in the whole row");
}

// ---- task 7: all of it -----------------------------------------------------------------------------

#[test]
fn act_order_takes_the_largest_diagonal_element_first() {
    let h = Array2::from_diag(&array![2.0, 9.0, 2.0, 0.5, 9.0, 4.0]);
    let order = activation_order(&h);
    let diagnosis = match order.as_slice() {
        [3, 0, 2, 5, 1, 4] => "from the smallest to the largest",
        [4, 1, 5, 2, 0, 3] => {
            "the reverse of the ascending order: equal elements have changed places"
        }
        _ => "columns by their diagonal elements, from the largest",
    };
    assert_eq!(order, [1, 4, 5, 0, 2, 3], "\n{diagnosis}");
    let mut correlated = h;
    correlated[(3, 0)] = 50.0;
    correlated[(0, 3)] = 50.0;
    let order = activation_order(&correlated);
    assert_eq!(order, [1, 4, 5, 0, 2, 3], "only the diagonal decides");
}

/// The settings that the tests of the whole function go through.
fn all_settings(size: usize) -> [Settings; 4] {
    let plain = Settings::new(Grid::LLM_COMPRESSOR, size);
    [
        plain,
        Settings { act_order: true, block: 10, ..plain },
        Settings { scales: GroupScales::Fresh, ..plain },
        Settings { grid: Grid::LAB_03, block: 5, ..plain },
    ]
}

#[test]
fn inputs_that_are_not_correlated_get_the_nearest_codes() {
    let w = normal_matrix(17, 5, 24);
    let sizes = Array1::from_shape_fn(24, |column| 0.5 + (column * 7 % 24) as f64);
    let h = Hessian { matrix: Array2::from_diag(&sizes), tokens: 100 };
    for settings in all_settings(8) {
        let found = must(gptq(&w, &h, &settings));
        let expected = nearest(&w, 8, &settings.grid);
        let why = format!("{settings:?}");
        assert_same(found.scales().view(), expected.scales().view(), &why);
        assert_same(found.q().view(), expected.q().view(), &why);
    }
}

#[test]
fn only_the_ratios_in_the_hessian_decide() {
    let (w, h) = (normal_matrix(18, 4, 24), hessian(&inputs(19, 60, 24)));
    for settings in all_settings(8) {
        let expected = must(gptq(&w, &h, &settings));
        for power in [-60, -2, 2, 60] {
            // A power of 4, whose root is exact as well.
            let scaled = Hessian { matrix: &h.matrix * 2f64.powi(power), ..h };
            let found = must(gptq(&w, &scaled, &settings));
            let why = format!(
                "the Hessian times 2^{power}: damping is a share, and U is divided by \
                               its diagonal"
            );
            assert_same(found.q().view(), expected.q().view(), why);
        }
    }
}

#[test]
fn a_dead_column_is_0_and_moves_no_other_column() {
    let (w, mut x) = (normal_matrix(20, 4, 24), inputs(21, 80, 24));
    x.column_mut(10).fill(0.0);
    let h = hessian(&x);
    for settings in all_settings(8) {
        // Large, so that a scale of the column as it was would be seen in its group.
        let with = |value: f32| {
            let mut w = w.clone();
            w.column_mut(10).fill(value);
            must(gptq(&w, &h, &settings))
        };
        let (small, large) = (with(0.0), with(9.0));
        let zero = large.q().column(10).iter().all(|&code| code == 0);
        assert!(
            zero,
            "the column of a dead input is {}, and 0 costs nothing",
            large.q().column(10)
        );
        let why = "A dead input had a weight of 9 in place of 0: set the column to 0 first";
        assert_same(large.scales().view(), small.scales().view(), why);
        assert_same(large.q().view(), small.q().view(), why);
        let rest: Vec<usize> = (0..24).filter(|column| *column != 10).collect();
        let pick = |m: &Array2<f32>| m.select(Axis(1), &rest);
        assert!(pick(&large.values()).iter().all(|value| value.is_finite()), "NaN in the values");
    }
}

#[test]
fn with_act_order_the_order_of_the_columns_in_a_group_changes_no_code() {
    let (w, x) = (normal_matrix(22, 5, 24), inputs(23, 90, 24));
    // Whole groups change places, and columns change places inside them.
    let order: Vec<usize> =
        [2, 0, 1].iter().flat_map(|g| [5, 0, 7, 2, 1, 6, 4, 3].map(|c| 8 * g + c)).collect();
    let settings = Settings { act_order: true, ..Settings::new(Grid::LAB_03, 8) };
    let expected = must(gptq(&w, &hessian(&x), &settings));
    let (w, x) = (w.select(Axis(1), &order), x.select(Axis(1), &order));
    let found = must(gptq(&w, &hessian(&x), &settings));
    let moved = expected.scales().select(Axis(1), &[2, 0, 1]);
    assert_same(found.scales().view(), moved.view(), "The scales of the groups, moved");
    let moved = expected.q().select(Axis(1), &order);
    let why = "The same columns in another order: a column keeps the scale of the group in which it \
               stands, and its code goes back to where it stood";
    assert_same(found.q().view(), moved.view(), why);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let (w, h) = (normal_matrix(24, 2, 24), hessian(&inputs(25, 60, 24)));
    let plain = Settings::new(Grid::LAB_03, 8);
    for (settings, expected) in [
        (
            Settings { group_size: 7, ..plain },
            Int4Error::GroupDoesNotDivide { in_features: 24, group_size: 7 }.into(),
        ),
        (Settings { block: 0, ..plain }, GptqError::EmptyBlock),
        (
            Settings { act_order: true, scales: GroupScales::Fresh, ..plain },
            GptqError::ActOrderNeedsStaticScales,
        ),
        (Settings { damping: -1.0, ..plain }, GptqError::DampingOutOfRange(-1.0)),
    ] {
        assert_eq!(gptq(&w, &h, &settings).err(), Some(expected), "{settings:?}");
    }
    let refused = gptq(&w, &Hessian::new(24), &plain).err();
    assert_eq!(refused, Some(GptqError::NoTokens), "a Hessian without a token");
}

/// What `golden/make_gptq_golden.py` wrote.
#[derive(Deserialize)]
struct Golden {
    weight_times_512: Vec<Vec<f32>>,
    inputs: Vec<Vec<f32>>,
    dead_column: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    library: String,
    dead: bool,
    group_size: usize,
    act_order: bool,
    fresh: bool,
    codes: Vec<i8>,
}

fn matrix(rows: &[Vec<f32>]) -> Array2<f32> {
    let columns = rows.first().map_or(0, Vec::len);
    must(Array2::from_shape_vec((rows.len(), columns), rows.concat()))
}

#[test]
fn the_codes_are_those_of_ist_daslab_and_of_llm_compressor() {
    let golden: Golden = must(serde_json::from_str(include_str!("../golden/codes.json")));
    let w = matrix(&golden.weight_times_512) / 512.0;
    // Both libraries loop in f32, and no value of this data lies so near a tie that it shows.
    let grid = Grid { stored: Stored::F32, ..Grid::LLM_COMPRESSOR };
    for case in golden.cases {
        let mut x = matrix(&golden.inputs);
        if case.dead {
            x.column_mut(golden.dead_column).fill(0.0);
        }
        let mut h = Hessian::new(x.ncols());
        for batch in x.axis_chunks_iter(Axis(0), 48) {
            must(add_batch(&mut h, &batch.to_owned()));
        }
        let scales = if case.fresh { GroupScales::Fresh } else { GroupScales::Static };
        let settings =
            Settings { scales, act_order: case.act_order, ..Settings::new(grid, case.group_size) };
        let found = must(gptq(&w, &h, &settings));
        let expected = must(Array2::from_shape_vec(w.dim(), case.codes));
        let why = format!(
            "{}, groups of {}, act-order {}, {scales:?} scales, dead column {}",
            case.library, case.group_size, case.act_order, case.dead
        );
        assert_same(found.q().view(), expected.view(), why);
    }
}

/// Rows and columns of a matrix of the real slice that the spec takes, because it has to be fast.
const PIECE: [usize; 2] = [24, 192];

/// A piece of a weight of the slice, and its inputs in a window.
fn piece(name: &str, window: Window) -> (Array2<f32>, Array2<f32>) {
    must(real_slice::piece(name, window, PIECE))
}

#[test]
fn the_error_is_below_that_of_the_nearest_codes_on_every_matrix_of_the_slice() {
    for name in real_slice::TENSORS {
        let (w, x) = piece(name, Window::Calibration);
        let h = hessian(&x);
        for settings in all_settings(64) {
            let error = |rounded: &Rounded| h.relative_error(&w, &rounded.values());
            let best = error(&must(gptq(&w, &h, &settings)));
            let nearest = error(&nearest(&w, 64, &settings.grid));
            assert!(
                best < nearest,
                "{}: the output is off by {best:.4}, and by {nearest:.4} with the nearest codes. \
                 {settings:?}",
                real_slice::label(name)
            );
        }
    }
}

#[test]
fn the_error_is_below_that_of_the_nearest_codes_under_the_hessian_of_a_whole_text() {
    for name in real_slice::HESSIANS {
        let w = must(real_slice::tensor(name)).slice(s![..PIECE[0], ..]).to_owned();
        let h = Hessian { matrix: must(real_slice::hessian(name)), tokens: 8192 };
        for settings in all_settings(64) {
            let error = |rounded: &Rounded| h.error(&w, &rounded.values());
            let best = error(&must(gptq(&w, &h, &settings)));
            let nearest = error(&nearest(&w, 64, &settings.grid));
            assert!(
                best < nearest,
                "{}: tr(D H D^T) is {best:.4}, and {nearest:.4} with the nearest codes. {settings:?}",
                real_slice::label(name)
            );
        }
    }
}

#[test]
fn on_too_few_tokens_the_error_falls_on_those_seen_and_rises_on_others() {
    // Layers 1 and 10. The inputs of layer 29 have few large directions, and 46 tokens show them.
    for name in &real_slice::TENSORS[..6] {
        let (w, seen) = piece(name, Window::Calibration);
        let (_, unseen) = piece(name, Window::HeldOut);
        let mut h = Hessian::new(seen.ncols());
        must(add_batch(&mut h, &seen));
        let settings = Settings::new(Grid::LAB_03, 64);
        let found = must(gptq(&w, &h, &settings)).values();
        let nearest = nearest(&w, 64, &settings.grid).values();
        for (tokens, falls) in [(&seen, true), (&unseen, false)] {
            let error = |values| hessian(tokens).relative_error(&w, values);
            let (before, after) = (error(&nearest), error(&found));
            let word = if falls { "seen: it must fall" } else { "not seen: it rises here" };
            assert!(
                (after < before) == falls,
                "{}, 46 tokens for 192 inputs: the error goes from {before:.4} to {after:.4} on \
                 tokens that were {word}",
                real_slice::label(name)
            );
        }
    }
}
