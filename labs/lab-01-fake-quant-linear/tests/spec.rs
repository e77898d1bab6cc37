//! The spec of lab 01. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-01-fake-quant-linear` grades `src/starter.rs`.

use fake_quant_linear::{
    QMAX, QuantError, Quantized, check_finite, dequantize, int8_linear, memory_bytes,
    memory_bytes_f32, quant_linear, quantize_per_channel, quantize_per_tensor, quantize_value,
    scale_for,
};
use kit::data::{normal_matrix, with_outlier_row};
use kit::difference::assert_same;
use kit::meters::{mean, relative_error, row_relative_errors};
use kit::real_slice;
use kit::reference::linear_f64;
use ndarray::{Array2, array};

/// The value of a function on good input.
fn must<T>(result: Result<T, QuantError>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

fn real(name: &str) -> Array2<f32> {
    real_slice::tensor(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Values between the codes, on the ties above all.
const PROBES: [f32; 9] = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.4, 0.6, -0.6];

// ---- task 1: one value ---------------------------------------------------------------------------

#[test]
fn codes_round_half_to_even_as_torch_does() {
    let codes = PROBES.map(|value| quantize_value(value, 1.0));
    let expected = [0, 2, 2, 0, -2, -2, 0, 1, -1];
    let signatures = [
        (PROBES.map(|v| v.trunc() as i8), "truncation toward zero: a cast does not round"),
        (PROBES.map(|v| v.floor() as i8), "floor: it shifts every weight down by half a step"),
        (PROBES.map(|v| v.ceil() as i8), "ceil: it shifts every weight up by half a step"),
        (
            PROBES.map(|v| v.round() as i8),
            "half away from zero, which is Rust's `round`; torch rounds half to even, which Rust \
             calls `round_ties_even`",
        ),
    ];
    let diagnosis = signatures.iter().find(|(pattern, _)| *pattern == codes).map_or(
        "look at `quantize_value`: divide by the scale, then round half to even".to_string(),
        |(_, meaning)| format!("your codes match {meaning}"),
    );
    assert_eq!(codes, expected, "\ncodes of {PROBES:?} at scale 1: {diagnosis}");
    assert_eq!(quantize_value(0.3, 0.1), 3, "0.3 at scale 0.1 is three steps: divide by the scale");
    for (value, code) in [(2.500_000_2, 3), (2.499_999_8, 2)] {
        assert_eq!(
            quantize_value(value, 1.0),
            code,
            "{value} lies beside a tie: a value rounded to 16 bits first would be the tie itself"
        );
    }
    // A scale of 11 bits, so that 6.5 times the scale is exact in f32.
    let scale = 0.122_985_84;
    assert_eq!(
        quantize_value(6.5 * scale, scale),
        6,
        "6.5 steps exactly, so to even. Times 1 / scale it is 6.5000005 and becomes 7, because the \
         reciprocal is rounded itself: divide"
    );
}

#[test]
fn codes_are_clipped_to_127_on_both_sides() {
    for (value, code) in [(126.4, 126), (127.5, 127), (1e9, 127), (-127.6, -127), (-1e9, -127)] {
        assert_eq!(
            quantize_value(value, 1.0),
            code,
            "the code of {value} at scale 1: round first, then clip to -127..=127, both included. \
             (-128 has no partner on the positive side, so -128 is not on the grid)"
        );
    }
}

#[test]
fn the_scale_is_the_maximum_over_127_or_exactly_1() {
    assert_eq!(scale_for(254.0), 2.0, "`scale_for(254)`: 254 over 127 is 2");
    assert_eq!(
        scale_for(9.0),
        9.0 / 127.0,
        "`scale_for(9)`: divide by 127, because 1 / 127 is rounded itself"
    );
    for absmax in [1e-6, 1e-7, 1e-12, 1e-30] {
        assert_eq!(
            scale_for(absmax),
            absmax / 127.0,
            "`scale_for({absmax:e})`: a guard against zero must leave every other maximum alone, \
             because weights may be small. Compare the scale with 0, not with an epsilon"
        );
    }
    assert_eq!(
        scale_for(0.0),
        1.0,
        "`scale_for(0)`: a scale of 0 would make NaN of 0 / 0. It must be exactly 1; a floor such as \
         max(absmax, 1e-5) is another guard, and the next chapter compares them"
    );
    let smallest = f32::from_bits(1);
    assert_eq!(
        scale_for(smallest),
        1.0,
        "`scale_for({smallest:e})`: the smallest f32 over 127 underflows to 0, so guard the scale, \
         not the maximum"
    );
}

// ---- task 2: a matrix ----------------------------------------------------------------------------

#[test]
fn per_tensor_has_one_scale_the_largest_magnitude_over_127() {
    let w = array![[0.1, 1.27, 0.3], [0.0, -0.2, -2.54]];
    let quantized = must(quantize_per_tensor(&w));
    assert_eq!(quantized.scales().dim(), (1, 1), "one scale for the whole tensor: shape [1, 1]");
    assert_eq!(
        quantized.scales()[(0, 0)],
        2.54 / 127.0,
        "the scale is max|W| / 127, and the largest magnitude here is that of -2.54, in the last \
         row and column"
    );
    assert_eq!(quantized.q(), array![[5, 64, 15], [0, -10, -127]], "codes at scale 0.02");
    let turned = must(quantize_per_tensor(&array![[-2.54, -0.2], [0.0, 0.3]]));
    assert_eq!(turned.scales(), array![[2.54 / 127.0]], "-2.54 in the first row and column");
}

#[test]
fn per_channel_has_one_scale_per_row_its_largest_magnitude_over_127() {
    // One maximum is in the first column and one in the last, so that a row cut short is seen.
    let w = array![[-2.54, 0.1, 0.3, 0.0], [0.0, 0.5, -0.2, 1.27]];
    let quantized = must(quantize_per_channel(&w));
    assert_eq!(
        quantized.scales().dim(),
        (2, 1),
        "W is [out_features, in_features] = [2, 4]: per channel means one scale per row, shape \
         [2, 1]. [1, 4] would be one per column"
    );
    assert_eq!(
        quantized.scales(),
        array![[2.54 / 127.0], [1.27 / 127.0]],
        "each row's scale is its own max|W| / 127, over all columns: -2.54 is in the first, 1.27 in \
         the last"
    );
    assert_eq!(quantized.q(), array![[-127, 5, 15, 0], [0, 50, -20, 127]], "codes, row by row");
}

#[test]
fn a_matrix_kept_column_by_column_gives_the_same_codes_and_products() {
    let by_columns = |m: &Array2<f32>| m.t().as_standard_layout().into_owned().reversed_axes();
    // Square, so that a walk through the memory goes wrong without an error.
    let (w, x) = (normal_matrix(3, 8, 8), normal_matrix(4, 8, 8));
    let (turned, why) = (by_columns(&w), "index by row and column, not by place in memory");
    let quantized = must(quantize_per_channel(&w));
    assert!(must(quantize_per_channel(&turned)) == quantized, "`quantize_per_channel`: {why}");
    let per_tensor = must(quantize_per_tensor(&w));
    assert!(must(quantize_per_tensor(&turned)) == per_tensor, "`quantize_per_tensor`: {why}");
    let codes = quantized.q().t().as_standard_layout().into_owned().reversed_axes();
    let kept = must(Quantized::new(codes, quantized.scales().clone()));
    assert!(dequantize(&kept) == dequantize(&quantized), "`dequantize`: {why}");
    let error = relative_error(&linear_f64(&x, &w), &must(quant_linear(&by_columns(&x), &kept)));
    assert!(error < 0.02, "`quant_linear` is off by {error:.3} of its norm: {why}");
    let product = must(int8_linear(&quantized, &quantized));
    assert!(must(int8_linear(&kept, &kept)) == product, "`int8_linear`: {why}");
}

#[test]
fn a_row_of_zeros_gets_scale_1_and_codes_of_0() {
    let w = array![[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]];
    let quantized = must(quantize_per_channel(&w));
    assert_eq!(
        quantized.scales()[(0, 0)],
        1.0,
        "the scale of a row of zeros must be 1: a scale of 0 makes NaN of 0 / 0 wherever the codes \
         are kept as floats (here Rust's cast would hide it: it turns NaN into 0)"
    );
    assert_eq!(quantized.q().row(0).to_vec(), [0; 3], "the codes of a row of zeros are zeros");
    let zeros = must(quantize_per_tensor(&Array2::zeros((2, 3))));
    assert_eq!(zeros.scales()[(0, 0)], 1.0, "and so for a whole tensor of zeros");
}

#[test]
fn nan_and_infinity_are_refused_and_their_row_is_named() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut w = normal_matrix(1, 3, 5);
        w[(2, 4)] = poison;
        let results = [
            ("check_finite", check_finite(&w).err()),
            ("quantize_per_tensor", quantize_per_tensor(&w).err()),
            ("quantize_per_channel", quantize_per_channel(&w).err()),
        ];
        for (function, error) in results {
            let Some(QuantError::NotFinite { row: 2, column: 4, value }) = error else {
                panic!(
                    "`{function}` met {poison} in row 2, column 4 and said {error:?}: it must \
                     return QuantError::NotFinite with that row and column"
                );
            };
            assert_eq!(
                value.to_string(),
                poison.to_string(),
                "`{function}`: `value` is the value that was found"
            );
        }
    }
    let two = array![[0.0, f32::NEG_INFINITY], [f32::NAN, 0.0]];
    for w in [two.clone(), two.t().as_standard_layout().into_owned().reversed_axes()] {
        assert_eq!(
            check_finite(&w),
            Err(QuantError::NotFinite { row: 0, column: 1, value: f32::NEG_INFINITY }),
            "of two such values `check_finite` names the first, row by row"
        );
    }
    for finite in [normal_matrix(1, 3, 5), array![[f32::MAX, f32::MIN]]] {
        assert_eq!(check_finite(&finite), Ok(()), "finite values must pass, also the largest");
    }
}

