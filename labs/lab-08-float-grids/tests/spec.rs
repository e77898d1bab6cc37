//! The spec of lab 08. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-08-float-grids --test spec` grades `src/starter.rs`.

use std::collections::BTreeMap;

use float_grids::{
    Blocks, E2M1, E2M3, E3M2, E4M3, E5M2, FloatError, FloatGrid, MX_BLOCK, NVFP4_BLOCK,
    NibbleOrder, ScaleRule, Specials, TableBlocks, bits_per_weight, block_exponent, decode,
    decode_e8m0, dequantize_mx, dequantize_nvfp4, dequantize_table, double_dequantize,
    double_quantize, dynamic_table, encode, floor_log2, largest, nearest, normal_float,
    nvfp4_global, nvfp4_scale, pack_nibbles, quantize_mx, quantize_nvfp4, quantize_table,
    unpack_nibbles,
};
use kit::data::normal_matrix;
use kit::difference::assert_same;
use kit::real_slice;
use ndarray::{Array2, ArrayView1, Axis, s};
use serde::Deserialize;

/// The value of a function on good input.
fn must<T>(result: Result<T, FloatError>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// What the libraries say: `golden/make_float_golden.py`. Floats are bits of `f32`.
#[derive(Deserialize)]
struct Golden {
    values: BTreeMap<String, Vec<u32>>,
    nearest: BTreeMap<String, Nearest>,
    exponents: Exponents,
    w: Vec<u32>,
    mxfp4: Matrix,
    mxfp8: Matrix,
    nvfp4: Matrix,
    gguf_mxfp4: Vec<u8>,
    underflow: Underflow,
    nf4: Nf4,
}

#[derive(Deserialize)]
struct Nearest {
    bits: Vec<u32>,
    codes: Vec<u8>,
}

#[derive(Deserialize)]
struct Exponents {
    absmax: Vec<u32>,
    codes: BTreeMap<String, Vec<u8>>,
}

#[derive(Deserialize)]
struct Matrix {
    codes: Vec<u8>,
    scales: Vec<u8>,
    values: Vec<u32>,
    #[serde(default)]
    global: u32,
}

#[derive(Deserialize)]
struct Underflow {
    absmax: Vec<u32>,
    global: u32,
    scales: Vec<u32>,
}

#[derive(Deserialize)]
struct Nf4 {
    table: Vec<u32>,
    made: Vec<u32>,
    packed: Vec<u8>,
    absmax: Vec<u32>,
    values: Vec<u32>,
    dynamic: Vec<u32>,
    scales: Vec<u32>,
    mean: u32,
    rest: Vec<u8>,
    rest_absmax: Vec<u32>,
    scales_back: Vec<u32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/floats.json"))
        .unwrap_or_else(|error| panic!("golden/floats.json: {error}"))
}

fn floats(bits: &[u32]) -> Vec<f32> {
    bits.iter().copied().map(f32::from_bits).collect()
}

/// Rows of the golden matrix.
const ROWS: usize = 4;

fn shaped<T>(values: Vec<T>) -> Array2<T> {
    let columns = values.len() / ROWS;
    Array2::from_shape_vec((ROWS, columns), values)
        .unwrap_or_else(|error| panic!("golden/floats.json: {error}"))
}

/// A square matrix, 576 x 576.
const SQUARE: &str = real_slice::TENSORS[6];

fn real(name: &str) -> Array2<f32> {
    real_slice::tensor(name).unwrap_or_else(|error| panic!("{error}"))
}

/// The same matrix, kept column by column in memory.
fn by_columns(m: &Array2<f32>) -> Array2<f32> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

fn absmax<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}

/// A grid that no library has, with a bias of its own.
const ODD: FloatGrid = FloatGrid {
    name: "E3M1 with the bias 5",
    exponent_bits: 3,
    fraction_bits: 1,
    bias: 5,
    specials: Specials::Ieee,
};

// ---- task 1: the value of a code -----------------------------------------------------------------

#[test]
fn every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say() {
    let golden = golden();
    for grid in FloatGrid::ALL {
        for (code, &bits) in (0u8..=255).zip(&golden.values[grid.name]) {
            let (found, expected) = (decode(&grid, code), f32::from_bits(bits));
            let magnitude = code & grid.magnitude_bits();
            let place = match (magnitude >> grid.fraction_bits, expected.is_finite()) {
                (_, false) => "no finite value: see `Specials` of the grid",
                (0, _) => "subnormal: no leading 1, and the exponent of the smallest normal value",
                _ => "(1 + fraction / 2^fraction_bits) * 2^(exponent field - bias)",
            };
            let same = found.to_bits() == bits || found.is_nan() && expected.is_nan();
            assert!(
                same,
                "{}: code {code:#04x} is {found:?}, and {expected:?} in the library. It is {place}",
                grid.name
            );
        }
    }
}

