//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=swapped_alpha cargo
//! test -p lab-04-activation-outliers-smoothquant --test spec` runs the spec on one wrong answer,
//! and the test `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::{Array1, Array2, Axis, Zip};

use self::chosen::{
    quantize_activations_per_tensor, quantize_activations_per_token, smoothing_scales, w8a8_linear,
};
use crate::{
    Granularity, MIN_SCALE, Migrated, QMAX, Quantized, SmoothError, quantize_weight, solution,
};

type Smooth<T> = Result<T, SmoothError>;
type Matrix = Array2<f32>;
type Vector = Array1<f32>;

/// An integer matrix: codes or their sums.
type Sums = Array2<i32>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    check_finite: fn(&Matrix) -> Smooth<()>,
    channel: fn(&Matrix) -> Vector,
    channel_absmax: fn(&Matrix) -> Smooth<Vector>,
    /// The running maximum, of the old and the new one of a channel.
    merged: fn(f32, f32) -> f32,
    check_batches: fn(&[Matrix]) -> Smooth<()>,
    calibrate: fn(&[Matrix]) -> Smooth<Vector>,
    scale: fn(f32) -> f32,
    steps: fn(&Matrix, &Matrix) -> Matrix,
    code: fn(f32) -> i8,
    /// The scales per token, `[tokens, 1]`.
    token_scales: fn(&Matrix) -> Matrix,
    tensor_absmax: fn(&Matrix) -> f32,
    check_product: fn(&Quantized, &Quantized) -> Smooth<()>,
    sums: fn(&Sums, &Sums) -> Matrix,
    rescale: fn(Matrix, &Matrix, &Matrix) -> Matrix,
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
    scale: |absmax| {
        let scale = absmax / QMAX;
        if scale > 0.0 { scale } else { 1.0 }
    },
    steps: |x, scales| x / scales,
    code: |steps| steps.round_ties_even().clamp(-QMAX, QMAX) as i8,
    token_scales: |x| {
        let absmax = |row: &[f32]| row.iter().fold(0.0, |max: f32, v| max.max(v.abs()));
        let scales = x.rows().into_iter().map(|row| (answer().scale)(absmax(&row.to_vec())));
        Array1::from_iter(scales).insert_axis(Axis(1))
    },
    tensor_absmax: |x| x.iter().fold(0.0, |max: f32, v| max.max(v.abs())),
    check_product: |x, w| solution::w8a8_linear(x, w).map(drop),
    sums: |x, w| x.dot(&w.t()).mapv(|sum| sum as f32),
    rescale: |sums, x, w| sums * x * w.t(),
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
        let x = match granularity {
            Granularity::PerTensor => quantize_activations_per_tensor(&x)?,
            Granularity::PerToken => quantize_activations_per_token(&x)?,
        };
        w8a8_linear(&x, &layer.weight)
    },
};