#[test]
fn every_weight_lies_within_half_a_step_of_its_code() {
    // Rounding moves a value by at most half a step. The quotient w / s is itself rounded to f32,
    // by at most 2^-24 of its size, which is at most 127: that is all the slack there is.
    let bound = 0.5 + f64::from(QMAX) * f64::powi(2.0, -24);
    for name in [real_slice::TENSORS[2], real_slice::TENSORS[6]] {
        let w = real(name);
        for q in [must(quantize_per_tensor(&w)), must(quantize_per_channel(&w))] {
            let Some(scales) = q.scales().broadcast(w.dim()) else {
                panic!("scales of shape {:?} do not fit {:?}", q.scales().dim(), w.dim());
            };
            for ((at, &value), (&code, &scale)) in w.indexed_iter().zip(q.q().iter().zip(scales)) {
                let steps = (f64::from(value) / f64::from(scale) - f64::from(code)).abs();
                assert!(
                    steps <= bound,
                    "{name}{at:?} = {value} has the code {code} at scale {scale}: {steps:.3} steps \
                     away, and rounding to the nearest code allows 0.5. A larger distance means \
                     clipping (the scale is too small) or another rounding"
                );
            }
        }
    }
}

// ---- task 3: back to numbers, and the layer ------------------------------------------------------

