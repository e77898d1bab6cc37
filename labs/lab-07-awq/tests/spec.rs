//! The spec of lab 07. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-07-awq` grades `src/starter.rs`.

use awq::{
    AwqError, Candidate, Grid, Heads, Int4Error, Rounding, Stored, awq, candidate_scales,
    candidates, channel_means, clip, clip_maxima, fold_into_linear, fold_into_norm, is_clipped,
    means_of_rows, output_error, row_behind, scaled_values, search, search_clip, search_scales,
    spread,
};
use kit::data::{normal_matrix, with_outlier_channel};
use kit::difference::assert_same;
use kit::real_slice::{self, Window};
use ndarray::{Array1, Array2, Axis, array, concatenate, s};
use serde::Deserialize;

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Rounding in groups of 8 with scales in `f32`, for small examples.
const SMALL: Rounding = Rounding { grid: Grid::Lab03, group_size: 8, stored: Stored::F32 };

/// The grids that the tests of a search go through.
fn roundings(group_size: usize) -> [Rounding; 3] {
    [Grid::Lab03, Grid::LlmCompressor, Grid::Asymmetric].map(|grid| Rounding::new(grid, group_size))
}

/// Inputs, `[tokens, 24]`, with two channels that are much larger than the others.
fn planted(seed: u64) -> Array2<f32> {
    let x = normal_matrix(seed, 40, 24);
    with_outlier_channel(&with_outlier_channel(&x, 5, 12.0), 18, 30.0)
}

/// The mean magnitudes of columns, without the code under test.
fn means(x: &Array2<f32>) -> Array1<f32> {
    let rows = x.nrows() as f64;
    x.map_axis(Axis(0), |c| (c.iter().map(|x| f64::from(x.abs())).sum::<f64>() / rows) as f32)
}

/// The scales of a ratio, without the code under test.
fn scales_of(means: &Array1<f32>, ratio: f32) -> Array1<f32> {
    let scales = means.mapv(|mean| f64::from(mean).powf(f64::from(ratio)).max(1e-4));
    let (max, min) = scales.iter().fold((0f64, f64::MAX), |(a, b), &s| (a.max(s), b.min(s)));
    scales.mapv(|scale| (scale / (max * min).sqrt()) as f32)
}

/// The mean squared difference of outputs, without the code under test.
fn error(x: &Array2<f32>, w: &Array2<f32>, values: &Array2<f32>) -> f64 {
    let moved = values.mapv(f64::from) - w.mapv(f64::from);
    x.mapv(f64::from).dot(&moved.t()).mapv(|e| e * e).mean().unwrap_or(f64::NAN)
}

/// The weight behind scales, without the code under test.
fn behind(w: &Array2<f32>, scales: &Array1<f32>, rounding: &Rounding) -> Array2<f32> {
    must(rounding.values(&(w * scales))) / scales
}

/// Whether both agree to a few steps of `f32`: a power may be computed in `f32` or in `f64`.
fn near(found: &Array1<f32>, expected: &Array1<f32>) -> bool {
    // NaN is not near.
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs();
    found.len() == expected.len() && found.iter().zip(expected).all(close)
}

/// The same matrix, kept column by column in memory.
fn by_columns(m: &Array2<f32>) -> Array2<f32> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// Refused for two numbers of channels that differ. Which of them is called wrong is left open.
fn differ(error: Option<AwqError>, lengths: [usize; 2], of: &str) {
    match error {
        Some(AwqError::ChannelsDiffer { found, expected, .. }) => {
            let named = [found.min(expected), found.max(expected)];
            assert_eq!(named, lengths, "{of}: the two numbers of channels");
        }
        other => panic!("{of} gave {other:?}: ndarray would stretch a length of 1, and panic else"),
    }
}

// ---- task 1: mean magnitudes -----------------------------------------------------------------------

#[test]
fn a_mean_is_over_the_magnitudes_of_all_tokens_of_all_batches() {
    let batches = [
        array![[1.0, -2.0, 0.0], [3.0, -4.0, 0.0], [-5.0, 6.0, 0.0]],
        array![[-7.0, 0.0, 0.0]],
        Array2::zeros((0, 3)),
    ];
    for (batches, kept) in
        [(batches.clone(), "row by row"), (batches.map(|x| by_columns(&x)), "turned")]
    {
        let found = must(channel_means(&batches));
        let diagnosis = match found.to_vec()[..] {
            [7.0, 6.0, _] => "the largest magnitudes, and one token decides them",
            [-2.0, 0.0, _] => "means with signs, which cancel",
            [5.0, 2.0, _] | [7.0, 0.0, _] => "of batches: a token counts as much in any batch",
            [16.0, 12.0, _] => "sums: divide by the tokens",
            _ => "the mean of |x| over 4 tokens",
        };
        assert_eq!(found, array![4.0, 3.0, 0.0], "kept {kept} in memory\n{diagnosis}");
    }
}

#[test]
fn magnitudes_are_summed_in_f64() {
    // After 2^24, f32 cannot add 1.
    let mut x = Array2::ones((9, 2));
    x[(0, 0)] = 16_777_216.0;
    let found = must(channel_means(&[x]));
    assert_eq!(found, array![16_777_224.0 / 9.0, 1.0], "f32 loses each 1 that is added to 2^24");
}

