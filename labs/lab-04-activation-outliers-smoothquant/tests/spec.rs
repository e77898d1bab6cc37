//! The spec of lab 04. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-04-activation-outliers-smoothquant` grades `src/starter.rs`.

use kit::data::{normal_matrix, with_outlier_channel, with_outlier_row};
use kit::difference::assert_same;
use kit::meters::relative_error;
use kit::reference::linear_f64;
use ndarray::{Array1, Array2, Axis, array, concatenate};
use smoothquant::{
    Granularity, MIN_SCALE, Migrated, QMAX, QuantError, Quantized, SmoothError, calibrate,
    channel_absmax, fold_into_norm, migrate, migrated_linear, quantize_activations_per_tensor,
    quantize_activations_per_token, quantize_weight, smooth, smoothing_scales, w8a8_linear,
};

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Tokens, channels and output channels of the planted set-up.
const SHAPE: [usize; 3] = [64, 256, 64];
/// The outlier channels of the planted set-up.
const OUTLIERS: [usize; 4] = [37, 100, 154, 221];

/// An activation without outliers, `[64, 256]`.
fn healthy(seed: u64) -> Array2<f32> {
    normal_matrix(seed, SHAPE[0], SHAPE[1])
}

/// The same with four channels multiplied by 80.
fn planted(seed: u64) -> Array2<f32> {
    OUTLIERS.iter().fold(healthy(seed), |x, &channel| with_outlier_channel(&x, channel, 80.0))
}

/// The weight that both are multiplied with, `[64, 256]`.
fn weight() -> Array2<f32> {
    normal_matrix(2, SHAPE[2], SHAPE[1])
}

/// The relative error of the int8 layer on `x`, quantized as given.
fn naive_error(
    x: &Array2<f32>,
    quantize: impl Fn(&Array2<f32>) -> Result<Quantized, SmoothError>,
) -> f64 {
    let w = must(quantize_weight(&weight()));
    relative_error(&linear_f64(x, &weight()), &must(w8a8_linear(&must(quantize(x)), &w)))
}

/// The relative error on `x` of a layer that was migrated on `calibration`.
fn migrated_error(
    x: &Array2<f32>,
    calibration: &Array2<f32>,
    alpha: f32,
    granularity: Granularity,
) -> f64 {
    let layer = must(migrate(std::slice::from_ref(calibration), &weight(), alpha));
    relative_error(&linear_f64(x, &weight()), &must(migrated_linear(x, &layer, granularity)))
}

/// The same matrix, kept column by column in memory.
fn by_columns<T: Clone>(m: &Array2<T>) -> Array2<T> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// Back to numbers, without the code under test.
fn dequantize(q: &Quantized) -> Array2<f32> {
    q.q().mapv(f32::from) * q.scales()
}

// ---- task 1: calibrate -----------------------------------------------------------------------------

#[test]
fn the_absmax_of_a_channel_is_over_its_column_and_without_its_sign() {
    // The maxima are in the first, the last and a middle row.
    let m = array![[-6.0, 1.0, 0.5], [2.0, 3.0, 0.25], [1.0, -4.0, -1.0], [3.0, -5.0, 0.75]];
    let signatures: [(&[f32], &str); 8] = [
        (
            &[6.0, 3.0, 4.0, 5.0],
            "the maxima of the rows: a channel is a column, so fold along Axis(0)",
        ),
        (
            &[3.0, 3.0, 0.75],
            "the largest values: take the magnitude first, because |-5| is larger than 3",
        ),
        (
            &[3.0, 3.25, 0.625],
            "the means of the magnitudes: take the maximum, which must not be clipped",
        ),
        (&[0.0, 1.25, 0.125], "the magnitude of the means: signs cancel in it"),
        (
            &[6.0, 4.0, 1.0],
            "the maxima without the last row: a range to `nrows() - 1` ends before it",
        ),
        (&[3.0, 5.0, 1.0], "the maxima without the first row: rows are counted from 0"),
        (&[6.0, 1.0, 0.5], "the magnitudes of the first row: go over all rows"),
        (&[3.0, 5.0, 0.75], "the magnitudes of the last row: keep the larger of old and new"),
    ];
    for m in [m.clone(), by_columns(&m)] {
        let absmax = must(channel_absmax(&m)).to_vec();
        let meant = signatures.iter().find(|(pattern, _)| *pattern == absmax);
        let diagnosis = meant.map_or("look at `channel_absmax`", |(_, meaning)| meaning);
        assert_eq!(
            absmax,
            [6.0, 5.0, 1.0],
            "\nchannel_absmax of {m}, strides {:?}: you returned {diagnosis}",
            m.strides()
        );
    }
}