#[test]
fn dequantize_multiplies_each_code_by_the_scale_of_its_row() {
    let codes = array![[1, -2, 127], [4, 0, -127]];
    let rows = must(Quantized::new(codes.clone(), array![[0.5], [0.25]]));
    assert_eq!(dequantize(&rows), array![[0.5, -1.0, 63.5], [1.0, 0.0, -31.75]], "one scale a row");
    let tensor = must(Quantized::new(codes, array![[2.0]]));
    assert_eq!(dequantize(&tensor), array![[2.0, -4.0, 254.0], [8.0, 0.0, -254.0]], "one scale");
    let columns = must(Quantized::new(array![[1, 2], [3, 4]], array![[0.5, 4.0]]));
    assert_eq!(
        dequantize(&columns),
        array![[0.5, 8.0], [1.5, 16.0]],
        "scales of shape [1, 2] stretch over the columns: each code times the scale of its own place"
    );
    let tenth = must(Quantized::new(array![[3]], array![[0.1]]));
    assert_eq!(
        dequantize(&tenth),
        array![[3.0 * 0.1]],
        "3 * 0.1 in f32: neither rounded to a whole number nor kept in 16 bits"
    );
}

#[test]
fn per_channel_shrugs_off_the_outlier_row_that_wrecks_per_tensor() {
    let w = with_outlier_row(&normal_matrix(42, 64, 128), 7, 100.0);
    let errors = |q: &Quantized| row_relative_errors(&w, &dequantize(q));
    let per_tensor = errors(&must(quantize_per_tensor(&w)));
    let per_channel = errors(&must(quantize_per_channel(&w)));
    let mean_of_others = |errors: &ndarray::Array1<f64>| {
        mean(errors.iter().enumerate().filter(|(row, _)| *row != 7).map(|(_, error)| error))
    };
    let (wrecked, healthy) = (mean_of_others(&per_tensor), mean_of_others(&per_channel));
    assert!(
        (0.57..0.70).contains(&wrecked),
        "per tensor, one outlier row should cost the 63 other rows 57 to 70 % of their norm, and \
         they lose {wrecked:.4}: take one scale over the whole tensor"
    );
    assert!(
        healthy < 0.01,
        "per channel, the outlier row should cost the other rows nothing (error about 0.0066), and \
         they lose {healthy:.4}: give every row the scale of its own absmax"
    );
    assert!(
        (per_tensor[7] - per_channel[7]).abs() < 1e-9,
        "the outlier row has the same scale in both cases, so its error must be the same: {} and {}",
        per_tensor[7],
        per_channel[7]
    );
}

