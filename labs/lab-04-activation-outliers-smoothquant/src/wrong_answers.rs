//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=swapped_alpha cargo
//! test -p lab-04-activation-outliers-smoothquant --test spec` runs the spec on one wrong answer,
//! and the test `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::meters::relative_error;
use kit::reference::linear_f64;
use kit::{answered, wrong_answers};
use ndarray::{Array1, Array2, Axis, Zip};

use self::chosen::smoothing_scales;
use crate::{
    Granularity, MIN_SCALE, Migrated, Quantized, SideErrors, SmoothError, dequantize,
    quantize_activations, quantize_weight, solution, w8a8_linear,
};

type Smooth<T> = Result<T, SmoothError>;
type Matrix = Array2<f32>;
type Vector = Array1<f32>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    check_finite: fn(&Matrix) -> Smooth<()>,
    channel: fn(&Matrix) -> Vector,
    channel_absmax: fn(&Matrix) -> Smooth<Vector>,
    /// The running maximum, of the old and the new one of a channel.
    merged: fn(f32, f32) -> f32,
    check_batches: fn(&[Matrix]) -> Smooth<()>,
    calibrate: fn(&[Matrix]) -> Smooth<Vector>,
    side_errors: fn(&Matrix, &Matrix, Granularity) -> Smooth<SideErrors>,
    check_smoothing: fn(&Vector, &Vector, f32) -> Smooth<()>,
    smoothing_scale: fn(f32, f32, f32) -> f32,
    check_smooth: fn(&Matrix, &Matrix, &Vector) -> Smooth<()>,
    smoothed_x: fn(&Matrix, &Vector) -> Matrix,
    smoothed_w: fn(&Matrix, &Vector) -> Matrix,
    fold_into_norm: fn(&Vector, &Vector) -> Smooth<Vector>,
    /// The int8 weight of a migrated layer.
    migrated_weight: fn(&Matrix, &Vector) -> Smooth<Quantized>,
    migrate: fn(&[Matrix], &Matrix, f32) -> Smooth<Migrated>,
    check_width: fn(&Matrix, &Migrated) -> Smooth<()>,
    migrated_linear: fn(&Matrix, &Migrated, Granularity) -> Smooth<Matrix>,
    check_candidates: fn(&[f32]) -> Smooth<()>,
    /// What a layer loses on an activation; the original weight comes second.
    loss: fn(&Matrix, &Matrix, &Migrated, Granularity) -> f64,
    choose_alpha: fn(&[Matrix], &Matrix, Granularity, &[f32]) -> Smooth<f32>,
}

const RIGHT: Steps = Steps {
    check_finite: |m| solution::channel_absmax(m).map(drop),
    channel: |m| {
        m.map_axis(Axis(0), |column| column.iter().fold(0.0, |max: f32, v| max.max(v.abs())))
    },
    channel_absmax: |m| {
        (answer().check_finite)(m)?;
        Ok((answer().channel)(m))
    },
    merged: |old, new| old.max(new),
    check_batches: |batches| solution::calibrate(batches).map(drop),
    calibrate: |batches| {
        (answer().check_batches)(batches)?;
        let mut absmax = Array1::zeros(batches.first().map_or(0, Array2::ncols));
        for x in batches {
            let now = (answer().channel_absmax)(x)?;
            Zip::from(&mut absmax)
                .and(&now)
                .for_each(|max, &now| *max = (answer().merged)(*max, now));
        }
        Ok(absmax)
    },
    side_errors: solution::side_errors,
    check_smoothing: |act, weight, alpha| solution::smoothing_scales(act, weight, alpha).map(drop),
    smoothing_scale: |act, weight, alpha| {
        (act.powf(alpha) / weight.max(MIN_SCALE).powf(1.0 - alpha)).max(MIN_SCALE)
    },
    check_smooth: |x, w, scales| solution::smooth(x, w, scales).map(drop),
    smoothed_x: |x, scales| x / scales,
    smoothed_w: |w, scales| w * scales,
    fold_into_norm: solution::fold_into_norm,
    migrated_weight: |w, smoothing| Ok(quantize_weight(&(answer().smoothed_w)(w, smoothing))?),
    migrate: |batches, w, alpha| {
        let weight = (answer().channel_absmax)(w)?;
        let smoothing = smoothing_scales(&(answer().calibrate)(batches)?, &weight, alpha)?;
        Ok(Migrated { weight: (answer().migrated_weight)(w, &smoothing)?, smoothing })
    },
    check_width: |x, layer| solution::migrated_linear(x, layer, Granularity::PerTensor).map(drop),
    migrated_linear: |x, layer, granularity| {
        (answer().check_width)(x, layer)?;
        let x = (answer().smoothed_x)(x, &layer.smoothing);
        w8a8_linear(&quantize_activations(&x, granularity)?, &layer.weight)
    },
    check_candidates: |candidates| match candidates {
        [] => Err(SmoothError::NoAlpha),
        _ => Ok(()),
    },
    loss: |x, w, layer, granularity| {
        let found = solution::migrated_linear(x, layer, granularity).expect("a layer for x");
        (linear_f64(x, w) - found).iter().map(|e| f64::from(*e).powi(2)).sum()
    },
    choose_alpha: |batches, w, granularity, candidates| {
        (answer().check_candidates)(candidates)?;
        chosen_by(batches, batches, w, granularity, candidates)
    },
};