#[test]
fn calibration_keeps_the_largest_magnitude_over_all_batches() {
    let batches = [
        array![[1.0, -9.0, 0.0], [2.0, 1.0, 0.5]],
        array![[-4.0, 3.0, 0.25]],
        array![[0.0, 0.0, 0.0], [3.0, 2.0, -0.625]],
    ];
    // One channel has its maximum in each batch, the last one in the last token.
    let absmax = must(calibrate(&batches)).to_vec();
    let diagnosis = match absmax.as_slice() {
        [3.0, 2.0, 0.625] => "the last batch alone: keep the larger of old and new",
        [2.0, 9.0, 0.5] => "the first batch alone: go over all of them",
        [4.0, 9.0, 0.5] => "the batches without the last: go over all of them",
        [4.0, 3.0, 0.625] => "the batches without the first: begin with 0 or with the first",
        [3.0, 9.0, 0.625] => "the first and the last batch: go over all of them",
        [9.0, 14.0, 1.375] => "sums: keep the larger, do not add",
        [3.0, _, _] => "means over the batches: keep the larger of old and new",
        _ => "look at `calibrate`: a running maximum of `channel_absmax`",
    };
    assert_eq!(absmax, [4.0, 9.0, 0.625], "\ncalibrate on three batches gave {diagnosis}");
    let with_empty = [Array2::zeros((0, 2)), array![[1.0, -2.0]], Array2::zeros((0, 2))];
    assert_eq!(
        calibrate(&with_empty),
        Ok(array![1.0, 2.0]),
        "a batch of no tokens beside one with tokens adds nothing, and is no error"
    );
}

#[test]
fn calibration_refuses_no_tokens_widths_that_differ_and_nan() {
    let empty = [Array2::zeros((0, 3))];
    for (batches, what) in [(&[][..], "no batch"), (&empty[..], "a batch of no tokens")] {
        assert_eq!(
            calibrate(batches).err(),
            Some(SmoothError::NoTokens),
            "calibrate on {what}: maxima of nothing would be zeros, and zeros are dead channels"
        );
    }
    assert_eq!(
        calibrate(&[array![[1.0, 2.0]], array![[1.0, 2.0, 3.0]]]).err(),
        Some(SmoothError::BatchesDiffer { batch: 1, found: 3, expected: 2 }),
        "calibrate on batches of 2 and of 3 channels: they are not of one layer"
    );
    for value in [f32::NAN, f32::INFINITY] {
        let (good, bad) = (array![[1.0, 2.0]], array![[1.0, 2.0], [value, 3.0]]);
        for (what, result) in [
            ("channel_absmax", channel_absmax(&bad)),
            ("calibrate", calibrate(std::slice::from_ref(&bad))),
            ("calibrate, second batch", calibrate(&[good, bad])),
        ] {
            let found = match result.err() {
                Some(SmoothError::Quant(QuantError::NotFinite { row, column, value })) => {
                    (row, column, value.to_string())
                }
                other => {
                    panic!("{what} on {value} gave {other:?}: `f32::max` drops NaN, so look first")
                }
            };
            let expected = (1, 0, value.to_string());
            assert_eq!(found, expected, "{what}: the {value} is in row 1, column 0 of its batch");
        }
    }
}

// ---- task 2: quantize activations ------------------------------------------------------------------

#[test]
fn per_tensor_has_one_scale_the_largest_magnitude_over_127() {
    let x = array![[0.5, -63.5, 1.0], [8.0, 95.25, -127.0], [-190.5, 0.0, -254.0]];
    for x in [x.clone(), by_columns(&x)] {
        let q = must(quantize_activations_per_tensor(&x));
        let scales: Vec<f32> = q.scales().iter().copied().collect();
        let diagnosis = match scales.as_slice() {
            [0.5] => "that is the first token alone: the maximum is over all tokens",
            [1.0] => "that misses the last token: the maximum is over all tokens",
            [1.5] => "that misses the last channel: the maximum is over all channels",
            [0.75] => {
                "that is the largest value: take magnitudes, because -254 is the largest here"
            }
            [1.984_375] => "that is over 128, and there is no code 128",
            [_] => "the scale is the largest magnitude over 127",
            _ => "one scale for all tokens has the shape [1, 1]",
        };
        assert_eq!(
            q.scales(),
            array![[2.0]],
            "\n254 over 127, of the last token and channel: {diagnosis}"
        );
        let codes = array![[0, -32, 0], [4, 48, -64], [-95, 0, -127]];
        assert_eq!(q.q(), codes, "each value over 2, half to even");
    }
    let q = must(quantize_activations_per_tensor(&array![[-254.0, 0.0], [1.0, 2.0]]));
    assert_eq!(q.scales(), array![[2.0]], "254 over 127, of the first token and channel");
}

#[test]
fn per_token_has_one_scale_per_row_its_largest_magnitude_over_127() {
    // One maximum is in the first channel and one in the last.
    let x = array![[-254.0, 0.5, 2.0], [0.25, 3.0, 127.0]];
    let q = must(quantize_activations_per_token(&x));
    assert_eq!(
        q.scales().dim(),
        (2, 1),
        "one scale per token: the shape is [tokens, 1]. [1, 3] is one per channel, and no integer \
         product can use that"
    );
    assert_eq!(q.scales(), &array![[2.0], [1.0]], "each row's largest magnitude over 127");
    assert_eq!(q.q(), &array![[-127, 0, 1], [0, 3, 127]], "each value over its row's scale");
    let nine = must(quantize_activations_per_token(&array![[9.0]]));
    assert_eq!(
        nine.scales(),
        array![[9.0 / 127.0]],
        "9 over 127: divide, because 1 / 127 is rounded itself"
    );
    // Square, so that neither a wrong axis nor a walk through the memory shows in a shape.
    let square = array![[127.0, 1.0], [254.0, 2.0]];
    for x in [square.clone(), by_columns(&square)] {
        let q = must(quantize_activations_per_token(&x));
        assert_eq!(
            q.scales(),
            array![[1.0], [2.0]],
            "a token is a row of x, [[127, 1], [254, 2]] in strides of {:?}: index by row and \
             column, not by place in memory",
            x.strides()
        );
        assert_eq!(q.q(), array![[127, 1], [127, 1]], "each value over the scale of its own row");
    }
}