#[test]
fn a_square_matrix_shows_the_wrong_axis_row_by_row() {
    // Square, so that no shape gives the mistake away, and with an outlier row, so that
    // the error of the whole matrix is the small one of the outlier row.
    let w = with_outlier_row(&normal_matrix(43, 64, 64), 7, 100.0);
    let round_trip = dequantize(&must(quantize_per_channel(&w)));
    let global = relative_error(&w, &round_trip);
    let worst = row_relative_errors(&w, &round_trip).into_iter().fold(0.0, f64::max);
    assert!(
        worst < 0.02,
        "the error of the whole matrix is {global:.4}, but one of its rows loses {worst:.4}. Scales \
         along the wrong axis look like this, and so do maxima that miss a weight. A channel is a \
         row of [out_features, in_features], and its maximum is over all columns"
    );
}

#[test]
fn the_round_trip_error_on_real_weights_stays_under_one_percent_of_the_norm() {
    let (mut error, mut norm) = (0.0, 0.0);
    for name in real_slice::TENSORS {
        let w = real(name);
        let quantized = must(quantize_per_channel(&w));
        let measured = relative_error(&w, &dequantize(&quantized));
        // A rounding error is spread evenly over a step s: its mean square is s^2 / 12.
        let energy = w.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let steps = quantized.scales().iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
        let predicted = (steps / 12.0 * w.ncols() as f64 / energy).sqrt();
        assert!(
            (measured / predicted - 1.0).abs() < 0.05,
            "{name} comes back with an error of {:.3} % of its norm, and rounding to your scales \
             should cost {:.3} %: are the codes multiplied by the scale they were divided by?",
            100.0 * measured,
            100.0 * predicted
        );
        error += measured.powi(2) * energy;
        norm += energy;
    }
    let overall = (error / norm).sqrt();
    assert!(
        overall < 0.01,
        "the nine real matrices come back with an error of {:.2} % of their norm; with one scale \
         per row int8 stays under 1 %",
        100.0 * overall
    );
}

#[test]
fn quant_linear_is_x_times_w_transposed_exactly_where_f32_is_exact() {
    let codes = array![[1, 3], [5, 100]];
    let x = array![[1.0, 2.0], [2048.0, 1.0]];
    for (scales, y) in [
        (array![[0.5], [0.25]], array![[3.5, 51.25], [1025.5, 2585.0]]),
        (array![[0.5]], array![[3.5, 102.5], [1025.5, 5170.0]]),
        (array![[0.5, 0.25]], array![[2.0, 52.5], [1024.75, 5145.0]]),
    ] {
        let w = must(Quantized::new(codes.clone(), scales));
        let found = must(quant_linear(&x, &w));
        let diagnosis = if found == x.dot(&dequantize(&w)) {
            "that is x @ W, and an output is the product of x with a row of W: x @ W.T"
        } else if w.scales().ncols() > 1 {
            "a scale along in_features is inside the sum: multiply with what `dequantize` gives"
        } else if found.mapv(|y| y.round()) == found {
            "the products were rounded to whole numbers: the layer computes in floats"
        } else {
            "every step is exact here, so 16 bits somewhere, or another scale, look like this"
        };
        assert_eq!(found, y, "\nscales of shape {:?}: {diagnosis}", w.scales().dim());
    }
    let tenth = must(Quantized::new(array![[3]], array![[0.1]]));
    assert_eq!(
        must(quant_linear(&array![[1.0]], &tenth)),
        array![[3.0 * 0.1]],
        "1 times 3 * 0.1: the weights are f32, and in 16 bits they would be rounded once more"
    );
}

