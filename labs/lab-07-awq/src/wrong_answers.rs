//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=maximum_for_mean cargo test
//! -p lab-07-awq --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::{Array1, Array2, Axis, concatenate};

use self::chosen::{
    candidate_scales, candidates, channel_means, clip, fold_into_norm, is_clipped, output_error,
    row_behind, scaled_values, search, search_clip, search_scales, spread,
};
use crate::{AwqError, Block, Candidate, Heads, Rounding, Search, clip_maxima, ratios, solution};

type Lab<T> = Result<T, AwqError>;
type Matrix = Array2<f32>;
type Vector = Array1<f32>;
/// Something in front, and the layers behind it.
type Folded<T> = Lab<(T, Vec<Matrix>)>;
type Pair = (Matrix, Matrix);
type Named<'a> = (&'a str, Matrix);

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    check_batches: fn(&[Matrix]) -> Lab<()>,
    /// The mean of one channel, of its values in each batch.
    mean: fn(&[Vec<f32>]) -> f32,
    channel_means: fn(&[Matrix]) -> Lab<Vector>,
    check_candidate: fn(&Vector, f32) -> Lab<()>,
    power: fn(f32, f32) -> f32,
    limit: fn(f32) -> f32,
    /// The number that powers are divided by, of the largest, the smallest and all of them.
    size: fn(f32, f32, &Vector) -> f32,
    candidate_scales: fn(&Vector, f32) -> Lab<Vector>,
    check_scales: fn(&Matrix, &Vector, &Rounding) -> Lab<()>,
    scaled_values: fn(&Matrix, &Vector, &Rounding) -> Lab<Matrix>,
    output_error: fn(&Matrix, &Matrix, &Matrix) -> Lab<f64>,
    candidates: fn(&Vector) -> Lab<Vec<Candidate>>,
    /// Which of these errors is the best.
    best: fn(&[f64]) -> Option<usize>,
    /// The weight whose outputs count, of all layers.
    together: fn(&[Matrix]) -> Lab<Matrix>,
    /// The inputs that the search takes.
    inputs: fn(&Matrix, &Rounding) -> Lab<Matrix>,
    error_of: fn(&Matrix, &Matrix, &Vector, &Rounding) -> Lab<f64>,
    search_scales: fn(&Matrix, &[Matrix], &Rounding) -> Lab<Search>,
    check_norm: fn(&Vector, &[Matrix], &Vector) -> Lab<()>,
    divide_norm: fn(&Vector, &Vector) -> Vector,
    fold_into_norm: fn(&Vector, &[Matrix], &Vector) -> Folded<Vector>,
    row_behind: fn(usize, &Heads) -> usize,
    check_heads: fn(&Heads) -> Lab<()>,
    means_of_rows: fn(&Vector, &Heads) -> Lab<Vector>,
    spread: fn(&Vector, &Heads) -> Lab<Vector>,
    check_linear: fn(&Matrix, &Matrix, &Vector, &Heads) -> Lab<()>,
    /// The layer before, divided.
    divide_rows: fn(&Matrix, &Vector) -> Matrix,
    fold_into_linear: fn(&Matrix, &Matrix, &Vector, &Heads) -> Lab<Pair>,
    is_clipped: fn(&str) -> bool,
    clamp: fn(f32, f32) -> f32,
    clip: fn(&Matrix, &Matrix) -> Lab<Matrix>,
    check_clip: fn(&Matrix, &Matrix) -> Lab<()>,
    /// The error of each row: of the inputs of a group, its weights, the clipped ones and their codes.
    clip_errors: fn(&Matrix, &Matrix, &Matrix, &Matrix) -> Array1<f64>,
    /// Whether an error is better than the least before.
    is_less: fn(f64, f64) -> bool,
    /// The maxima of all groups, before and after the search of each.
    settle: fn(Matrix) -> Matrix,
    search_clip: fn(&Matrix, &Matrix, &Rounding) -> Lab<Matrix>,
    /// The inputs of the layers behind the norm after the scales are folded in.
    new_inputs: fn(&Matrix, &Vector) -> Matrix,
    fold: fn(&Vector, &[Matrix], &Vector, &Matrix, &Rounding) -> Folded<Vector>,
    awq: fn(&Vector, &[Named<'_>], &Matrix, &Rounding) -> Lab<Block>,
}

const RIGHT: Steps = Steps {
    check_batches: |batches| solution::channel_means(batches).map(drop),
    mean: |batches| {
        let all: Vec<f32> = batches.concat();
        let sum: f64 = all.iter().map(|x| f64::from(x.abs())).sum();
        (sum / all.len() as f64) as f32
    },
    channel_means: |batches| {
        (answer().check_batches)(batches)?;
        let channel = |channel: usize| {
            let values: Vec<_> = batches.iter().map(|x| x.column(channel).to_vec()).collect();
            (answer().mean)(&values)
        };
        Ok((0..batches.first().map_or(0, Matrix::ncols)).map(channel).collect())
    },
    check_candidate: |means, ratio| solution::candidate_scales(means, ratio).map(drop),
    power: f32::powf,
    limit: |scale| scale.max(crate::MIN_SCALE),
    size: |largest, smallest, _| largest.sqrt() * smallest.sqrt(),
    candidate_scales: |means, ratio| {
        (answer().check_candidate)(means, ratio)?;
        let scales = means.mapv(|mean| (answer().limit)((answer().power)(mean, ratio)));
        let largest = scales.fold(0.0, |max: f32, scale| max.max(*scale));
        let smallest = scales.fold(f32::INFINITY, |min: f32, scale| min.min(*scale));
        let size = (answer().size)(largest, smallest, &scales);
        Ok(scales / size)
    },
    check_scales: |w, scales, rounding| solution::scaled_values(w, scales, rounding).map(drop),
    scaled_values: |w, scales, rounding| {
        (answer().check_scales)(w, scales, rounding)?;
        Ok(rounding.values(&(w * scales))? / scales)
    },
    output_error: solution::output_error,
    candidates: |means| {
        let one = |ratio| Ok(Candidate { ratio, scales: candidate_scales(means, ratio)? });
        ratios().map(one).collect()
    },
    best: |errors| {
        let finite = errors.iter().enumerate().filter(|(_, error)| error.is_finite());
        finite.min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
    },
    together: |layers| {
        let rows: Vec<_> = layers.iter().map(|w| w.view()).collect();
        concatenate(Axis(0), &rows).map_err(|_| AwqError::Nothing("layer"))
    },
    inputs: |x, _| Ok(x.clone()),
    error_of: |x, w, scales, rounding| output_error(x, w, &scaled_values(w, scales, rounding)?),
    search_scales: |x, layers, rounding| {
        for w in layers {
            let (found, expected) = (w.ncols(), x.ncols());
            if found != expected {
                let (what, other) = ("a layer", "the input");
                return Err(AwqError::ChannelsDiffer { what, found, other, expected });
            }
        }
        let w = (answer().together)(layers)?;
        let means = channel_means(std::slice::from_ref(x))?;
        let x = (answer().inputs)(x, rounding)?;
        search(candidates(&means)?, |scales| (answer().error_of)(&x, &w, scales, rounding))
    },
    check_norm: |norm, layers, scales| solution::fold_into_norm(norm, layers, scales).map(drop),
    divide_norm: |norm, scales| norm / scales,
    fold_into_norm: |norm, layers, scales| {
        (answer().check_norm)(norm, layers, scales)?;
        let norm = (answer().divide_norm)(norm, scales);
        Ok((norm, layers.iter().map(|w| w * scales).collect()))
    },
    row_behind: solution::row_behind,
    check_heads: Heads::check,
    means_of_rows: |means, heads| {
        (answer().check_heads)(heads)?;
        solution::means_of_rows(means, heads)
    },
    spread: |scales, heads| {
        (answer().check_heads)(heads)?;
        let (found, expected) = (scales.len(), heads.rows());
        if found != expected {
            let (what, other) = ("the scales", "the heads");
            return Err(AwqError::ChannelsDiffer { what, found, other, expected });
        }
        Ok((0..heads.channels()).map(|channel| scales[row_behind(channel, heads)]).collect())
    },
    check_linear: |before, after, scales, heads| {
        solution::fold_into_linear(before, after, scales, heads).map(drop)
    },
    divide_rows: |before, scales| before / &scales.view().insert_axis(Axis(1)),
    fold_into_linear: |before, after, scales, heads| {
        (answer().check_linear)(before, after, scales, heads)?;
        Ok(((answer().divide_rows)(before, scales), after * &spread(scales, heads)?))
    },
    is_clipped: solution::is_clipped,
    clamp: |w, max| w.clamp(-max, max),
    clip: |w, maxima| {
        solution::clip(w, maxima)?;
        let size = w.ncols() / maxima.ncols();
        Ok(Array2::from_shape_fn(w.dim(), |(row, column)| {
            (answer().clamp)(w[(row, column)], maxima[(row, column / size)])
        }))
    },
    check_clip: |x, w| {
        let rounding = Rounding::new(crate::Grid::Lab03, w.ncols());
        solution::search_clip(x, &Array2::zeros(w.dim()), &rounding).map(drop)
    },
    clip_errors: |x, w, _, values| errors_of_rows(x, &(values.mapv(f64::from) - w.mapv(f64::from))),
    is_less: |error, least| error < least,
    settle: |maxima| maxima,
    search_clip: |x, w, rounding| {
        (answer().check_clip)(x, w)?;
        let mut best = rounding.round(w)?.scales;
        for (group, mut best) in best.columns_mut().into_iter().enumerate() {
            let columns: Vec<usize> =
                (group * rounding.group_size..(group + 1) * rounding.group_size).collect();
            let (w, x) = (w.select(Axis(1), &columns), x.select(Axis(1), &columns));
            let largest = w.map_axis(Axis(1), |row| row.fold(0.0, |max: f32, w| max.max(w.abs())));
            let mut least = Array1::from_elem(w.nrows(), f64::INFINITY);
            for shrunk in clip_maxima(1.0) {
                let maxima = largest.mapv(|largest| largest * shrunk);
                let clipped = clip(&w, &maxima.clone().insert_axis(Axis(1)))?;
                let errors = (answer().clip_errors)(&x, &w, &clipped, &rounding.values(&clipped)?);
                for row in 0..w.nrows() {
                    if (answer().is_less)(errors[row], least[row]) {
                        (best[row], least[row]) = (maxima[row], errors[row]);
                    }
                }
            }
        }
        Ok((answer().settle)(best))
    },
    new_inputs: |x, scales| x / scales,
    fold: |norm, layers, scales, _, _| fold_into_norm(norm, layers, scales),
    awq: |norm, layers, x, rounding| {
        let weights: Vec<Matrix> = layers.iter().map(|(_, w)| w.clone()).collect();
        let scales = search_scales(x, &weights, rounding)?.best;
        let (norm, mut weights) = (answer().fold)(norm, &weights, &scales.scales, x, rounding)?;
        let x = (answer().new_inputs)(x, &scales.scales);
        for ((name, _), w) in layers.iter().zip(&mut weights) {
            if is_clipped(name) {
                *w = clip(w, &search_clip(&x, w, rounding)?)?;
            }
        }
        Ok(Block { scales, norm, layers: weights })
    },
};

/// The sum over tokens of the squared error of each row.
fn errors_of_rows(x: &Matrix, moved: &Array2<f64>) -> Array1<f64> {
    x.mapv(f64::from).dot(&moved.t()).mapv(|error| error * error).sum_axis(Axis(0))
}

wrong_answers! {
    "maximum_for_mean",
    "a channel matters as much as its largest input",
    "one outlier token decides a maximum, and the error is a sum over all tokens",
    ["a_mean_is_over_the_magnitudes_of_all_tokens_of_all_batches", "magnitudes_are_summed_in_f64"],
    { mean: |batches| batches.concat().iter().fold(0.0, |max: f32, x| max.max(x.abs())) }

    "mean_with_signs",
    "the mean of the inputs is their size",
    "inputs of both signs cancel, so the mean is taken of magnitudes",
    ["a_mean_is_over_the_magnitudes_of_all_tokens_of_all_batches"], {
        mean: |batches| {
            let all = batches.concat();
            (all.iter().map(|x| f64::from(*x)).sum::<f64>() / all.len() as f64) as f32
        },
    }

    "mean_of_batches",
    "the mean of the batches' means is the mean",
    "batches have different numbers of tokens, and each token counts the same",
    ["a_mean_is_over_the_magnitudes_of_all_tokens_of_all_batches"], {
        mean: |batches| {
            let filled: Vec<_> = batches.iter().filter(|batch| !batch.is_empty()).collect();
            let of = |batch: &Vec<f32>| (RIGHT.mean)(std::slice::from_ref(batch));
            filled.iter().map(|batch| of(batch)).sum::<f32>() / filled.len() as f32
        },
    }

    "sums_for_means",
    "the number of tokens is the same for all channels, so a sum will do",
    "scales have no unit of tokens, and the smallest scale, 1e-4, is compared with a mean",
    ["a_mean_is_over_the_magnitudes_of_all_tokens_of_all_batches", "magnitudes_are_summed_in_f64"],
    { mean: |batches| batches.concat().iter().map(|x| x.abs()).sum() }

    "sums_in_f32",
    "inputs are f32, so their sum is",
    "a sum over many tokens becomes so large that f32 loses the small inputs",
    ["magnitudes_are_summed_in_f64"], {
        mean: |batches| {
            let all = batches.concat();
            all.iter().fold(0.0, |sum: f32, x| sum + x.abs()) / all.len() as f32
        },
    }

    "nan_enters_the_means",
    "a NaN would be seen later",
    "one NaN makes its channel's mean NaN, and the scales of all channels after the normalization",
    ["no_token_two_widths_and_nan_are_refused"], {
        check_batches: |batches| match solution::channel_means(batches) {
            Err(AwqError::NotFinite { .. }) => Ok(()),
            checked => checked.map(drop),
        },
    }

    "means_of_no_token",
    "a calibration has tokens",
    "the mean over no token is 0 / 0, which is NaN",
    ["no_token_two_widths_and_nan_are_refused"], {
        check_batches: |batches| match solution::channel_means(batches) {
            Err(AwqError::NoTokens) => Ok(()),
            checked => checked.map(drop),
        },
    }

    "forgets_the_normalization",
    "only the ratios between scales matter",
    "the size of the scales changes the scales of the groups, which are stored in f16, and large scales \
     overflow there",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1"],
    { size: |_, _, _| 1.0 }

    "largest_scale_is_1",
    "normalized scales are at most 1",
    "a scale below 1 makes its channel coarser, and here all channels but one would have one",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1",
     "the_candidates_are_twenty_ratios_from_0_to_0_95"],
    { size: |largest, _, _| largest }

    "mean_scale_is_1",
    "normalized scales have a mean of 1",
    "one outlier channel decides the mean, so that all others become small",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1"],
    { size: |_, _, all| all.mean().unwrap_or(1.0) }

    "forgets_the_root",
    "dividing by largest times smallest makes their product 1",
    "both are divided, so the number is the root of the product",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1"],
    { size: |largest, smallest, _| largest * smallest }

    "ratio_the_other_way",
    "ratio 1 leaves the weights as they are",
    "the ratio is the exponent, so ratio 0 has scales of 1 and is the identity",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1", "ratio_0_is_the_identity"],
    { power: |mean, ratio| mean.powf(1.0 - ratio) }

    "divides_outlier_channels",
    "a large input is made small, as in a filter",
    "the weight is multiplied where the input is large, so that its steps are finer there",
    ["scales_are_powers_of_the_means_whose_largest_times_smallest_is_1",
     "on_channels_that_are_equally_large_the_search_gains_next_to_nothing"], {
        candidate_scales: |means, ratio| Ok(solution::candidate_scales(means, ratio)?.mapv(f32::recip))
    }

    "no_limit_for_scales",
    "a mean is above 0",
    "a channel that was 0 in every token has a scale of 0, and the normalization divides by 0",
    ["a_channel_that_was_0_gets_a_scale_above_0"],
    { limit: |scale| scale }

    "nan_is_a_ratio",
    "`ratio < 0.0 || ratio > 1.0` refuses what is wrong",
    "every comparison with NaN is false, so the check has to say what is right",
    ["a_ratio_and_a_mean_out_of_range_are_refused"], {
        check_candidate: |means, ratio| {
            solution::candidate_scales(means, if ratio.is_nan() { 0.5 } else { ratio }).map(drop)
        },
    }

    "any_mean_goes",
    "means come from `channel_means`, so they are right",
    "the function may be called by itself, and a power of a negative number is NaN",
    ["a_ratio_and_a_mean_out_of_range_are_refused"], {
        check_candidate: |_, ratio| solution::candidate_scales(&Array1::ones(1), ratio).map(drop),
    }

    "multiplies_both",
    "a channel that matters is multiplied, in the weight and in the input",
    "the product has to stay the same, so what multiplies the weight divides the input",
    ["columns_are_multiplied_before_rounding_and_divided_after",
     "the_norm_is_divided_and_each_layer_behind_it_multiplied",
     "the_transform_is_exact_in_f64_up_to_the_rounding_of_the_products"], {
        scaled_values: |w, scales, rounding| {
            (answer().check_scales)(w, scales, rounding)?;
            Ok(rounding.values(&(w * scales))? * scales)
        },
        divide_norm: |norm, scales| norm * scales,
    }

    "norm_as_it_was",
    "the scales belong to the weights",
    "the inputs have to be divided, and the norm is where that costs nothing",
    ["the_norm_is_divided_and_each_layer_behind_it_multiplied",
     "the_transform_is_exact_in_f64_up_to_the_rounding_of_the_products"],
    { divide_norm: |norm, _| norm.clone() }

    "forgets_to_divide",
    "the rounded weight is the layer's weight",
    "the rounded weight is for inputs that are divided, and the error compares it with w",
    ["columns_are_multiplied_before_rounding_and_divided_after"], {
        scaled_values: |w, scales, rounding| {
            (answer().check_scales)(w, scales, rounding)?;
            rounding.values(&(w * scales))
        },
    }

    "divides_first",
    "scales divide a weight before it is rounded, as the scale of a group does",
    "a channel that is multiplied has finer steps, and a channel that is divided has coarser ones",
    ["columns_are_multiplied_before_rounding_and_divided_after",
     "on_channels_that_are_equally_large_the_search_gains_next_to_nothing"], {
        scaled_values: |w, scales, rounding| {
            (answer().check_scales)(w, scales, rounding)?;
            Ok(rounding.values(&(w / scales))? * scales)
        },
    }

    "scales_rows",
    "a channel is a row of the weight",
    "an input channel is a column of `[out_features, in_features]`",
    ["columns_are_multiplied_before_rounding_and_divided_after"], {
        scaled_values: |w, scales, rounding| {
            (answer().check_scales)(w, scales, rounding)?;
            if !w.is_square() {
                return Ok(rounding.values(&(w * scales))? / scales);
            }
            let rows = scales.view().insert_axis(Axis(1));
            Ok(rounding.values(&(w * &rows))? / rows)
        },
    }

    "zero_is_a_scale",
    "scales come from `candidate_scales`, so they are above 0",
    "the function may be called by itself, and a weight over 0 is infinite or NaN",
    ["zero_and_non_finite_scales_are_caught"], {
        check_scales: |w, scales, rounding| {
            let known = scales.mapv(|scale| if scale.is_nan() || scale <= 0.0 { 1.0 } else { scale });
            solution::scaled_values(w, &known, rounding).map(drop)
        },
        check_norm: |norm, layers, scales| {
            let known = scales.mapv(|scale| if scale.is_nan() || scale <= 0.0 { 1.0 } else { scale });
            solution::fold_into_norm(norm, layers, &known).map(drop)
        },
    }

    "error_of_the_weight",
    "the best codes are those nearest to the weights",
    "an input of 30 makes the error of its weight count 900 times as much as an input of 1",
    ["the_error_is_the_mean_square_of_the_differences_of_outputs",
     "on_channels_that_are_equally_large_the_search_gains_next_to_nothing",
     "layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs"], {
        output_error: |x, w, values| {
            solution::output_error(x, w, values)?;
            let moved = values.mapv(f64::from) - w.mapv(f64::from);
            moved.mapv(|error| error * error).mean().ok_or(AwqError::NoTokens)
        },
    }

    "sum_for_mean_of_the_error",
    "the sum and the mean have the same minimum",
    "errors of layers and of calibrations are compared, so the number must not grow with the tokens",
    ["the_error_is_the_mean_square_of_the_differences_of_outputs"], {
        output_error: |x, w, values| {
            Ok(solution::output_error(x, w, values)? * (x.nrows() * w.nrows()) as f64)
        },
    }

    "error_in_f32",
    "the model runs in f32, so its error may",
    "the differences between ratios are small, and f32 keeps 24 bits of a sum",
    ["the_error_is_the_mean_square_of_the_differences_of_outputs"], {
        output_error: |x, w, values| {
            solution::output_error(x, w, values)?;
            let outputs = x.dot(&(values - w).t());
            Ok(f64::from(outputs.mapv(|error| error * error).mean().unwrap_or(0.0)))
        },
    }

    "no_identity",
    "a ratio of 0 does nothing, so the search need not try it",
    "without ratio 0 the best candidate may be worse than the nearest codes, and nothing says so",
    ["the_candidates_are_twenty_ratios_from_0_to_0_95"], {
        candidates: |means| {
            let one = |k: u8| {
                let ratio = f32::from(k) / 20.0;
                Ok(Candidate { ratio, scales: candidate_scales(means, ratio)? })
            };
            (1..=20).map(one).collect()
        },
    }

    "last_of_equal_errors",
    "any of equal errors will do",
    "the first has the smallest ratio, which changes the weights least",
    ["the_first_of_the_least_errors_wins_and_nan_never_does"], {
        best: |errors| {
            let finite = errors.iter().enumerate().filter(|(_, error)| error.is_finite());
            finite.rev().min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
        },
    }

    "nan_wins",
    "`min_by` with `partial_cmp` finds the least",
    "a comparison with NaN has no answer, so a NaN that comes first stays",
    ["the_first_of_the_least_errors_wins_and_nan_never_does"], {
        best: |errors| {
            let at = (0..errors.len()).reduce(|a, b| if errors[b] < errors[a] { b } else { a });
            at.filter(|_| !errors.iter().all(|error| error.is_nan()))
        },
    }

    "largest_error",
    "the search takes the best, which is the maximum",
    "the number is an error",
    ["the_first_of_the_least_errors_wins_and_nan_never_does",
     "on_its_calibration_tokens_the_search_is_never_worse_than_the_nearest_codes"], {
        best: |errors| {
            let finite = errors.iter().enumerate().filter(|(_, error)| error.is_finite());
            finite.rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
        },
    }

    "judges_by_the_first_layer",
    "q, k and v are alike, so one of them decides",
    "the scales are shared, so the outputs of all layers behind the input decide",
    ["layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs"],
    { together: |layers| layers.first().cloned().ok_or(AwqError::Nothing("layer")) }

    "judges_by_the_last_layer",
    "the search of the last layer is the one that counts",
    "the scales are shared, so the outputs of all layers behind the input decide",
    ["layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs"],
    { together: |layers| layers.last().cloned().ok_or(AwqError::Nothing("layer")) }

    "searches_on_quantized_inputs",
    "the layers before are quantized, so the search takes quantized inputs",
    "the reference is what the layer computes in full precision, and its inputs are those of the model \
     before anything was rounded",
    ["layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs"],
    { inputs: |x, rounding| rounding.values(x) }

    "divides_the_inputs_too",
    "the layer's inputs are divided, so the error is that of divided inputs",
    "the rounded weight was divided instead, and dividing both counts the scales twice",
    ["layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs",
], {
        error_of: |x, w, scales, rounding| {
            output_error(&(x / scales), w, &scaled_values(w, scales, rounding)?)
        },
    }

    "broadcasts_the_values",
    "the scales of v repeat over the channels of o",
    "neighbouring query heads share a kv head, so the channels of a head repeat and then those of the next",
    ["a_query_head_reads_the_rows_of_the_kv_head_that_it_shares",
     "a_row_has_the_mean_of_its_channels_and_gives_them_one_scale",
     "value_and_output_projections_compute_the_same_through_grouped_heads"],
    { row_behind: |channel, heads| channel % heads.rows() }

    "repeats_each_channel",
    "each row of v is repeated for the heads that share it",
    "a whole head of `dim` rows is repeated, and not each row",
    ["a_query_head_reads_the_rows_of_the_kv_head_that_it_shares",
     "a_row_has_the_mean_of_its_channels_and_gives_them_one_scale",
     "value_and_output_projections_compute_the_same_through_grouped_heads"],
    { row_behind: |channel, heads| channel / (heads.query / heads.kv) }

    "sums_over_sharing_heads",
    "a row that is read more often matters more",
    "the scale stands for the size of an input, and each of the inputs has the size of the mean",
    ["a_row_has_the_mean_of_its_channels_and_gives_them_one_scale"], {
        means_of_rows: |means, heads| {
            Ok(solution::means_of_rows(means, heads)? * (heads.query / heads.kv) as f32)
        },
    }

    "last_of_the_sharing_heads",
    "the heads that share values have the same inputs",
    "each query head mixes the tokens' values in another way, so the means differ",
    ["a_row_has_the_mean_of_its_channels_and_gives_them_one_scale"], {
        means_of_rows: |means, heads| {
            let mut rows = solution::means_of_rows(means, heads)?;
            for (channel, mean) in means.indexed_iter() {
                rows[solution::row_behind(channel, heads)] = *mean;
            }
            Ok(rows)
        },
    }

    "uneven_heads_are_rounded_down",
    "query heads are a multiple of kv heads",
    "3 heads cannot share 2 evenly, and the integer division hides that",
    ["shapes_that_do_not_fit_are_refused_by_name"], {
        check_heads: |_| Ok(()),
        means_of_rows: |means, heads| match heads.check() {
            Err(_) => Ok(means.clone()),
            Ok(()) => solution::means_of_rows(means, heads),
        },
    }

    "divides_the_columns_before",
    "a layer's channels are its columns, before and after",
    "an output of the layer before is a row of its weight",
    ["value_and_output_projections_compute_the_same_through_grouped_heads"], {
        divide_rows: |before, scales| {
            if before.is_square() { before / scales } else { (RIGHT.divide_rows)(before, scales) }
        },
    }

    "clips_q_and_k",
    "what helps v helps q and k",
    "a query and a key meet in a product, so the error of each by itself says little",
    ["query_and_key_projections_are_not_clipped",
     "a_block_is_searched_then_folded_then_clipped_for_its_new_inputs"],
    { is_clipped: |_| true }

    "name_contains_q_proj",
    "a name that contains `q_proj` is a query's",
    "a layer may be called `vq_proj_norm`, and a part of the name is compared as a whole",
    ["query_and_key_projections_are_not_clipped"],
    { is_clipped: |name| !["q_proj", "k_proj"].iter().any(|part| name.contains(part)) }

    "name_ends_with_weight",
    "the name of a projection ends with `q_proj`",
    "the name of a weight ends with `.weight`",
    ["query_and_key_projections_are_not_clipped"],
    { is_clipped: |name| !name.ends_with("q_proj") && !name.ends_with("k_proj") }

    "clips_one_side",
    "a maximum limits from above",
    "negative weights are as large as positive ones",
    ["each_group_is_limited_on_both_sides",
     "the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output"],
    { clamp: |w, max| w.min(max) }

    "clips_to_zero",
    "a weight beyond the maximum is an outlier, so it goes",
    "a weight that is limited keeps most of its output",
    ["each_group_is_limited_on_both_sides"],
    { clamp: |w, max| if w.abs() > max { 0.0 } else { w } }

    "compares_with_the_clipped_weight",
    "the codes stand for the clipped weights",
    "clipping is a part of the error, so the reference is the weights as they are",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output",
     "clipping_never_raises_the_error_that_it_minimizes"], {
        clip_errors: |x, _, clipped, values| {
            errors_of_rows(x, &(values.mapv(f64::from) - clipped.mapv(f64::from)))
        },
    }

    "clips_by_the_error_of_the_weight",
    "the maximum with the nearest codes is the best",
    "the inputs decide what an error costs, in clipping too",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output",
     "clipping_never_raises_the_error_that_it_minimizes"], {
        clip_errors: |_, w, _, values| {
            let moved = values.mapv(f64::from) - w.mapv(f64::from);
            moved.mapv(|error| error * error).sum_axis(Axis(1))
        },
    }

    "adds_squares_of_weights_and_inputs",
    "each weight's error counts by its own input",
    "errors of a group add up before they are squared, because inputs are correlated",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output"], {
        clip_errors: |x, w, _, values| {
            let moved = (values.mapv(f64::from) - w.mapv(f64::from)).mapv(|error| error * error);
            moved.dot(&x.mapv(|x| f64::from(x).powi(2)).sum_axis(Axis(0)))
        },
    }

    "clips_without_rounding",
    "the error of clipping is what it takes away",
    "without rounding no clipping is best, and a smaller maximum pays by its smaller steps",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output"], {
        clip_errors: |x, w, clipped, _| {
            errors_of_rows(x, &(clipped.mapv(f64::from) - w.mapv(f64::from)))
        },
    }

    "smallest_of_equal_maxima",
    "any of equal maxima will do",
    "the largest changes the weights least, and it is the first",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output"],
    { is_less: |error, least| error <= least }

    "clips_a_row_as_its_first_group",
    "a row has one maximum",
    "each group has its scale, so each has its maximum",
    ["the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output"], {
        settle: |mut maxima| {
            for mut row in maxima.rows_mut() {
                let first = row[0];
                row.fill(first);
            }
            maxima
        },
    }

    "clips_for_the_old_inputs",
    "the inputs were recorded once",
    "the scales are in the norm by then, so the layer reads the inputs over the scales",
    ["a_block_is_searched_then_folded_then_clipped_for_its_new_inputs"],
    { new_inputs: |x, _| x.clone() }

    "clips_first",
    "clipping is a property of the weights, so it may come first",
    "the scales change which weight is the largest of its group",
    ["a_block_is_searched_then_folded_then_clipped_for_its_new_inputs"], {
        awq: |norm, layers, x, rounding| {
            let mut weights: Vec<Matrix> = layers.iter().map(|(_, w)| w.clone()).collect();
            let scales = search_scales(x, &weights, rounding)?.best;
            for ((name, _), w) in layers.iter().zip(&mut weights) {
                if is_clipped(name) {
                    *w = clip(w, &search_clip(x, w, rounding)?)?;
                }
            }
            let (norm, layers) = fold_into_norm(norm, &weights, &scales.scales)?;
            Ok(Block { scales, norm, layers })
        },
    }

    "scales_of_each_layer",
    "each layer has its own best scales",
    "one norm is divided, so the layers behind the norm share one vector",
    ["a_block_is_searched_then_folded_then_clipped_for_its_new_inputs"], {
        fold: |norm, layers, scales, x, rounding| {
            let (norm, _) = fold_into_norm(norm, layers, scales)?;
            let own = |w: &Matrix| {
                Ok(w * &search_scales(x, std::slice::from_ref(w), rounding)?.best.scales)
            };
            Ok((norm, layers.iter().map(own).collect::<Lab<_>>()?))
        },
    }
}

