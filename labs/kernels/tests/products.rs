//! Every product is compared with the equation in `f64`, or to the bit with integers.

use half::f16;
use kernels::dispatch::Instructions;
use kernels::{Int4, Int8, KernelError, Threads, plain};
use kit::data::normal_matrix;
use ndarray::{Array2, Axis, concatenate, s};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

/// Tokens, rows, columns: tiles and panels that are full, and some that are not.
const SHAPES: [(usize, usize, usize); 9] = [
    (1, 32, 64),
    (1, 37, 96),
    (2, 16, 32),
    (5, 3, 160),
    (6, 48, 64),
    (13, 21, 96),
    (33, 64, 32),
    (49, 16, 32),
    (63, 35, 64),
];

/// Codes from `-most - 1` to `most`, every one of them somewhere.
fn codes(seed: usize, rows: usize, columns: usize, most: i32) -> Array2<i8> {
    let of = |(row, column): (usize, usize)| {
        let mixed = (row * columns + column + seed).wrapping_mul(2_654_435_761) >> 7;
        (mixed as i32 & (2 * most + 1)) - most - 1
    };
    Array2::from_shape_fn((rows, columns), |at| of(at) as i8)
}

fn scales(count: usize) -> Vec<f32> {
    normal_matrix(7, 1, count).iter().map(|value| value.abs() + 0.01).collect()
}

fn f16_scales(rows: usize, groups: usize) -> Array2<f16> {
    normal_matrix(8, rows, groups).mapv(|value| f16::from_f32(value.abs() + 0.01))
}

/// Holds a sum of products to `exact`: within `gamma(n) = n u / (1 - n u)` times the sum of the
/// magnitudes of its terms, with `u = 2^-24` and `n` roundings on the way of one term into the result
/// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1).
fn hold(what: &str, found: &Array2<f32>, x: &Array2<f64>, w: &Array2<f64>, roundings: usize) {
    let (exact, magnitudes) = (x.dot(&w.t()), x.mapv(f64::abs).dot(&w.mapv(f64::abs).t()));
    assert_eq!(found.dim(), exact.dim(), "{what}");
    let unit = roundings as f64 * 2f64.powi(-24);
    let gamma = unit / (1.0 - unit);
    for ((at, found), (exact, magnitude)) in found.indexed_iter().zip(exact.iter().zip(&magnitudes))
    {
        let (error, bound) = ((f64::from(*found) - exact).abs(), gamma * magnitude);
        assert!(
            error <= bound,
            "{what} {at:?}: {found} is {error:e} from {exact}, bound {bound:e}"
        );
    }
}

/// `code * scale` in `f64`.
fn numbers(codes: &Array2<i8>, scale: impl Fn(usize, usize) -> f64) -> Array2<f64> {
    let number =
        |(row, column): (usize, usize)| f64::from(codes[(row, column)]) * scale(row, column);
    Array2::from_shape_fn(codes.dim(), number)
}

/// The readable rule: `absmax / 127` of each `size` neighbours, half to even, a scale of 1 for zeros.
fn quantize(x: &Array2<f32>, size: usize) -> (Array2<i8>, Array2<f32>) {
    let scales = Array2::from_shape_fn((x.nrows(), x.ncols() / size), |(row, group)| {
        let group = x.slice(s![row, group * size..(group + 1) * size]);
        let scale = group.fold(0.0, |max: f32, value| max.max(value.abs())) / 127.0;
        if scale > 0.0 { scale } else { 1.0 }
    });
    let code = |(row, column): (usize, usize)| {
        (x[(row, column)] / scales[(row, column / size)]).round_ties_even().clamp(-127.0, 127.0)
    };
    (Array2::from_shape_fn(x.dim(), |at| code(at) as i8), scales)
}

#[test]
fn f32_products_are_those_of_f64_within_the_bound_of_their_sums() {
    for (tokens, rows, columns) in
        SHAPES.into_iter().chain([(1, 37, 45), (5, 37, 45), (33, 3, 1), (130, 9, 45)])
    {
        let (x, w) = (normal_matrix(1, tokens, columns), normal_matrix(2, rows, columns));
        let what = format!("f32 [{tokens}, {rows}, {columns}]");
        let (x_exact, w_exact) = (x.mapv(f64::from), w.mapv(f64::from));
        hold(&what, &plain::product(&x, &w), &x_exact, &w_exact, columns + 1);
        // The order of the weights in memory does not matter.
        let turned = w.t().as_standard_layout().into_owned().reversed_axes();
        assert_eq!(plain::product(&x, &turned), plain::product(&x, &w), "{what}, turned");
    }
    let none = Array2::<f32>::zeros((2, 0));
    assert_eq!(plain::product(&none, &Array2::zeros((3, 0))), Array2::<f32>::zeros((2, 3)));
}