#[test]
fn the_codes_are_those_of_vllms_dynamic_int8() {
    // What `scaled_int8_quant` of vLLM 0.32.0 gives for this token: scale 1, half to even.
    let x = array![[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127.0]];
    let expected = array![[127, 0, 2, 2, 0, -2, -2, -127]];
    for q in [quantize_activations_per_token(&x), quantize_activations_per_tensor(&x)] {
        let q = must(q);
        let diagnosis = match q.q().as_slice().unwrap_or_default() {
            [_, 0, 1, 2, 0, -1, -2, _] => "a cast truncates: round first",
            [_, 1, 2, 3, -1, -2, -3, _] => "`round` sends halves away from zero: `round_ties_even`",
            [_, 0, 1, 2, ..] => "`floor` moves everything down",
            _ => "look at your rounding, and at the scale: 127 over 127 is 1",
        };
        assert_eq!(q.q(), &expected, "\ncodes of {x}: {diagnosis}");
    }
}

#[test]
fn a_code_is_the_value_divided_by_its_scale() {
    // A scale of 11 bits, so that its multiples are exact in f32 and 127 of them over 127 are it.
    let scale = 0.122_985_84;
    let x = array![[6.5 * scale, 127.0 * scale]];
    for q in [quantize_activations_per_token(&x), quantize_activations_per_tensor(&x)] {
        let q = must(q);
        assert_eq!(q.scales(), array![[scale]], "127 scales over 127");
        assert_eq!(
            q.q(),
            array![[6, 127]],
            "6.5 steps exactly, so to even. Times 1 / scale, or times 127 / max as in vLLM's kernel, \
             it is 6.5000005 and becomes 7: this lab divides"
        );
    }
    let beside = array![[127.0, 2.500_000_2, 2.499_999_8]];
    assert_eq!(
        must(quantize_activations_per_token(&beside)).q(),
        array![[127, 3, 2]],
        "{beside} at scale 1: two values lie beside a tie, and a value rounded to 16 bits first would \
         be the tie itself"
    );
}

#[test]
fn a_token_of_zeros_gets_scale_1_and_nan_is_refused() {
    let q = must(quantize_activations_per_token(&array![[0.0, 0.0], [127.0, 0.0]]));
    assert_eq!(q.scales(), &array![[1.0], [1.0]], "padding is a token of zeros: 0 / 0 is NaN");
    assert_eq!(q.q(), &array![[0, 0], [127, 0]]);
    let q = must(quantize_activations_per_tensor(&Array2::zeros((2, 2))));
    assert_eq!(q.scales(), &array![[1.0]], "the same for a tensor of zeros");
    for quantize in [quantize_activations_per_tensor, quantize_activations_per_token] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = quantize(&array![[1.0, 2.0], [value, 0.0]]).err();
            let named = match &error {
                Some(SmoothError::Quant(QuantError::NotFinite { row: 1, column: 0, value })) => {
                    value.to_string()
                }
                _ => String::new(),
            };
            assert!(
                named == value.to_string(),
                "{value} at row 1, column 0 gave {error:?}: a fold with `f32::max` does not see \
                 NaN, and infinity over infinity is NaN"
            );
        }
        small_tokens(quantize);
    }
}

/// Tokens whose absmax is small, so small that f32 can hardly hold 127 steps, and so small that the
/// scale underflows to 0.
fn small_tokens(quantize: fn(&Array2<f32>) -> Result<Quantized, SmoothError>) {
    let small = 2f32.powi(-60);
    let q = must(quantize(&array![[127.0 * small, small]]));
    assert_eq!(q.scales(), &array![[small]], "a small absmax has a small scale, without a minimum");
    assert_eq!(q.q(), &array![[127, 1]]);
    // Multiples of the smallest f32. 190 / 127 is rounded to 1, so the absmax is 190 steps away
    // from 0.
    let smallest = f32::from_bits(1);
    let q = must(quantize(&array![[-190.0 * smallest, smallest]]));
    assert_eq!(
        q.q(),
        &array![[-127, 1]],
        "\n190 and 1 steps of the smallest f32: {}",
        match q.q()[(0, 0)] {
            -128 =>
                "clip to -127: `clamp` to -128, or `as i8` by itself, leaves the symmetric grid",
            _ => "divide by the scale, because 1 / scale and 127 / max are infinite here",
        }
    );
    let q = must(quantize(&array![[smallest, 0.0]]));
    assert_eq!(
        (q.scales(), q.q()),
        (&array![[1.0]], &array![[0, 0]]),
        "the smallest f32 over 127 is 0: guard the scale, not the largest magnitude"
    );
}

