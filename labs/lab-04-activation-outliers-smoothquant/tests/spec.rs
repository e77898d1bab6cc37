//! The spec of lab 04. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-04-activation-outliers-smoothquant` grades `src/starter.rs`.

use kit::data::{normal_matrix, with_outlier_channel, with_outlier_row};
use kit::difference::assert_same;
use kit::meters::relative_error;
use kit::reference::linear_f64;
use ndarray::{Array1, Array2, Axis, array, concatenate};
use smoothquant::{
    Granularity, MIN_SCALE, Migrated, QuantError, SmoothError, calibrate, channel_absmax,
    choose_alpha, fold_into_norm, migrate, migrated_linear, quantize_activations, quantize_weight,
    side_errors, smooth, smoothing_scales, w8a8_linear,
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

/// The relative error of the int8 layer on `x`, as it is.
fn naive_error(x: &Array2<f32>, granularity: Granularity) -> f64 {
    let codes = must(quantize_activations(x, granularity));
    let found = must(w8a8_linear(&codes, &must(quantize_weight(&weight()))));
    relative_error(&linear_f64(x, &weight()), &found)
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

// ---- task 2: two sides ------------------------------------------------------------------------------

#[test]
fn the_error_of_a_side_is_that_of_the_output() {
    use Granularity::{PerTensor, PerToken};
    // A small value beside 254 is half a step, and comes back as 0. The other side picks the output.
    let [large, both, first, second] = [
        array![[254.0, 1.0]],
        array![[254.0, 0.0], [0.0, 1.0]],
        array![[1.0, 0.0]],
        array![[0.0, 1.0]],
    ];
    for (x, w, granularity, activation, weight, why) in [
        (&large, &second, PerToken, 1.0, 0.0, "the output is 1, and 0 with x on its grid"),
        (&second, &large, PerToken, 0.0, 1.0, "the output is 1, and 0 with W on its grid"),
        (&both, &second, PerTensor, 1.0, 0.0, "one scale for both tokens is 2, and the 1 is lost"),
        (&both, &second, PerToken, 0.0, 0.0, "the ordinary token has a scale of its own"),
        (
            &second,
            &both,
            PerTensor,
            0.0,
            0.0,
            "a weight has a scale per row, however x is quantized",
        ),
        (
            &large,
            &first,
            PerTensor,
            0.0,
            0.0,
            "the lost channel meets a weight of 0: compare outputs",
        ),
    ] {
        let found = must(side_errors(x, w, granularity));
        let is_near = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
        assert!(
            is_near(found.activation, activation) && is_near(found.weight, weight),
            "x {x:?}, W {w:?}, {granularity:?}: you have {found:?}, and right is {activation} for the \
             activation, {weight} for the weight: {why}"
        );
    }
}

#[test]
fn the_errors_of_both_sides_add_as_squares_and_outliers_change_one_of_them() {
    let sides = |x: &Array2<f32>, granularity| must(side_errors(x, &weight(), granularity));
    let ordinary = sides(&healthy(1), Granularity::PerTensor);
    let both = naive_error(&healthy(1), Granularity::PerTensor);
    let added = ordinary.activation.hypot(ordinary.weight);
    assert!(
        (both / added - 1.0).abs() < 0.05,
        "{ordinary:?} add to {added:.4} as squares, and a layer with both sides rounded is off by {both:.4}"
    );
    let outliers = sides(&planted(1), Granularity::PerTensor);
    assert!(
        outliers.activation > 4.0 * ordinary.activation,
        "four outlier channels: {outliers:?}, {ordinary:?}"
    );
    assert!(
        outliers.weight < 1.5 * ordinary.weight,
        "the weight is as it was: {outliers:?}, {ordinary:?}"
    );
    let per_token = sides(&planted(1), Granularity::PerToken).activation;
    assert!(
        2.0 * ordinary.activation < per_token && per_token < outliers.activation,
        "each token has the outlier channels, so scales per token do not mend them: {per_token:.4}"
    );
}

#[test]
fn sides_of_different_widths_nan_and_infinity_are_refused() {
    for (x, w) in [(3, 5), (1, 3), (3, 1)] {
        let refused = std::panic::catch_unwind(|| {
            side_errors(&Array2::ones((2, x)), &Array2::ones((4, w)), Granularity::PerToken)
        });
        assert_eq!(
            refused.ok(),
            Some(Err(QuantError::FeaturesDiffer { x, w }.into())),
            "{x} features times {w} features: name both (None is a panic)"
        );
    }
    for value in [f32::NAN, f32::INFINITY] {
        let (good, bad) = (array![[1.0, 2.0]], array![[1.0, value]]);
        for (x, w, what) in [(&bad, &good, "x"), (&good, &bad, "W")] {
            let refused = side_errors(x, w, Granularity::PerTensor);
            assert!(
                matches!(
                    refused,
                    Err(SmoothError::Quant(QuantError::NotFinite { row: 0, column: 1, .. }))
                ),
                "{value} in row 0, column 1 of {what} gave {refused:?}"
            );
        }
    }
}

// ---- task 3: smoothing -----------------------------------------------------------------------------

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
            // By powers the last places differ by a few units, and by logarithms, which are up to 12 in
            // size here, by a few units for each of these.
            assert!(
                (ours - theirs).abs() <= 64.0 * f32::EPSILON * theirs,
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
        _ => {
            "log s goes in a straight line from one end to the other: which end belongs to alpha 1?"
        }
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

// ---- task 4: migrate --------------------------------------------------------------------------------

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
    let naive = naive_error(&planted(1), Granularity::PerTensor);
    let migrated = migrated_error(&planted(1), &planted(1), 0.5, Granularity::PerTensor);
    assert!(
        migrated * 3.0 < naive,
        "naive W8A8 has an error of {naive:.4}, migrated {migrated:.4}: more than 3x is there to win"
    );
    let unseen = migrated_error(&planted(3), &planted(1), 0.5, Granularity::PerTensor);
    let naive = naive_error(&planted(3), Granularity::PerTensor);
    assert!(unseen * 3.0 < naive, "and on tokens that calibration never saw: {unseen:.4}");
}

#[test]
fn each_granularity_of_a_migrated_layer_is_the_one_asked_for() {
    let layer = must(migrate(&[planted(1)], &weight(), 0.5));
    let x = with_outlier_row(&planted(1), 5, 10.0);
    let smoothed = &x / &layer.smoothing;
    for (granularity, other) in [
        (Granularity::PerTensor, Granularity::PerToken),
        (Granularity::PerToken, Granularity::PerTensor),
    ] {
        let found = must(migrated_linear(&x, &layer, granularity));
        let of = |granularity| {
            must(w8a8_linear(&must(quantize_activations(&smoothed, granularity)), &layer.weight))
        };
        let why = if found == of(other) {
            "that is the other granularity"
        } else {
            "divide by the smoothing, quantize, multiply in int8"
        };
        assert_same(found.view(), of(granularity).view(), format_args!("{granularity:?}: {why}"));
    }
}

#[test]
fn on_healthy_tensors_migration_changes_almost_nothing() {
    let naive = naive_error(&healthy(1), Granularity::PerTensor);
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

// ---- task 5: choose alpha --------------------------------------------------------------------------

/// The choice among `candidates` on `batches`, for the planted weight.
fn chosen(batches: &[Array2<f32>], granularity: Granularity, candidates: &[f32]) -> f32 {
    must(choose_alpha(batches, &weight(), granularity, candidates))
}

/// An activation without outlier channels, with one token 80 times as large.
fn outlier_token() -> Array2<f32> {
    with_outlier_row(&healthy(1), 5, 80.0)
}

#[test]
fn the_choice_loses_least_in_the_output() {
    let found = chosen(&[planted(1)], Granularity::PerTensor, &[0.0, 0.25, 0.5, 0.75, 1.0]);
    let why = match found {
        0.0 => "0 is best for the weight alone, and the layer multiplies by the activation too",
        1.0 => "1 is best for the activation alone, and the layer multiplies by the weight too",
        _ => "compare the outputs: at the right candidate the error is half of the next one",
    };
    assert_eq!(found, 0.5, "four outlier channels, one scale: {why}");
    let found = chosen(&[outlier_token()], Granularity::PerTensor, &[0.0, 0.5, 0.9]);
    assert_eq!(
        found, 0.9,
        "one outlier token, one scale: the errors are 5.8 %, 3.1 % and 2.4 %, so measure each candidate"
    );
    let found = chosen(&[planted(1)], Granularity::PerTensor, &[1.0, 0.5, 0.0]);
    assert_eq!(found, 0.5, "the same candidates in another order");
}

#[test]
fn the_choice_is_made_on_all_batches() {
    // Channel 0 is dead in one of the batches, and alive in all of the calibration.
    let mut ordinary = healthy(3);
    ordinary.column_mut(0).fill(0.0);
    for batches in [[ordinary.clone(), planted(1)], [planted(1), ordinary]] {
        let found = chosen(&batches, Granularity::PerTensor, &[1.0, 0.6, 0.0]);
        assert_eq!(
            found, 0.6,
            "one batch has outlier channels and one has none: calibrate on both, and add what is lost on \
             both. On the ordinary batch alone 0 is better"
        );
    }
}

#[test]
fn the_choice_is_for_the_granularity_that_runs() {
    for (granularity, best) in [(Granularity::PerTensor, 0.9), (Granularity::PerToken, 0.2)] {
        assert_eq!(
            chosen(&[outlier_token()], granularity, &[0.2, 0.9]),
            best,
            "one outlier token, {granularity:?}: with a scale of its own it leaves the others alone, so \
             less has to move. Run the migrated layer in the granularity that is given"
        );
    }
}

#[test]
fn of_equal_candidates_the_first_is_chosen_and_none_is_an_error() {
    let one = array![[1.0]];
    let of = |candidates: &[f32]| {
        choose_alpha(std::slice::from_ref(&one), &one, Granularity::PerToken, candidates)
    };
    // With maxima of 1 the smoothing is 1 at every alpha, so all layers are the same.
    assert_eq!(of(&[0.75, 0.25]), Ok(0.75), "two layers that are the same: the first of them");
    assert_eq!(of(&[0.25, 0.75]), Ok(0.25), "two layers that are the same: the first of them");
    assert_eq!(of(&[]), Err(SmoothError::NoAlpha), "no candidate");
    assert_eq!(of(&[0.5, 1.5]), Err(SmoothError::AlphaOutOfRange(1.5)), "pass the error on");
    assert_eq!(
        choose_alpha(&[], &one, Granularity::PerToken, &[0.5]),
        Err(SmoothError::NoTokens),
        "no batch: pass the error of `migrate` on"
    );
}