#[test]
fn a_grid_that_no_library_has_follows_from_its_description() {
    let found: Vec<f32> = (0..14).map(|code| decode(&ODD, code)).collect();
    let expected =
        [0.0, 0.03125, 0.0625, 0.09375, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
    assert_eq!(found, expected, "codes 0 to 13 of {ODD:?}");
    assert_eq!(
        (decode(&ODD, 14), decode(&ODD, 30)),
        (f32::INFINITY, f32::NEG_INFINITY),
        "codes 14 and 30 of {}: an exponent of all ones and the fraction 0",
        ODD.name
    );
    assert!(decode(&ODD, 15).is_nan(), "code 15 of {} is NaN", ODD.name);
}

#[test]
fn bits_above_those_of_the_grid_are_ignored() {
    assert_eq!(
        [0x73, 0xF3, 0xFB].map(|code| decode(&E2M1, code)),
        [1.5, 1.5, -1.5],
        "E2M1 has four bits: the sign of 0xf3 is bit 3, which is 0"
    );
    assert_eq!(decode(&E2M3, 0xC8), 1.0, "E2M3 has six bits: 0xc8 is 0x08 there");
}

#[test]
fn the_largest_value_is_that_of_the_last_finite_code() {
    for (grid, expected) in [
        (E2M1, 6.0),
        (E2M3, 7.5),
        (E3M2, 28.0),
        (E4M3, 448.0),
        (E5M2, 57_344.0),
        (ODD, 3.0),
        (FloatGrid { specials: Specials::OneNan, ..E2M1 }, 4.0),
    ] {
        assert_eq!(
            largest(&grid),
            expected,
            "{} with {:?}: one NaN takes one code, infinity takes a whole exponent",
            grid.name,
            grid.specials
        );
    }
}

// ---- task 2: the code of a value -----------------------------------------------------------------

#[test]
fn the_exponent_is_exact_beside_every_power_of_two() {
    for exponent in -126..=127 {
        let power = f32::from_bits(((exponent + 127) as u32) << 23);
        for (value, expected) in [
            (power, exponent),
            (f32::from_bits(power.to_bits() - 1), exponent - 1),
            (f32::from_bits(power.to_bits() + 1), exponent),
        ] {
            assert_eq!(
                floor_log2(value),
                expected,
                "`floor_log2({value:e})`, beside 2^{exponent}: a logarithm in f32 rounds, so read the \
                 exponent out of the bits"
            );
        }
    }
    for (value, expected) in [(1, -149), (2, -148), (3, -148), (0x0040_0000, -127)] {
        assert_eq!(
            floor_log2(f32::from_bits(value)),
            expected,
            "the f32 with the bits {value:#x} is subnormal: its exponent field is 0, and its highest bit \
             is its exponent"
        );
    }
}

#[test]
fn encoding_the_value_of_a_code_gives_the_code_back() {
    for grid in FloatGrid::ALL.into_iter().chain([ODD]) {
        for code in (0..grid.codes()).map(|code| code as u8) {
            let value = decode(&grid, code);
            if value.is_finite() {
                let back = encode(&grid, value);
                assert_eq!(
                    back, code,
                    "{}: code {code:#04x} is {value}, which comes back as {back:#04x}. Minus zero \
                     keeps its sign, and codes above 0 count the magnitudes in order",
                    grid.name
                );
            }
        }
    }
}

#[test]
fn values_between_two_codes_get_the_code_that_the_libraries_give() {
    let golden = golden();
    for grid in FloatGrid::ALL {
        let Nearest { bits, codes } = &golden.nearest[grid.name];
        for (value, &expected) in floats(bits).into_iter().zip(codes) {
            let found = encode(&grid, value);
            assert_eq!(
                found,
                expected,
                "{}: {value:e} becomes {}, and {} in the library. Steps are equal between two powers of \
                 two, and below the smallest normal value as above it",
                grid.name,
                decode(&grid, found),
                decode(&grid, expected)
            );
        }
    }
}

#[test]
fn ties_go_to_the_even_code() {
    let ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
    let codes = ties.map(|value| encode(&E2M1, value));
    let meaning = match codes {
        [1, 2, 3, 4, 5, 6, 7] => "half away from zero",
        [0, 1, 2, 3, 4, 5, 6] => "half toward zero, or no rounding",
        _ => "neither: round the steps of the power of two with `round_ties_even`",
    };
    assert_eq!(codes, [0, 2, 2, 4, 4, 6, 6], "codes of {ties:?} on E2M1: yours are {meaning}");
    let negative = ties.map(|value| encode(&E2M1, -value));
    assert_eq!(negative, [8, 10, 10, 12, 12, 14, 14], "the same ties below zero");
    let least = decode(&E4M3, 1);
    assert_eq!(
        [0.5, 1.5, 2.5, 6.5, 7.5].map(|steps| encode(&E4M3, steps * least)),
        [0, 2, 2, 6, 8],
        "halves of the smallest E4M3 step, 2^-9: the subnormal values round half to even too, and 7.5 \
         steps become the smallest normal value"
    );
}

#[test]
fn magnitudes_beyond_the_largest_value_saturate_and_nan_stays_nan() {
    for grid in FloatGrid::ALL.into_iter().chain([ODD]) {
        let largest_code = encode(&grid, largest(&grid));
        for value in [1.01 * largest(&grid), 1.2 * largest(&grid), 1e6, 3e38, f32::INFINITY] {
            let (found, negative) = (encode(&grid, value), encode(&grid, -value));
            assert_eq!(
                (found, negative),
                (largest_code, largest_code | grid.sign_bit()),
                "{}: {value} and its negative become {} and {}, and not the largest value. Limit the \
                 magnitude before you round, because a code beyond the last finite one is another \
                 number or none",
                grid.name,
                decode(&grid, found),
                decode(&grid, negative)
            );
        }
        let (plus, minus) = (encode(&grid, f32::NAN), encode(&grid, -f32::NAN));
        assert_eq!(
            (plus, minus),
            (grid.magnitude_bits(), grid.magnitude_bits() | grid.sign_bit()),
            "{}: NaN is all ones below the sign, and keeps its sign",
            grid.name
        );
    }
}

#[test]
fn the_error_is_half_a_step_at_most() {
    let values = normal_matrix(81, 1, 4000);
    for grid in FloatGrid::ALL {
        let least_normal = decode(&grid, 1 << grid.fraction_bits);
        for (index, &value) in values.iter().enumerate() {
            // Sizes from far below the smallest normal value to the largest.
            let value = (value * least_normal * 2f32.powi(index as i32 % 12 - 6))
                .clamp(-largest(&grid), largest(&grid));
            let error = f64::from(decode(&grid, encode(&grid, value)) - value).abs();
            // Half of the last bit of the fraction. Subnormal values have the steps of the smallest normal.
            let size = f64::from(value.abs().max(least_normal));
            let bound = size * 0.5f64.powi(grid.fraction_bits as i32 + 1);
            assert!(
                error <= bound,
                "{}: {value:e} is off by {error:e}, more than {bound:e}, half a step at its place",
                grid.name
            );
        }
    }
}

// ---- task 3: a scale that is a power of two ------------------------------------------------------

#[test]
fn a_code_of_e8m0_is_a_power_of_two() {
    for (code, &bits) in (0u8..=255).zip(&golden().values["E8M0"]) {
        let (found, expected) = (decode_e8m0(code), f32::from_bits(bits));
        assert!(
            found == expected || found.is_nan() && expected.is_nan(),
            "E8M0 {code} is {found:e}, and {expected:e} in torch: 2^(code - 127). Code 0 is no zero, \
             and 255 is NaN"
        );
    }
}

#[test]
fn each_rule_gives_the_exponents_of_its_library() {
    let golden = golden().exponents;
    let absmax = floats(&golden.absmax);
    for (name, codes) in &golden.codes {
        let rules = ScaleRule::ALL.into_iter();
        let is_named = |rule: &ScaleRule| name.ends_with(&format!(" {rule:?}"));
        let rule = rules.rev().find(is_named).unwrap_or(ScaleRule::Floor);
        let grid = FloatGrid::ALL.into_iter().find(|grid| name.starts_with(grid.name));
        let grid = grid.unwrap_or(E2M1);
        for (&absmax, &expected) in absmax.iter().zip(codes) {
            let found = block_exponent(absmax, &grid, rule);
            assert_eq!(
                i32::from(found) - 127,
                i32::from(expected) - 127,
                "{name}: the exponent for absmax {absmax:e} (left: yours, right: the library)"
            );
        }
    }
}

#[test]
fn the_five_rules_are_told_apart_by_a_few_blocks() {
    let table: [(FloatGrid, f32, [i32; 5]); 6] = [
        (E2M1, 1.49, [-2, -2, -2, -1, -2]),
        (E2M1, 1.51, [-2, -2, -2, -1, -1]),
        (E2M1, 1.75, [-2, -1, -1, -1, -1]),
        (E4M3, 1.75, [-8, -7, -8, -7, -8]),
        (E4M3, 1.76, [-8, -7, -8, -7, -7]),
        (E4M3, 1.99, [-8, -7, -7, -7, -7]),
    ];
    for (grid, absmax, expected) in table {
        for power in [0, 40, -40] {
            let absmax = absmax * 2f32.powi(power);
            let found = ScaleRule::ALL.map(|rule| block_exponent(absmax, &grid, rule));
            let found = found.map(|code| i32::from(code) - 127 - power);
            assert_eq!(
                found,
                expected,
                "{}, absmax {absmax:e}: exponents less {power} of {:?}",
                grid.name,
                ScaleRule::ALL
            );
        }
    }
    for (grid, absmax) in [(E2M1, 6.0), (E4M3, 448.0), (E3M2, 28.0)] {
        assert_eq!(
            block_exponent(absmax, &grid, ScaleRule::NoClip),
            127,
            "{}: absmax {absmax} is the largest value, so the scale 1 clips nothing",
            grid.name
        );
    }
}

#[test]
fn powers_of_two_and_their_neighbours_have_the_right_exponents() {
    for exponent in [-60, -3, 0, 5, 24, 90] {
        let power = 2f32.powi(exponent);
        let [below, above] = [power.to_bits() - 1, power.to_bits() + 1].map(f32::from_bits);
        let of = |absmax, rule| i32::from(block_exponent(absmax, &E2M1, rule)) - 127 - exponent + 2;
        for (absmax, rule, expected) in [
            (below, ScaleRule::Floor, -1),
            (power, ScaleRule::Floor, 0),
            (power, ScaleRule::Ceil, 0),
            (above, ScaleRule::Ceil, 1),
        ] {
            assert_eq!(
                of(absmax, rule),
                expected,
                "{rule:?} for absmax {absmax:e}, beside 2^{exponent}: exponent less {exponent}, plus 2. A \
                 logarithm in f32 rounds to the whole number before `floor` sees it"
            );
        }
    }
}

#[test]
fn exponents_stop_at_both_ends_and_zeros_have_code_0() {
    for rule in ScaleRule::ALL {
        assert_eq!(block_exponent(0.0, &E2M1, rule), 0, "{rule:?}: a block of zeros has code 0");
        assert_eq!(
            block_exponent(1e-38, &E4M3, rule),
            0,
            "{rule:?} on E4M3: the exponent for 1e-38 is below -127, and -127 is the last"
        );
        assert!(
            block_exponent(f32::MAX, &E2M1, rule) <= 254,
            "{rule:?}: 255 is NaN, so 254 is the last exponent"
        );
    }
    let halves = FloatGrid { name: "up to 0.75", bias: 4, ..E2M1 };
    assert_eq!(largest(&halves), 0.75);
    assert_eq!(
        block_exponent(f32::MAX, &halves, ScaleRule::Ceil),
        254,
        "on a grid up to 0.75 the exponent for the largest f32 is beyond 127, and 127 is the last"
    );
}

// ---- task 4: MX ----------------------------------------------------------------------------------

/// The codes of two bits a nibble, the first in the low one, without the code under test.
fn low_first(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect()
}

/// Floats by their bits, but for the sign of 0.
fn unsigned_zero(values: &Array2<f32>) -> Array2<f32> {
    values.mapv(|value| value + 0.0)
}

#[test]
fn mx_codes_and_scales_are_those_of_compressed_tensors() {
    let golden = golden();
    let w = shaped(floats(&golden.w));
    let fp4 = low_first(&golden.mxfp4.codes);
    for (grid, codes, theirs) in
        [(E2M1, fp4, &golden.mxfp4), (E4M3, golden.mxfp8.codes.clone(), &golden.mxfp8)]
    {
        let blocks = must(quantize_mx(&w, &grid, ScaleRule::CompressedTensors));
        let name = grid.name;
        assert_eq!(blocks.block(), MX_BLOCK, "{name}: weights of a block");
        assert_same(
            blocks.scales().view(),
            shaped(theirs.scales.clone()).view(),
            format!("{name}: scales, each from the largest magnitude of its own 32 weights"),
        );
        // compressed-tensors keeps the sign of a value that rounds to 0, but not that of -0.
        let values = shaped(codes.iter().map(|&code| decode(&grid, code)).collect());
        let found = blocks.codes().mapv(|code| decode(&grid, code));
        assert_same(
            unsigned_zero(&found).view(),
            unsigned_zero(&values).view(),
            format!("{name}: values of the codes. Divide a weight by the scale of its block"),
        );
        assert_same(
            unsigned_zero(&dequantize_mx(&blocks, &grid)).view(),
            unsigned_zero(&shaped(floats(&theirs.values))).view(),
            format!("{name}: the numbers that come back, code times scale"),
        );
        assert!(
            must(quantize_mx(&by_columns(&w), &grid, ScaleRule::CompressedTensors)) == blocks,
            "{name}: the same matrix, kept column by column in memory. Index by row and column"
        );
    }
}

#[test]
fn the_floor_rule_clips_as_llama_cpp_does_and_no_clip_does_not() {
    let golden = golden();
    let w = shaped(floats(&golden.w));
    let blocks = must(quantize_mx(&w, &E2M1, ScaleRule::Floor));
    let ours = dequantize_mx(&blocks, &E2M1);
    for (index, block) in golden.gguf_mxfp4.chunks(17).enumerate() {
        let (row, at) = (index / (w.ncols() / 32), index % (w.ncols() / 32));
        assert_eq!(blocks.scales()[(row, at)], block[0], "the exponent of row {row}, block {at}");
        for j in 0..32 {
            let nibble = if j < 16 { block[1 + j] & 15 } else { block[1 + j - 16] >> 4 };
            let (weight, found) = (w[(row, 32 * at + j)], ours[(row, 32 * at + j)]);
            let theirs = decode(&E2M1, nibble) * decode_e8m0(block[0]);
            // llama.cpp takes the smaller of two codes that are equally near.
            assert_eq!(
                (found - weight).abs(),
                (theirs - weight).abs(),
                "row {row}, column {}: {weight} comes back as {found}, and as {theirs} in llama.cpp",
                32 * at + j
            );
        }
    }
    let w = normal_matrix(82, 20, 320);
    for (row, column) in [(3, 17), (19, 300)] {
        for (rule, is_clipped) in [(ScaleRule::Floor, true), (ScaleRule::NoClip, false)] {
            let mut w = w.clone();
            w[(row, column)] = -63.0;
            let back = dequantize_mx(&must(quantize_mx(&w, &E2M1, rule)), &E2M1);
            assert_eq!(
                back[(row, column)] == -48.0,
                is_clipped,
                "{rule:?}: -63 at row {row}, column {column} comes back as {}. Under the floor rule the \
                 scale is 8 and the largest value -48, without clipping the scale is 16",
                back[(row, column)]
            );
        }
    }
}

#[test]
fn a_block_of_zeros_comes_back_as_zeros() {
    let mut w = normal_matrix(83, 2, 96);
    w.slice_mut(s![1, 32..64]).fill(0.0);
    for grid in [E2M1, E4M3] {
        for rule in ScaleRule::ALL {
            let blocks = must(quantize_mx(&w, &grid, rule));
            assert_eq!(blocks.scales()[(1, 1)], 0, "{rule:?}: the scale of zeros is code 0");
            let back = dequantize_mx(&blocks, &grid);
            assert!(
                back.slice(s![1, 32..64]).iter().all(|&value| value == 0.0),
                "{} by {rule:?}: zeros come back as {}",
                grid.name,
                back[(1, 32)]
            );
        }
    }
    let back = dequantize_nvfp4(&must(quantize_nvfp4(&w, 896.0)), 896.0);
    assert!(
        back.slice(s![1, 32..64]).iter().all(|&value| value == 0.0),
        "NVFP4: zeros come back as {}",
        back[(1, 32)]
    );
}

#[test]
fn what_has_no_blocks_or_no_place_on_a_grid_is_refused() {
    let mx = |w: &Array2<f32>| quantize_mx(w, &E4M3, ScaleRule::Floor).err();
    let nvfp4 = |w: &Array2<f32>| quantize_nvfp4(w, 1.0).err();
    for (columns, block) in [(48, 32), (24, 16), (0, 16), (0, 32)] {
        let refused = Some(FloatError::BlockDoesNotDivide { in_features: columns, block });
        let w = normal_matrix(84, 3, columns);
        let found = if block == 32 { mx(&w) } else { nvfp4(&w) };
        assert_eq!(found, refused, "rows of {columns} in blocks of {block}");
    }
    for value in [f32::INFINITY, f32::NEG_INFINITY] {
        let mut w = normal_matrix(84, 3, 64);
        w[(1, 40)] = value;
        w[(2, 3)] = value;
        let refused = Some(FloatError::NotFinite { index: 104, value });
        assert_eq!((mx(&w), nvfp4(&w)), (refused.clone(), refused), "{value} at row 1, column 40");
    }
    let w = normal_matrix(84, 3, 64);
    for global in [0.0, -2.0, f32::INFINITY] {
        assert_eq!(
            quantize_nvfp4(&w, global).err(),
            Some(FloatError::GlobalScale(global)),
            "the global scale {global}"
        );
    }
}

// ---- task 5: NVFP4 -------------------------------------------------------------------------------

#[test]
fn the_global_scale_is_a_divisor_that_puts_the_largest_block_on_448() {
    assert_eq!(
        nvfp4_global(3.0),
        896.0,
        "`nvfp4_global(3)`: 448 * 6 / 3. (modelopt and torchao store 3 / 2688, a multiplier, under \
         another name)"
    );
    for absmax in [0.0, 1e-38] {
        assert_eq!(
            nvfp4_global(absmax),
            1.0,
            "`nvfp4_global({absmax:e})`: the quotient is infinite, so 1"
        );
    }
    for absmax in [3.0, 0.17, 250.0] {
        assert_eq!(
            nvfp4_scale(absmax, nvfp4_global(absmax)),
            0x7E,
            "the block that holds the largest magnitude, {absmax}, has the largest scale, 448"
        );
    }
    let w = normal_matrix(85, 8, 64) * 0.1;
    let global = nvfp4_global(absmax(&w));
    let back = dequantize_nvfp4(&must(quantize_nvfp4(&w, global)), global);
    let (largest, value) = w
        .indexed_iter()
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        .unwrap_or_else(|| panic!("512 weights"));
    // Two quotients and a product in f32.
    assert!(
        (back[largest] - value).abs() <= 4.0 * f32::EPSILON * value.abs(),
        "{value}, the largest of all, has the code of 6 under the scale 448, and comes back as {}. Is the \
         stored scale divided by the global one?",
        back[largest]
    );
}

#[test]
fn a_block_scale_is_rounded_to_e4m3_and_is_never_0() {
    for (absmax, global, code) in [(3.0, 896.0, 0x7E), (1.5, 896.0, 0x76), (1e-3, 896.0, 34)] {
        assert_eq!(
            nvfp4_scale(absmax, global),
            code,
            "the scale for absmax {absmax} under {global}: absmax / 6 * {global}, nearest E4M3 code"
        );
    }
    assert_eq!(
        nvfp4_scale(6.0, 896.0),
        0x7E,
        "an absmax beyond that of the tensor saturates at 448"
    );
    let theirs = golden().underflow;
    let (absmax, global) = (floats(&theirs.absmax), f32::from_bits(theirs.global));
    for (absmax, theirs) in absmax.into_iter().zip(floats(&theirs.scales)) {
        let found = decode(&E4M3, nvfp4_scale(absmax, global));
        // Where the scale underflows, compressed-tensors stores 0.125, its epsilon: 64 times too large.
        let expected = if absmax < 5e-6 { theirs / 64.0 } else { theirs };
        assert_eq!(
            found, expected,
            "the scale for absmax {absmax:e} under {global}: a scale that would be 0 is the smallest \
             one, 2^-9, because 0 / 0 is NaN"
        );
    }
}

#[test]
fn nvfp4_codes_and_scales_are_those_of_compressed_tensors() {
    let Golden { w, nvfp4, .. } = golden();
    let (w, global) = (shaped(floats(&w)), f32::from_bits(nvfp4.global));
    assert_eq!(nvfp4_global(absmax(&w)), global, "the global scale");
    let blocks = must(quantize_nvfp4(&w, global));
    assert_eq!(blocks.block(), NVFP4_BLOCK, "weights of a block");
    // Blocks of zeros have another scale there, which the test of the block scales shows.
    let is_zero = |row: usize, at: usize| absmax(w.slice(s![row, 16 * at..16 * at + 16])) == 0.0;
    let mut scales = shaped(nvfp4.scales);
    scales.indexed_iter_mut().filter(|((r, at), _)| is_zero(*r, *at)).for_each(|(_, s)| *s = 1);
    assert_same(blocks.scales().view(), scales.view(), "the codes of the block scales");
    let codes = shaped(low_first(&nvfp4.codes)).mapv(|code| decode(&E2M1, code));
    assert_same(
        unsigned_zero(&blocks.codes().mapv(|code| decode(&E2M1, code))).view(),
        unsigned_zero(&codes).view(),
        "the values of the codes: a weight divided by (its stored scale / global)",
    );
    assert_same(
        unsigned_zero(&dequantize_nvfp4(&blocks, global)).view(),
        unsigned_zero(&shaped(floats(&nvfp4.values))).view(),
        "the numbers that come back",
    );
    assert!(
        must(quantize_nvfp4(&by_columns(&w), global)) == blocks,
        "the same matrix, kept column by column in memory: index by row and column"
    );
}

#[test]
fn weights_on_the_grid_of_the_rounded_scale_survive() {
    // Scales of E4M3 are up to 1/16 away from absmax / 6, so a code by the unrounded scale is often
    // another one.
    let global = 512.0;
    for code in 40..126 {
        let scale = decode(&E4M3, code) / global;
        let on_the_grid = |j: usize| decode(&E2M1, (j % 8) as u8) * scale;
        let near = scale * 5.03;
        let w =
            Array2::from_shape_fn((1, 16), |(_, j)| if j == 15 { near } else { on_the_grid(j) });
        let back = dequantize_nvfp4(&must(quantize_nvfp4(&w, global)), global);
        assert_eq!(
            back.slice(s![0, ..15]),
            w.slice(s![0, ..15]),
            "weights that are codes times the scale {scale} come back as they were"
        );
    }
    let w = real(SQUARE);
    let global = nvfp4_global(absmax(&w));
    let blocks = must(quantize_nvfp4(&w, global));
    for ((row, column), &weight) in w.indexed_iter().step_by(13) {
        let stored = decode(&E4M3, blocks.scales()[(row, column / 16)]) / global;
        assert_eq!(
            blocks.codes()[(row, column)],
            encode(&E2M1, weight / stored),
            "{weight} at row {row}, column {column}: its code is the nearest under the scale as it is \
             stored, {stored}, and not under a sixth of the largest magnitude"
        );
    }
}

#[test]
fn fused_layers_share_a_global_scale() {
    let (q, k) = (normal_matrix(86, 8, 64), normal_matrix(87, 4, 64) * 0.05);
    let shared = nvfp4_global(absmax(&q).max(absmax(&k)));
    let of_k = must(quantize_nvfp4(&k, shared));
    let back = dequantize_nvfp4(&of_k, shared);
    for (row, weights) in k.axis_iter(Axis(0)).enumerate() {
        for (at, block) in weights.axis_chunks_iter(Axis(0), 16).enumerate() {
            assert_eq!(
                of_k.scales()[(row, at)],
                nvfp4_scale(absmax(block.iter()), shared),
                "row {row}, block {at}: the scale of its own maximum under the shared global scale"
            );
            let error = absmax((&block - &back.slice(s![row, 16 * at..16 * at + 16])).iter());
            // Half of the widest step, 4 to 6, is a sixth of 6. The scale is off by 1/16 at most, which
            // moves the top by as much.
            let bound = absmax(block.iter()) * (1.0 / 6.0 + 1.0 / 16.0);
            assert!(error <= bound, "row {row}, block {at}: off by {error}, more than {bound}");
        }
    }
}

// ---- task 6: bytes -------------------------------------------------------------------------------

#[test]
fn two_codes_share_a_byte_in_the_order_of_the_library() {
    let [half, minus_six] = [0x1, 0xF];
    let orders = [NibbleOrder::LowFirst, NibbleOrder::HighFirst];
    let bytes = orders.map(|order| must(pack_nibbles(&[half, minus_six], order)));
    assert_eq!(
        format!("{bytes:02x?}"),
        "[[f1], [1f]]",
        "(0.5, -6), codes 1 and f, in compressed-tensors' order, where the first code is the low nibble \
         and so the second digit, and in bitsandbytes' order, where it is the high nibble"
    );
    let codes: Vec<u8> = (0..8).map(|code| code + 4).collect();
    assert_eq!(
        pack_nibbles(&codes, NibbleOrder::Halves(4)),
        Ok(vec![0x64, 0x75, 0xA8, 0xB9]),
        "4 5 6 7 8 9 a b in halves of blocks of 4: 4 beside 6, 5 beside 7, then the next block"
    );
}

#[test]
fn packed_codes_are_those_of_three_libraries_and_come_back() {
    let golden = golden();
    let w = shaped(floats(&golden.w));
    let codes = low_first(&golden.mxfp4.codes);
    assert_same(
        ArrayView1::from(&must(pack_nibbles(&codes, NibbleOrder::LowFirst))),
        ArrayView1::from(&golden.mxfp4.codes),
        "weight_packed of compressed-tensors",
    );
    // The largest magnitude of a block of 64, negative here, has the code 0, and positive the code 15.
    let nf4 = must(unpack_nibbles(&golden.nf4.packed, NibbleOrder::HighFirst));
    for (block, weights) in floats(&golden.w).chunks(64).enumerate() {
        let largest = absmax(weights);
        let place = weights.iter().position(|weight| weight.abs() == largest).unwrap_or_default();
        assert_eq!(
            nf4[64 * block + place],
            if weights[place] < 0.0 { 0 } else { 15 },
            "bitsandbytes' code of {}, the largest magnitude of block {block}: its first element is in \
             the high nibble",
            weights[place]
        );
    }
    let block = &golden.gguf_mxfp4[1..17];
    let values = must(unpack_nibbles(block, NibbleOrder::Halves(32)));
    let scale = decode_e8m0(golden.gguf_mxfp4[0]);
    for (j, (&code, &weight)) in values.iter().zip(w.row(0)).enumerate() {
        let value = decode(&E2M1, code) * scale;
        assert!(
            (value - weight).abs() <= scale,
            "weight {j} of a block of llama.cpp is {value}, and was {weight}: element j and element \
             j + 16 share a byte"
        );
    }
    for order in [NibbleOrder::LowFirst, NibbleOrder::HighFirst, NibbleOrder::Halves(16)] {
        let back = must(unpack_nibbles(&must(pack_nibbles(&codes, order)), order));
        assert_same(
            ArrayView1::from(&back),
            ArrayView1::from(&codes),
            format!("{order:?}: codes that are packed and unpacked"),
        );
    }
}

#[test]
fn codes_that_fill_no_bytes_are_refused() {
    let not_whole = |codes, multiple| Err(FloatError::NotWhole { codes, multiple });
    use NibbleOrder::{Halves, HighFirst, LowFirst};
    for (codes, order, multiple) in [
        (3, LowFirst, 2),
        (5, HighFirst, 2),
        (24, Halves(16), 16),
        (6, Halves(3), 3),
        (4, Halves(0), 0),
        (0, Halves(0), 0),
    ] {
        assert_eq!(
            pack_nibbles(&vec![1; codes], order),
            not_whole(codes, multiple),
            "{codes} codes, {order:?}. A block has two halves, so its size is even"
        );
    }
    assert_eq!(unpack_nibbles(&[0; 12], Halves(16)), not_whole(24, 16), "12 bytes are 24 codes");
    assert_eq!(
        pack_nibbles(&[3, 15, 16, 200], LowFirst),
        Err(FloatError::CodeOutOfRange { index: 2, code: 16 }),
        "16 does not fit four bits, and would spill into its neighbour"
    );
}

#[test]
fn every_scale_counts_in_the_bits_of_a_weight() {
    for (name, bits, overhead, expected) in [
        ("MXFP4", 4, &[(8, 32)][..], 4.25),
        ("MXFP8", 8, &[(8, 32)], 8.25),
        ("NVFP4 of 576 x 576", 4, &[(8, 16), (32, 576 * 576)], 4.500_096_450_617_284),
        ("int4 in groups of 64", 4, &[(16, 64)], 4.25),
        ("NF4", 4, &[(32, 64)], 4.5),
        ("NF4 with double quantization", 4, &[(8, 64), (32, 64 * 256)], 4.126_953_125),
        ("E4M3 per tensor", 8, &[], 8.0),
    ] {
        let found = bits_per_weight(bits, overhead);
        assert!(
            (found - expected).abs() < 1e-12,
            "{name}, {bits} bits and {overhead:?}: {found} bits per weight, and {expected} is right"
        );
    }
}

// ---- task 7: a table -----------------------------------------------------------------------------

#[test]
fn nf4_has_the_sixteen_values_of_bitsandbytes() {
    let golden = golden().nf4;
    assert_eq!(floats(&golden.made), floats(&golden.table), "bitsandbytes' formula and its table");
    let (found, expected) = (normal_float(), floats(&golden.table));
    for (place, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_eq!(
            found, expected,
            "value {place} of NF4. Eight quantiles of nine are positive, seven of eight negative, one \
             value is 0; each is rounded to f32 before the division by the largest"
        );
    }
}

#[test]
fn the_nearest_value_of_a_table_is_found_and_the_first_of_equals_taken() {
    let table = [-1.0, -0.25, 0.0, 0.5, 1.0];
    for (value, place) in [
        (-7.0, 0),
        (-0.7, 0),
        (-0.625, 0),
        (-0.6, 1),
        (-0.125, 1),
        (0.0, 2),
        (0.25, 2),
        (0.26, 3),
        (0.75, 3),
        (0.76, 4),
        (7.0, 4),
    ] {
        assert_eq!(
            nearest(&table, value),
            place,
            "{value} in {table:?}: by distance, and of two at equal distance the first"
        );
    }
    let dynamic = dynamic_table();
    for (place, &value) in (0u8..=255).zip(&dynamic) {
        assert_eq!(nearest(&dynamic, value), place, "{value:e} is value {place} of 256");
    }
}

#[test]
fn nf4_codes_are_those_of_bitsandbytes() {
    let golden = golden();
    let table = floats(&golden.nf4.table);
    let blocks = must(quantize_table(&floats(&golden.w), &table, 64));
    assert_eq!(blocks.block, 64);
    assert_same(
        ArrayView1::from(&blocks.absmax),
        ArrayView1::from(&floats(&golden.nf4.absmax)),
        "the largest magnitude of each block, which is the scale",
    );
    let codes: Vec<u8> = golden.nf4.packed.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
    assert_same(
        ArrayView1::from(&blocks.codes),
        ArrayView1::from(&codes),
        "codes: the value over the largest magnitude of its block, nearest in the table",
    );
    assert_same(
        ArrayView1::from(&dequantize_table(&blocks, &table)),
        ArrayView1::from(&floats(&golden.nf4.values)),
        "the numbers that come back",
    );
}

#[test]
fn table_blocks_may_end_short_and_zeros_come_back_as_zeros() {
    let table = [-1.0, 0.0, 0.5, 1.0];
    let values = [2.0, -4.0, 0.0, 0.0, 0.0, 0.0, -0.5];
    let blocks = must(quantize_table(&values, &table, 3));
    let expected =
        TableBlocks { codes: vec![2, 0, 1, 1, 1, 1, 0], absmax: vec![4.0, 0.0, 0.5], block: 3 };
    assert_eq!(blocks, expected, "{values:?} in blocks of 3 on {table:?}");
    assert_eq!(dequantize_table(&blocks, &table), values, "the numbers that come back");
    assert_eq!(
        quantize_table(&values, &table, 0),
        Err(FloatError::EmptyBlock),
        "a block of 0 is refused"
    );
    assert_eq!(
        quantize_table(&[1.0, f32::INFINITY, 2.0], &table, 2),
        Err(FloatError::NotFinite { index: 1, value: f32::INFINITY }),
        "infinity as a weight"
    );
}

#[test]
fn double_quantization_stores_the_scales_as_bitsandbytes_does() {
    let golden = golden().nf4;
    let (scales, dynamic) = (floats(&golden.scales), floats(&golden.dynamic));
    for (ours, theirs) in dynamic_table().into_iter().zip(&dynamic) {
        let error = (ours - theirs).abs();
        assert!(error <= 2.0 * f32::EPSILON * ours.abs(), "the given table, {ours}, {theirs}");
    }
    let double = must(double_quantize(&scales, &dynamic));
    assert_eq!(double.mean, f32::from_bits(golden.mean), "the mean of {} scales", scales.len());
    assert_eq!(double.rest.block, 256, "scales that share a second scale");
    assert_same(
        ArrayView1::from(&double.rest.absmax),
        ArrayView1::from(&floats(&golden.rest_absmax)),
        "the second scales: largest magnitudes of what is left after the mean is taken away",
    );
    assert_same(
        ArrayView1::from(&double.rest.codes),
        ArrayView1::from(&golden.rest),
        "codes of what is left, on the dynamic table",
    );
    assert_same(
        ArrayView1::from(&double_dequantize(&double, &dynamic)),
        ArrayView1::from(&floats(&golden.scales_back)),
        "the scales that come back: table times second scale, plus the mean",
    );
    assert_eq!(
        double_quantize(&[1.0, f32::INFINITY], &dynamic).err(),
        Some(FloatError::NotFinite { index: 1, value: f32::INFINITY }),
        "an infinite scale"
    );
}

#[test]
fn on_real_weights_each_format_keeps_its_promise() {
    let w = real(SQUARE);
    let error = |back: &Array2<f32>| kit::meters::relative_error(&w, back);
    let mx = |grid: &FloatGrid, rule| dequantize_mx(&must(quantize_mx(&w, grid, rule)), grid);
    let global = nvfp4_global(absmax(&w));
    let nvfp4 = dequantize_nvfp4(&must(quantize_nvfp4(&w, global)), global);
    let flat: Vec<f32> = w.iter().copied().collect();
    let nf4 = must(quantize_table(&flat, &normal_float(), 64));
    let nf4 = Array2::from_shape_vec(w.dim(), dequantize_table(&nf4, &normal_float()))
        .unwrap_or_default();
    let errors = [
        ("MXFP8", error(&mx(&E4M3, ScaleRule::Floor)), 0.02..0.04),
        ("MXFP4 by the floor rule", error(&mx(&E2M1, ScaleRule::Floor)), 0.10..0.14),
        ("MXFP4 without clipping", error(&mx(&E2M1, ScaleRule::NoClip)), 0.10..0.14),
        ("NVFP4", error(&nvfp4), 0.08..0.11),
        ("NF4 in blocks of 64", error(&nf4), 0.08..0.11),
    ];
    for (name, error, range) in errors {
        assert!(range.contains(&error), "{name}: off by {:.2} % of the norm", 100.0 * error);
    }
    let empty = Blocks::new(Array2::zeros((2, 6)), Array2::zeros((2, 4)));
    assert!(empty.is_err(), "four scales do not cut six codes");
}