/// A value rounded to the 11 bits of f16, where f16 has it.
fn half(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x0FFF + (bits >> 13 & 1)) & !0x1FFF)
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
    ["calibration_refuses_no_tokens_widths_that_differ_and_nan",
     "a_token_of_zeros_gets_scale_1_and_nan_is_refused"],
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
    ["a_token_of_zeros_gets_scale_1_and_nan_is_refused"], {
        check_finite: |m| {
            solution::channel_absmax(&m.mapv(|v| if v.is_infinite() { 0.0 } else { v })).map(drop)
        },
    }

    "truncates",
    "`as i8` rounds to the nearest code",
    "a cast drops the fraction, so 0.6 steps become code 0 and not code 1",
    ["the_codes_are_those_of_vllms_dynamic_int8"],
    { code: |steps| steps.clamp(-QMAX, QMAX) as i8 }

    "floors",
    "rounding down is rounding",
    "`floor` lowers each value by half a step on average, where rounding to nearest errs both ways",
    ["the_codes_are_those_of_vllms_dynamic_int8"],
    { code: |steps| steps.floor().clamp(-QMAX, QMAX) as i8 }

    "half_away_from_zero",
    "Rust's `round` is torch's `round`",
    "Rust rounds a half away from zero, and torch rounds a half to the even code as \
     `round_ties_even` does",
    ["the_codes_are_those_of_vllms_dynamic_int8"],
    { code: |steps| steps.round().clamp(-QMAX, QMAX) as i8 }

    "multiplies_by_the_reciprocal",
    "a product with `1 / scale` is a quotient by the scale",
    "`1 / scale` is rounded itself, so a product may land on the other side of a tie",
    ["a_code_is_the_value_divided_by_its_scale"],
    { steps: |x, scales| x * scales.mapv(|scale| 1.0 / scale) }

    "lets_minus_128_through",
    "an `i8` goes down to -128, so the grid does",
    "the symmetric grid ends at -127, because -128 has no positive partner",
    ["a_token_of_zeros_gets_scale_1_and_nan_is_refused"],
    { code: |steps| steps.round_ties_even() as i8 }

    "divides_by_128",
    "int8 has 256 codes, so the largest magnitude belongs on 128",
    "there is no code 128, so the largest magnitude belongs on 127",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "per_token_has_one_scale_per_row_its_largest_magnitude_over_127"],
    { scale: |absmax| if absmax > 0.0 { absmax / 128.0 } else { 1.0 } }

    "no_zero_scale_guard",
    "no token is ever all zeros",
    "padding is a token of zeros, the scale of zeros is 0, and 0 / 0 is NaN",
    ["a_token_of_zeros_gets_scale_1_and_nan_is_refused"],
    { scale: |absmax| absmax / QMAX }

    "guards_the_maximum",
    "a maximum above 0 has a scale above 0",
    "the smallest f32 over 127 underflows to 0, so the scale needs the guard",
    ["a_token_of_zeros_gets_scale_1_and_nan_is_refused"],
    { scale: |absmax| if absmax > 0.0 { absmax / QMAX } else { 1.0 } }

    "floor_under_the_scale",
    "the lower limit of the smoothing scales is for every scale",
    "a token of small values needs a small scale, and a limit rounds its values to 0",
    ["a_token_of_zeros_gets_scale_1_and_nan_is_refused"],
    { scale: |absmax| if absmax > 0.0 { (absmax / QMAX).max(MIN_SCALE) } else { 1.0 } }

    "one_scale_per_channel",
    "outlier channels only need scales of their own",
    "a scale along `in_features` cannot leave the integer sum, so an activation has one scale per \
     token",
    ["per_token_has_one_scale_per_row_its_largest_magnitude_over_127",
     "per_token_scales_do_not_save_the_other_channels"], {
        token_scales: |x| {
            (answer().channel)(x).mapv(|absmax| (answer().scale)(absmax)).insert_axis(Axis(0))
        },
    }

    "per_token_is_per_tensor",
    "dynamic means the scale of this tensor",
    "per token means that each row has the scale of its own maximum",
    ["per_token_has_one_scale_per_row_its_largest_magnitude_over_127",
     "per_token_scales_help_exactly_when_the_outlier_is_a_token"], {
        token_scales: |x| {
            Array2::from_elem((x.nrows(), 1), (answer().scale)((answer().tensor_absmax)(x)))
        },
    }

    "maxima_by_chunks_of_the_memory",
    "a token is the next `in_features` numbers in memory",
    "a matrix may be kept column by column, and then a run of the memory is no token",
    ["per_token_has_one_scale_per_row_its_largest_magnitude_over_127"], {
        token_scales: |x| {
            let memory = x.as_slice_memory_order().unwrap_or_default();
            let absmax = |row: &[f32]| row.iter().fold(0.0, |max: f32, v| max.max(v.abs()));
            let scales = memory.chunks(x.ncols()).map(|row| (answer().scale)(absmax(row)));
            Array1::from_iter(scales).insert_axis(Axis(1))
        },
    }

    "scale_of_the_first_token",
    "the first token sets the range",
    "a larger value in a later token is clipped, so the maximum is over all tokens",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127"],
    { tensor_absmax: |x| x.row(0).iter().fold(0.0, |max: f32, v| max.max(v.abs())) }

    "scale_without_the_last_token",
    "a range to `nrows() - 1` ends at the last token",
    "the end of a range is not part of the range, so the last token is clipped",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127"], {
        tensor_absmax: |x| {
            let tokens = x.rows().into_iter().take(x.nrows().saturating_sub(1).max(1));
            tokens.flatten().fold(0.0, |max: f32, v| max.max(v.abs()))
        },
    }

    "scale_without_the_last_channel",
    "a range to `ncols() - 1` ends at the last channel",
    "the end of a range is not part of the range, so the last channel is clipped",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127"], {
        tensor_absmax: |x| {
            let channels = x.columns().into_iter().take(x.ncols().saturating_sub(1).max(1));
            channels.flatten().fold(0.0, |max: f32, v| max.max(v.abs()))
        },
    }

    "scale_of_the_last_token",
    "the newest token is a fair sample",
    "a larger value in an earlier token is clipped, so the maximum is over all tokens",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127"], {
        tensor_absmax: |x| {
            let last = x.rows().into_iter().next_back();
            last.map_or(0.0, |row| row.iter().fold(0.0, |max: f32, v| max.max(v.abs())))
        },
    }

    "accumulates_in_i16",
    "a product of two `i8` fits an `i16`, so the sum does",
    "three products of 127 * 127 exceed 32,767, so the sum needs an `i32`",
    ["the_sum_does_not_overflow"],
    { sums: |x, w| x.dot(&w.t()).mapv(|sum| f32::from(sum as i16)) }

    "multiplies_in_i8",
    "`i8` times `i8` is an `i8`",
    "127 * 127 is 16,129, and an `i8` ends at 127",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit",
     "the_sum_does_not_overflow"], {
        sums: |x, w| Array2::from_shape_fn((x.nrows(), w.nrows()), |(token, channel)| {
            let pairs = x.row(token).to_vec().into_iter().zip(w.row(channel).to_vec());
            pairs.map(|(a, b)| f32::from((a * b) as i8)).sum::<f32>()
        }),
    }

    "accumulates_in_f32",
    "floats have room enough for the sum",
    "f32 holds every integer only up to 2^24, so a longer sum is rounded at each addition",
    ["the_sum_does_not_overflow"], {
        sums: |x, w| Array2::from_shape_fn((x.nrows(), w.nrows()), |(token, channel)| {
            let pairs = x.row(token).to_vec().into_iter().zip(w.row(channel).to_vec());
            pairs.fold(0.0, |sum: f32, (a, b)| sum + (a * b) as f32)
        }),
    }

    "multiplies_matrices_in_f32",
    "codes are small, so a float product is exact",
    "each product is exact and the sum is not, because f32 holds every integer only up to 2^24",
    ["the_sum_does_not_overflow"],
    { sums: |x, w| x.mapv(|code| code as f32).dot(&w.mapv(|code| code as f32).t()) }

    "does_not_transpose",
    "`x @ w` and `x @ w.T` are the same for a square weight",
    "only the shapes agree, because an output is the product of `x` with a row of `w`",
    ["a_square_product_takes_its_scales_along_the_right_axes"], {
        sums: |x, w| {
            if w.is_square() && x.ncols() == w.nrows() {
                return x.dot(w).mapv(|sum| sum as f32);
            }
            (RIGHT.sums)(x, w)
        },
    }

    "token_scales_on_the_columns",
    "the shapes agree, so the axis is right",
    "a token is a row of the result, and in a square result the wrong axis has the right shape",
    ["a_square_product_takes_its_scales_along_the_right_axes",
     "the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit"], {
        rescale: |sums, x, w| {
            let (rows, columns) = sums.dim();
            let of = |scales: &Matrix, index: usize| scales[(index % scales.nrows(), 0)];
            let scaled = |(row, column)| sums[(row, column)] * of(x, column) * of(w, row);
            Array2::from_shape_fn((rows, columns), scaled)
        },
    }

    "forgets_the_weight_scale",
    "the activation's scale brings the numbers back",
    "both operands are codes, so the sum is also multiplied by the scale of the output channel",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit",
     "a_square_product_takes_its_scales_along_the_right_axes"],
    { rescale: |sums, x, _| sums * x }

    "forgets_the_token_scale",
    "only the weights were quantized",
    "both operands are codes, so the sum is also multiplied by the scale of the token",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit",
     "a_square_product_takes_its_scales_along_the_right_axes"],
    { rescale: |sums, _, w| sums * w.t() }

    "first_token_scale_for_all",
    "one activation scale is enough at the end",
    "each token has a scale of its own, which multiplies the row of that token",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit"],
    { rescale: |sums, x, w| sums * x.iter().copied().next().unwrap_or(1.0) * w.t() }

    "needs_a_weight_scale_per_row",
    "weights always have a scale per output channel",
    "a weight may have one scale of shape `[1, 1]`, which holds for every output channel",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit"], {
        rescale: |sums, x, w| {
            let of = |(_, channel): (usize, usize)| w.get((channel, 0)).copied().unwrap_or(1.0);
            let scales = Array2::from_shape_fn(sums.dim(), of);
            sums * x * scales
        },
    }

    "scales_inside_the_sum",
    "any scale can be multiplied at the end",
    "a scale that changes along `in_features` is no common factor of the sum, so the product must \
     be refused",
    ["widths_that_differ_and_scales_inside_the_sum_are_refused"], {
        check_product: |_, _| Ok(()),
        rescale: |sums, x, w| {
            let first = |scales: &Matrix| scales.column(0).insert_axis(Axis(1)).to_owned();
            sums * first(x) * first(w).t()
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

    "multiplies_by_127_over_the_maximum",
    "`127 / max` is the reciprocal of the scale",
    "vLLM's kernel multiplies so, and this lab divides, because a product may land on the other side \
     of a tie",
    ["a_code_is_the_value_divided_by_its_scale"],
    { steps: |x, scales| x * scales.mapv(|scale| QMAX / (scale * QMAX)) }

    "codes_by_chunks_of_the_memory",
    "a token is the next `in_features` numbers in memory",
    "a matrix may be kept column by column, and then a run of the memory is no token",
    ["per_token_has_one_scale_per_row_its_largest_magnitude_over_127"], {
        steps: |x, scales| {
            let memory = x.as_slice_memory_order().unwrap_or_default().to_vec();
            Array2::from_shape_vec(x.dim(), memory).expect("the shape of x") / scales
        },
    }

    "takes_tokens_out_of_the_memory",
    "codes are always kept row by row",
    "codes that were transposed are kept column by column, so a run of the memory is no token",
    ["the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit"], {
        sums: |x, w| {
            let memory = x.as_slice_memory_order().unwrap_or_default().to_vec();
            let x = Array2::from_shape_vec(x.dim(), memory).expect("the shape of x");
            (RIGHT.sums)(&x, w)
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

    "multiplies_by_one_over_127",
    "a product with `1 / 127` is a quotient by 127",
    "`1 / 127` is rounded itself, so the product may be the neighbour of the quotient",
    ["per_token_has_one_scale_per_row_its_largest_magnitude_over_127"],
    {
        scale: |absmax| {
            let scale = absmax * (1.0 / QMAX);
            if scale > 0.0 { scale } else { 1.0 }
        },
    }

    "rounds_the_value_to_f16",
    "an activation has 16 bits",
    "a value beside a tie is rounded onto the tie, and the values of this lab are f32",
    ["a_code_is_the_value_divided_by_its_scale"],
    { steps: |x, scales| x.mapv(half) / scales }

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

    fn quantize(x: &Matrix, scales: Matrix) -> Smooth<Quantized> {
        let steps = (answer().steps)(x, &scales);
        Ok(Quantized::new(steps.map(|&steps| (answer().code)(steps)), scales)?)
    }

    /// See [`solution::quantize_activations_per_tensor`].
    pub fn quantize_activations_per_tensor(x: &Matrix) -> Smooth<Quantized> {
        (answer().check_finite)(x)?;
        quantize(x, Array2::from_elem((1, 1), (answer().scale)((answer().tensor_absmax)(x))))
    }

    /// See [`solution::quantize_activations_per_token`].
    pub fn quantize_activations_per_token(x: &Matrix) -> Smooth<Quantized> {
        (answer().check_finite)(x)?;
        quantize(x, (answer().token_scales)(x))
    }

    /// See [`solution::w8a8_linear`].
    pub fn w8a8_linear(x: &Quantized, w: &Quantized) -> Smooth<Matrix> {
        (answer().check_product)(x, w)?;
        let sums = (answer().sums)(&x.q().mapv(i32::from), &w.q().mapv(i32::from));
        Ok((answer().rescale)(sums, x.scales(), w.scales()))
    }

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
        fn fold_into_norm(norm: &Vector, scales: &Vector) -> Smooth<Vector>;
        fn migrate(batches: &[Matrix], w: &Matrix, alpha: f32) -> Smooth<Migrated>;
        fn migrated_linear(x: &Matrix, layer: &Migrated, granularity: Granularity) -> Smooth<Matrix>;
    }
}
