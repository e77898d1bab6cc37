//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=truncates cargo test
//! -p lab-01-fake-quant-linear --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::{Array2, ArrayView1, Axis, Zip};

use crate::{QMAX, QuantError, Quantized, solution};

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    scale_for: fn(f32) -> f32,
    quantize_value: fn(f32, f32) -> i8,
    check_finite: fn(&Array2<f32>) -> Result<(), QuantError>,
    absmax: fn(ArrayView1<f32>) -> f32,
    row_scales: fn(&Array2<f32>) -> Array2<f32>,
    dequantize: fn(&Quantized) -> Array2<f32>,
    quant_linear: fn(&Array2<f32>, &Quantized) -> Result<Array2<f32>, QuantError>,
    int8_linear: fn(&Quantized, &Quantized) -> Result<Array2<f32>, QuantError>,
    memory_bytes: fn(&Quantized) -> usize,
}

const RIGHT: Steps = Steps {
    scale_for: solution::scale_for,
    quantize_value: solution::quantize_value,
    check_finite: solution::check_finite,
    absmax: |row| row.iter().fold(0.0, |max: f32, value| max.max(value.abs())),
    row_scales: |w| {
        w.map_axis(Axis(1), |row| (answer().scale_for)((answer().absmax)(row))).insert_axis(Axis(1))
    },
    dequantize: solution::dequantize,
    quant_linear: solution::quant_linear,
    int8_linear: solution::int8_linear,
    memory_bytes: solution::memory_bytes,
};

/// A value rounded to the 11 bits of f16, where f16 has it.
fn half(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x0FFF + (bits >> 13 & 1)) & !0x1FFF)
}