/// An activation and a weight as they come back from their grids.
fn sides(x: &Matrix, w: &Matrix, granularity: Granularity) -> Smooth<(Matrix, Matrix)> {
    solution::side_errors(x, w, granularity)?;
    Ok((dequantize(&quantize_activations(x, granularity)?), dequantize(&quantize_weight(w)?)))
}

/// The candidate that loses least on the batches `measured`, of layers that were calibrated on others.
fn chosen_by(
    measured: &[Matrix],
    calibration: &[Matrix],
    w: &Matrix,
    granularity: Granularity,
    candidates: &[f32],
) -> Smooth<f32> {
    let mut best = (f64::INFINITY, f32::NAN);
    for &alpha in candidates {
        let layer = solution::migrate(calibration, w, alpha)?;
        let loss = measured.iter().map(|x| (answer().loss)(x, w, &layer, granularity)).sum();
        best = if loss < best.0 { (loss, alpha) } else { best };
    }
    Ok(best.1)
}

wrong_answers! {
    "channels_are_rows",
    "the maximum of a channel is over its row",
    "activations are `[tokens, in_features]`, so a channel is a column",
    ["the_absmax_of_a_channel_is_over_its_column_and_without_its_sign"],
    { channel: |m| m.map_axis(Axis(1), |row| row.iter().fold(0.0, |max: f32, v| max.max(v.abs()))) }

    "maximum_without_magnitude",
    "the largest value is the largest magnitude",
    "a negative value may have the largest magnitude",
    ["the_absmax_of_a_channel_is_over_its_column_and_without_its_sign"], {
        channel: |m| {
            m.map_axis(Axis(0), |column| column.iter().fold(0.0, |max: f32, &v| max.max(v)))
        },
    }

    "calibrates_on_the_mean_magnitude",
    "a typical value is what has to fit",
    "an outlier channel is known by its largest magnitude, and the mean hides that magnitude",
    ["the_absmax_of_a_channel_is_over_its_column_and_without_its_sign",
     "calibration_keeps_the_largest_magnitude_over_all_batches",
     "a_migrated_layer_is_the_smoothed_weight_quantized"], {
        channel: |m| {
            m.map_axis(Axis(0), |column| {
                column.iter().map(|v| v.abs()).sum::<f32>() / column.len() as f32
            })
        },
    }

    "magnitude_of_the_mean",
    "the order of mean and magnitude does not matter",
    "values of both signs cancel in a mean, and the promise is the largest magnitude",
    ["the_absmax_of_a_channel_is_over_its_column_and_without_its_sign"],
    { channel: |m| m.map_axis(Axis(0), |column| (column.sum() / column.len() as f32).abs()) }

    "misses_the_last_row",
    "a range to `nrows() - 1` ends at the last row",
    "the end of a range is not part of the range, so the last token is missed",
    ["the_absmax_of_a_channel_is_over_its_column_and_without_its_sign"], {
        channel: |m| {
            m.map_axis(Axis(0), |column| {
                let all_but_one = column.iter().take(column.len().saturating_sub(1));
                all_but_one.fold(0.0, |max: f32, v| max.max(v.abs()))
            })
        },
    }

    "misses_the_last_batch",
    "batches are counted from 1 to their number",
    "the last batch may hold the outlier, so the maximum is over all batches",
    ["calibration_keeps_the_largest_magnitude_over_all_batches",
     "a_migrated_layer_is_the_smoothed_weight_quantized"], {
        calibrate: |batches| {
            let all = solution::calibrate(batches)?;
            match batches {
                [first @ .., _] if first.iter().any(|x| x.nrows() > 0) => {
                    solution::calibrate(first)
                }
                _ => Ok(all),
            }
        },
    }

    "keeps_the_last_batch",
    "the newest maximum is the best one",
    "an earlier batch may hold the outlier, so the larger of both maxima is kept",
    ["calibration_keeps_the_largest_magnitude_over_all_batches"],
    { merged: |_, new| new }

    "adds_the_batches",
    "maxima accumulate over batches",
    "the maximum of two batches is the larger of their maxima and not the sum",
    ["calibration_keeps_the_largest_magnitude_over_all_batches"],
    { merged: |old, new| old + new }

    "averages_the_batches",
    "a moving average is more robust than a maximum",
    "an average lies below the largest magnitude that was seen, and the largest is what must fit",
    ["calibration_keeps_the_largest_magnitude_over_all_batches"],
    { merged: |old, new| if old == 0.0 { new } else { f32::midpoint(old, new) } }

    "calibrates_on_nothing",
    "without tokens the maxima are 0, and that is a result",
    "a maximum of 0 says that a channel is dead, so a calibration without tokens must be an error",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"], {
        check_batches: |batches| match solution::calibrate(batches) {
            Err(SmoothError::NoTokens) => Ok(()),
            checked => checked.map(drop),
        },
    }

    "nan_passes",
    "a maximum would show a NaN",
    "`f32::max` drops NaN, so a check has to look for NaN",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"],
    { check_finite: |_| Ok(()), check_batches: |_| Ok(()) }

    "maxima_do_not_look_for_nan",
    "calibration checks its batches, and that is enough",
    "`channel_absmax` is called on weights too, and `f32::max` drops NaN there",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"],
    { channel_absmax: |m| Ok((answer().channel)(m)) }

    "checks_the_first_batch_only",
    "one good batch vouches for the others",
    "a NaN of any batch is dropped by `f32::max`, so each batch is checked",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"], {
        calibrate: |batches| {
            if let Some(first) = batches.first() {
                (answer().check_finite)(first)?;
            }
            let finite = |x: &Matrix| x.mapv(|v| if v.is_finite() { v } else { 0.0 });
            solution::calibrate(&batches.iter().map(finite).collect::<Vec<_>>())
        },
    }

    "an_empty_batch_is_an_error",
    "a batch of no tokens spoils the calibration",
    "an empty batch adds nothing, and only a calibration without any token is an error",
    ["calibration_keeps_the_largest_magnitude_over_all_batches"], {
        check_batches: |batches| {
            if batches.iter().any(|x| x.nrows() == 0) {
                return Err(SmoothError::NoTokens);
            }
            solution::calibrate(batches).map(drop)
        },
    }

    "infinity_passes",
    "only NaN is not a number",
    "infinity makes an infinite scale, and infinity over infinity is NaN",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"], {
        check_finite: |m| {
            solution::channel_absmax(&m.mapv(|v| if v.is_infinite() { 0.0 } else { v })).map(drop)
        },
    }

    "swapped_alpha",
    "alpha is the weight's share",
    "alpha is the exponent of the activation's maximum, and 1 - alpha that of the weight's",
    ["the_scales_are_those_of_the_reference_implementation"],
    { smoothing_scale: |act, weight, alpha| (RIGHT.smoothing_scale)(act, weight, 1.0 - alpha) }

    "inverts_the_scale",
    "the weight has the outliers, so the weight is divided",
    "the activation has the outliers, so the activation is divided by the scale and the weight is \
     multiplied",
    ["the_scales_are_those_of_the_reference_implementation",
     "migration_wins_the_error_back_more_than_threefold"],
    { smoothing_scale: |act, weight, alpha| 1.0 / (RIGHT.smoothing_scale)(act, weight, alpha) }

    "multiplies_the_two_shares",
    "the scale is a geometric mean of both maxima",
    "the scale is `act^alpha / weight^(1 - alpha)`, so a large weight makes the scale smaller",
    ["the_scales_are_those_of_the_reference_implementation"], {
        smoothing_scale: |act, weight, alpha| {
            (act.powf(alpha) * weight.max(MIN_SCALE).powf(1.0 - alpha)).max(MIN_SCALE)
        },
    }

    "ignores_the_weight",
    "only the activation has outliers",
    "the weight takes over what the activation gives away, so its maximum divides the scale",
    ["the_scales_are_those_of_the_reference_implementation"],
    { smoothing_scale: |act, _, alpha| act.powf(alpha).max(MIN_SCALE) }

    "no_clamps",
    "no weight column is ever all zeros",
    "a column of zeros makes the scale infinite, so both the maximum and the scale have a lower \
     limit",
    ["the_scales_are_those_of_the_reference_implementation"],
    { smoothing_scale: |act, weight, alpha| act.powf(alpha) / weight.powf(1.0 - alpha) }

    "limits_the_weight_alone",
    "a maximum of the weight at 1e-5 or above keeps the scale above it, too",
    "a small activation maximum makes a small scale, so the scale has a lower limit of its own",
    ["the_scales_are_those_of_the_reference_implementation"], {
        smoothing_scale: |act, weight, alpha| {
            act.powf(alpha) / weight.max(MIN_SCALE).powf(1.0 - alpha)
        },
    }

    "any_alpha",
    "a large alpha is only a strong migration",
    "outside 0 to 1 one of the two exponents is negative, so such an alpha must be refused",
    ["alpha_outside_0_to_1_is_refused"],
    { check_smoothing: |act, weight, _| solution::smoothing_scales(act, weight, 0.5).map(drop) }

    "smooths_dead_channels",
    "the clamp takes care of zeros",
    "a channel that was 0 in the calibration has no known range, and a clamped scale would be a \
     guess",
    ["dead_channels_and_maxima_that_are_none_are_refused"], {
        check_smoothing: |act, weight, alpha| {
            let alive = act.mapv(|absmax| if absmax == 0.0 { 1.0 } else { absmax });
            solution::smoothing_scales(&alive, weight, alpha).map(drop)
        },
    }

    "names_the_last_dead_channel",
    "the channel that is found last is as good as the first",
    "the promise is the first, so that two runs and two programs name the same channel",
    ["dead_channels_and_maxima_that_are_none_are_refused"], {
        check_smoothing: |act, weight, alpha| {
            let last = act.iter().rposition(|&absmax| absmax == 0.0);
            match (solution::smoothing_scales(act, weight, alpha), last) {
                (Err(SmoothError::DeadChannel { .. }), Some(channel)) => {
                    Err(SmoothError::DeadChannel { channel })
                }
                (checked, _) => checked.map(drop),
            }
        },
    }

    "dead_is_a_scale_of_0",
    "at alpha 0 the activation does not matter",
    "a channel that was 0 in the calibration has no known range at any alpha",
    ["dead_channels_and_maxima_that_are_none_are_refused"], {
        check_smoothing: |act, weight, alpha| {
            let checked = solution::smoothing_scales(act, weight, alpha);
            match checked {
                Err(SmoothError::DeadChannel { .. }) if alpha == 0.0 => Ok(()),
                _ => checked.map(drop),
            }
        },
    }

    "lengths_may_differ",
    "ndarray checks the shapes",
    "ndarray stretches a length of 1 and panics at others, and both must be an error",
    ["lengths_that_differ_are_refused_and_both_are_named"],
    { check_smooth: |_, _, _| Ok(()) }

    "checks_the_activation_only",
    "the weight is the one that was calibrated",
    "a weight of one column would be stretched by ndarray unnoticed, so its width is checked too",
    ["lengths_that_differ_are_refused_and_both_are_named"], {
        check_smooth: |x, _, scales| {
            solution::smooth(x, &Array2::zeros((1, scales.len())), scales).map(drop)
        },
    }

    "smooths_the_wrong_axis",
    "a smoothing scale belongs to a token",
    "a smoothing scale belongs to a channel, which is a column of the activation",
    ["smoothing_divides_the_activation_and_multiplies_the_weight"], {
        smoothed_x: |x, scales| {
            let of = |row: usize| scales[row % scales.len()];
            Array2::from_shape_fn(x.dim(), |(row, column)| x[(row, column)] / of(row))
        },
    }

    "smooths_the_weights_rows",
    "the weight's channels are its rows",
    "a smoothing scale belongs to an input channel, which is a column of the weight",
    ["smoothing_divides_the_activation_and_multiplies_the_weight",
     "the_product_is_the_same_before_anything_is_quantized"], {
        smoothed_w: |w, scales| {
            let of = |row: usize| scales[row % scales.len()];
            Array2::from_shape_fn(w.dim(), |(row, column)| w[(row, column)] * of(row))
        },
    }

    "forgets_the_weight",
    "dividing the activation is the whole fix",
    "the product stays the same only if the weight is multiplied by the same scales",
    ["smoothing_divides_the_activation_and_multiplies_the_weight",
     "the_product_is_the_same_before_anything_is_quantized",
     "migration_wins_the_error_back_more_than_threefold"],
    { smoothed_w: |w, _| w.clone() }

    "forgets_the_activation",
    "the weight carries the scales, and that is enough",
    "the product stays the same only if the activation is divided by the same scales",
    ["smoothing_divides_the_activation_and_multiplies_the_weight",
     "the_product_is_the_same_before_anything_is_quantized",
     "migration_wins_the_error_back_more_than_threefold"],
    { smoothed_x: |x, _| x.clone() }

    "multiplies_the_norm",
    "the norm is a weight, and weights are multiplied",
    "the norm makes the activation, and the activation is divided by the scales",
    ["folded_into_the_norm_the_scales_cost_nothing_at_run_time"],
    { fold_into_norm: |norm, scales| solution::fold_into_norm(norm, scales).map(|_| norm * scales) }

    "quantizes_before_smoothing",
    "the order of two scalings does not matter",
    "a weight that is quantized first is rounded twice, so the weight is smoothed first and then \
     rounded once",
    ["a_migrated_layer_is_the_smoothed_weight_quantized"], {
        migrated_weight: |w, smoothing| {
            let first = quantize_weight(w)?;
            let values = first.q().mapv(f32::from) * first.scales();
            Ok(quantize_weight(&(values * smoothing))?)
        },
    }

    "migrates_on_the_first_batch",
    "the first batch is the calibration set",
    "all batches are the calibration set, and a later batch may hold the larger outlier",
    ["a_migrated_layer_is_the_smoothed_weight_quantized"], {
        migrate: |batches, w, alpha| {
            solution::migrate(batches.get(..1).unwrap_or_default(), w, alpha)
        },
    }

    "migrates_with_1_minus_alpha",
    "alpha is what stays in the activations",
    "alpha is the share that moves to the weights, and `smoothing_scales` takes it as given",
    ["a_migrated_layer_is_the_smoothed_weight_quantized"],
    { migrate: |batches, w, alpha| solution::migrate(batches, w, 1.0 - alpha) }

    "takes_the_maxima_of_the_weights_rows",
    "a channel of a weight is its output",
    "smoothing works on input channels, which are columns of the weight",
    ["a_migrated_layer_is_the_smoothed_weight_quantized"], {
        migrate: |batches, w, alpha| {
            if !w.is_square() {
                return solution::migrate(batches, w, alpha);
            }
            let rows = solution::channel_absmax(&w.t().to_owned())?;
            let smoothing = smoothing_scales(&solution::calibrate(batches)?, &rows, alpha)?;
            Ok(Migrated { weight: (answer().migrated_weight)(w, &smoothing)?, smoothing })
        },
    }

    "normalizes_the_scales",
    "scales should be 1 on average",
    "the reference uses the scales as they are, and a common factor changes what the norm must hold",
    ["a_migrated_layer_is_the_smoothed_weight_quantized"], {
        migrate: |batches, w, alpha| {
            let right = solution::migrate(batches, w, alpha)?.smoothing;
            let smoothing = &right / right.mean().unwrap_or(1.0);
            Ok(Migrated { weight: (answer().migrated_weight)(w, &smoothing)?, smoothing })
        },
    }

    "alpha_is_always_one_half",
    "0.5 is what everybody uses",
    "alpha is an argument, and the scales must follow the alpha that is given",
    ["the_error_is_u_shaped_in_alpha_with_its_minimum_near_one_half",
     "the_scales_are_those_of_the_reference_implementation"],
    { smoothing_scale: |act, weight, _| (RIGHT.smoothing_scale)(act, weight, 0.5) }

    "granularities_swapped",
    "per tensor is the finer granularity",
    "per tensor is one scale for all tokens, and per token is one scale for each",
    ["each_granularity_of_a_migrated_layer_is_the_one_asked_for"], {
        migrated_linear: |x, layer, granularity| {
            let other = match granularity {
                Granularity::PerTensor => Granularity::PerToken,
                Granularity::PerToken => Granularity::PerTensor,
            };
            solution::migrated_linear(x, layer, other)
        },
    }

    "stretches_a_narrow_activation",
    "one channel is a channel for all",
    "ndarray stretches a width of 1 unnoticed, so another width must be an error",
    ["a_migrated_layer_refuses_an_activation_of_another_width"],
    { check_width: |x, _| (answer().check_finite)(x) }

    "trusts_the_scales_of_a_layer",
    "the scales were checked when the layer was migrated",
    "the fields of a layer are public, so a layer may hold a scale of 0 that was never checked",
    ["a_migrated_layer_refuses_an_activation_of_another_width"], {
        check_width: |x, layer| {
            solution::smooth(x, &Array2::zeros((1, layer.smoothing.len())), &ones(layer)).map(drop)
        },
    }

    "exchanges_row_and_column",
    "the first index found is the row",
    "the indices of a transposed matrix are `(column, row)`",
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan"], {
        channel_absmax: |m| {
            solution::channel_absmax(&m.t().to_owned())?;
            solution::channel_absmax(m)
        },
    }

    "names_no_value_of_a_layer",
    "the channel says enough",
    "the error shows the scale to somebody who looks for its cause, and an overflow is not a 0",
    ["a_migrated_layer_refuses_an_activation_of_another_width"], {
        check_width: |x, layer| {
            let checked = solution::migrated_linear(x, layer, Granularity::PerTensor);
            checked.map(drop).map_err(|error| match error {
                SmoothError::NotAScale { channel, .. } => {
                    SmoothError::NotAScale { channel, value: 0.0 }
                }
                other => other,
            })
        },
    }

    "smooths_by_chunks_of_the_memory",
    "a token is the next `in_features` numbers in memory",
    "a matrix may be kept column by column, and then a run of the memory is no token",
    ["smoothing_divides_the_activation_and_multiplies_the_weight"], {
        smoothed_x: |x, scales| {
            let memory = x.as_slice_memory_order().unwrap_or_default().to_vec();
            Array2::from_shape_vec(x.dim(), memory).expect("the shape of x") / scales
        },
        smoothed_w: |w, scales| {
            let memory = w.as_slice_memory_order().unwrap_or_default().to_vec();
            Array2::from_shape_vec(w.dim(), memory).expect("the shape of w") * scales
        },
    }

    "migrates_dead_channels",
    "a floor under the maxima keeps the layer alive",
    "a channel that was 0 in the calibration has no known range, so `migrate` passes the error on",
    ["a_migrated_layer_refuses_an_activation_of_another_width"], {
        migrate: |batches, w, alpha| {
            let act = solution::calibrate(batches)?.mapv(|a| a.max(MIN_SCALE));
            let smoothing = smoothing_scales(&act, &solution::channel_absmax(w)?, alpha)?;
            Ok(Migrated { weight: (answer().migrated_weight)(w, &smoothing)?, smoothing })
        },
    }

    "measures_the_matrices",
    "the output is off by as much as the matrix that is rounded",
    "a channel that the weight does not use may be off by any amount, so the outputs are compared",
    ["the_error_of_a_side_is_that_of_the_output"], {
        side_errors: |x, w, granularity| {
            let (x_hat, w_hat) = sides(x, w, granularity)?;
            Ok(SideErrors {
                activation: relative_error(x, &x_hat),
                weight: relative_error(w, &w_hat),
            })
        },
    }

    "rounds_the_other_side_too",
    "a layer has both sides on the grid",
    "with both sides rounded the number belongs to neither, so one side is left in floats",
    ["the_error_of_a_side_is_that_of_the_output"], {
        side_errors: |x, w, granularity| {
            let (x_hat, w_hat) = sides(x, w, granularity)?;
            let both = relative_error(&linear_f64(x, w), &linear_f64(&x_hat, &w_hat));
            Ok(SideErrors { activation: both, weight: both })
        },
    }

    "asks_no_width",
    "ndarray compares the widths",
    "a product of other widths is a panic, and a panic names no layer",
    ["sides_of_different_widths_nan_and_infinity_are_refused"], {
        side_errors: |x, w, granularity| {
            let exact = linear_f64(x, w);
            let (x_hat, w_hat) = sides(x, w, granularity)?;
            Ok(SideErrors {
                activation: relative_error(&exact, &linear_f64(&x_hat, w)),
                weight: relative_error(&exact, &linear_f64(x, &w_hat)),
            })
        },
    }

    "exchanges_the_sides",
    "the error with a rounded weight belongs to the activation that meets the weight",
    "an error belongs to the side that is rounded",
    ["the_error_of_a_side_is_that_of_the_output"], {
        side_errors: |x, w, granularity| {
            let SideErrors { activation, weight } = solution::side_errors(x, w, granularity)?;
            Ok(SideErrors { activation: weight, weight: activation })
        },
    }

    "divides_by_the_rounded_output",
    "either output may stand below the line",
    "the rounded output may have lost nearly all of itself, so the error is over the exact output",
    ["the_error_of_a_side_is_that_of_the_output"], {
        side_errors: |x, w, granularity| {
            let (x_hat, w_hat) = sides(x, w, granularity)?;
            let error = |x: &Matrix, w: &Matrix, exact| relative_error(&linear_f64(x, w), exact);
            let exact = linear_f64(x, w);
            Ok(SideErrors {
                activation: error(&x_hat, w, &exact),
                weight: error(x, &w_hat, &exact),
            })
        },
    }

    "weighs_with_one_scale",
    "the granularity is that of both sides",
    "tokens have one scale or many, and a weight has one scale per output channel",
    ["the_error_of_a_side_is_that_of_the_output"], {
        side_errors: |x, w, granularity| {
            let SideErrors { activation, .. } = solution::side_errors(x, w, granularity)?;
            let w_hat = dequantize(&quantize_activations(w, granularity)?);
            let weight = relative_error(&linear_f64(x, w), &linear_f64(x, &w_hat));
            Ok(SideErrors { activation, weight })
        },
    }

    "sides_are_always_per_token",
    "per token is the better granularity, so it is the one to measure",
    "the caller compares granularities, so the one that is asked for is measured",
    ["the_error_of_a_side_is_that_of_the_output"],
    { side_errors: |x, w, _| solution::side_errors(x, w, Granularity::PerToken) }

    "chooses_by_the_weights_error",
    "the weight is stored, so the weight must lose least",
    "alpha 0 leaves all outliers in the activation, and the layer multiplies by the activation too",
    ["the_choice_loses_least_in_the_output"], {
        loss: |x, w, layer, _| {
            let smoothed = w * &layer.smoothing;
            let _ = x;
            relative_error(&smoothed, &dequantize(&layer.weight))
        },
    }

    "chooses_by_the_activations_error",
    "the outliers are in the activation, so the activation must lose least",
    "alpha 1 moves all outliers to the weight, and the layer multiplies by the weight too",
    ["the_choice_loses_least_in_the_output"], {
        loss: |x, _, layer, granularity| {
            let smoothed = x / &layer.smoothing;
            let codes = quantize_activations(&smoothed, granularity).expect("finite activations");
            relative_error(&smoothed, &dequantize(&codes))
        },
    }

    "chooses_on_the_first_batch",
    "one batch is a fair sample",
    "a later batch may hold the outliers, so the loss is over all batches",
    ["the_choice_is_made_on_all_batches"], {
        choose_alpha: |batches, w, granularity, candidates| {
            (answer().check_candidates)(candidates)?;
            chosen_by(batches.get(..1).unwrap_or_default(), batches, w, granularity, candidates)
        },
    }

    "calibrates_the_choice_on_the_first_batch",
    "the layer is calibrated once, on the first batch",
    "the layer that will run is calibrated on all batches, so that layer is measured",
    ["the_choice_is_made_on_all_batches"], {
        choose_alpha: |batches, w, granularity, candidates| {
            (answer().check_candidates)(candidates)?;
            chosen_by(batches, batches.get(..1).unwrap_or_default(), w, granularity, candidates)
        },
    }

    "chooses_for_the_other_granularity",
    "the best alpha does not depend on the scales of the tokens",
    "a scale per token mends outlier tokens by itself, so less has to move",
    ["the_choice_is_for_the_granularity_that_runs"], {
        choose_alpha: |batches, w, granularity, candidates| {
            let other = match granularity {
                Granularity::PerTensor => Granularity::PerToken,
                Granularity::PerToken => Granularity::PerTensor,
            };
            solution::choose_alpha(batches, w, other, candidates)
        },
    }

    "chooses_one_half",
    "0.5 is the best alpha",
    "0.5 is a good start, and the best alpha of a layer is found by measuring",
    ["the_choice_loses_least_in_the_output"], {
        choose_alpha: |batches, w, granularity, candidates| {
            solution::choose_alpha(batches, w, granularity, candidates)?;
            let distance = |alpha: &f32| (alpha - 0.5).abs();
            let nearest = candidates.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest.copied().ok_or(SmoothError::NoAlpha)
        },
    }

    "chooses_the_last_of_equals",
    "of two equal candidates either will do",
    "two programs choose the same alpha only if both take the first",
    ["of_equal_candidates_the_first_is_chosen_and_none_is_an_error"], {
        choose_alpha: |batches, w, granularity, candidates| {
            let turned: Vec<f32> = candidates.iter().rev().copied().collect();
            solution::choose_alpha(batches, w, granularity, &turned)
        },
    }

    "chooses_one_half_of_nothing",
    "without candidates the usual alpha is meant",
    "a caller without candidates has made a mistake, and a silent 0.5 hides the mistake",
    ["of_equal_candidates_the_first_is_chosen_and_none_is_an_error"], {
        choose_alpha: |batches, w, granularity, candidates| match candidates {
            [] => Ok(0.5),
            _ => solution::choose_alpha(batches, w, granularity, candidates),
        },
    }
}