#[test]
fn no_token_two_widths_and_nan_are_refused() {
    for none in [vec![], vec![Array2::zeros((0, 3)); 2]] {
        assert_eq!(channel_means(&none), Err(AwqError::NoTokens), "0 / 0 is NaN");
    }
    let (one, three) = (Array2::ones((2, 1)), Array2::ones((2, 3)));
    differ(
        channel_means(&[three.clone(), one.clone()]).err(),
        [1, 3],
        "batches of 3 and 1 channels",
    );
    differ(channel_means(&[one, three]).err(), [1, 3], "batches of 1 and 3 channels");
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = Array2::ones((4, 3));
        x[(2, 1)] = value;
        x[(3, 2)] = f32::NAN;
        match channel_means(&[Array2::ones((9, 3)), x]) {
            Err(AwqError::NotFinite { row: 2, column: 1, value: found, .. }) => {
                assert_eq!(found.to_string(), value.to_string(), "`value` is what was found");
            }
            other => panic!("{value} in token 2, channel 1 gave {other:?}: one NaN spoils a mean"),
        }
    }
}

// ---- task 2: candidate scales ----------------------------------------------------------------------

#[test]
fn scales_are_powers_of_the_means_whose_largest_times_smallest_is_1() {
    let x = array![16.0, 1.0, 4.0, 0.25, 9.0];
    for ratio in [0.25, 0.5, 0.75, 1.0] {
        let found = must(candidate_scales(&x, ratio));
        let of = |expected: Array1<f32>| near(&found, &expected);
        let powers = x.mapv(|x: f32| x.powf(ratio));
        let root = |product: f32| product.sqrt();
        let diagnosis = if of(powers.clone()) {
            "the powers as they are. The search compares ratios, so each has to have the same size: \
             divide by one number"
        } else if of(scales_of(&x, 1.0 - ratio)) {
            "those of 1 - ratio"
        } else if of(scales_of(&x, ratio).mapv(f32::recip)) {
            "the reciprocals: the weight of a large input is multiplied"
        } else if of(&powers / powers[0]) {
            "over the largest, which is then 1"
        } else if of(&powers / powers.mean().unwrap_or(1.0)) {
            "over their mean"
        } else if of(&powers / (powers[0] * powers[3])) {
            "over the product of largest and smallest: the largest times the smallest is then not 1"
        } else if of(&powers / root(root(powers[0] * powers[3]))) {
            "over the fourth root"
        } else {
            "each mean to the power of the ratio, over one number"
        };
        assert!(
            of(scales_of(&x, ratio)),
            "ratio {ratio}: {found}, not {}\n{diagnosis}",
            scales_of(&x, ratio)
        );
    }
}

#[test]
fn ratio_0_is_the_identity() {
    for x in [array![16.0, 0.0, 4.0], array![1e-9, 1e9, 3.0]] {
        let found = must(candidate_scales(&x, 0.0));
        assert_eq!(found, array![1.0, 1.0, 1.0], "exactly 1, for a mean of 0 too: 0^0 is 1");
    }
}

#[test]
fn a_channel_that_was_0_gets_a_scale_above_0() {
    let x = array![4.0, 0.0, 1.0, 1e-30];
    for ratio in [0.5, 1.0] {
        let found = must(candidate_scales(&x, ratio));
        let why = "The smallest scale is 1e-4 before the normalization: with 0 the largest times the \
                   smallest is 0, and all scales are infinite";
        assert!(near(&found, &scales_of(&x, ratio)), "ratio {ratio}: {found}. {why}");
        assert!(found.iter().all(|s| s.is_finite() && *s > 0.0), "{found}. {why}");
    }
}

#[test]
fn a_ratio_and_a_mean_out_of_range_are_refused() {
    let x = array![1.0, 2.0];
    for ratio in [-0.25, 1.25, f32::NAN, f32::INFINITY] {
        match candidate_scales(&x, ratio) {
            Err(AwqError::RatioOutOfRange(found)) => {
                assert_eq!(found.to_string(), ratio.to_string(), "the ratio is named");
            }
            other => panic!("ratio {ratio} gave {other:?}: it is from 0 to 1"),
        }
    }
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        match candidate_scales(&array![1.0, value, value], 0.5) {
            Err(AwqError::NotAMagnitude { channel: 1, value: found }) => {
                assert_eq!(found.to_string(), value.to_string(), "`value` is what was found");
            }
            other => panic!("a mean of {value} in channel 1 gave {other:?}"),
        }
    }
}

// ---- task 3: the error of the output ---------------------------------------------------------------

#[test]
fn columns_are_multiplied_before_rounding_and_divided_after() {
    // Square, so that rows and columns can be mixed up.
    let w = normal_matrix(1, 8, 8);
    let scales = Array1::from_shape_fn(8, |channel| 2f32.powi(channel as i32 % 5 - 2) * 1.5);
    for rounding in [SMALL, Rounding { group_size: 4, grid: Grid::Asymmetric, ..SMALL }] {
        let found = must(scaled_values(&w, &scales, &rounding));
        let rows = scales.view().insert_axis(Axis(1));
        let plain = must(rounding.values(&w));
        let diagnosis = if found == must(rounding.values(&(&w * &scales))) {
            "that is for inputs that are divided: divide by the scales, to compare with w"
        } else if found == must(rounding.values(&(&w * &scales))) * &scales {
            "multiplied twice: what multiplies a weight divides its input"
        } else if found == must(rounding.values(&(&w / &scales))) * &scales {
            "divided first: then the channels that matter get the coarser steps"
        } else if found == must(rounding.values(&(&w * &rows))) / rows {
            "rows were multiplied: a channel is a column"
        } else if found == plain {
            "the scales have done nothing"
        } else {
            "w times scales, rounded, over scales"
        };
        assert_same(found.view(), behind(&w, &scales, &rounding).view(), diagnosis);
    }
}