#[test]
fn a_product_on_one_thread_is_the_same_for_rows_and_columns_and_parts_of_matrices() {
    for (tokens, rows, columns) in SHAPES.into_iter().chain([(5, 37, 45), (33, 3, 1), (2, 3, 0)]) {
        let (x, w) = (normal_matrix(1, tokens, columns), normal_matrix(2, rows + 3, columns + 5));
        let w = w.slice(s![1..=rows, 2..columns + 2]);
        let mut found = Array2::from_elem((tokens, rows), f32::NAN);
        plain::multiply(x.view(), w, found.view_mut());
        let what = format!("[{tokens}, {rows}, {columns}]");
        hold(&what, &found, &x.mapv(f64::from), &w.mapv(f64::from), columns + 1);
        let turned = [x.view(), w].map(|m| m.t().as_standard_layout().into_owned());
        let mut again = Array2::from_elem((tokens, rows), f32::NAN);
        plain::multiply(turned[0].t(), turned[1].t(), again.view_mut());
        assert_eq!(again, found, "{what}, turned");
    }
}

#[test]
fn w8a8_is_the_integer_product_to_the_bit() -> Result {
    for (tokens, rows, columns) in SHAPES.into_iter().chain([(4, 17, 45), (1, 1, 1), (7, 5, 3)]) {
        let (w, scales) = (codes(tokens, rows, columns, 127), scales(rows));
        let mut x = normal_matrix(3, tokens, columns);
        x.row_mut(tokens - 1).fill(0.0);
        x[(0, 0)] = -9.0;
        let (x_codes, x_scales) = quantize(&x, columns);
        let sums = x_codes.mapv(i32::from).dot(&w.mapv(i32::from).t());
        let expected = Array2::from_shape_fn(sums.dim(), |(token, row)| {
            sums[(token, row)] as f32 * x_scales[(token, 0)] * scales[row]
        });
        let found = Int8::new(&w, &scales)?.w8a8(&x)?;
        assert_eq!(found, expected, "[{tokens}, {rows}, {columns}]");
    }
    Ok(())
}

#[test]
fn the_largest_sums_of_codes_neither_wrap_nor_saturate() -> Result {
    // Every product as large as it can be, in the longest rows of the two integer kernels' blocks.
    for sign in [-1.0, 1.0] {
        let x = Array2::from_elem((3, 1536), sign);
        let (x_codes, x_scales) = quantize(&x, 1536);
        assert_eq!(f32::from(x_codes[(0, 0)]), 127.0 * sign);
        for code in [-128, 127] {
            let w = Int8::new(&Array2::from_elem((2, 1536), code), &[1.0; 2])?;
            let expected = 1536.0 * f32::from(code) * 127.0 * sign * x_scales[(0, 0)];
            assert_eq!(w.w8a8(&x)?, Array2::from_elem((3, 2), expected), "{code}");
        }
        for code in [-8, 7] {
            let scales = Array2::from_elem((2, 48), f16::ONE);
            let w = Int4::new(&Array2::from_elem((2, 1536), code), &scales)?;
            let exact = Array2::from_elem((2, 1536), f64::from(code));
            let x_exact = Array2::from_elem((3, 1536), 127.0 * f64::from(sign * x_scales[(0, 0)]));
            hold(&format!("w4a8, {code}"), &w.w4a8(&x)?, &x_exact, &exact, 48 + 3);
        }
    }
    Ok(())
}

#[test]
fn w8a16_is_the_product_of_f64_within_the_bound_of_its_sums() -> Result {
    for (tokens, rows, columns) in SHAPES.into_iter().chain([(4, 17, 45), (1, 17, 45), (1, 1, 1)]) {
        let (w, scales) = (codes(tokens, rows, columns, 127), scales(rows));
        let x = normal_matrix(4, tokens, columns);
        let exact = numbers(&w, |row, _| f64::from(scales[row]));
        let found = Int8::new(&w, &scales)?.w8a16(&x)?;
        let what = format!("w8a16 [{tokens}, {rows}, {columns}]");
        hold(&what, &found, &x.mapv(f64::from), &exact, columns + 2);
    }
    Ok(())
}