#[test]
fn per_token_scales_help_exactly_when_the_outlier_is_a_token() {
    let x = with_outlier_row(&healthy(1), 5, 80.0);
    let others: Vec<usize> = (0..SHAPE[0]).filter(|&token| token != 5).collect();
    let error_of_others = |q: Quantized| {
        let pick = |m: &Array2<f32>| m.select(Axis(0), &others);
        relative_error(&pick(&x), &pick(&dequantize(&q)))
    };
    let per_tensor = error_of_others(must(quantize_activations_per_tensor(&x)));
    let per_token = error_of_others(must(quantize_activations_per_token(&x)));
    assert!(per_tensor > 0.4, "one outlier token costs the others {per_tensor:.3} per tensor");
    assert!(
        per_token < 0.012,
        "the other tokens have an error of {per_token:.4} with a scale of their own: give \
         each row its own scale"
    );
    let channel = must(quantize_activations_per_token(&planted(1)));
    let others = other_channels();
    let pick = |m: &Array2<f32>| m.select(Axis(1), &others);
    let error = relative_error(&pick(&planted(1)), &pick(&dequantize(&channel)));
    assert!(
        error > 0.2,
        "an outlier channel is in every token, so the error stays large: {error:.3}"
    );
}

// ---- task 3: the integer product -------------------------------------------------------------------

#[test]
fn the_layer_is_the_sum_of_code_products_times_both_scales_to_the_bit() {
    let x = must(Quantized::new(array![[1, 2, 3], [-127, 0, 127]], array![[0.5], [2.0]]));
    let codes = array![[1, 0, -1], [10, 20, 30], [127, 127, 127], [0, 1, 0]];
    let w = must(Quantized::new(codes, array![[1.0], [0.25], [4.0], [0.125]]));
    let expected = array![[-1.0, 17.5, 1524.0, 0.125], [-508.0, 1270.0, 0.0, 0.0]];
    let y = must(w8a8_linear(&x, &w));
    assert_eq!(y, expected, "\nsum over the features, then times the token's and the row's scale");
    let turned = must(Quantized::new(by_columns(x.q()), x.scales().clone()));
    assert_eq!(
        must(w8a8_linear(&turned, &w)),
        expected,
        "\nthe same codes of x, kept column by column: index by row and column, not by place in memory"
    );
    let one = |q: &Quantized, scale| must(Quantized::new(q.q().clone(), array![[scale]]));
    assert_eq!(
        must(w8a8_linear(&one(&x, 0.5), &one(&w, 4.0))),
        array![[-4.0, 280.0, 1524.0, 4.0], [-508.0, 5080.0, 0.0, 0.0]],
        "\nscales of shape [1, 1] stretch over all tokens and all output channels"
    );
}

#[test]
fn a_square_product_takes_its_scales_along_the_right_axes() {
    // With as many tokens as output channels both mistakes have the right shape.
    let x = must(Quantized::new(array![[1, 1], [1, 1]], array![[1.0], [100.0]]));
    let w = must(Quantized::new(array![[1, 0], [1, 1]], array![[1.0], [10.0]]));
    let y = must(w8a8_linear(&x, &w));
    let diagnosis = if y == array![[1.0, 200.0], [10.0, 2000.0]] {
        "the token's scale is on the columns and the channel's on the rows: transpose them"
    } else if y == array![[1.0, 2000.0], [1.0, 2000.0]] {
        "the token's scales are on the columns: token i owns row i of the output"
    } else if y == array![[1.0, 2.0], [1000.0, 2000.0]] {
        "the weight's scales are on the rows: output channel j owns column j of the output"
    } else if y == array![[1.0, 20.0], [1.0, 20.0]] {
        "the token's scale is missing"
    } else if y == array![[1.0, 2.0], [100.0, 200.0]] {
        "the output channel's scale is missing"
    } else if y == array![[2.0, 10.0], [200.0, 1000.0]] {
        "that is x @ W, and an output is the product of x with a row of W: x @ W.T"
    } else {
        "look at `w8a8_linear`"
    };
    assert_eq!(y, array![[1.0, 20.0], [100.0, 2000.0]], "\n{diagnosis}");
    let turned = must(Quantized::new(by_columns(w.q()), w.scales().clone()));
    assert_eq!(
        must(w8a8_linear(&x, &turned)),
        y,
        "the same codes, kept column by column: index by row and column, not by place in memory"
    );
}

#[test]
fn the_sum_does_not_overflow() {
    for features in [3, 512, 8192] {
        let ones = || must(Quantized::new(Array2::from_elem((1, features), 127), array![[1.0]]));
        let sum = (127 * 127 * features) as f32;
        assert_eq!(
            must(w8a8_linear(&ones(), &ones())),
            array![[sum]],
            "{features} times 127 * 127 is {sum}: sum in i32. Three such products leave an i16, and \
             one already leaves an i8"
        );
    }
    // Above 2^24 an f32 has no odd numbers: a sum kept in f32 loses its ones on the way.
    let codes = [vec![127; 1100], vec![1; 3]].concat();
    let row =
        must(Quantized::new(Array2::from_shape_fn((1, 1103), |(_, k)| codes[k]), array![[1.0]]));
    let sum = 1100 * 127 * 127 + 3;
    assert_eq!(
        must(w8a8_linear(&row, &row)),
        array![[sum as f32]],
        "the sum is {sum}, kept in i32"
    );
    // A matrix product of f32 adds in blocks, and its rounding shows only where many blocks do.
    let x = must(Quantized::new(Array2::from_elem((1, 8192), 127), array![[1.0]]));
    let code = |(row, k): (usize, usize)| 127 - ((k * k * (row + 2) + k) % 11) as i8;
    let w = must(Quantized::new(Array2::from_shape_fn((16, 8192), code), array![[1.0]]));
    let sums = x.q().mapv(i64::from).dot(&w.q().mapv(i64::from).t());
    assert_same(
        must(w8a8_linear(&x, &w)).view(),
        sums.mapv(|sum| sum as f32).view(),
        "Codes summed in f32 are rounded again and again; an i32 is rounded once, when it is scaled",
    );
}