#[test]
fn the_error_is_the_mean_square_of_the_differences_of_outputs() {
    let x = array![[1.0, 2.0], [3.0, 0.0], [0.0, -1.0]];
    let (w, values) = (array![[1.0, 1.0], [2.0, 0.0]], array![[0.0, 2.0], [2.0, -2.0]]);
    // Outputs differ by -1 + 2, -3, -1, and by -4, 0, 2.
    let found = must(output_error(&x, &w, &values));
    let diagnosis = match found {
        1.5 => "that is the error of the weight: the inputs decide what an error costs",
        31.0 => "a sum: divide by tokens times outputs",
        10.333_333_333_333_334 => "divided by tokens only",
        15.5 => "divided by outputs only",
        _ if (found - (31f64 / 6.0).sqrt()).abs() < 1e-9 => "the root of the mean",
        _ => "the mean over tokens and outputs of squared differences",
    };
    assert!((found - 31.0 / 6.0).abs() < 1e-12, "{found}, not 31 / 6: {diagnosis}");
    assert_eq!(must(output_error(&x, &w, &w)), 0.0, "no difference");
    // 1 + 2^-20, squared, has more digits than f32.
    let x = array![[1.0 + 2f32.powi(-20)]];
    let found = must(output_error(&x, &array![[0.0]], &array![[1.0]]));
    assert_eq!(found, (1.0 + 2f64.powi(-20)).powi(2), "in f64");
}