#[test]
fn quant_linear_is_close_to_x_times_w_transposed() {
    let w = real(real_slice::TENSORS[3]);
    let x = normal_matrix(5, 8, w.ncols());
    let exact = linear_f64(&x, &w);
    let quantized = must(quantize_per_channel(&w));
    let y = must(quant_linear(&x, &quantized));
    assert_eq!(y.dim(), (8, w.nrows()), "x @ W.T is [tokens, out_features]");
    let error = relative_error(&exact, &y);
    assert!(
        error < 0.01,
        "the layer's output is off by {:.2} % of its norm and the weights only by {:.2} %: for \
         independent inputs the two must agree. This W is square, so x @ W has the right shape and \
         the wrong values",
        100.0 * error,
        100.0 * relative_error(&w, &dequantize(&quantized))
    );
    let short = normal_matrix(5, 8, 100);
    assert_eq!(
        quant_linear(&short, &quantized),
        Err(QuantError::FeaturesDiffer { x: 100, w: w.ncols() }),
        "an x with the wrong number of features: refuse before ndarray panics, and name both \
         numbers, each in its field"
    );
}

// ---- task 4: the integer product, and the bytes --------------------------------------------------

#[test]
fn the_int8_product_equals_the_fake_quantized_one() {
    // With scales that are powers of two and sums below 2^24 every step is exact in f32, so the two
    // products are equal to the bit. 576 * 127 * 127 = 9,290,304 < 16,777,216.
    let codes = |seed, rows| {
        normal_matrix(seed, rows, 576)
            .mapv(|v| (v * 60.0).round_ties_even().clamp(-QMAX, QMAX) as i8)
    };
    let x = must(Quantized::new(codes(1, 4), array![[0.5], [0.25], [4.0], [2.0]]));
    let w = must(Quantized::new(codes(2, 3), array![[0.125], [8.0], [1.0]]));
    let integer = std::panic::catch_unwind(|| int8_linear(&x, &w));
    let fake = must(quant_linear(&dequantize(&x), &w));
    assert_eq!(
        integer.ok(),
        Some(Ok(fake)),
        "i8 x i8 summed in i32, then times the token's scale and the channel's scale, is exactly \
         the product of the dequantized matrices. Off by a constant factor in each row: the \
         token's scale is missing; in each column: the channel's. Wild, or a panic about overflow: \
         the sum left its type, it needs i32. None is a panic, and one about shapes means that a scale \
         lies along the wrong axis: tokens are the rows of the product, channels its columns"
    );
    let largest = must(Quantized::new(Array2::from_elem((1, 576), 127), array![[1.0]]));
    assert_eq!(
        must(int8_linear(&largest, &largest)),
        array![[9_290_304.0]],
        "576 products of 127 * 127 need 24 bits: sum in i32"
    );
    let real_w = real(real_slice::TENSORS[6]);
    let real_x = must(quantize_per_channel(&normal_matrix(9, 4, 576)));
    let real_w = must(quantize_per_channel(&real_w));
    let error = relative_error(
        &must(quant_linear(&dequantize(&real_x), &real_w)),
        &must(int8_linear(&real_x, &real_w)),
    );
    // f32 rounds each of 576 additions by at most 2^-24 of a partial sum.
    let bound = 576.0 * f64::powi(2.0, -24);
    assert!(
        error < bound,
        "on real weights `int8_linear` and `quant_linear` of `dequantize` differ by {error:e}, and \
         f32 allows {bound:e}. Small numbers were exact above, so look for a rounding to 16 bits, or \
         for a scale that is applied to part of the sum"
    );
}

#[test]
fn the_sum_is_a_whole_number_beyond_what_f32_can_count() {
    // Above 2^24 an f32 has no odd numbers. A matrix product of f32 adds in blocks, and its rounding
    // shows only where many blocks do.
    let x = must(Quantized::new(Array2::from_elem((1, 8192), 127), array![[1.0]]));
    let code = |(row, k): (usize, usize)| 127 - ((k * k * (row + 2) + k) % 11) as i8;
    let w = Quantized::new(Array2::from_shape_fn((16, 8192), code), Array2::ones((16, 1)));
    let w = must(w);
    let sums = x.q().mapv(i64::from).dot(&w.q().mapv(i64::from).t());
    let found = must(int8_linear(&x, &w));
    let why = if found == must(quant_linear(&dequantize(&x), &w)) {
        "they are those of the dequantized matrices, multiplied in f32"
    } else {
        "a sum of codes in f32 is rounded again and again"
    };
    assert_same(
        found.view(),
        sums.mapv(|sum| sum as f32).view(),
        format_args!(
            "These are sums of 8,192 products: {why}. Sum in i32, and turn the sum into an f32 \
             when it is rescaled"
        ),
    );
}