#[test]
fn w4a16_is_the_product_of_f64_within_the_bound_of_its_sums_for_any_groups() -> Result {
    let odd_ones = [(4, 17, 45, 5), (1, 17, 45, 9), (1, 21, 60, 6), (9, 5, 34, 2), (1, 1, 1, 1)];
    let even_ones = SHAPES.map(|(tokens, rows, columns)| (tokens, rows, columns, 32));
    for (tokens, rows, columns, size) in even_ones.into_iter().chain(odd_ones) {
        let (w, scales) = (codes(tokens, rows, columns, 7), f16_scales(rows, columns / size));
        let x = normal_matrix(5, tokens, columns);
        let exact = numbers(&w, |row, column| scales[(row, column / size)].to_f64());
        let found = Int4::new(&w, &scales)?.w4a16(&x)?;
        let what = format!("w4a16 [{tokens}, {rows}, {columns}] g{size}");
        hold(&what, &found, &x.mapv(f64::from), &exact, columns + 2);
    }
    Ok(())
}

#[test]
fn w4a8_is_the_product_of_the_quantized_activations() -> Result {
    let wide = [(1, 20, 192, 64), (7, 20, 192, 96), (3, 16, 256, 128)];
    let shapes = SHAPES.map(|(tokens, rows, columns)| (tokens, rows, columns, 32));
    for (tokens, rows, columns, size) in shapes.into_iter().chain(wide) {
        let (w, scales) = (codes(tokens, rows, columns, 7), f16_scales(rows, columns / size));
        let mut x = normal_matrix(6, tokens, columns);
        x.slice_mut(s![.., ..32]).fill(0.0);
        let (x_codes, x_scales) = quantize(&x, size);
        let x_exact = numbers(&x_codes, |row, column| f64::from(x_scales[(row, column / size)]));
        let exact = numbers(&w, |row, column| scales[(row, column / size)].to_f64());
        let found = Int4::new(&w, &scales)?.w4a8(&x)?;
        // Two scales multiplied, the product, and one sum for every 32 features.
        let what = format!("w4a8 [{tokens}, {rows}, {columns}] g{size}");
        hold(&what, &found, &x_exact, &exact, columns / 32 + 2);
    }
    Ok(())
}