#[test]
fn zero_and_non_finite_scales_are_caught() {
    let (w, norm, heads) = (Array2::ones((8, 8)), Array1::ones(8), Heads::one_to_one(8));
    for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut scales = Array1::ones(8);
        scales.slice_mut(s![3..5]).fill(value);
        for (of, error) in [
            ("scaled_values", scaled_values(&w, &scales, &SMALL).err()),
            ("fold_into_norm", fold_into_norm(&norm, std::slice::from_ref(&w), &scales).err()),
            ("fold_into_linear", fold_into_linear(&w, &w, &scales, &heads).err()),
        ] {
            match error {
                Some(AwqError::NotAScale { channel: 3, value: found }) => {
                    assert_eq!(found.to_string(), value.to_string(), "`value` is what was found");
                }
                other => panic!("{of} with {value} in channels 3 and 4 gave {other:?}"),
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let (w, one, norm) = (Array2::<f32>::ones((8, 8)), Array1::ones(1), Array1::ones(8));
    let narrow = Array2::ones((8, 1));
    differ(scaled_values(&w, &one, &SMALL).err(), [1, 8], "scaled_values with 1 scale");
    differ(output_error(&narrow, &w, &w).err(), [1, 8], "output_error with 1 channel");
    differ(
        search_scales(&narrow, std::slice::from_ref(&w), &SMALL).err(),
        [1, 8],
        "search_scales of 1 channel",
    );
    let two = [w.clone(), narrow.clone()];
    differ(
        search_scales(&w, &two, &SMALL).err(),
        [1, 8],
        "search_scales with a layer of 1 channel",
    );
    differ(
        fold_into_norm(&norm, std::slice::from_ref(&w), &one).err(),
        [1, 8],
        "fold_into_norm with 1 scale",
    );
    differ(
        fold_into_norm(&one, std::slice::from_ref(&w), &norm).err(),
        [1, 8],
        "fold_into_norm, norm of 1",
    );
    differ(
        fold_into_norm(&norm, &two, &norm).err(),
        [1, 8],
        "fold_into_norm, a layer of 1 channel",
    );
    differ(search_clip(&narrow, &w, &SMALL).err(), [1, 8], "search_clip with 1 channel");
    let heads = Heads { query: 4, kv: 2, dim: 2 };
    let values = Array2::<f32>::ones((4, 3));
    let four = Array1::ones(4);
    differ(fold_into_linear(&values, &w, &norm, &heads).err(), [4, 8], "8 scales for 4 rows of v");
    differ(fold_into_linear(&values, &narrow, &four, &heads).err(), [1, 8], "o with 1 channel");
    differ(
        fold_into_linear(&w, &w, &norm, &heads).err(),
        [4, 8],
        "v has a row for each query head",
    );
    differ(means_of_rows(&one, &heads).err(), [1, 8], "1 mean for 8 channels");
    differ(spread(&one, &heads).err(), [1, 4], "1 scale for 4 rows");
    let uneven = Heads { query: 3, kv: 2, dim: 2 };
    let expected = AwqError::UnevenHeads { query: 3, kv: 2 };
    assert_eq!(means_of_rows(&Array1::ones(6), &uneven), Err(expected.clone()), "3 heads share 2");
    assert_eq!(spread(&four, &uneven), Err(expected.clone()), "3 query heads share 2 kv heads");
    let o = Array2::ones((2, 6));
    assert_eq!(fold_into_linear(&values, &o, &four, &uneven), Err(expected), "3 heads share 2");
    let refused = scaled_values(&w, &norm, &Rounding { group_size: 3, ..SMALL });
    let uneven = Int4Error::GroupDoesNotDivide { in_features: 8, group_size: 3 };
    assert_eq!(refused, Err(uneven.into()), "groups of 3 in rows of 8");
    for maxima in [Array2::ones((8, 3)), Array2::ones((7, 2)), Array2::ones((8, 0))] {
        let expected = AwqError::MaximaDoNotFit { maxima: maxima.dim().into(), weight: [8, 8] };
        assert_eq!(clip(&w, &maxima), Err(expected), "maxima that do not cut rows into groups");
    }
    let none = Array2::zeros((8, 0));
    let expected = AwqError::MaximaDoNotFit { maxima: [8, 0], weight: [8, 0] };
    assert_eq!(clip(&none, &none), Err(expected), "rows without a group, and without columns");
    let empty = Array2::zeros((0, 8));
    assert_eq!(output_error(&empty, &w, &w), Err(AwqError::NoTokens), "a mean over no token");
    assert_eq!(search_clip(&empty, &w, &SMALL), Err(AwqError::NoTokens), "a mean over no token");
}

// ---- task 4: the search ----------------------------------------------------------------------------

#[test]
fn the_candidates_are_twenty_ratios_from_0_to_0_95() {
    let x = array![0.5, 8.0, 2.0];
    let found = must(candidates(&x));
    let tried: Vec<f32> = found.iter().map(|candidate| candidate.ratio).collect();
    let expected: Vec<f32> = (0..20).map(|k| k as f32 / 20.0).collect();
    assert_eq!(tried, expected, "20 ratios: 0 is one of them, because it is the weight as it is");
    for Candidate { ratio, scales } in found {
        assert!(near(&scales, &scales_of(&x, ratio)), "ratio {ratio} has the scales {scales}");
    }
}

#[test]
fn the_first_of_the_least_errors_wins_and_nan_never_does() {
    let given = |count: usize| {
        let scales = |k: usize| Array1::from_elem(2, 1.0 + k as f32);
        (0..count)
            .map(|k| Candidate { ratio: k as f32 / 8.0, scales: scales(k) })
            .collect::<Vec<_>>()
    };
    for (errors, best) in [
        (vec![3.0, 1.0, 2.0], 1),
        (vec![3.0, 1.0, 1.0, 4.0], 1),
        (vec![f64::NAN, 5.0, f64::NEG_INFINITY, f64::NAN, 5.0], 1),
        (vec![1e300, f64::INFINITY, 2e300], 0),
    ] {
        let of = |scales: &Array1<f32>| Ok(errors[scales[0] as usize - 1]);
        let found = must(search(given(errors.len()), of));
        assert_eq!(
            found.best,
            given(errors.len())[best],
            "errors {errors:?}: the strictly least of the finite ones, and the first of those"
        );
        let said: Vec<String> = found.errors.iter().map(f64::to_string).collect();
        let expected: Vec<String> = errors.iter().map(f64::to_string).collect();
        assert_eq!(said, expected, "the errors of all candidates are returned in their order");
    }
    let refused = search(given(3), |_| Ok(f64::NAN));
    assert_eq!(refused, Err(AwqError::NoFiniteError(3)), "three errors of NaN");
    let refused = search(given(3), |_| Err(AwqError::NoTokens));
    assert_eq!(refused, Err(AwqError::NoTokens), "an error of the closure is passed on");
    assert!(matches!(search(vec![], |_| Ok(1.0)), Err(AwqError::Nothing(_))), "no candidate");
}

/// The search over the ratio, without the code under test.
fn searched(
    x: &Array2<f32>,
    w: &Array2<f32>,
    rounding: &Rounding,
    error_of: impl Fn(&Array1<f32>) -> f64,
) -> (f32, Vec<f64>) {
    let ratios: Vec<f32> = (0..20).map(|k| k as f32 / 20.0).collect();
    let errors: Vec<f64> =
        ratios.iter().map(|&ratio| error_of(&scales_of(&means(x), ratio))).collect();
    let best = errors.iter().zip(&ratios).fold((f64::INFINITY, 0.0), |best, (&error, &ratio)| {
        if error < best.0 { (error, ratio) } else { best }
    });
    assert!(w.ncols().is_multiple_of(rounding.group_size));
    (best.1, errors)
}

#[test]
fn layers_behind_one_input_share_the_scales_that_are_best_for_all_their_outputs() {
    let x = planted(2);
    // The second layer is small and has few rows, and the third one is large.
    let layers =
        [normal_matrix(3, 9, 24), normal_matrix(4, 2, 24) * 0.1, normal_matrix(5, 4, 24) * 3.0];
    let w = must(concatenate(Axis(0), &[layers[0].view(), layers[1].view(), layers[2].view()]));
    for rounding in roundings(8) {
        let found = must(search_scales(&x, &layers, &rounding));
        let of_all = |s: &Array1<f32>| error(&x, &w, &behind(&w, s, &rounding));
        let (ratio, errors) = searched(&x, &w, &rounding, of_all);
        let of_one = |layer: &Array2<f32>| {
            searched(&x, layer, &rounding, |s| error(&x, layer, &behind(layer, s, &rounding))).1
        };
        let of_weight =
            searched(&x, &w, &rounding, |s| error(&Array2::eye(24), &w, &behind(&w, s, &rounding)));
        let same = |other: &[f64]| {
            let pairs = found.errors.iter().zip(other);
            found.errors.len() == other.len()
                && pairs.map(|(a, b)| (a / b - 1.0).abs()).all(|d| d < 1e-3)
        };
        let diagnosis = if same(&of_one(&layers[0])) {
            "that is of the first layer alone"
        } else if same(&of_one(&layers[2])) {
            "that is of the last layer alone"
        } else if same(&of_weight.1)
            || same(&of_weight.1.iter().map(|e| e / 24.0).collect::<Vec<_>>())
        {
            "that is the error of the weight"
        } else {
            "the mean over all outputs of all layers, of the inputs as they are"
        };
        assert!(
            same(&errors),
            "{rounding:?}: the errors begin {:.4?}, not {:.4?}: {diagnosis}",
            &found.errors[..3.min(found.errors.len())],
            &errors[..3]
        );
        assert_eq!(found.best.ratio, ratio, "{rounding:?}: the ratio with the least error");
        let scales = scales_of(&means(&x), ratio);
        assert!(
            near(&found.best.scales, &scales),
            "{} are not the scales of {ratio}",
            found.best.scales
        );
    }
    let none = search_scales(&x, &[], &SMALL);
    assert!(matches!(none, Err(AwqError::Nothing(_))), "no layer gave {none:?}");
}

/// A piece of a weight of the slice, and its inputs in a window.
fn piece(name: &str, window: Window) -> (Array2<f32>, Array2<f32>) {
    must(real_slice::piece(name, window, [48, 192]))
}

#[test]
fn on_its_calibration_tokens_the_search_is_never_worse_than_the_nearest_codes() {
    let mut gains = 0;
    for name in real_slice::TENSORS {
        let (w, x) = piece(name, Window::Calibration);
        for rounding in roundings(64) {
            let found = must(search_scales(&x, std::slice::from_ref(&w), &rounding));
            let nearest = error(&x, &w, &must(rounding.values(&w)));
            let best = error(&x, &w, &behind(&w, &found.best.scales, &rounding));
            let label = real_slice::label(name);
            assert!(
                best <= nearest,
                "{label}: the output is off by {best:.3e}, and by {nearest:.3e} with the nearest \
                 codes. Ratio 0 is a candidate, and the least error wins. {rounding:?}"
            );
            gains += usize::from(best < 0.9 * nearest);
        }
    }
    assert!(gains >= 14, "the error falls by a tenth in {gains} of 27 cases, and could in more");
}

#[test]
fn on_channels_that_are_equally_large_the_search_gains_next_to_nothing() {
    let w = normal_matrix(6, 48, 64);
    let rounding = Rounding::new(Grid::Lab03, 32);
    let gain = |x: &Array2<f32>| {
        let found = must(search_scales(x, std::slice::from_ref(&w), &rounding));
        let nearest = error(x, &w, &must(rounding.values(&w)));
        error(x, &w, &behind(&w, &found.best.scales, &rounding)) / nearest
    };
    let even = normal_matrix(7, 200, 64);
    let planted = with_outlier_channel(&with_outlier_channel(&even, 11, 30.0), 40, 50.0);
    let (even, planted) = (gain(&even), gain(&planted));
    assert!(
        even > 0.85,
        "the control arm: without outlier channels the error falls to {even:.3} of the nearest codes'. \
         Nothing is there to gain, so the error is not that of the output"
    );
    assert!(
        planted < 0.25,
        "with two outlier channels the error falls to {planted:.3} only, and 0.25 is easy"
    );
}

#[test]
fn one_percent_of_channels_in_16_bits_helps_when_activations_choose_them() {
    let mut sums = [0.0; 4];
    for name in real_slice::TENSORS {
        let w = must(real_slice::tensor(name)).slice(s![..64, ..]).to_owned();
        let x = must(real_slice::activations(name, Window::Calibration));
        let unseen = must(real_slice::activations(name, Window::HeldOut));
        let values = must(Rounding::new(Grid::Lab03, 64).values(&w));
        let by_activation = must(channel_means(&[x]));
        let by_weight = w.map_axis(Axis(0), |column| column.iter().map(|w| w.abs()).sum::<f32>());
        let by_chance = normal_matrix(8, 1, w.ncols()).row(0).to_owned();
        let none = must(output_error(&unseen, &w, &values));
        let ways = [None, Some(by_weight), Some(by_chance), Some(by_activation)];
        for (sum, way) in sums.iter_mut().zip(ways) {
            let mut kept = values.clone();
            for channel in way.map(|way| largest(&way, w.ncols() / 100)).unwrap_or_default() {
                kept.column_mut(channel).assign(&w.column(channel));
            }
            *sum += must(output_error(&unseen, &w, &kept)) / none / 9.0;
        }
    }
    let [_, by_weight, by_chance, by_activation] = sums;
    assert!(
        by_activation < 0.9 && by_weight > 0.93 && by_chance > 0.93,
        "1 % of the channels kept as they are leaves {by_activation:.3} of the error where the mean \
         magnitude of the inputs chooses, {by_weight:.3} where the weights choose, and {by_chance:.3} at \
         random. The inputs must choose best, so look at `channel_means`"
    );
}

/// The `count` channels with the largest values.
fn largest(values: &Array1<f32>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order
}

// ---- task 5: the application -----------------------------------------------------------------------

#[test]
fn the_norm_is_divided_and_each_layer_behind_it_multiplied() {
    let (norm, scales) = (array![2.0, 3.0, 0.5], array![4.0, 0.5, 8.0]);
    let layers =
        [array![[1.0, 10.0, 0.25]], array![[2.0, 4.0, 1.0], [3.0, 6.0, -1.0], [0.0, 1.0, 2.0]]];
    let (divided, multiplied) = must(fold_into_norm(&norm, &layers, &scales));
    let diagnosis = if divided == &norm * &scales {
        "multiplied: what multiplies a weight divides its input"
    } else if divided == norm {
        "the norm as it was: the inputs have to be divided"
    } else {
        "norm over scales"
    };
    assert_eq!(divided, array![0.5, 6.0, 0.0625], "\n{diagnosis}");
    assert_eq!(
        multiplied[0],
        array![[4.0, 5.0, 2.0]],
        "each COLUMN of the first layer times its scale"
    );
    let second = array![[8.0, 2.0, 8.0], [12.0, 3.0, -8.0], [0.0, 0.5, 16.0]];
    assert_eq!(multiplied[1], second, "each COLUMN of the second layer times its scale");
    assert_eq!(multiplied.len(), 2, "all layers behind the norm");
}

#[test]
fn a_query_head_reads_the_rows_of_the_kv_head_that_it_shares() {
    let heads = Heads { query: 6, kv: 2, dim: 3 };
    let found: Vec<usize> = (0..18).map(|channel| row_behind(channel, &heads)).collect();
    let expected = [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5];
    let diagnosis = match found[..6] {
        [0, 1, 2, 3, 4, 5] => {
            "the rows one after another, again and again: the three NEIGHBOURING heads 0 to 2 share kv \
             head 0"
        }
        [0, 0, 0, 1, 1, 1] => "the channels of a head are `dim` rows and not one",
        _ => "heads 0 to 2 share rows 0 to 2, heads 3 to 5 share rows 3 to 5",
    };
    assert_eq!(found, expected, "\n{diagnosis}");
    let alone = Heads { query: 4, kv: 4, dim: 2 };
    assert!(
        (0..8).all(|channel| row_behind(channel, &alone) == channel),
        "a kv head for each head"
    );
    let one = Heads { query: 4, kv: 1, dim: 2 };
    assert!((0..8).all(|channel| row_behind(channel, &one) == channel % 2), "one kv head for all");
}

#[test]
fn a_row_has_the_mean_of_its_channels_and_gives_them_one_scale() {
    let heads = Heads { query: 4, kv: 2, dim: 2 };
    let means = array![1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 60.0];
    let found = must(means_of_rows(&means, &heads));
    let diagnosis = match found.to_vec()[..] {
        [4.0, 8.0, 40.0, 80.0] => "sums: divide by the heads that share",
        [3.0, 6.0, 30.0, 60.0] => "the last or the largest of the channels: take the mean",
        _ => "the mean over the heads that share a kv head, channel by channel",
    };
    assert_eq!(found, array![2.0, 4.0, 20.0, 40.0], "\n{diagnosis}");
    let found = must(spread(&array![1.0, 2.0, 3.0, 4.0], &heads));
    assert_eq!(found, array![1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0], "each channel has its row's");
}

#[test]
fn value_and_output_projections_compute_the_same_through_grouped_heads() {
    for heads in
        [Heads { query: 6, kv: 2, dim: 3 }, Heads { query: 4, kv: 4, dim: 2 }, Heads::one_to_one(5)]
    {
        let (v, o) =
            (normal_matrix(9, heads.rows(), heads.rows()), normal_matrix(10, 4, heads.channels()));
        // Powers of two only move exponents, so nothing is rounded: the same bits.
        let scales = Array1::from_shape_fn(heads.rows(), |row| 2f32.powi(row as i32 * 5 % 9 - 4));
        let (divided, multiplied) = must(fold_into_linear(&v, &o, &scales, &heads));
        let x = normal_matrix(11, 3, heads.rows()).mapv(f64::from);
        let run = |v: &Array2<f32>, o: &Array2<f32>| {
            // Each query head has the values of its kv head, as if it attended to one token.
            let values = x.dot(&v.mapv(f64::from).t());
            let (dim, sharing) = (heads.dim, heads.query / heads.kv);
            let heads: Vec<_> = (0..heads.query)
                .map(|head| values.slice(s![.., head / sharing * dim..(head / sharing + 1) * dim]))
                .collect();
            must(concatenate(Axis(1), &heads)).dot(&o.mapv(f64::from).t())
        };
        let (found, expected) = (run(&divided, &multiplied), run(&v, &o));
        let worst =
            found.iter().zip(&expected).fold(0.0, |max: f64, (a, b)| max.max((a - b).abs()));
        assert!(
            worst < 1e-9,
            "{heads:?}: an output moved by {worst:.2e}. Each ROW of the layer before over its scale, and \
             each column of the layer after times the scale of the row behind it"
        );
        let rows = scales.view().insert_axis(Axis(1));
        assert_same(divided.view(), (&v / &rows).view(), "The rows of the layer before");
    }
}

#[test]
fn the_transform_is_exact_in_f64_up_to_the_rounding_of_the_products() {
    let (x, layers) = (planted(12), [normal_matrix(13, 6, 24), normal_matrix(14, 3, 24)]);
    let norm = normal_matrix(15, 1, 24).row(0).to_owned();
    for ratio in [0.0, 0.35, 0.7, 1.0] {
        let scales = must(candidate_scales(&means(&(&x * &norm)), ratio));
        let (folded, multiplied) = must(fold_into_norm(&norm, &layers, &scales));
        for (w, now) in layers.iter().zip(&multiplied) {
            let wide = |m: &Array2<f32>| m.mapv(f64::from);
            let run = |norm: &Array1<f32>, w| (wide(&x) * norm.mapv(f64::from)).dot(&wide(w).t());
            // Each term has two roundings of half a step, of the quotient and of the product.
            let bound =
                (wide(&x) * norm.mapv(f64::from)).mapv(f64::abs).dot(&wide(w).mapv(f64::abs).t());
            let moved = run(&folded, now) - run(&norm, w);
            for (index, moved) in moved.indexed_iter() {
                let bound = bound[index] * 2f64.powi(-23) * 1.0001;
                assert!(
                    moved.abs() <= bound,
                    "ratio {ratio}, output {index:?}: moved by {moved:.2e}, and two roundings explain \
                     {bound:.2e}. Divide the norm and multiply the columns"
                );
            }
        }
    }
}

// ---- task 6: clipping ------------------------------------------------------------------------------

#[test]
fn query_and_key_projections_are_not_clipped() {
    for (name, expected) in [
        ("model.layers.3.self_attn.q_proj.weight", false),
        ("self_attn.k_proj", false),
        ("q_proj", false),
        ("model.layers.3.self_attn.v_proj.weight", true),
        ("model.layers.3.self_attn.o_proj.weight", true),
        ("model.layers.3.mlp.gate_proj.weight", true),
        ("vq_proj_norm.k_projector.mlp.down_proj.weight", true),
    ] {
        assert_eq!(is_clipped(name), expected, "`{name}`: a part of the name is q_proj or k_proj");
    }
}

#[test]
fn each_group_is_limited_on_both_sides() {
    let w = array![[3.0, -3.0, 0.5, -8.0], [1.0, -2.0, 8.0, 0.0]];
    let found = must(clip(&w, &array![[2.0, 1.0], [3.0, 4.0]]));
    let expected = array![[2.0, -2.0, 0.5, -1.0], [1.0, -2.0, 4.0, 0.0]];
    assert_same(
        found.view(),
        expected.view(),
        "Each weight between minus and plus its group's maximum",
    );
    let whole = must(clip(&w, &array![[3.0], [1.0]]));
    assert_same(
        whole.view(),
        array![[3.0, -3.0, 0.5, -3.0], [1.0, -1.0, 1.0, 0.0]].view(),
        "One group",
    );
}

/// The mean squared error of each group's share of the output: `[out_features, groups]`.
fn group_errors(
    x: &Array2<f32>,
    w: &Array2<f32>,
    values: &Array2<f32>,
    size: usize,
) -> Array2<f64> {
    let moved = values.mapv(f64::from) - w.mapv(f64::from);
    Array2::from_shape_fn((w.nrows(), w.ncols() / size), |(row, group)| {
        let columns = group * size..(group + 1) * size;
        let moved = moved.slice(s![row, columns.clone()]).to_owned();
        let share = x.mapv(f64::from).slice(s![.., columns]).dot(&moved);
        share.mapv(|e| e * e).mean().unwrap_or(f64::NAN)
    })
}

#[test]
fn the_maximum_of_a_group_is_the_one_with_the_least_error_of_its_share_of_the_output() {
    let (mut x, w) = (planted(16), normal_matrix(17, 7, 24));
    // A large input with a small weight asks for a small step.
    x.column_mut(1).mapv_inplace(|x| x * 40.0);
    for rounding in roundings(8) {
        let found = must(search_clip(&x, &w, &rounding));
        let largest = Array2::from_shape_fn((7, 3), |(row, group)| {
            w.slice(s![row, 8 * group..8 * group + 8]).fold(0.0, |max: f32, w| max.max(w.abs()))
        });
        let limit = |maxima: &Array2<f32>| {
            Array2::from_shape_fn(w.dim(), |(r, c)| {
                w[(r, c)].clamp(-maxima[(r, c / 8)], maxima[(r, c / 8)])
            })
        };
        let (mut best, mut least) = (largest.clone(), Array2::from_elem((7, 3), f64::INFINITY));
        for shrunk in clip_maxima(1.0) {
            let maxima = largest.mapv(|largest| largest * shrunk);
            let values = must(rounding.values(&limit(&maxima)));
            for (at, error) in group_errors(&x, &w, &values, 8).indexed_iter() {
                if *error < least[at] {
                    (best[at], least[at]) = (maxima[at], *error);
                }
            }
        }
        let shares = |maxima: &Array2<f32>| (maxima / &largest).mapv(|s| (s * 20.0).round() / 20.0);
        let (found, best) = (shares(&found), shares(&best));
        let diagnosis = if found.rows().into_iter().all(|row| row.iter().all(|s| *s == row[0])) {
            "one share for a whole row: each group has its own"
        } else {
            "against the weights as they are, weighed by the inputs, codes of the clipped group"
        };
        assert_same(
            found.view(),
            best.view(),
            format!("Shares of the largest magnitude: {diagnosis}"),
        );
    }
    // Codes of zeros are exact under any maximum.
    let zeros = must(search_clip(&x, &Array2::zeros((2, 24)), &SMALL));
    assert_eq!(zeros, Array2::<f32>::zeros((2, 3)), "a group of zeros");
    // On the grid of a seventh, 7 and 0 are exact only without clipping, and every maximum is exact
    // where the input is 0: the first of equal errors wins.
    let unseen = must(search_clip(&Array2::zeros((3, 8)), &normal_matrix(18, 1, 8), &SMALL));
    let largest = normal_matrix(18, 1, 8).fold(0.0, |max: f32, w| max.max(w.abs()));
    assert_eq!(unseen, array![[largest]], "inputs of 0: all errors are 0, and the first wins");
}

#[test]
fn clipping_never_raises_the_error_that_it_minimizes() {
    for name in real_slice::TENSORS {
        let (w, x) = piece(name, Window::Calibration);
        let w = w.slice(s![..12, ..]).to_owned();
        for rounding in roundings(64) {
            let maxima = must(search_clip(&x, &w, &rounding));
            let values = |w: &Array2<f32>| must(rounding.values(w));
            let before = group_errors(&x, &w, &values(&w), 64);
            let after = group_errors(&x, &w, &values(&must(clip(&w, &maxima))), 64);
            for (at, after) in after.indexed_iter() {
                assert!(
                    *after <= before[at] * (1.0 + 1e-9),
                    "{}, row and group {at:?}: the error rises from {:.3e} to {after:.3e}. The whole \
                     range is the first candidate. {rounding:?}",
                    real_slice::label(name),
                    before[at]
                );
            }
        }
    }
}

// ---- task 7: all of it -----------------------------------------------------------------------------

#[test]
fn a_block_is_searched_then_folded_then_clipped_for_its_new_inputs() {
    let norm = normal_matrix(19, 1, 24).row(0).mapv(|w| w.abs() + 0.5);
    let x = planted(20) * &norm;
    let layers = [
        ("self_attn.q_proj", normal_matrix(21, 6, 24)),
        ("self_attn.k_proj", normal_matrix(22, 3, 24) * 2.0),
        ("self_attn.v_proj", normal_matrix(23, 3, 24) * 0.5),
    ];
    for rounding in roundings(8) {
        let found = must(awq(&norm, &layers, &x, &rounding));
        let weights = layers.clone().map(|(_, w)| w);
        let scales = must(search_scales(&x, &weights, &rounding)).best;
        assert!(scales.ratio > 0.0, "the data of this test has outlier channels");
        assert_eq!(found.scales, scales, "the scales are those of `search_scales` of all layers");
        assert_same(found.norm.view(), (&norm / &scales.scales).view(), "The norm over the scales");
        assert_eq!(found.layers.len(), 3, "a weight for each layer");
        for ((name, w), found) in layers.iter().zip(&found.layers) {
            let multiplied = w * &scales.scales;
            let clipped = |x: &Array2<f32>, w: &Array2<f32>| {
                must(clip(w, &must(search_clip(x, w, &rounding))))
            };
            let expected = match *name {
                "self_attn.v_proj" => clipped(&(&x / &scales.scales), &multiplied),
                _ => multiplied.clone(),
            };
            let own = must(search_scales(&x, std::slice::from_ref(w), &rounding)).best.scales;
            let diagnosis = if *found == w * &own && own != scales.scales {
                "multiplied by scales of its own: the layers share one norm, so one vector"
            } else if found == multiplied {
                "multiplied and not clipped"
            } else if *found == clipped(&x, &multiplied) {
                "clipped for the inputs before the division: the layer's inputs are x over scales now"
            } else if *found == clipped(&x, w) * &scales.scales {
                "clipped before it was multiplied"
            } else if *found == clipped(&(&x / &scales.scales), &multiplied) {
                "clipped, and a query or a key is not"
            } else {
                "times the scales, and clipped if `is_clipped`"
            };
            assert_same(found.view(), expected.view(), format!("{name}: {diagnosis}"));
        }
    }
}

/// What `golden/make_awq_golden.py` wrote.
#[derive(Deserialize)]
struct Golden {
    group_size: usize,
    weight_times_65536: Vec<Vec<f32>>,
    inputs_times_8: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    library: String,
    duo: bool,
    asymmetric: bool,
    losses: Vec<f64>,
    scales: Vec<f32>,
    /// Empty for llm-compressor, which does not clip.
    maxima: Vec<f32>,
}

fn matrix(rows: &[Vec<f32>], over: f32) -> Array2<f32> {
    let columns = rows.first().map_or(0, Vec::len);
    must(Array2::from_shape_vec((rows.len(), columns), rows.concat())) / over
}

#[test]
fn losses_scales_and_maxima_are_those_of_autoawq_and_of_llm_compressor() {
    let golden: Golden = must(serde_json::from_str(include_str!("../golden/scales.json")));
    let (w, x) = (matrix(&golden.weight_times_65536, 65536.0), matrix(&golden.inputs_times_8, 8.0));
    let means = must(channel_means(std::slice::from_ref(&x)));
    let of_weight = awq::duo::weight_means(std::slice::from_ref(&w), golden.group_size);
    for case in golden.cases {
        let is_auto_awq = case.library == "AutoAWQ";
        let grid = match (case.asymmetric, is_auto_awq) {
            (true, _) => Grid::Asymmetric,
            (false, true) => Grid::Lab03,
            (false, false) => Grid::LlmCompressor,
        };
        let rounding = Rounding { grid, group_size: golden.group_size, stored: Stored::F32 };
        let at = |ratio, duo: bool| match duo {
            true => Candidate { ratio, scales: awq::duo::scales(&means, &of_weight, ratio) },
            false => Candidate { ratio, scales: must(candidate_scales(&means, ratio)) },
        };
        let tried = match (is_auto_awq, case.duo) {
            (true, duo) => (0..20u8).map(|k| at(f32::from(k) / 20.0, duo)).collect(),
            (false, true) => must(awq::duo::candidates(&means, &of_weight)),
            (false, false) => (0..20u8).map(|k| at(f32::from(k) / 19.0, false)).collect(),
        };
        let loss =
            |scales: &Array1<f32>| output_error(&x, &w, &scaled_values(&w, scales, &rounding)?);
        let found = must(search(tried, loss));
        let label = format!("{}, duo {}, asymmetric {}", case.library, case.duo, case.asymmetric);
        // The libraries compute in f32, where a weight near a tie may get the other code. On the grid of
        // 7.5 the largest weight of a group is a tie if it is negative, whichever way it is computed.
        let bound = if grid == Grid::LlmCompressor { 0.1 } else { 0.01 };
        let off = found.errors.iter().zip(&case.losses).map(|(a, b)| (a / b - 1.0).abs());
        let worst = off.fold(0.0, |worst, off| if off <= worst { worst } else { off });
        assert!(
            found.errors.len() == 20 && worst < bound,
            "{label}: a loss is off by {worst:.1e}, and {bound} is allowed"
        );
        let scales = Array1::from(case.scales);
        assert!(
            near(&found.best.scales, &scales),
            "{label}: other scales, of {}",
            found.best.ratio
        );
        if !case.maxima.is_empty() {
            let maxima = must(search_clip(&(&x / &scales), &(&w * &scales), &rounding));
            let pairs = maxima.iter().zip(&case.maxima);
            let same = pairs.filter(|(a, b)| (*a - *b).abs() <= 1e-5 * *b).count();
            assert_eq!(same, case.maxima.len(), "{label}: maxima that are the same");
        }
    }
}