/// Scales that change nothing, as many as the layer has.
fn ones(layer: &Migrated) -> Vector {
    Array1::ones(layer.smoothing.len())
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    /// See [`solution::smoothing_scales`].
    pub fn smoothing_scales(act: &Vector, weight: &Vector, alpha: f32) -> Smooth<Vector> {
        (answer().check_smoothing)(act, weight, alpha)?;
        let scale = |&act: &f32, &weight: &f32| (answer().smoothing_scale)(act, weight, alpha);
        Ok(act.iter().zip(weight).map(|(act, weight)| scale(act, weight)).collect())
    }

    /// See [`solution::smooth`].
    pub fn smooth(x: &Matrix, w: &Matrix, scales: &Vector) -> Smooth<(Matrix, Matrix)> {
        (answer().check_smooth)(x, w, scales)?;
        Ok(((answer().smoothed_x)(x, scales), (answer().smoothed_w)(w, scales)))
    }

    answered! {
        fn channel_absmax(m: &Matrix) -> Smooth<Vector>;
        fn calibrate(batches: &[Matrix]) -> Smooth<Vector>;
        fn side_errors(x: &Matrix, w: &Matrix, granularity: Granularity) -> Smooth<SideErrors>;
        fn fold_into_norm(norm: &Vector, scales: &Vector) -> Smooth<Vector>;
        fn migrate(batches: &[Matrix], w: &Matrix, alpha: f32) -> Smooth<Migrated>;
        fn migrated_linear(x: &Matrix, layer: &Migrated, granularity: Granularity) -> Smooth<Matrix>;
        fn choose_alpha(
            batches: &[Matrix],
            w: &Matrix,
            granularity: Granularity,
            candidates: &[f32],
        ) -> Smooth<f32>;
    }
}
