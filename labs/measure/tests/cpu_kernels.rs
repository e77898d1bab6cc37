//! The fast kernels against the readable functions and against equations in f64.

use formats::gguf::TensorType;
use formats::layouts::ggml;
use half::f16;
use int4_groups::solution::{dequantize_groups, int4_linear, pack_nibbles, quantize_groups};
use int4_groups::{Int4Error, Int4Groups};
use kit::data::normal_matrix;
use kit::reference::linear_f64;
use measure::cpu::kernels::quantize::{self, BLOCK, Q4_0_BYTES, Q8_0_BYTES};
use measure::cpu::kernels::{
    Int4Matrix, Int8Matrix, KernelError, Threads, matvec_f32, matvec_int4,
    matvec_int4_materialized, matvec_int8,
};
use ndarray::{Array2, s};
use proptest::prelude::*;

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

/// Rows, columns, group size: one that fills registers and pieces, and some that do not.
const SHAPES: [(usize, usize, usize); 6] =
    [(32, 256, 32), (32, 256, 64), (32, 256, 128), (37, 192, 64), (5, 90, 30), (1, 34, 2)];

// ---- products

/// What two orders of the same f32 sum may differ by, for every output: each is within
/// `gamma(n) = n u / (1 - n u)` times the sum of magnitudes of the exact sum, with `u = 2^-24` and
/// `n` roundings on the way of one product into the result (Higham, Accuracy and Stability of
/// Numerical Algorithms, section 3.1). `n` is `terms` and three more: the product itself, the scale,
/// and the rounding of the result to f32.
fn bounds(x: &Array2<f32>, w: &Array2<f32>) -> Vec<f64> {
    let n = (w.ncols() + 3) as f64;
    let unit = 2f64.powi(-24);
    let gamma = n * unit / (1.0 - n * unit);
    let magnitudes = |row: ndarray::ArrayView1<f32>| {
        row.iter().zip(x).map(|(&w, &x)| f64::from(w).abs() * f64::from(x).abs()).sum::<f64>()
    };
    w.rows().into_iter().map(|row| gamma * magnitudes(row)).collect()
}

/// Holds a product to the f64 product of the very numbers that the codes stand for.
fn hold(what: &str, y: &[f32], x: &Array2<f32>, w: &Array2<f32>) {
    let exact = linear_f64(x, w);
    assert_eq!(y.len(), exact.len(), "{what}: one output per row");
    for (row, ((y, exact), bound)) in y.iter().zip(&exact).zip(bounds(x, w)).enumerate() {
        let error = (f64::from(*y) - f64::from(*exact)).abs();
        assert!(
            error <= bound,
            "{what}, row {row}: {y} is {error:e} from {exact}, bound {bound:e}"
        );
    }
}

#[test]
fn every_product_is_the_f64_product_within_the_bound_of_an_f32_sum() -> Result {
    for (rows, columns, group_size) in SHAPES {
        let (w, x) = (normal_matrix(1, rows, columns), normal_matrix(2, 1, columns));
        let flat = x.as_slice().ok_or("a new matrix is stored row by row")?;
        let shape = format!("[{rows}, {columns}], g {group_size}");
        hold(&format!("f32 {shape}"), &matvec_f32(&w, flat)?, &x, &w);

        let int8 = Int8Matrix::quantize(&w)?;
        hold(&format!("int8 {shape}"), &matvec_int8(&int8, flat)?, &x, &int8.dequantize());

        let groups = quantize_groups(&w, group_size)?;
        let (packed, numbers) = (Int4Matrix::pack(&groups)?, dequantize_groups(&groups));
        let fused = matvec_int4(&packed, flat)?;
        hold(&format!("int4 {shape}"), &fused, &x, &numbers);
        let materialized = matvec_int4_materialized(&packed, flat, &mut Vec::new())?;
        hold(&format!("materialized {shape}"), &materialized, &x, &numbers);

        // The neighbour on the ladder: the readable layer is as far from the equation at most.
        let readable = int4_linear(&x, &groups)?;
        for (row, bound) in bounds(&x, &numbers).iter().enumerate() {
            let error = (f64::from(fused[row]) - f64::from(readable[(0, row)])).abs();
            assert!(error <= 2.0 * bound, "{shape}, row {row}: {error:e} from int4_linear");
        }
    }
    Ok(())
}

