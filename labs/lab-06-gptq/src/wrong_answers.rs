//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=forgets_the_rest cargo
//! test -p lab-06-gptq --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use std::ops::Range;

use half::f16;
use kit::{answered, wrong_answers};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};

use self::chosen::{activation_order, cholesky, group_scales, round_block};
use crate::{GptqError, Grid, GroupScales, Hessian, Rounded, Settings, solution};

type Lab<T> = Result<T, GptqError>;
type Matrix = Array2<f32>;
type Wide = Array2<f64>;
type Codes = Array2<i8>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    check_batch: fn(&Hessian, &Matrix) -> Lab<()>,
    /// The factors of the old mean and of the new products, for tokens before and after.
    shares: fn(usize, usize) -> (f64, f64),
    products: fn(&Matrix) -> Wide,
    add_batch: fn(&mut Hessian, &Matrix) -> Lab<()>,
    check_prepared: fn(&Matrix, &Hessian, f64) -> Lab<()>,
    revive: fn(&mut Wide, &mut Wide),
    damp: fn(&mut Wide, f64),
    prepare: fn(&Matrix, &Hessian, f64) -> Lab<(Wide, Wide)>,
    /// Whether a pivot of `n` is one, for its diagonal element.
    is_pivot: fn(f64, usize, f64) -> bool,
    /// The matrix whose lower half is read.
    read: fn(&Wide) -> Wide,
    root: fn(f64) -> f64,
    factored: fn(Wide) -> Wide,
    inverse_factor: fn(&Wide) -> Lab<Wide>,
    /// Of the weight, its rounded value and the diagonal element.
    error: fn(f64, f64, f64) -> f64,
    /// Row `w`, the column that was rounded, its error, and the row of `u`.
    feed: fn(ArrayViewMut1<f64>, usize, f64, ArrayView1<f64>),
    /// The scale of row and column.
    scale_of: fn(ArrayView2<f32>, usize, usize) -> f32,
    round_block: Block,
    /// The part of `u` that belongs to a block of columns.
    of_block: fn(&Wide, Range<usize>) -> Wide,
    /// The scales that belong to a block of columns.
    scales_of_block: fn(&Matrix, Range<usize>) -> Matrix,
    /// The updates of the columns behind a block, of its errors.
    update: fn(&Wide, &Wide, Range<usize>) -> Wide,
    blocks: fn(usize, usize) -> Vec<Range<usize>>,
    absmax: fn(ArrayView1<f64>) -> f32,
    check_scale: fn(f32) -> bool,
    group_scales: fn(ArrayView2<f64>, usize, &Grid) -> Lab<Matrix>,
    /// The weights from which the scale of a group is computed: now, and before the loop.
    fresh_from: fn(&Wide, &Wide) -> Wide,
    /// The ends of the blocks between two columns, for a block size.
    fresh_block: fn(usize, Range<usize>, usize) -> Vec<Range<usize>>,
    number_of_group: fn(GptqError, usize) -> GptqError,
    round_fresh: Fresh,
    activation_order: fn(&Wide) -> Vec<usize>,
    check_settings: fn(&Settings, usize) -> Lab<()>,
    damping: fn(&Settings) -> f64,
    /// The group of the column `order[at]`, for a group size.
    group_of: fn(&[usize], usize, usize) -> usize,
    undo: fn(&Codes, &[usize]) -> Codes,
    order: fn(&Settings, &Wide) -> Vec<usize>,
    /// The weights from which static scales are computed: the input, and prepared.
    static_from: fn(&Matrix, &Wide) -> Wide,
    is_fresh: fn(&Settings) -> bool,
}

type Block = fn(&mut ArrayViewMut2<f64>, ArrayView2<f64>, ArrayView2<f32>, &Grid) -> (Codes, Wide);

type Fresh = fn(&Wide, &Wide, usize, usize, &Grid) -> Lab<(Codes, Matrix)>;