#[test]
fn one_scale_for_all_tokens_or_all_channels_stretches_over_the_product() {
    let codes = (array![[1, 2], [3, 4], [5, 6]], array![[1, 0], [1, 1]]);
    let (one, tokens, channels) =
        (array![[0.5]], array![[0.5], [1.0], [2.0]], array![[4.0], [8.0]]);
    for (x_scales, w_scales, y) in [
        (&one, &array![[4.0]], array![[2.0, 6.0], [6.0, 14.0], [10.0, 22.0]]),
        (&one, &channels, array![[2.0, 12.0], [6.0, 28.0], [10.0, 44.0]]),
        (&tokens, &array![[4.0]], array![[2.0, 6.0], [12.0, 28.0], [40.0, 88.0]]),
        (&tokens, &channels, array![[2.0, 12.0], [12.0, 56.0], [40.0, 176.0]]),
    ] {
        let x = must(Quantized::new(codes.0.clone(), x_scales.clone()));
        let w = must(Quantized::new(codes.1.clone(), w_scales.clone()));
        let found = std::panic::catch_unwind(|| int8_linear(&x, &w));
        assert_eq!(
            found.ok(),
            Some(Ok(y)),
            "\nx of 3 tokens with scales {:?}, w of 2 channels with scales {:?} (None is a panic): a \
             scale of shape [1, 1] holds for every token, or for every channel, so do not index it",
            x_scales.dim(),
            w_scales.dim()
        );
    }
}

#[test]
fn a_scale_along_in_features_cannot_leave_the_integer_sum() {
    let w = must(Quantized::new(Array2::from_elem((2, 4), 1), array![[1.0], [1.0]]));
    let x = must(Quantized::new(Array2::from_elem((3, 4), 1), array![[1.0, 2.0, 3.0, 4.0]]));
    assert_eq!(
        int8_linear(&x, &w),
        Err(QuantError::ScaleInsideTheSum([1, 4])),
        "sum_j s_j x_j w_j has no common factor when s_j changes with j: refuse it"
    );
    let tokens = must(Quantized::new(Array2::from_elem((3, 4), 1), array![[1.0]]));
    assert_eq!(
        int8_linear(&tokens, &x),
        Err(QuantError::ScaleInsideTheSum([1, 4])),
        "a weight with a scale per column has the same problem: check the scales of both"
    );
    let full = must(Quantized::new(Array2::from_elem((3, 4), 1), Array2::ones((3, 4))));
    for (x, w) in [(&full, &w), (&tokens, &full)] {
        assert_eq!(
            int8_linear(x, w),
            Err(QuantError::ScaleInsideTheSum([3, 4])),
            "a scale for each code differs along the features too: ask for one column of scales"
        );
    }
    let short = must(Quantized::new(Array2::from_elem((3, 5), 1), array![[1.0]]));
    assert_eq!(
        int8_linear(&short, &w),
        Err(QuantError::FeaturesDiffer { x: 5, w: 4 }),
        "an x with the wrong number of features: refuse before ndarray panics, and name both \
         numbers, each in its field"
    );
}

#[test]
fn memory_is_about_a_quarter_with_the_scales_counted() {
    let w = real(real_slice::TENSORS[0]);
    let (rows, columns) = w.dim();
    assert_eq!(memory_bytes_f32(&w), 4 * rows * columns, "four bytes a weight in f32");
    let per_tensor = memory_bytes(&must(quantize_per_tensor(&w)));
    let per_channel = memory_bytes(&must(quantize_per_channel(&w)));
    assert_eq!(per_tensor, rows * columns + 4, "a byte a code, and one scale of four bytes");
    assert_eq!(per_channel, rows * columns + 4 * rows, "a byte a code, and four bytes a row");
    let columns = must(Quantized::new(Array2::zeros((2, 3)), Array2::ones((1, 3))));
    assert_eq!(memory_bytes(&columns), 6 + 4 * 3, "three scales, one a column: count all scales");
    let ratio = memory_bytes_f32(&w) as f64 / per_channel as f64;
    assert!(
        (3.97..3.98).contains(&ratio),
        "576 columns share a scale: 4 / (1 + 4/576), not {ratio}"
    );
}