#[test]
fn widths_that_differ_and_scales_inside_the_sum_are_refused() {
    let of = |rows: usize, columns: usize, scales: [usize; 2]| {
        must(Quantized::new(Array2::zeros((rows, columns)), Array2::ones(scales)))
    };
    assert_eq!(
        w8a8_linear(&of(2, 3, [1, 1]), &of(4, 5, [4, 1])).err(),
        Some(QuantError::FeaturesDiffer { x: 3, w: 5 }.into()),
        "3 features times 5 features: name both, before ndarray panics"
    );
    for (x, w, scales) in [
        ([1, 3], [4, 1], [1, 3]),
        ([2, 3], [4, 1], [2, 3]),
        ([2, 1], [1, 3], [1, 3]),
        ([2, 1], [4, 3], [4, 3]),
    ] {
        assert_eq!(
            w8a8_linear(&of(2, 3, x), &of(4, 3, w)).err(),
            Some(QuantError::ScaleInsideTheSum(scales).into()),
            "scales {scales:?} differ along the features: there is no one factor to pull out of the \
             sum. This is why outlier channels cannot just get scales of their own"
        );
    }
}

#[test]
fn a_few_outlier_channels_round_the_others_to_zero() {
    let before = naive_error(&healthy(1), quantize_activations_per_tensor);
    let after = naive_error(&planted(1), quantize_activations_per_tensor);
    assert!((0.010..0.015).contains(&before), "W8A8 without outliers: an error of {before:.4}");
    assert!((0.05..0.09).contains(&after), "four channels at 80x: an error of {after:.4}");
    let q = must(quantize_activations_per_tensor(&planted(1)));
    let others = other_channels();
    let pick = |m: Array2<f32>| m.select(Axis(1), &others);
    let (x, codes) = (pick(planted(1)), q.q().select(Axis(1), &others));
    let share = codes.iter().filter(|&&code| code == 0).count() as f64 / codes.len() as f64;
    // Values below half a step of the grid are rounded to 0.
    let half = planted(1).iter().fold(0.0, |max: f32, v| max.max(v.abs())) / QMAX / 2.0;
    let below = x.iter().filter(|v| v.abs() < half).count() as f64 / x.len() as f64;
    assert!((share - below).abs() < 1e-3, "{share:.3} are 0, and {below:.3} are below half a step");
    assert!((0.60..0.79).contains(&share), "{share:.3} of the other entries round to exactly 0");
    let own = relative_error(&x, &pick(dequantize(&q)));
    assert!((0.5..0.7).contains(&own), "the error of the other channels is {own:.3}");
}

#[test]
fn per_token_scales_do_not_save_the_other_channels() {
    let per_tensor = naive_error(&planted(1), quantize_activations_per_tensor);
    let per_token = naive_error(&planted(1), quantize_activations_per_token);
    let without = naive_error(&healthy(1), quantize_activations_per_token);
    assert!(per_token < per_tensor, "finer scales cannot be worse here: {per_token:.4}");
    assert!(
        per_token > 2.5 * without,
        "per token the error is {per_token:.4}, {without:.4} without outliers: every token has the \
         outlier channels, so each has a coarse scale. If this is small, your scales are per channel"
    );
}

/// The channels of the planted set-up without outliers.
fn other_channels() -> Vec<usize> {
    (0..SHAPE[1]).filter(|channel| !OUTLIERS.contains(channel)).collect()
}

// ---- task 4: smoothing -----------------------------------------------------------------------------

/// What torch gave: `golden/make_smoothing_golden.py` runs the formula of smoothquant/smooth.py.
#[derive(serde::Deserialize)]
struct Golden {
    activation: Vec<Vec<f32>>,
    weight: Vec<Vec<f32>>,
    scales: Vec<GoldenScales>,
}

#[derive(serde::Deserialize)]
struct GoldenScales {
    alpha: f32,
    scales: Vec<f32>,
}

#[test]
fn the_scales_are_those_of_the_reference_implementation() {
    let golden: Golden = must(serde_json::from_str(include_str!("../golden/smoothing.json")));
    let (act, weight) = (columns(&matrix(golden.activation)), columns(&matrix(golden.weight)));
    for GoldenScales { alpha, scales: expected } in golden.scales {
        let scales = must(smoothing_scales(&act, &weight, alpha));
        for (channel, (&ours, &theirs)) in scales.iter().zip(&expected).enumerate() {
            // Two powers and a division: four units in the last place.
            assert!(
                (ours - theirs).abs() <= 4.0 * f32::EPSILON * theirs,
                "alpha {alpha}, channel {channel}: {ours}, and torch has {theirs}. {}",
                hint(alpha, channel)
            );
        }
    }
    let tiny = must(smoothing_scales(&array![1e-30], &array![1.0], 0.5));
    assert_eq!(tiny, array![MIN_SCALE], "a scale below 1e-5 becomes 1e-5, as in the reference");
}

fn matrix(rows: Vec<Vec<f32>>) -> Array2<f32> {
    let columns = rows.first().map_or(0, Vec::len);
    must(Array2::from_shape_vec((rows.len(), columns), rows.concat()))
}