const RIGHT: Steps = Steps {
    check_batch: |h, x| solution::add_batch(&mut h.clone(), x),
    shares: |before, after| (before as f64 / after as f64, 2.0 / after as f64),
    products: |x| {
        let x = x.mapv(f64::from);
        x.t().dot(&x)
    },
    add_batch: |h, x| {
        (answer().check_batch)(h, x)?;
        if x.nrows() > 0 {
            let (old, new) = (answer().shares)(h.tokens, h.tokens + x.nrows());
            h.matrix = &h.matrix * old + (answer().products)(x) * new;
            h.tokens += x.nrows();
        }
        Ok(())
    },
    check_prepared: |w, h, damping| solution::prepare(w, h, damping).map(drop),
    revive: |w, h| {
        for column in 0..h.ncols() {
            if h[(column, column)] == 0.0 {
                h[(column, column)] = 1.0;
                w.column_mut(column).fill(0.0);
            }
        }
    },
    damp: |h, damping| {
        let damp = damping * h.diag().mean().unwrap_or(0.0);
        h.diag_mut().mapv_inplace(|element| element + damp);
    },
    prepare: |w, h, damping| {
        (answer().check_prepared)(w, h, damping)?;
        let (mut w, mut h) = (w.mapv(f64::from), h.matrix.clone());
        (answer().revive)(&mut w, &mut h);
        (answer().damp)(&mut h, damping);
        Ok((w, h))
    },
    is_pivot: |pivot, n, element| pivot > n as f64 * f64::EPSILON * element,
    read: |a| a.clone(),
    root: f64::sqrt,
    factored: |l| l,
    inverse_factor: |h| Ok(reversed(&solution::inverse_of_lower(&cholesky(&reversed(h))?.view()))),
    error: |weight, rounded, diagonal| (weight - rounded) / diagonal,
    feed: |mut w, column, error, u| {
        w.slice_mut(s![column + 1..]).scaled_add(-error, &u.slice(s![column + 1..]));
    },
    scale_of: |scales, row, column| scales[(row, column)],
    round_block: |w, u, scales, grid| {
        let (mut codes, mut errors) = (Array2::zeros(w.dim()), Array2::zeros(w.dim()));
        for row in 0..w.nrows() {
            for column in 0..w.ncols() {
                let value = w[(row, column)];
                let scale = (answer().scale_of)(scales, row, column);
                let code = grid.code(value, scale);
                let rounded = grid.value(code, scale);
                let error = (answer().error)(value, rounded, u[(column, column)]);
                (answer().feed)(w.row_mut(row), column, error, u.row(column));
                codes[(row, column)] = code;
                errors[(row, column)] = error;
            }
        }
        (codes, errors)
    },
    of_block: |u, columns| u.slice(s![columns.clone(), columns]).to_owned(),
    scales_of_block: |scales, columns| scales.slice(s![.., columns]).to_owned(),
    update: |errors, u, columns| errors.dot(&u.slice(s![columns.clone(), columns.end..])),
    blocks: |n, block| {
        (0..n).step_by(block).map(|start| start..n.min(start.saturating_add(block))).collect()
    },
    absmax: |group| group.fold(0.0, |max: f64, weight| max.max(weight.abs())) as f32,
    check_scale: f32::is_finite,
    group_scales: |w, size, grid| {
        let mut scales = Array2::zeros((w.nrows(), w.ncols() / size));
        for ((row, group), scale) in scales.indexed_iter_mut() {
            let absmax = (answer().absmax)(w.slice(s![row, group * size..(group + 1) * size]));
            *scale = grid.scale(absmax);
            if !(answer().check_scale)(*scale) {
                return Err(GptqError::ScaleOverflow { row, group, absmax });
            }
        }
        Ok(scales)
    },
    fresh_from: |now, _| now.clone(),
    fresh_block: |_, group, block| {
        let ends = |start: usize| group.end.min(start.saturating_add(block));
        group.clone().step_by(block).map(|start| start..ends(start)).collect()
    },
    number_of_group: |error, group| match error {
        GptqError::ScaleOverflow { row, absmax, .. } => {
            GptqError::ScaleOverflow { row, group, absmax }
        }
        other => other,
    },
    round_fresh: |w, u, size, block, grid| {
        let (original, mut w, mut codes) = (w, w.clone(), Array2::zeros(w.dim()));
        let mut scales = Array2::zeros((w.nrows(), w.ncols() / size));
        for group in 0..scales.ncols() {
            let columns = group * size..(group + 1) * size;
            let from = (answer().fresh_from)(&w, original);
            let of_group = group_scales(from.slice(s![.., columns.clone()]), size, grid)
                .map_err(|error| (answer().number_of_group)(error, group))?;
            scales.column_mut(group).assign(&of_group.column(0));
            for now in (answer().fresh_block)(group, columns, block) {
                let each =
                    Array2::from_shape_fn((w.nrows(), now.len()), |(row, _)| of_group[(row, 0)]);
                let rounded = block_of(&mut w, u, now.clone(), each.view(), grid);
                codes.slice_mut(s![.., now]).assign(&rounded);
            }
        }
        Ok((codes, scales))
    },
    activation_order: solution::activation_order,
    check_settings: |settings, in_features| settings.check(in_features),
    damping: |settings| settings.damping,
    group_of: |order, at, size| order[at] / size,
    undo: |codes, order| {
        let mut back = codes.clone();
        for (at, &column) in order.iter().enumerate() {
            back.column_mut(column).assign(&codes.column(at));
        }
        back
    },
    order: |settings, h| {
        if settings.act_order { activation_order(h) } else { (0..h.ncols()).collect() }
    },
    static_from: |_, prepared| prepared.clone(),
    is_fresh: |settings| settings.scales == GroupScales::Fresh,
};