#[test]
fn every_code_of_four_bits_has_its_value_in_every_place() -> Result {
    // One weight at a time against an x of ones: the product is the value itself, exactly.
    for columns in [32, 34] {
        for place in 0..columns {
            for code in -8..=7 {
                let mut codes = Array2::zeros((1, columns));
                codes[(0, place)] = code;
                let scale = f16::from_f32(-0.375);
                let w = Int4Groups::new(codes, Array2::from_elem((1, 1), scale))?;
                let y = matvec_int4(&Int4Matrix::pack(&w)?, &vec![1.0; columns])?;
                assert_eq!(y, [f32::from(code) * -0.375], "code {code} at place {place}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result {
    let (w, x) = (normal_matrix(3, 67, 256), vec![0.5; 256]);
    let packed = Int4Matrix::pack(&quantize_groups(&w, 32)?)?;
    let one = Threads::new(1)?.run(|| matvec_int4(&packed, &x))?;
    assert_eq!(Threads::new(3)?.run(|| matvec_int4(&packed, &x))?, one);
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() -> Result {
    let w = normal_matrix(1, 4, 64);
    let short = vec![0.0; 63];
    let wrong = KernelError::Length { name: "x", found: 63, needed: 64 };
    let packed = Int4Matrix::pack(&quantize_groups(&w, 32)?)?;
    assert_eq!(matvec_f32(&w, &short), Err(wrong.clone()));
    assert_eq!(matvec_int8(&Int8Matrix::quantize(&w)?, &short), Err(wrong.clone()));
    assert_eq!(matvec_int4(&packed, &short), Err(wrong.clone()));
    assert_eq!(matvec_int4_materialized(&packed, &short, &mut Vec::new()), Err(wrong));
    let columns = w.slice(s![.., ..32]).reversed_axes().to_owned();
    let turned = columns.reversed_axes();
    assert_eq!(matvec_f32(&turned, &vec![0.0; turned.ncols()]), Err(KernelError::NotRowMajor));
    let odd = Int4Groups::new(Array2::zeros((2, 6)), Array2::from_elem((2, 2), f16::ONE))?;
    assert_eq!(Int4Matrix::pack(&odd), Err(KernelError::OddGroup(3)));
    Ok(())
}

// ---- encoders

fn q8_0(weights: &[f32]) -> std::result::Result<Vec<u8>, KernelError> {
    let mut out = vec![0xAA; weights.len() / BLOCK * Q8_0_BYTES];
    quantize::q8_0(weights, &mut out).map(|()| out)
}

fn q4_0(weights: &[f32]) -> std::result::Result<Vec<u8>, KernelError> {
    let mut out = vec![0xAA; weights.len() / BLOCK * Q4_0_BYTES];
    quantize::q4_0(weights, &mut out).map(|()| out)
}

/// Holds the kernels to the readable encoder: the same bytes, or both refuse.
fn hold_blocks(weights: &[f32]) {
    let readable = |kind| ggml::encode(kind, weights).ok();
    assert_eq!(q8_0(weights).ok(), readable(TensorType::Q8_0), "Q8_0 of {weights:?}");
    assert_eq!(q4_0(weights).ok(), readable(TensorType::Q4_0), "Q4_0 of {weights:?}");
}

/// A block of `first` and zeros.
fn block(first: &[f32]) -> Vec<f32> {
    first.iter().copied().chain(std::iter::repeat(0.0)).take(BLOCK).collect()
}

#[test]
fn the_blocks_are_those_of_the_gguf_package() -> Result {
    let text = include_str!("../../formats/golden/gguf-blocks.json");
    let golden: serde_json::Value = serde_json::from_str(text)?;
    // The inputs of `make_gguf_golden.py`.
    let ramp: Vec<f32> = (0..32).map(|i| (i as f32 - 16.0) / 8.0).collect();
    let mut peak = ramp.clone();
    peak[3] = 3.0;
    let spread = (0..256i64).map(|i| ((i * i * 7919 + i * 31 + 5) % 1009 - 504) as f32 / 700.0);
    let inputs = [
        ("quantized ramp", ramp),
        ("quantized ramp with a positive peak", peak),
        ("quantized zeros", vec![0.0; 32]),
        ("quantized spread", spread.collect()),
    ];
    for (name, weights) in inputs {
        for (kind, bytes) in [("Q8_0", q8_0(&weights)?), ("Q4_0", q4_0(&weights)?)] {
            let cases = golden["blocks"].as_array().ok_or("no blocks")?;
            let case = cases.iter().find(|case| case["type"] == kind && case["name"] == name);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(case.map(|case| &case["bytes"]), Some(&hex.into()), "{kind} {name}");
        }
    }
    Ok(())
}

#[test]
fn ties_peaks_zeros_and_denormals_are_encoded_as_the_reference_does() {
    // Codes of exactly one half: Q8_0 rounds away from zero, Q4_0 up.
    let halves = |step: f32, d: f32| -> Vec<f32> {
        (0..31).map(|i| (i as f32 - 15.0) * step * d).chain([0.0]).collect()
    };
    let mut ties = halves(0.5, 1.0);
    ties[31] = 127.0;
    hold_blocks(&ties);
    ties[31] = -8.0;
    hold_blocks(&ties);
    // The largest f32 below one half: adding a half would round it up.
    hold_blocks(&block(&[127.0, 0.5f32.next_down(), -0.5f32.next_down(), 1.5f32.next_down()]));
    // Who is first of two equal magnitudes decides the sign of d.
    hold_blocks(&block(&[0.5, -2.0, 2.0]));
    hold_blocks(&block(&[0.5, 2.0, -2.0]));
    hold_blocks(&block(&[3.0]));
    hold_blocks(&block(&[-3.0]));
    hold_blocks(&block(&[]));
    hold_blocks(&block(&[-0.0, 0.0]));
    // From where d is 0 in f32, over where 1 / d is infinite and where d is subnormal in f16.
    for exponent in -149..=18 {
        let peak = 2f32.powi(exponent);
        hold_blocks(&block(&[peak, -peak / 2.0, peak * 0.3, -peak]));
        hold_blocks(&block(&[-peak * 1.37, peak / 3.0]));
    }
}

proptest! {
    #[test]
    fn random_blocks_are_encoded_as_the_reference_does(
        weights in proptest::collection::vec(-1e4f32..1e4, BLOCK * 3),
        coarse in proptest::collection::vec(-16i8..=16, BLOCK * 3),
    ) {
        hold_blocks(&weights);
        // Few values, so that ties and equal peaks are common.
        hold_blocks(&coarse.iter().map(|&value| f32::from(value) / 4.0).collect::<Vec<_>>());
    }

    #[test]
    fn any_finite_bits_are_encoded_as_the_reference_does_or_refused_by_both(
        bits in proptest::collection::vec(any::<u32>(), BLOCK * 2),
        largest in 0u32..=254,
        octaves in 1u32..=255,
    ) {
        // Bits drawn evenly would nearly always be beyond f16: the largest exponent is drawn once,
        // 0 (all denormals) to 254, and the others lie some octaves below.
        let smaller = |bits: u32| {
            let exponent = largest.saturating_sub((bits >> 23 & 0xFF) % octaves);
            f32::from_bits(bits & 0x807F_FFFF | exponent << 23)
        };
        hold_blocks(&bits.into_iter().map(smaller).collect::<Vec<_>>());
    }

    #[test]
    fn int4_groups_are_those_of_the_readable_quantizer(
        seed in 0u64..1000,
        shape in proptest::sample::select(&SHAPES[..]),
        shift in -30i32..=12,
        coarse: bool,
    ) {
        let (rows, columns, group_size) = shape;
        let factor = 2f32.powi(shift);
        let whole = |value: f32| if coarse { (value * 2.0).round() / 2.0 } else { value };
        let w = normal_matrix(seed, rows, columns).mapv(|value| whole(value) * factor);
        hold_groups(&w, group_size);
    }
}

fn hold_groups(w: &Array2<f32>, group_size: usize) {
    let flat: Vec<f32> = w.iter().copied().collect();
    let fast = Int4Matrix::quantize(&flat, w.ncols(), group_size);
    let readable = quantize_groups(w, group_size).map_err(KernelError::from);
    assert_eq!(fast, readable.and_then(|groups| Int4Matrix::pack(&groups)), "g {group_size}");
}

#[test]
fn int4_groups_of_zeros_and_of_ties_are_those_of_the_readable_quantizer() {
    hold_groups(&Array2::zeros((3, 64)), 32);
    // At a scale of 1 the halves are ties.
    hold_groups(&Array2::from_shape_fn((2, 64), |(_, c)| ((c % 29) as f32 - 14.0) / 2.0), 64);
    hold_groups(&Array2::from_elem((1, 64), 1e-30), 32);
}

#[test]
fn nan_infinity_and_scales_beyond_f16_are_refused_with_their_place() {
    let mut weights = normal_matrix(4, 1, BLOCK * 3000).into_iter().collect::<Vec<_>>();
    let index = 2 * BLOCK * 1000 + 5;
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        weights[index] = value;
        weights[index + 700] = f32::INFINITY; // a later one is not the one to name
        for error in [q8_0(&weights).unwrap_err(), q4_0(&weights).unwrap_err()] {
            let text = error.to_string();
            let place = format!("weight {index} (block 2000, place 5 in it)");
            assert!(text.contains(&place), "{text}");
        }
        let error = Int4Matrix::quantize(&weights, 96, 32).unwrap_err();
        let (row, column) = (index / 96, index % 96);
        assert!(
            matches!(error, KernelError::Int4(Int4Error::NotFinite { row: r, column: c, .. })
                if (r, c) == (row, column)),
            "{error}"
        );
    }
    let large = block(&[1.0, -2e7]);
    let both = [vec![0.0; BLOCK], large].concat();
    let overflow = KernelError::ScaleOverflow { block: 1, absmax: 2e7 };
    assert_eq!(q8_0(&both), Err(overflow.clone()));
    assert_eq!(q4_0(&both), Err(overflow));
    hold_groups(&Array2::from_shape_vec((1, 64), both).expect("64 weights"), 32);
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let weights = vec![1.0; 64];
    let mut out = vec![0; 2 * Q8_0_BYTES];
    let short = quantize::q8_0(&weights, &mut out[1..]).unwrap_err();
    assert_eq!(short, KernelError::Length { name: "out", found: 67, needed: 68 });
    let uneven = quantize::q8_0(&weights[1..], &mut out).unwrap_err();
    assert_eq!(uneven, KernelError::NotWholeBlocks { weights: 63, block: 32 });
    let (mut bytes, mut scales) = (vec![0; 32], vec![f16::ZERO; 2]);
    let mut groups = |columns, size, bytes_too_many: usize| {
        let bytes = &mut bytes[bytes_too_many..];
        quantize::int4_groups(&weights, columns, size, bytes, &mut scales).unwrap_err()
    };
    assert_eq!(groups(63, 21, 0), KernelError::OddGroup(21));
    assert_eq!(groups(60, 30, 0), KernelError::NotWholeRows { weights: 64, in_features: 60 });
    assert!(matches!(groups(64, 48, 0), KernelError::Int4(Int4Error::GroupDoesNotDivide { .. })));
    assert!(matches!(groups(64, 32, 1), KernelError::Length { name: "bytes", found: 31, .. }));
    assert!(matches!(groups(64, 64, 0), KernelError::Length { name: "scales", found: 2, .. }));
}

#[test]
fn the_encoders_need_no_memory_beside_input_and_output() -> Result {
    let weights: Vec<f32> = normal_matrix(5, 64, 1024).into_iter().collect();
    let input_and_output = size_of_val(&weights[..]) + weights.len() / BLOCK * Q4_0_BYTES;
    // The counter watches one thread: the pool is that thread.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    let (mut blocks, mut wide) = (vec![0; weights.len()], vec![0; 2 * weights.len()]);
    let (mut bytes, mut scales) = (vec![0; weights.len() / 2], vec![f16::ZERO; 512]);
    let used = allocation_counter::measure(|| {
        pool.install(|| {
            let out = &mut blocks[..weights.len() / BLOCK * Q4_0_BYTES];
            quantize::q4_0(&weights, out).expect("finite");
            let out = &mut wide[..weights.len() / BLOCK * Q8_0_BYTES];
            quantize::q8_0(&weights, out).expect("finite");
            quantize::int4_groups(&weights, 1024, 128, &mut bytes, &mut scales).expect("finite");
        });
    });
    let allowed = input_and_output as u64 / 10;
    assert!(used.bytes_max < allowed, "{} bytes, allowed {allowed}", used.bytes_max);
    Ok(())
}

#[test]
fn the_packed_bytes_are_those_of_pack_nibbles() -> Result {
    let w = normal_matrix(6, 3, 64);
    let groups = quantize_groups(&w, 32)?;
    let codes: Vec<i8> = groups.q().iter().copied().collect();
    let (mut bytes, mut scales) = (vec![0; 96], vec![f16::ZERO; 6]);
    let flat: Vec<f32> = w.iter().copied().collect();
    quantize::int4_groups(&flat, 64, 32, &mut bytes, &mut scales)?;
    assert_eq!(bytes, pack_nibbles(&codes)?);
    assert_eq!(scales, groups.scales().iter().copied().collect::<Vec<_>>());
    Ok(())
}