fn hint(alpha: f32, channel: usize) -> &'static str {
    match (channel, alpha) {
        (4 | 5, _) => "The weight's maximum is below 1e-5 here: it counts as 1e-5",
        (_, 0.0 | 1.0) => "At 1 the scale is the activation's maximum, at 0 one over the weight's",
        _ => "max|X|^alpha / max|W|^(1 - alpha): which exponent belongs to which?",
    }
}

#[test]
fn alpha_outside_0_to_1_is_refused() {
    for alpha in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        let refused = smoothing_scales(&array![1.0], &array![1.0], alpha);
        let named = match &refused {
            Err(SmoothError::AlphaOutOfRange(named)) => named.to_string(),
            _ => String::new(),
        };
        assert!(
            named == alpha.to_string(),
            "alpha {alpha} gave {refused:?}. NaN is in no range: ask whether it is inside"
        );
    }
    for alpha in [0.0, 1.0] {
        assert!(smoothing_scales(&array![1.0], &array![1.0], alpha).is_ok(), "{alpha} is allowed");
    }
}

#[test]
fn dead_channels_and_maxima_that_are_none_are_refused() {
    for alpha in [0.0, 0.5, 1.0] {
        assert_eq!(
            smoothing_scales(&array![1.0, 0.0], &array![1.0, 1.0], alpha).err(),
            Some(SmoothError::DeadChannel { channel: 1 }),
            "alpha {alpha}: channel 1 was 0 in all of calibration, and nothing is known of it. \
             Clamped to 1e-5 its scale would be a trap"
        );
    }
    assert_eq!(
        smoothing_scales(&array![1.0, 0.0, 0.0], &array![1.0, 1.0, 1.0], 0.5).err(),
        Some(SmoothError::DeadChannel { channel: 1 }),
        "channels 1 and 2 are dead: the first is named"
    );
    assert!(
        smoothing_scales(&array![1.0], &array![0.0], 0.5).is_ok(),
        "a column of zeros in the weight is harmless: whatever it multiplies is 0"
    );
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        for (act, weight, name) in [(value, 1.0, "act_absmax"), (1.0, value, "weight_absmax")] {
            let (act, weight) = (array![1.0, act, act], array![1.0, weight, weight]);
            match smoothing_scales(&act, &weight, 0.5).err() {
                Some(SmoothError::NotAMagnitude { what, channel: 1, value: found }) => {
                    assert_eq!(what, name, "`what` is the name of the parameter");
                    assert_eq!(found.to_string(), value.to_string(), "`value` is what was found");
                }
                other => panic!("{name} of {value} gave {other:?}: no largest magnitude is that"),
            }
        }
    }
}

#[test]
fn lengths_that_differ_are_refused_and_both_are_named() {
    let (one, three) = (array![1.0], array![1.0, 1.0, 1.0]);
    differ(smoothing_scales(&one, &three, 0.5).err(), [1, 3], "1 and 3 maxima");
    differ(smoothing_scales(&three, &one, 0.5).err(), [1, 3], "3 and 1 maxima");
    let (x, w) = (Array2::ones((2, 3)), Array2::ones((4, 3)));
    differ(smooth(&x, &w, &one).err(), [1, 3], "smooth with 1 scale for 3 channels");
    differ(smooth(&Array2::ones((2, 1)), &w, &three).err(), [1, 3], "smooth with x of 1 channel");
    let narrow = Array2::ones((4, 1));
    differ(smooth(&x, &narrow, &three).err(), [1, 3], "smooth with a weight of 1 channel");
    differ(fold_into_norm(&three, &one).err(), [1, 3], "fold_into_norm with 1 scale");
    differ(fold_into_norm(&one, &three).err(), [1, 3], "fold_into_norm with a norm of 1 channel");
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let scales = array![1.0, value, value];
        for error in [smooth(&x, &w, &scales).err(), fold_into_norm(&three, &scales).err()] {
            match error {
                Some(SmoothError::NotAScale { channel: 1, value: found }) => {
                    assert_eq!(found.to_string(), value.to_string(), "`value` is what was found");
                }
                other => panic!("a scale of {value} in channels 1 and 2 gave {other:?}"),
            }
        }
    }
}

/// Refused for two numbers of channels that differ. Which of them is called wrong is left open.
fn differ(error: Option<SmoothError>, lengths: [usize; 2], of: &str) {
    match error {
        Some(SmoothError::ChannelsDiffer { found, expected, .. }) => {
            let named = [found.min(expected), found.max(expected)];
            assert_eq!(named, lengths, "{of}: the two numbers of channels");
        }
        other => panic!("{of} gave {other:?}: ndarray would stretch a length of 1, and panic else"),
    }
}

#[test]
fn smoothing_divides_the_activation_and_multiplies_the_weight() {
    let (x, w) = (array![[8.0, 6.0], [4.0, 2.0]], array![[1.0, 10.0], [3.0, 30.0]]);
    for (x, w, kept) in [(&x, &w, "row by row"), (&by_columns(&x), &by_columns(&w), "turned")] {
        let (smoothed_x, smoothed_w) = must(smooth(x, w, &array![4.0, 0.5]));
        let (over, times) = (array![[2.0, 12.0], [1.0, 4.0]], array![[4.0, 5.0], [12.0, 15.0]]);
        assert_eq!(smoothed_x, over, "x kept {kept} in memory: each COLUMN of x over its scale");
        assert_eq!(smoothed_w, times, "w kept {kept} in memory: each COLUMN of w times its scale");
    }
}