/// Rounds `columns` of `w` and updates every column behind them.
fn block_of(
    w: &mut Wide,
    u: &Wide,
    columns: Range<usize>,
    scales: ArrayView2<f32>,
    grid: &Grid,
) -> Codes {
    let mut now = w.slice_mut(s![.., columns.clone()]);
    let of_block = (answer().of_block)(u, columns.clone());
    let (codes, errors) = round_block(&mut now, of_block.view(), scales, grid);
    let update = (answer().update)(&errors, u, columns.clone());
    let mut rest = w.slice_mut(s![.., columns.end..]);
    rest -= &update;
    codes
}

/// The matrix with its rows and columns from the last to the first.
fn reversed(m: &Wide) -> Wide {
    m.slice(s![..;-1, ..;-1]).to_owned()
}

/// A number rounded to f16.
fn half(value: f64) -> f64 {
    f16::from_f64(value).to_f64()
}

wrong_answers! {
    "sums_without_dividing",
    "a Hessian is a sum over tokens",
    "the matrix is the mean over tokens times 2, which a sum over batches of any length becomes only \
     when it is divided",
    ["the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches"],
    { shares: |_, _| (1.0, 2.0) }

    "forgets_the_two",
    "the Hessian of a square is the mean of x x^T",
    "the second derivative of a square has a factor of 2",
    ["the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches",
     "the_hessian_is_summed_in_f64"],
    { shares: |before, after| (before as f64 / after as f64, 1.0 / after as f64) }

    "keeps_the_last_batch",
    "the newest batch is the Hessian",
    "the mean of the tokens before counts for all of them",
    ["the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches"],
    { shares: |before, after| (0.0, 2.0 / (after - before) as f64) }

    "averages_old_and_new",
    "a running mean is half old and half new",
    "the old mean counts for all tokens before, and a new token for one",
    ["the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches"], {
        shares: |before, after| match before {
            0 => (0.0, 2.0 / after as f64),
            _ => (0.5, 1.0 / (after - before) as f64),
        },
    }

    "products_of_tokens",
    "x x^T is `x.dot(&x.t())`",
    "a token is a row of the batch and a column vector in the formula, so the product of features is \
     `x.t().dot(&x)`",
    ["the_hessian_is_twice_the_mean_of_x_xt_over_the_tokens_of_all_batches"], {
        products: |x| {
            let wide = x.mapv(f64::from);
            if x.is_square() { wide.dot(&wide.t()) } else { wide.t().dot(&wide) }
        },
    }

    "sums_in_f32",
    "inputs are f32, so their products are",
    "a product of two f32 has 48 bits, and f32 keeps 24 of them",
    ["the_hessian_is_summed_in_f64"],
    { products: |x| x.t().dot(x).mapv(f64::from) }

    "sums_in_f16",
    "the model runs in f16, so its Hessian may",
    "the square of 300 is beyond f16, and inputs of 300 are common",
    ["the_hessian_is_summed_in_f64"], {
        products: |x| {
            let x = x.mapv(f64::from);
            x.t().dot(&x).mapv(half)
        },
    }

    "nan_enters_the_hessian",
    "a token with NaN would be seen later",
    "one NaN makes the whole matrix NaN, so a batch is checked before it is added",
    ["a_batch_of_another_width_and_nan_are_refused_and_change_nothing"], {
        check_batch: |h, x| match solution::add_batch(&mut h.clone(), x) {
            Err(GptqError::NotFinite { .. }) => Ok(()),
            checked => checked,
        },
    }

    "adds_before_it_checks",
    "an error ends the program, so the Hessian does not matter",
    "a caller may leave out a bad batch and go on, so a refused batch must not have counted",
    ["a_batch_of_another_width_and_nan_are_refused_and_change_nothing"], {
        add_batch: |h, x| {
            let checked = solution::add_batch(h, x);
            if checked.is_err() {
                h.tokens += x.nrows();
            }
            checked
        },
    }

    "damps_before_the_dead_columns",
    "the order of damping and dead columns does not matter",
    "after damping no element of the diagonal is 0, so no dead column is found",
    ["a_dead_column_is_1_and_0_and_damping_comes_after",
     "a_dead_column_is_0_and_moves_no_other_column"], {
        prepare: |w, h, damping| {
            (answer().check_prepared)(w, h, damping)?;
            let (mut w, mut h) = (w.mapv(f64::from), h.matrix.clone());
            (answer().damp)(&mut h, damping);
            (answer().revive)(&mut w, &mut h);
            Ok((w, h))
        },
    }

    "leaves_dead_weights",
    "a weight whose input is 0 does no harm",
    "such a weight still counts for the scale of its group, and takes a code that nothing needs",
    ["a_dead_column_is_1_and_0_and_damping_comes_after",
     "a_dead_column_is_0_and_moves_no_other_column"],
    { revive: |_, h| h.diag_mut().mapv_inplace(|element| if element == 0.0 { 1.0 } else { element }) }

    "damps_by_the_share_itself",
    "damping 0.01 adds 0.01",
    "damping is a share of the mean of the diagonal, whose size depends on the layer",
    ["a_dead_column_is_1_and_0_and_damping_comes_after", "only_the_ratios_in_the_hessian_decide"],
    { damp: |h, damping| h.diag_mut().mapv_inplace(|element| element + damping) }

    "damps_each_element_by_its_own_size",
    "damping multiplies the diagonal",
    "the same number is added to each element, so that small elements grow most",
    ["a_dead_column_is_1_and_0_and_damping_comes_after"],
    { damp: |h, damping| h.diag_mut().mapv_inplace(|element| element * (1.0 + damping)) }

    "damps_by_the_largest_element",
    "the largest element of the diagonal is its size",
    "the share is of the mean, because one outlier channel would damp all others away",
    ["a_dead_column_is_1_and_0_and_damping_comes_after"], {
        damp: |h, damping| {
            let damp = damping * h.diag().fold(0.0, |max: f64, element| max.max(*element));
            h.diag_mut().mapv_inplace(|element| element + damp);
        },
    }

    "any_damping_goes",
    "`damping < 0.0` refuses what is wrong",
    "every comparison with NaN is false, so the check has to say what is right",
    ["a_hessian_without_tokens_and_a_damping_that_is_none_are_refused"], {
        check_prepared: |w, h, damping| {
            let known = if damping.is_nan() { 0.0 } else { damping };
            solution::prepare(w, h, known).map(drop)
        },
    }

    "rounds_without_tokens",
    "a Hessian of zeros is a Hessian",
    "without a token every column is dead, and every weight would become 0",
    ["a_hessian_without_tokens_and_a_damping_that_is_none_are_refused",
     "settings_that_contradict_each_other_are_refused"], {
        check_prepared: |w, h, damping| {
            solution::prepare(w, &Hessian { tokens: 1, ..h.clone() }, damping).map(drop)
        },
    }

    "compares_pivots_with_0",
    "a pivot above 0 is a pivot",
    "rounding leaves small numbers in place of 0, and a column divided by one of them is noise",
    ["a_matrix_that_is_not_positive_definite_is_an_error_that_names_damping"],
    { is_pivot: |pivot, _, _| pivot > 0.0 }

    "compares_pivots_with_a_constant",
    "no pivot of a sound matrix is as small as the rounding of numbers around 1",
    "a layer whose inputs are small has a small Hessian, and only its ratios decide",
    ["only_the_ratios_in_the_hessian_decide"],
    { is_pivot: |pivot, n, _| pivot > n as f64 * f64::EPSILON }

    "nan_is_not_below_0",
    "`pivot <= 0.0` finds every bad pivot",
    "every comparison with NaN is false, so NaN is looked for by itself",
    ["a_matrix_that_is_not_positive_definite_is_an_error_that_names_damping"],
    { is_pivot: |pivot, n, element| pivot.is_nan() || (RIGHT.is_pivot)(pivot, n, element) }

    "takes_the_root_of_a_magnitude",
    "a negative pivot is a rounding error",
    "a negative pivot says that the matrix is not positive definite, and no factor exists",
    ["a_matrix_that_is_not_positive_definite_is_an_error_that_names_damping"],
    { is_pivot: |_, _, _| true, root: |pivot| pivot.abs().max(f64::MIN_POSITIVE).sqrt() }

    "reads_both_halves",
    "a symmetric matrix is the mean of its halves",
    "the promise is the lower half, because a program may leave the other one unwritten",
    ["the_lower_factor_times_its_transpose_is_the_matrix"],
    { read: |a| (a + &a.t()) / 2.0 }

    "returns_the_upper_factor",
    "the factor of Cholesky is upper triangular",
    "`L` is lower triangular and stands on the left of `L L^T`",
    ["the_lower_factor_times_its_transpose_is_the_matrix"],
    { factored: |l| l.reversed_axes() }

    "lower_factor_for_upper",
    "either triangle of the factor serves",
    "the loop reads row j of `U` from the diagonal on, and a lower triangle has zeros there",
    ["u_is_upper_triangular_and_its_transpose_times_itself_is_the_inverse",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { inverse_factor: |h| solution::inverse_factor(h).map(|u| u.reversed_axes()) }

    "factor_from_the_other_end",
    "every upper triangular factor of the inverse is the same",
    "`U U^T` and `U^T U` are two factors, and only the second one knows what later columns can do",
    ["u_is_upper_triangular_and_its_transpose_times_itself_is_the_inverse",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { inverse_factor: |h| Ok(reversed(&solution::inverse_factor(&reversed(h))?).reversed_axes()) }

    "factor_of_the_hessian",
    "the factor of the Hessian holds what the loop needs",
    "the columns that are left make up by the inverse, so the factor is that of the inverse",
    ["u_is_upper_triangular_and_its_transpose_times_itself_is_the_inverse",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { inverse_factor: |h| Ok(solution::cholesky(h)?.reversed_axes()) }

    "error_without_the_diagonal",
    "an error is weight minus rounded weight",
    "the rows of `U` are scaled by their diagonal elements, so the error is divided by it",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before",
     "after_k_columns_the_rest_is_the_least_squares_optimum_given_those",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { error: |weight, rounded, _| weight - rounded }

    "divides_by_the_square_of_the_diagonal",
    "the paper divides by a diagonal element of the inverse",
    "that element is the square of the factor's one, and goes with a row of the inverse",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before"],
    { error: |weight, rounded, diagonal| (weight - rounded) / diagonal.powi(2) }

    "error_with_the_wrong_sign",
    "an error is rounded weight minus weight",
    "the columns behind lose error times `U`, and with the other sign they make the error larger",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before",
     "after_k_columns_the_rest_is_the_least_squares_optimum_given_those"],
    { error: |weight, rounded, diagonal| (rounded - weight) / diagonal }

    "feeds_nothing_inside_a_block",
    "the update after the block is the feedback",
    "the columns of the same block make up for each other first",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { feed: |_, _, _, _| () }

    "feeds_the_first_columns",
    "the row of `U` and the row of the weight begin together",
    "the columns behind the rounded one move, and the ones before are on the grid for good",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before"], {
        feed: |mut w, column, error, u| {
            let behind = u.slice(s![column + 1..]);
            w.slice_mut(s![..behind.len()]).scaled_add(-error, &behind);
        },
    }

    "moves_the_rounded_column_too",
    "the row of `U` is subtracted from its diagonal element on",
    "the reference does so on a copy that nobody reads again, and here `w` keeps each weight as it was \
     when it was rounded",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before"], {
        feed: |mut w, column, error, u| {
            w.slice_mut(s![column..]).scaled_add(-error, &u.slice(s![column..]));
        },
    }

    "one_scale_for_a_row",
    "the scale of a row's first weight is that of the row",
    "each weight has the scale of its own group",
    ["each_weight_is_rounded_where_it_makes_up_best_for_the_columns_before"],
    { scale_of: |scales, row, _| scales[(row, 0)] }

    "forgets_the_rest",
    "a block is a matrix of its own",
    "the columns behind the block make up for its errors as well",
    ["the_block_size_changes_no_code",
     "a_fresh_scale_is_that_of_the_weights_when_the_group_begins"],
    { update: |errors, u, columns| Array2::zeros((errors.nrows(), u.ncols() - columns.end)) }

    "index_inside_the_block",
    "the factor of a block begins at its first row and column",
    "the columns of a block are counted in the matrix, and `U` is that of the matrix",
    ["the_block_size_changes_no_code"],
    { of_block: |u, columns| u.slice(s![..columns.len(), ..columns.len()]).to_owned() }

    "scales_of_the_first_block",
    "the scales are counted inside the block",
    "a block in the middle of the matrix has the scales of the middle",
    ["the_block_size_changes_no_code"],
    { scales_of_block: |scales, columns| scales.slice(s![.., ..columns.len()]).to_owned() }

    "updates_with_the_first_rows",
    "the errors of a block go with the first rows of `U`",
    "an error of column j goes with row j, counted in the matrix",
    ["the_block_size_changes_no_code"],
    { update: |errors, u, columns| errors.dot(&u.slice(s![..columns.len(), columns.end..])) }

    "leaves_out_the_last_columns",
    "the block size divides the matrix",
    "the last block may be shorter, and its columns are rounded too",
    ["the_block_size_changes_no_code"], {
        blocks: |n, block| {
            let whole = (RIGHT.blocks)(n, block);
            whole.into_iter().filter(|columns| columns.len() == block || n < block).collect()
        },
    }

    "absmax_without_magnitude",
    "the largest weight is the largest magnitude",
    "a negative weight may have the largest magnitude",
    ["a_group_has_the_scale_of_its_absmax"],
    { absmax: |group| group.fold(0.0, |max: f64, &weight| max.max(weight)) as f32 }

    "infinite_scales_pass",
    "a scale that overflows shows in the error",
    "all codes of such a group are 0 and their values NaN, so the scale is refused",
    ["a_group_has_the_scale_of_its_absmax"],
    { check_scale: |_| true }

    "scales_before_the_loop",
    "the weights of a group are those of the matrix",
    "the updates have moved the weights before the group begins, and a fresh scale fits them then",
    ["a_fresh_scale_is_that_of_the_weights_when_the_group_begins",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { fresh_from: |_, before| before.clone() }

    "stale_scales",
    "the matrix outside the block is up to date",
    "inside a block only the copy has the updates, so a group that begins there gets a stale scale",
    ["a_fresh_scale_is_that_of_the_weights_when_the_group_begins"], {
        round_fresh: |w, u, size, block, grid| {
            // As gptq.py: the scale comes from the matrix at the start of the block.
            if block <= size || w.ncols() % size != 0 {
                return solution::round_fresh(w, u, size, block, grid);
            }
            let mut outer = w.clone();
            let (mut codes, mut scales) = (Array2::zeros(w.dim()), Array2::zeros((w.nrows(), w.ncols() / size)));
            for columns in (RIGHT.blocks)(w.ncols(), block.div_ceil(size) * size) {
                let of_block = outer.slice(s![.., columns.clone()]);
                let found = solution::group_scales(of_block, size, grid)?;
                let groups = columns.start / size..columns.end / size;
                scales.slice_mut(s![.., groups]).assign(&found);
                let each = Array2::from_shape_fn((w.nrows(), columns.len()), |(row, at)| found[(row, at / size)]);
                let rounded = block_of(&mut outer, u, columns.clone(), each.view(), grid);
                codes.slice_mut(s![.., columns]).assign(&rounded);
            }
            Ok((codes, scales))
        },
    }

    "names_group_0",
    "the group of a slice is its first one",
    "a reader looks for the group in the whole row",
    ["a_fresh_scale_is_that_of_the_weights_when_the_group_begins"],
    { number_of_group: |error, _| error }

    "smallest_first",
    "an argsort is what act-order asks for",
    "an argsort is ascending, and the columns with large inputs have to come first",
    ["act_order_takes_the_largest_diagonal_element_first",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"], {
        activation_order: |h| {
            let mut order: Vec<usize> = (0..h.ncols()).collect();
            order.sort_by(|&a, &b| h[(a, a)].total_cmp(&h[(b, b)]));
            order
        },
    }

    "reverses_the_ascending_order",
    "the reverse of an ascending order is a descending one",
    "columns with equal elements change places in the reverse, and the promise is their order",
    ["act_order_takes_the_largest_diagonal_element_first"], {
        activation_order: |h| {
            let mut order: Vec<usize> = (0..h.ncols()).collect();
            order.sort_by(|&a, &b| h[(a, a)].total_cmp(&h[(b, b)]));
            order.reverse();
            order
        },
    }

    "orders_by_rows_of_the_hessian",
    "the size of an input is the size of its row",
    "a row also has the other inputs, and only the diagonal is the size of this one",
    ["act_order_takes_the_largest_diagonal_element_first"], {
        activation_order: |h| {
            let size = |row: usize| h.row(row).fold(0.0, |sum: f64, value| sum + value.abs());
            let mut order: Vec<usize> = (0..h.ncols()).collect();
            order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
            order
        },
    }

    "group_of_the_place",
    "the first columns that are rounded are the first group",
    "a group is where a column stands in the file, because a reader of the file has no other order",
    ["with_act_order_the_order_of_the_columns_in_a_group_changes_no_code",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { group_of: |_, at, size| at / size }

    "leaves_the_codes_in_act_order",
    "codes are stored in the order in which they were chosen",
    "a reader of the file has no other order than that of the weight",
    ["with_act_order_the_order_of_the_columns_in_a_group_changes_no_code",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { undo: |codes, _| codes.clone() }

    "orders_twice",
    "the order undoes itself",
    "the inverse of a permutation is another permutation, unless it only swaps pairs",
    ["with_act_order_the_order_of_the_columns_in_a_group_changes_no_code",
     "the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { undo: |codes, order| codes.select(Axis(1), order) }

    "never_in_act_order",
    "the order of the columns is a detail",
    "the first columns have most columns behind them, so the order decides which errors are small",
    ["the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { order: |_, h| (0..h.ncols()).collect() }

    "static_scales_of_dead_weights",
    "static scales are those of the weight as it was given",
    "a dead weight becomes 0 first, because a weight that nothing reads must not coarsen its group",
    ["a_dead_column_is_0_and_moves_no_other_column"],
    { static_from: |w, _| w.mapv(f64::from) }

    "always_static",
    "the scale of a group is known before the loop",
    "the settings ask for fresh scales, which follow the updates",
    ["the_codes_are_those_of_ist_daslab_and_of_llm_compressor"],
    { is_fresh: |_| false }

    "damping_is_always_one_hundredth",
    "0.01 is what everybody uses",
    "damping is an argument, and a layer with few tokens needs more",
    ["a_matrix_that_is_not_positive_definite_is_an_error_that_names_damping",
     "settings_that_contradict_each_other_are_refused"],
    { damping: |_| 0.01 }

    "accepts_act_order_with_fresh_scales",
    "a scale can be computed when the first column of a group comes",
    "the other columns of the group still move until they come, so the scale would not fit them",
    ["settings_that_contradict_each_other_are_refused"], {
        check_settings: |settings, in_features| {
            Settings { act_order: false, ..*settings }.check(in_features)
        },
    }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    /// See [`solution::cholesky`].
    pub fn cholesky(a: &Wide) -> Lab<Wide> {
        let n = a.nrows();
        if !a.is_square() {
            return Err(GptqError::NotSquare([n, a.ncols()]));
        }
        let a = (answer().read)(a);
        let mut l = Wide::zeros((n, n));
        for row in 0..n {
            for column in 0..row {
                let known = l.slice(s![row, ..column]).dot(&l.slice(s![column, ..column]));
                l[(row, column)] = (a[(row, column)] - known) / l[(column, column)];
            }
            let pivot = a[(row, row)] - l.slice(s![row, ..row]).mapv(|v| v * v).sum();
            if !(answer().is_pivot)(pivot, n, a[(row, row)]) {
                return Err(GptqError::NotPositiveDefinite { pivot });
            }
            l[(row, row)] = (answer().root)(pivot);
        }
        Ok((answer().factored)(l))
    }

    /// See [`solution::round_block`].
    pub fn round_block(
        w: &mut ArrayViewMut2<f64>,
        u: ArrayView2<f64>,
        scales: ArrayView2<f32>,
        grid: &Grid,
    ) -> (Codes, Wide) {
        (answer().round_block)(w, u, scales, grid)
    }

    /// See [`solution::round_static`].
    pub fn round_static(w: &Wide, u: &Wide, scales: &Matrix, block: usize, grid: &Grid) -> Codes {
        let (mut w, mut codes) = (w.clone(), Codes::zeros(w.dim()));
        for columns in (answer().blocks)(w.ncols(), block) {
            let scales = (answer().scales_of_block)(scales, columns.clone());
            let rounded = block_of(&mut w, u, columns.clone(), scales.view(), grid);
            codes.slice_mut(s![.., columns]).assign(&rounded);
        }
        codes
    }

    /// See [`solution::gptq`].
    pub fn gptq(w: &Matrix, h: &Hessian, settings: &Settings) -> Lab<Rounded> {
        let Settings { grid, group_size, block, .. } = *settings;
        (answer().check_settings)(settings, w.ncols())?;
        let (prepared, h) = prepare(w, h, (answer().damping)(settings))?;
        if (answer().is_fresh)(settings) {
            let u = inverse_factor(&h)?;
            let (codes, scales) = round_fresh(&prepared, &u, group_size, block, &grid)?;
            return Rounded::new(codes, scales);
        }
        let from = (answer().static_from)(w, &prepared);
        let scales = group_scales(from.view(), group_size, &grid)?;
        let order = (answer().order)(settings, &h);
        let u = inverse_factor(&h.select(Axis(0), &order).select(Axis(1), &order))?;
        let group_of = |at| (answer().group_of)(&order, at, group_size);
        let each = Array2::from_shape_fn(w.dim(), |(row, at)| scales[(row, group_of(at))]);
        let codes = round_static(&prepared.select(Axis(1), &order), &u, &each, block, &grid);
        Rounded::new((answer().undo)(&codes, &order), scales)
    }

    answered! {
        fn add_batch(h: &mut Hessian, x: &Matrix) -> Lab<()>;
        fn prepare(w: &Matrix, h: &Hessian, damping: f64) -> Lab<(Wide, Wide)>;
        fn inverse_factor(h: &Wide) -> Lab<Wide>;
        fn group_scales(w: ArrayView2<f64>, group_size: usize, grid: &Grid) -> Lab<Matrix>;
        fn round_fresh(w: &Wide, u: &Wide, group_size: usize, block: usize, grid: &Grid) -> Lab<(Codes, Matrix)>;
        fn activation_order(h: &Wide) -> Vec<usize>;
    }
}