#[test]
fn every_int4_code_has_its_value_in_every_place() -> Result {
    // One weight at a time against an x of ones: the product is the value itself, exactly.
    for (place, row) in (0..36).map(|place| (place, place % 16)) {
        for code in -8..=7 {
            let mut codes = Array2::zeros((16, 36));
            codes[(row, place)] = code;
            let scales = Array2::from_elem((16, 2), f16::from_f32(-0.375));
            let w = Int4::new(&codes, &scales)?;
            for tokens in [1, 2] {
                let y = w.w4a16(&Array2::ones((tokens, 36)))?;
                assert_eq!(y[(tokens - 1, row)], f32::from(code) * -0.375, "{code} at {place}");
                assert_eq!(y.sum(), tokens as f32 * f32::from(code) * -0.375);
            }
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result {
    let (rows, columns) = (330, 96);
    let int8 = Int8::new(&codes(1, rows, columns, 127), &scales(rows))?;
    let int4 = Int4::new(&codes(2, rows, columns, 7), &f16_scales(rows, 3))?;
    let w = normal_matrix(9, rows, columns);
    for tokens in [1, 40, 130] {
        let x = normal_matrix(10, tokens, columns);
        let all = || -> std::result::Result<_, KernelError> {
            let f32 = plain::product(&x, &w);
            Ok([f32, int8.w8a8(&x)?, int8.w8a16(&x)?, int4.w4a16(&x)?, int4.w4a8(&x)?])
        };
        let one = Threads::new(1)?.run(all)?;
        for threads in [2, 3, 7] {
            assert_eq!(Threads::new(threads)?.run(all)?, one, "{threads} threads");
        }
    }
    Ok(())
}

#[test]
fn memory_is_the_codes_and_the_scales() -> Result {
    let int8 = Int8::new(&codes(1, 32, 64, 127), &scales(32))?;
    assert_eq!(int8.memory_bytes(), 32 * 64 + 4 * 32);
    let int4 = Int4::new(&codes(1, 32, 64, 7), &f16_scales(32, 2))?;
    assert_eq!(int4.memory_bytes(), 32 * 64 / 2 + 2 * 32 * 2);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> Result {
    let w = codes(1, 4, 64, 7);
    let text = Int8::new(&w, &[1.0; 3]).unwrap_err().to_string();
    assert!(text.contains("[3, 1]") && text.contains("[4, 64]"), "{text}");
    for (rows, groups) in [(3, 2), (4, 3), (4, 0)] {
        let error = Int4::new(&w, &Array2::from_elem((rows, groups), f16::ONE)).unwrap_err();
        assert!(matches!(error, KernelError::ScalesDoNotFit { .. }), "{error}");
    }
    let mut wide = w.clone();
    wide[(2, 5)] = 8;
    let error = Int4::new(&wide, &f16_scales(4, 2)).unwrap_err();
    assert!(matches!(error, KernelError::CodeOutOfRange { row: 2, column: 5, code: 8, .. }));
    let long = Int8::new(&Array2::zeros((1, 132_105)), &[1.0]).unwrap_err();
    assert_eq!(long, KernelError::TooManyFeatures { found: 132_105, limit: 132_104 });

    let (int8, int4) = (Int8::new(&w, &[1.0; 4])?, Int4::new(&w, &f16_scales(4, 4))?);
    assert_eq!(int4.w4a8(&Array2::zeros((1, 64))), Err(KernelError::GroupSize(16)));
    let int4 = Int4::new(&w, &f16_scales(4, 2))?;
    let narrow = Array2::zeros((2, 63));
    let wrong = Err(KernelError::FeaturesDiffer { x: 63, w: 64 });
    let found = [int8.w8a8(&narrow), int8.w8a16(&narrow), int4.w4a16(&narrow), int4.w4a8(&narrow)];
    assert_eq!(found, [wrong.clone(), wrong.clone(), wrong.clone(), wrong]);

    let mut x = Array2::zeros((3, 64));
    x[(1, 40)] = f32::INFINITY;
    let error = KernelError::NotFinite { token: 1, feature: 40, value: f32::INFINITY };
    assert_eq!(int8.w8a8(&x), Err(error.clone()));
    assert_eq!(int4.w4a8(&x), Err(error));
    Ok(())
}

#[test]
fn rows_times_weights_are_added_to_what_is_there() {
    for (rows, columns) in [(1, 64), (5, 64), (9, 70), (3, 16), (4, 128)] {
        let (weights, values) = (normal_matrix(11, 1, rows), normal_matrix(12, rows, columns));
        let before = normal_matrix(13, 1, columns);
        let mut out: Vec<f32> = before.iter().copied().collect();
        let flat: Vec<f32> = values.iter().copied().collect();
        plain::add_weighted(&weights.iter().copied().collect::<Vec<_>>(), &flat, &mut out);
        let found = Array2::from_shape_vec((1, columns), out).expect("one row");
        // What was there is one more row, whose weight is 1.
        let x = concatenate![Axis(1), Array2::ones((1, 1)), weights].mapv(f64::from);
        let w = concatenate![Axis(0), before, values].t().mapv(f64::from);
        hold(&format!("[{rows}, {columns}]"), &found, &x, &w, rows + 2);
    }
}

#[test]
fn no_rows_and_no_tokens_give_nothing() -> Result {
    let empty = Int8::new(&Array2::zeros((0, 4)), &[])?;
    assert_eq!(empty.w8a8(&Array2::zeros((2, 4)))?.dim(), (2, 0));
    let no_features = Int8::new(&Array2::zeros((3, 0)), &[1.0; 3])?;
    assert_eq!(no_features.w8a8(&Array2::zeros((2, 0)))?, Array2::<f32>::zeros((2, 3)));
    assert_eq!(no_features.w8a16(&Array2::zeros((1, 0)))?, Array2::<f32>::zeros((1, 3)));
    let int4 = Int4::new(&codes(1, 4, 64, 7), &f16_scales(4, 2))?;
    assert_eq!(int4.w4a8(&Array2::zeros((0, 64)))?.dim(), (0, 4));
    assert_eq!(int4.w4a16(&Array2::zeros((0, 64)))?.dim(), (0, 4));
    Ok(())
}

#[test]
fn a_row_is_its_codes_times_its_scale() -> Result {
    for (rows, columns) in [(32, 64), (21, 33)] {
        let (codes, scales) = (codes(3, rows, columns, 127), scales(rows));
        let int8 = Int8::new(&codes, &scales)?;
        for (row, scale) in scales.iter().enumerate() {
            let expected: Vec<f32> =
                codes.row(row).iter().map(|&code| f32::from(code) * scale).collect();
            assert_eq!(int8.row(row), Some(expected), "row {row} of {rows} x {columns}");
        }
        assert_eq!(int8.row(rows), None);
    }
    Ok(())
}

/// The tests of this file again, in programs that may not use the newer instructions.
#[test]
fn the_products_hold_with_the_instructions_of_older_machines() -> Result {
    for (name, instructions) in Instructions::NAMES {
        if instructions >= Instructions::used() {
            continue;
        }
        let this = std::env::current_exe()?;
        let arguments = ["--skip", "the_products_hold_with_the_instructions_of_older_machines"];
        let run = std::process::Command::new(this)
            .args(arguments)
            .env("KERNELS_INSTRUCTIONS", name)
            .output()?;
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "with {name}:\n{said}");
    }
    Ok(())
}