#[test]
fn the_product_is_the_same_before_anything_is_quantized() {
    let (x, w) = (planted(1), weight());
    let exact = linear_f64(&x, &w);
    // Powers of two only move exponents, so nothing is rounded: the same bits.
    let powers = Array1::from_shape_fn(SHAPE[1], |channel| 2f32.powi(channel as i32 % 13 - 6));
    let (smoothed_x, smoothed_w) = must(smooth(&x, &w, &powers));
    assert_same(
        linear_f64(&smoothed_x, &smoothed_w).view(),
        exact.view(),
        "With powers of two the product is the same to the bit: each column of x is divided by its \
         scale, and the same column of W is multiplied by it",
    );
    // Any other scale rounds x / s and w * s once each: every term moves by 2^-23 of itself at
    // most, and the result is rounded to f32.
    let scales =
        must(smoothing_scales(&must(calibrate(std::slice::from_ref(&x))), &columns(&w), 0.5));
    let (smoothed_x, smoothed_w) = must(smooth(&x, &w, &scales));
    let bound = linear_f64(&x.mapv(f32::abs), &w.mapv(f32::abs));
    let moved = linear_f64(&smoothed_x, &smoothed_w);
    for ((index, &a), (&b, &terms)) in exact.indexed_iter().zip(moved.iter().zip(&bound)) {
        assert!(
            (a - b).abs() <= 2f32.powi(-22) * terms,
            "output {index:?} was {a} and is {b}: dividing x without multiplying w (or the other way \
             round) is not a reparameterization"
        );
    }
}

#[test]
fn folded_into_the_norm_the_scales_cost_nothing_at_run_time() {
    let norm = array![2.0, 4.0, 0.5];
    let scales = array![4.0, 0.5, 8.0];
    assert_eq!(must(fold_into_norm(&norm, &scales)), array![0.5, 8.0, 0.0625], "norm over scales");
    // RMSNorm ends with a product by its weight. Dividing that or dividing the result is the same.
    let normalized = array![[1.0, -2.0, 3.0]];
    let (smoothed, _) = must(smooth(&(&normalized * &norm), &Array2::ones((1, 3)), &scales));
    assert_eq!(normalized * must(fold_into_norm(&norm, &scales)), smoothed);
}

/// Column maxima, without the code under test.
fn columns(w: &Array2<f32>) -> Array1<f32> {
    w.map_axis(Axis(0), |column| column.iter().fold(0.0, |max: f32, v| max.max(v.abs())))
}

// ---- task 5: migrate -------------------------------------------------------------------------------

#[test]
fn a_migrated_layer_is_the_smoothed_weight_quantized() {
    // The outlier channels are in the middle batch alone. The second weight is square, so that its
    // rows are as many as its columns.
    let batches = [healthy(3), planted(1), healthy(4)];
    for w in [weight(), normal_matrix(5, SHAPE[1], SHAPE[1])] {
        for alpha in [0.5, 0.25, 0.75] {
            let layer = must(migrate(&batches, &w, alpha));
            let act = columns(&concatenate![Axis(0), batches[0], batches[1], batches[2]]);
            let smoothing = must(smoothing_scales(&act, &columns(&w), alpha));
            assert_same(
                layer.smoothing.view(),
                smoothing.view(),
                format_args!(
                    "These are smoothing scales at alpha {alpha}: {}",
                    scales_of_what(&layer.smoothing, &smoothing, &batches, &w, alpha)
                ),
            );
            let codes = |w: Array2<f32>| must(quantize_weight(&w));
            let expected = codes(&w * &smoothing);
            let why = if layer.weight == codes(w.clone()) {
                "the weight is quantized as it was: multiply it by the scales first"
            } else if layer.weight == codes(&w / &smoothing) {
                "the weight was divided: the activation is divided, and the weight multiplied"
            } else {
                "multiply first and quantize then: scales on top of codes would sit inside the sum"
            };
            let why = format_args!("These are of the weight at alpha {alpha}: {why}");
            assert_same(layer.weight.scales().view(), expected.scales().view(), why);
            assert_same(layer.weight.q().view(), expected.q().view(), why);
        }
    }
}

/// Which mistake gives the smoothing scales `found`.
fn scales_of_what(
    found: &Array1<f32>,
    expected: &Array1<f32>,
    batches: &[Array2<f32>; 3],
    w: &Array2<f32>,
    alpha: f32,
) -> String {
    let all = columns(&concatenate![Axis(0), batches[0], batches[1], batches[2]]);
    let of = |act: &Array1<f32>, weight: &Array1<f32>, alpha| {
        smoothing_scales(act, weight, alpha).is_ok_and(|scales| scales == *found)
    };
    let first_two = columns(&concatenate![Axis(0), batches[0], batches[1]]);
    let rows = columns(&w.t().to_owned());
    let known = [
        (of(&all, &columns(w), 1.0 - alpha), "those for 1 - alpha: pass alpha as given"),
        (of(&all, &columns(w), 0.5), "those for alpha 0.5: pass alpha as given"),
        (of(&columns(&batches[0]), &columns(w), alpha), "those of the first batch: take all"),
        (of(&columns(&batches[1]), &columns(w), alpha), "those of the middle batch: take all"),
        (of(&columns(&batches[2]), &columns(w), alpha), "those of the last batch: take all"),
        (of(&first_two, &columns(w), alpha), "the last batch is missing"),
        (
            of(&all, &rows, alpha),
            "with the maxima of the weight's rows: a channel is a column of w",
        ),
        (of(&columns(w), &all, alpha), "activation and weight have changed places"),
    ];
    if let Some((_, meaning)) = known.into_iter().find(|(matches, _)| *matches) {
        return meaning.into();
    }
    let ratios = found / expected;
    let spread =
        ratios.iter().fold(0.0, |max: f32, ratio| max.max((ratio / ratios[0] - 1.0).abs()));
    if spread < 1e-5 {
        let ratio = ratios[0];
        return format!("each is {ratio} times the right one: use the scales as they are");
    }
    "`smoothing_scales` of `calibrate` on all batches, of `channel_absmax` of w, and of alpha"
        .into()
}