wrong_answers! {
    "truncates",
    "`as i8` rounds to the nearest code",
    "a cast drops the fraction, so 0.6 steps become code 0 and not code 1",
    ["codes_round_half_to_even_as_torch_does",
     "every_weight_lies_within_half_a_step_of_its_code"],
    { quantize_value: |value, scale| (value / scale).clamp(-QMAX, QMAX) as i8 }

    "floors",
    "rounding down is rounding",
    "`floor` lowers each value by half a step on average, where rounding to nearest errs both ways",
    ["codes_round_half_to_even_as_torch_does",
     "every_weight_lies_within_half_a_step_of_its_code"],
    { quantize_value: |value, scale| (value / scale).floor().clamp(-QMAX, QMAX) as i8 }

    "half_away_from_zero",
    "Rust's `round` is torch's `round`",
    "Rust rounds a half away from zero, and torch rounds a half to the even code as \
     `round_ties_even` does",
    ["codes_round_half_to_even_as_torch_does"],
    { quantize_value: |value, scale| (value / scale).round().clamp(-QMAX, QMAX) as i8 }

    "multiplies_by_the_reciprocal",
    "a product with `1 / scale` is a quotient by the scale",
    "`1 / scale` is rounded itself, so a product may land on the other side of a tie",
    ["codes_round_half_to_even_as_torch_does"], {
        quantize_value: |value, scale| {
            (value * (1.0 / scale)).round_ties_even().clamp(-QMAX, QMAX) as i8
        },
    }

    "does_not_clip",
    "the saturating cast to `i8` clips enough",
    "the cast stops at -128, and the symmetric grid ends at -127",
    ["codes_are_clipped_to_127_on_both_sides"],
    { quantize_value: |value, scale| (value / scale).round_ties_even() as i8 }

    "divides_by_128",
    "int8 has 256 codes, so the largest magnitude belongs on 128",
    "there is no code 128, so the largest magnitude belongs on 127",
    ["the_scale_is_the_maximum_over_127_or_exactly_1",
     "per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "per_channel_has_one_scale_per_row_its_largest_magnitude_over_127",
     "every_weight_lies_within_half_a_step_of_its_code"], {
        scale_for: |absmax| {
            let scale = absmax / 128.0;
            if scale > 0.0 { scale } else { 1.0 }
        },
    }

    "no_zero_scale_guard",
    "no row is ever all zeros",
    "a row of zeros gets the scale 0, and 0 / 0 is NaN",
    ["the_scale_is_the_maximum_over_127_or_exactly_1",
     "a_row_of_zeros_gets_scale_1_and_codes_of_0"],
    { scale_for: |absmax| absmax / QMAX }

    "guards_the_maximum_only",
    "a maximum above 0 gives a scale above 0",
    "the smallest f32 over 127 underflows to 0, so the scale needs the guard",
    ["the_scale_is_the_maximum_over_127_or_exactly_1"],
    { scale_for: |absmax| if absmax > 0.0 { absmax / QMAX } else { 1.0 } }

    "guards_below_an_epsilon",
    "a maximum below `f32::EPSILON` is 0",
    "`f32::EPSILON` is the step at 1 and f32 holds far smaller numbers, so a row of small weights \
     would become zeros",
    ["the_scale_is_the_maximum_over_127_or_exactly_1"],
    { scale_for: |absmax| if absmax < f32::EPSILON { 1.0 } else { absmax / QMAX } }

    "guards_a_small_scale",
    "a scale below 1e-10 is a rounding error",
    "a scale is as small as the weights of its row, and only 0 cannot divide",
    ["the_scale_is_the_maximum_over_127_or_exactly_1"],
    { scale_for: |absmax| if absmax / QMAX < 1e-10 { 1.0 } else { absmax / QMAX } }

    "adds_an_epsilon",
    "adding a small number to the maximum is harmless",
    "the sum changes every scale, and the scale of a small maximum most of all",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "the_scale_is_the_maximum_over_127_or_exactly_1"],
    { scale_for: |absmax| (absmax + 1e-5) / QMAX }

    "maximum_without_magnitude",
    "the largest value is the largest magnitude",
    "a negative weight may have the largest magnitude, and a scale without that weight clips the \
     weight",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "every_weight_lies_within_half_a_step_of_its_code"],
    { absmax: |values| values.iter().fold(0.0, |max: f32, &value| max.max(value)) }

    "scales_by_the_mean_magnitude",
    "a typical value is a better range than the largest",
    "with the mean on code 127, every weight above the mean is clipped",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "every_weight_lies_within_half_a_step_of_its_code"],
    { absmax: |values| values.mapv(f32::abs).mean().unwrap_or(0.0) }

    "misses_the_last_column",
    "a range to `len - 1` ends at the last element",
    "the end of a range is not part of the range, so the last weight of a row is missed",
    ["per_tensor_has_one_scale_the_largest_magnitude_over_127",
     "per_channel_has_one_scale_per_row_its_largest_magnitude_over_127"], {
        absmax: |values| {
            let all_but_one = values.iter().take(values.len() - 1);
            all_but_one.fold(0.0, |max: f32, value| max.max(value.abs()))
        },
    }

    "maxima_by_chunks_of_the_memory",
    "a row is the next `in_features` numbers in memory",
    "a matrix may be kept column by column, and then a run of the memory is no row",
    ["a_matrix_kept_column_by_column_gives_the_same_codes_and_products"], {
        row_scales: |w| {
            let memory = w.as_slice_memory_order().unwrap_or_default();
            let scale = |row| (answer().scale_for)((answer().absmax)(ArrayView1::from(row)));
            let scales: Vec<f32> = memory.chunks(w.ncols()).map(scale).collect();
            ndarray::Array1::from(scales).insert_axis(Axis(1))
        },
    }

    "scales_per_column",
    "an output channel is a column",
    "a weight is `[out_features, in_features]`, so an output channel is a row",
    ["per_channel_has_one_scale_per_row_its_largest_magnitude_over_127",
     "a_square_matrix_shows_the_wrong_axis_row_by_row"], {
        row_scales: |w| {
            let scale = |column: ArrayView1<f32>| (answer().scale_for)((answer().absmax)(column));
            w.map_axis(Axis(0), scale).insert_axis(Axis(0))
        },
    }

    "one_scale_repeated",
    "scales of shape `[rows, 1]` are per-channel scales",
    "per channel means that each scale comes from the maximum of its own row",
    ["per_channel_has_one_scale_per_row_its_largest_magnitude_over_127",
     "per_channel_shrugs_off_the_outlier_row_that_wrecks_per_tensor",
     "the_round_trip_error_on_real_weights_stays_under_one_percent_of_the_norm"], {
        row_scales: |w| {
            let scale = (answer().scale_for)((answer().absmax)(w.flatten().view()));
            Array2::from_elem((w.nrows(), 1), scale)
        },
    }

    "accepts_nan",
    "a comparison with NaN would have failed",
    "every comparison with NaN is false, so NaN passes unless a check looks for NaN",
    ["nan_and_infinity_are_refused_and_their_row_is_named"], {
        check_finite: |w| match w.indexed_iter().find(|(_, value)| value.is_infinite()) {
            Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
            None => Ok(()),
        },
    }

    "accepts_infinity",
    "NaN is the only value to fear",
    "an infinite maximum gives an infinite scale, and infinity over infinity is NaN",
    ["nan_and_infinity_are_refused_and_their_row_is_named"], {
        check_finite: |w| match w.indexed_iter().find(|(_, value)| value.is_nan()) {
            Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
            None => Ok(()),
        },
    }

    "names_the_column_as_the_row",
    "the first index found is the row",
    "the indices of a transposed matrix are `(column, row)`",
    ["nan_and_infinity_are_refused_and_their_row_is_named"], {
        check_finite: |w| match w.t().indexed_iter().find(|(_, value)| !value.is_finite()) {
            Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
            None => Ok(()),
        },
    }

    "every_bad_value_is_nan",
    "the kind of the bad value does not matter",
    "the error shows the value to somebody who looks for its cause, and an overflow is not a NaN",
    ["nan_and_infinity_are_refused_and_their_row_is_named"], {
        check_finite: |w| solution::check_finite(w).map_err(|error| match error {
            QuantError::NotFinite { row, column, .. } => {
                QuantError::NotFinite { row, column, value: f32::NAN }
            }
            other => other,
        }),
    }

    "rounds_what_comes_back",
    "codes are whole numbers, and so are the weights that come back",
    "a code counts steps of the scale, and a step is a float",
    ["dequantize_multiplies_each_code_by_the_scale_of_its_row"],
    { dequantize: |w| solution::dequantize(w).mapv(f32::round_ties_even) }

    "multiplies_in_bf16",
    "a checkpoint is bf16, so its weights come back as bf16",
    "`code * scale` has more bits than bf16 keeps, and this layer is computed in f32",
    ["quant_linear_is_x_times_w_transposed_exactly_where_f32_is_exact"], {
        quant_linear: |x, w| {
            solution::quant_linear(x, w)?;
            let bf16 = |value: f32| f32::from_bits((value.to_bits() + 0x8000) & 0xFFFF_0000);
            Ok(x.dot(&(answer().dequantize)(w).mapv(bf16).t()))
        },
    }

    "dequantizes_by_dividing",
    "a second division undoes the first",
    "a code is `value / scale`, so the value is `code * scale`",
    ["dequantize_multiplies_each_code_by_the_scale_of_its_row",
     "the_round_trip_error_on_real_weights_stays_under_one_percent_of_the_norm"],
    { dequantize: |w| w.q().mapv(f32::from) / w.scales() }

    "forgets_the_activation_scale",
    "only weights have scales",
    "the activations are codes too, so each sum is multiplied by the scale of its token and by \
     that of its channel",
    ["the_int8_product_equals_the_fake_quantized_one"], {
        int8_linear: |x, w| {
            let unscaled = Quantized::new(x.q().clone(), Array2::ones((1, 1)))?;
            solution::int8_linear(&unscaled, w)
        },
    }

    "sums_in_16_bits",
    "a product of two int8 fits 16 bits, so their sum does",
    "three products of 127 * 127 exceed 32,767, so the sum needs an `i32`",
    ["the_int8_product_equals_the_fake_quantized_one"], {
        int8_linear: |x, w| {
            let right = solution::int8_linear(x, w)?;
            let sum = |token: usize, channel: usize| {
                let pairs = x.q().row(token).into_iter().zip(w.q().row(channel));
                pairs.fold(0i16, |sum, (&a, &b)| sum.wrapping_add(i16::from(a) * i16::from(b)))
            };
            let sums = Array2::from_shape_fn(right.dim(), |(token, channel)| sum(token, channel));
            Ok(sums.mapv(f32::from) * x.scales() * w.scales().t())
        },
    }

    "sums_in_f32",
    "an f32 holds every whole number that an i32 holds",
    "an f32 has 24 bits, so a sum beyond 2^24 is rounded at every step",
    ["the_sum_is_a_whole_number_beyond_what_f32_can_count"], {
        int8_linear: |x, w| {
            let right = solution::int8_linear(x, w)?;
            let sum = |(token, channel): (usize, usize)| {
                let pairs = x.q().row(token).into_iter().zip(w.q().row(channel));
                pairs.fold(0.0, |sum, (&a, &b)| sum + f32::from(a) * f32::from(b))
            };
            Ok(Array2::from_shape_fn(right.dim(), sum) * x.scales() * w.scales().t())
        },
    }

    "multiplies_codes_as_f32",
    "a float product of whole numbers is the integer product",
    "a float product rounds its partial sums beyond 2^24, and an int8 unit does not",
    ["the_sum_is_a_whole_number_beyond_what_f32_can_count"], {
        int8_linear: |x, w| {
            solution::int8_linear(x, w)?;
            let sums = x.q().mapv(f32::from).dot(&w.q().mapv(f32::from).t());
            Ok(sums * x.scales() * w.scales().t())
        },
    }

    "dequantizes_before_the_product",
    "the integer product is the product of the dequantized matrices",
    "both are equal in exact arithmetic, but no integer unit works on dequantized numbers, and in \
     f32 the sums are rounded",
    ["the_sum_is_a_whole_number_beyond_what_f32_can_count"], {
        int8_linear: |x, w| {
            solution::int8_linear(x, w)?;
            solution::quant_linear(&solution::dequantize(x), w)
        },
    }

    "indexes_a_scale_for_each_token",
    "the activations have a scale per token",
    "activations quantized per tensor have one scale, of shape [1, 1], for all tokens",
    ["one_scale_for_all_tokens_or_all_channels_stretches_over_the_product"], {
        int8_linear: |x, w| {
            solution::int8_linear(x, w)?;
            let scale = |(token, _)| x.scales()[(token, 0)];
            let scales = Array2::from_shape_fn((x.q().nrows(), 1), scale);
            solution::int8_linear(&Quantized::new(x.q().clone(), scales)?, w)
        },
    }

    "indexes_a_scale_for_each_channel",
    "the weights have a scale per output channel",
    "weights quantized per tensor have one scale, of shape [1, 1], for all channels",
    ["one_scale_for_all_tokens_or_all_channels_stretches_over_the_product"], {
        int8_linear: |x, w| {
            solution::int8_linear(x, w)?;
            let scale = |(channel, _)| w.scales()[(channel, 0)];
            let scales = Array2::from_shape_fn((w.q().nrows(), 1), scale);
            solution::int8_linear(x, &Quantized::new(w.q().clone(), scales)?)
        },
    }

    "one_scale_is_that_of_channel_0",
    "a channel without a scale has the scale 1",
    "a single scale is that of the whole tensor, so every channel has it",
    ["one_scale_for_all_tokens_or_all_channels_stretches_over_the_product"], {
        int8_linear: |x, w| {
            let scale = |(channel, _)| w.scales().get((channel, 0)).copied().unwrap_or(1.0);
            let scales = Array2::from_shape_fn((w.q().nrows(), 1), scale);
            solution::int8_linear(x, w)?;
            solution::int8_linear(x, &Quantized::new(w.q().clone(), scales)?)
        },
    }

    "refuses_one_row_of_scales_only",
    "scales along the features have the shape `[1, in_features]`",
    "a scale for each code, `[rows, in_features]`, differs along the features as well",
    ["a_scale_along_in_features_cannot_leave_the_integer_sum"], {
        int8_linear: |x, w| {
            let first = |q: &Quantized| match q.scales().dim() {
                (2.., 2..) => q.scales().column(0).to_owned().insert_axis(Axis(1)),
                _ => q.scales().clone(),
            };
            let x = Quantized::new(x.q().clone(), first(x))?;
            solution::int8_linear(&x, &Quantized::new(w.q().clone(), first(w))?)
        },
    }

    "pulls_any_scale_out_of_the_sum",
    "a scale can always wait until the end of the sum",
    "a scale that changes along the features is no common factor of the sum, so the product must \
     be refused",
    ["a_scale_along_in_features_cannot_leave_the_integer_sum"], {
        int8_linear: |x, w| {
            let first = |q: &Quantized| q.scales().column(0).to_owned().insert_axis(Axis(1));
            let x = Quantized::new(x.q().clone(), first(x))?;
            solution::int8_linear(&x, &Quantized::new(w.q().clone(), first(w))?)
        },
    }

    "checks_only_the_scales_of_the_tokens",
    "weights always have a scale per row",
    "a weight may come with a scale per column, which cannot leave the sum either",
    ["a_scale_along_in_features_cannot_leave_the_integer_sum"], {
        int8_linear: |x, w| {
            let first = w.scales().column(0).to_owned().insert_axis(Axis(1));
            solution::int8_linear(x, &Quantized::new(w.q().clone(), first)?)
        },
    }

    "guards_with_a_floor",
    "any lower limit under the maximum is as good as another",
    "a limit changes the scales of small maxima, and the scale of zeros must be exactly 1",
    ["the_scale_is_the_maximum_over_127_or_exactly_1",
     "a_row_of_zeros_gets_scale_1_and_codes_of_0"],
    { scale_for: |absmax| absmax.max(1e-5) / QMAX }

    "does_not_transpose",
    "`x @ w` and `x @ w.T` are the same for a square weight",
    "only the shapes agree, because an output is the product of `x` with a row of `w`",
    ["quant_linear_is_close_to_x_times_w_transposed"], {
        quant_linear: |x, w| {
            let w = (answer().dequantize)(w);
            if w.is_square() && x.ncols() == w.nrows() {
                return Ok(x.dot(&w));
            }
            Ok(x.dot(&w.t()))
        },
    }

    "does_not_count_the_scales",
    "scales are too few to matter",
    "a scale is stored with four bytes, and a count of bytes has every byte of the file",
    ["memory_is_about_a_quarter_with_the_scales_counted"],
    { memory_bytes: |w| w.q().len() }

    "counts_codes_as_floats",
    "a code takes the room of the number it stands for",
    "a code is an `i8` and takes one byte, which is where the memory is saved",
    ["memory_is_about_a_quarter_with_the_scales_counted"],
    { memory_bytes: |w| (w.q().len() + w.scales().len()) * size_of::<f32>() }

    "rounds_the_value_to_f16",
    "a weight of a checkpoint has 16 bits",
    "a value beside a tie is rounded onto the tie, and the values of this lab are f32",
    ["codes_round_half_to_even_as_torch_does"], {
        quantize_value: |value, scale| {
            solution::quantize_value(half(value), scale)
        },
    }

    "refuses_what_overflows_squared",
    "a value whose square is infinite cannot be computed with",
    "`f32::MAX` is finite and has a place on a grid, so only NaN and infinity are refused",
    ["nan_and_infinity_are_refused_and_their_row_is_named"], {
        check_finite: |w| match w.indexed_iter().find(|(_, value)| !(*value * *value).is_finite()) {
            Some(((row, column), &value)) => Err(QuantError::NotFinite { row, column, value }),
            None => Ok(()),
        },
    }

    "takes_every_scale_for_a_rows",
    "scales are one or one per row",
    "scales of shape `[1, in_features]` stretch over the columns, and the layer multiplies with \
     what `dequantize` gives",
    ["dequantize_multiplies_each_code_by_the_scale_of_its_row"], {
        dequantize: |w| {
            let scale = |row: usize| w.scales()[(row % w.scales().nrows(), 0)];
            Array2::from_shape_fn(w.q().dim(), |(r, c)| f32::from(w.q()[(r, c)]) * scale(r))
        },
    }

    "scales_after_the_sum",
    "a scale can wait until the end of the sum",
    "a scale along `in_features` is inside the sum, and the layer is `x @ dequantize(w).T` for any \
     scales",
    ["quant_linear_is_x_times_w_transposed_exactly_where_f32_is_exact"], {
        quant_linear: |x, w| {
            solution::quant_linear(x, w)?;
            let first = w.scales().column(0).insert_axis(Axis(1)).to_owned();
            Ok(x.dot(&w.q().mapv(f32::from).t()) * first.t())
        },
    }

    "counts_rows_of_scales",
    "a row has one scale",
    "the number of scales is rows times columns of `scales`",
    ["memory_is_about_a_quarter_with_the_scales_counted"],
    { memory_bytes: |w| w.q().len() + 4 * w.scales().nrows() }

    "exchanges_the_two_widths",
    "which of the two numbers is which does not matter",
    "an error that swaps the widths sends the reader to the wrong matrix",
    ["quant_linear_is_close_to_x_times_w_transposed"], {
        quant_linear: |x, w| solution::quant_linear(x, w).map_err(|error| match error {
            QuantError::FeaturesDiffer { x, w } => QuantError::FeaturesDiffer { x: w, w: x },
            other => other,
        }),
    }

    "multiplies_by_one_over_127",
    "a product with `1 / 127` is a quotient by 127",
    "`1 / 127` is rounded itself, so the product may be the neighbour of the quotient",
    ["the_scale_is_the_maximum_over_127_or_exactly_1"], {
        scale_for: |absmax| {
            let scale = absmax * (1.0 / QMAX);
            if scale > 0.0 { scale } else { 1.0 }
        },
    }

    "returns_f16",
    "the output of a layer has 16 bits",
    "f16 has 11 bits and the sum has more, and this layer is computed in f32",
    ["quant_linear_is_x_times_w_transposed_exactly_where_f32_is_exact"],
    { quant_linear: |x, w| Ok(solution::quant_linear(x, w)?.mapv(half)) }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    fn codes(w: &Array2<f32>, scales: Array2<f32>) -> Result<Quantized, QuantError> {
        let zip = Zip::from(w).and_broadcast(&scales);
        Quantized::new(zip.map_collect(|&v, &s| (answer().quantize_value)(v, s)), scales)
    }

    /// See [`solution::quantize_per_tensor`].
    pub fn quantize_per_tensor(w: &Array2<f32>) -> Result<Quantized, QuantError> {
        (answer().check_finite)(w)?;
        let absmax = (answer().absmax)(w.flatten().view());
        codes(w, Array2::from_elem((1, 1), (answer().scale_for)(absmax)))
    }

    /// See [`solution::quantize_per_channel`].
    pub fn quantize_per_channel(w: &Array2<f32>) -> Result<Quantized, QuantError> {
        (answer().check_finite)(w)?;
        codes(w, (answer().row_scales)(w))
    }

    /// See [`solution::memory_bytes_f32`].
    pub fn memory_bytes_f32(w: &Array2<f32>) -> usize {
        solution::memory_bytes_f32(w)
    }

    answered! {
        fn scale_for(absmax: f32) -> f32;
        fn quantize_value(value: f32, scale: f32) -> i8;
        fn check_finite(w: &Array2<f32>) -> Result<(), QuantError>;
        fn dequantize(w: &Quantized) -> Array2<f32>;
        fn quant_linear(x: &Array2<f32>, w: &Quantized) -> Result<Array2<f32>, QuantError>;
        fn int8_linear(x: &Quantized, w: &Quantized) -> Result<Array2<f32>, QuantError>;
        fn memory_bytes(w: &Quantized) -> usize;
    }
}