/// The functions of the lab, of the wrong answer that `WRONG_ANSWER` names.
pub mod chosen {
    use super::{
        Array1, AwqError, Block, Candidate, Heads, Lab, Matrix, Rounding, Search, Vector, answer,
        answered,
    };

    answered! {
        fn channel_means(batches: &[Matrix]) -> Lab<Vector>;
        fn candidate_scales(means: &Vector, ratio: f32) -> Lab<Vector>;
        fn scaled_values(w: &Matrix, scales: &Vector, rounding: &Rounding) -> Lab<Matrix>;
        fn output_error(x: &Matrix, w: &Matrix, values: &Matrix) -> Lab<f64>;
        fn candidates(means: &Vector) -> Lab<Vec<Candidate>>;
        fn search_scales(x: &Matrix, layers: &[Matrix], rounding: &Rounding) -> Lab<Search>;
        fn fold_into_norm(
            norm: &Vector,
            layers: &[Matrix],
            scales: &Vector,
        ) -> Lab<(Vector, Vec<Matrix>)>;
        fn row_behind(channel: usize, heads: &Heads) -> usize;
        fn means_of_rows(means: &Vector, heads: &Heads) -> Lab<Vector>;
        fn spread(scales: &Vector, heads: &Heads) -> Lab<Vector>;
        fn fold_into_linear(
            before: &Matrix,
            after: &Matrix,
            scales: &Vector,
            heads: &Heads,
        ) -> Lab<(Matrix, Matrix)>;
        fn is_clipped(name: &str) -> bool;
        fn clip(w: &Matrix, maxima: &Matrix) -> Lab<Matrix>;
        fn search_clip(x: &Matrix, w: &Matrix, rounding: &Rounding) -> Lab<Matrix>;
        fn awq(
            norm: &Vector,
            layers: &[(&str, Matrix)],
            x: &Matrix,
            rounding: &Rounding,
        ) -> Lab<Block>;
    }

    /// See [`solution::search`](crate::solution::search).
    pub fn search(
        candidates: Vec<Candidate>,
        mut error_of: impl FnMut(&Array1<f32>) -> Lab<f64>,
    ) -> Lab<Search> {
        if candidates.is_empty() {
            return Err(AwqError::Nothing("candidate"));
        }
        let errors = candidates.iter().map(|candidate| error_of(&candidate.scales));
        let errors = errors.collect::<Lab<Vec<f64>>>()?;
        let best = (answer().best)(&errors).and_then(|at| candidates.get(at).cloned());
        Ok(Search { best: best.ok_or(AwqError::NoFiniteError(errors.len()))?, errors })
    }
}