#[test]
fn migration_wins_the_error_back_more_than_threefold() {
    let naive = naive_error(&planted(1), quantize_activations_per_tensor);
    let migrated = migrated_error(&planted(1), &planted(1), 0.5, Granularity::PerTensor);
    assert!(
        migrated * 3.0 < naive,
        "naive W8A8 has an error of {naive:.4}, migrated {migrated:.4}: more than 3x is there to win"
    );
    let unseen = migrated_error(&planted(3), &planted(1), 0.5, Granularity::PerTensor);
    let naive = naive_error(&planted(3), quantize_activations_per_tensor);
    assert!(unseen * 3.0 < naive, "and on tokens that calibration never saw: {unseen:.4}");
}

#[test]
fn each_granularity_of_a_migrated_layer_is_the_one_asked_for() {
    let layer = must(migrate(&[planted(1)], &weight(), 0.5));
    let x = with_outlier_row(&planted(1), 5, 10.0);
    let smoothed = &x / &layer.smoothing;
    for (granularity, quantized) in [
        (Granularity::PerTensor, quantize_activations_per_tensor(&smoothed)),
        (Granularity::PerToken, quantize_activations_per_token(&smoothed)),
    ] {
        let found = must(migrated_linear(&x, &layer, granularity));
        let of = |q| must(w8a8_linear(&must(q), &layer.weight));
        let why = if found
            == of(match granularity {
                Granularity::PerTensor => quantize_activations_per_token(&smoothed),
                Granularity::PerToken => quantize_activations_per_tensor(&smoothed),
            }) {
            "that is the other granularity"
        } else {
            "divide by the smoothing, quantize, multiply in int8"
        };
        assert_same(found.view(), of(quantized).view(), format_args!("{granularity:?}: {why}"));
    }
}

#[test]
fn on_healthy_tensors_migration_changes_almost_nothing() {
    let naive = naive_error(&healthy(1), quantize_activations_per_tensor);
    let migrated = migrated_error(&healthy(1), &healthy(1), 0.5, Granularity::PerTensor);
    assert!(
        (0.7..1.2).contains(&(migrated / naive)),
        "the control arm: without outliers {naive:.4} became {migrated:.4}. Migration must \
         not change a layer without outliers"
    );
}

#[test]
fn the_error_is_u_shaped_in_alpha_with_its_minimum_near_one_half() {
    let error = |alpha| migrated_error(&planted(1), &planted(1), alpha, Granularity::PerTensor);
    let sweep: Vec<(f32, f64)> =
        (0..=10).map(|tenths| tenths as f32 / 10.0).map(|alpha| (alpha, error(alpha))).collect();
    let lowest = sweep.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied().unwrap_or_default();
    assert!((0.4..=0.7).contains(&lowest.0), "the minimum is at alpha {}: {sweep:.4?}", lowest.0);
    let (left, right) = (sweep[0].1, sweep[10].1);
    assert!(
        left > 3.0 * lowest.1 && right > 2.5 * lowest.1,
        "at 0 the activations keep the outliers, at 1 the weights get all of them: {sweep:.4?}"
    );
}

#[test]
fn a_migrated_layer_refuses_an_activation_of_another_width() {
    let layer = must(migrate(&[array![[1.0, 2.0, 3.0]]], &array![[1.0, 1.0, 1.0]], 0.5));
    let run = |layer: &Migrated, width| {
        migrated_linear(&Array2::ones((2, width)), layer, Granularity::PerToken).err()
    };
    for width in [1, 2] {
        differ(run(&layer, width), [width, 3], "an activation too narrow for its layer");
    }
    let error = migrate(&[array![[1.0, 2.0]]], &array![[1.0, 1.0, 1.0]], 0.5).err();
    differ(error, [2, 3], "calibrated on 2 channels for a weight of 3");
    let error = migrate(&[array![[1.0, 0.0, 3.0]]], &array![[1.0, 1.0, 1.0]], 0.5).err();
    let dead = Some(SmoothError::DeadChannel { channel: 1 });
    assert_eq!(error, dead, "channel 1 is dead in the calibration: pass the error on");
    // The fields of a layer are public, so a caller may build a layer without `migrate`.
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let broken = Migrated { smoothing: array![1.0, 1.0, value], ..layer.clone() };
        let error = run(&broken, 3);
        let named = match &error {
            Some(SmoothError::NotAScale { channel: 2, value }) => value.to_string(),
            _ => String::new(),
        };
        assert!(
            named == value.to_string(),
            "a layer with {value} for the scale of channel 2 gave {error:?}: name channel and value"
        );
    }
}
