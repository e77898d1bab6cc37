//! The numbers of a KV cache's codes, compared with the equation in `f64`.

use kernels::cached::{Affine, Codes, Shared, UNIT, decode};
use kit::data::normal_matrix;

const ALL: [Codes; 4] = [Codes::Int8, Codes::UInt4, Codes::UInt2, Codes::E4M3];

/// Codes of every value in an order that no loop could take for another, without the NaN of E4M3.
fn codes(of: Codes, count: usize) -> Vec<u8> {
    let code = |at: usize| (at * 167 + at / 7 + 5) as u8 & ((1_u16 << of.bits()) - 1) as u8;
    let is_nan = |code: u8| of == Codes::E4M3 && code & 0x7F == 0x7F;
    (0..count).map(code).map(|code| if is_nan(code) { 1 } else { code }).collect()
}

fn packed(of: Codes, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    of.pack(&codes(of, count), &mut bytes);
    bytes
}

/// The values of so many codes, without a scale.
fn values(of: Codes, bytes: &[u8], count: usize) -> Vec<f32> {
    let mut values = vec![f32::NAN; count];
    let affine = Affine { scales: &[1.0], zeros: &[], shared: Shared::Group(count) };
    decode(of, bytes, affine, &mut values);
    values
}

/// What a code is worth.
fn worth(of: Codes, code: u8) -> f64 {
    match of {
        Codes::Int8 => code.cast_signed().into(),
        Codes::UInt4 | Codes::UInt2 => code.into(),
        Codes::E4M3 => {
            let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7) / 8.0);
            let leading = if exponent == 0 { 0.0 } else { 1.0 };
            let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
            sign * (leading + fraction) * 2f64.powi(exponent.max(1) - 7)
        }
    }
}

#[test]
fn codes_that_are_packed_are_as_many_bits_as_they_need_and_come_back() {
    for of in ALL {
        let count = 8 * UNIT;
        let bytes = packed(of, count);
        assert_eq!(bytes.len(), count * of.bits() / 8, "{of:?}");
        let expected: Vec<f64> = codes(of, count).into_iter().map(|code| worth(of, code)).collect();
        let found: Vec<f64> = values(of, &bytes, count).into_iter().map(f64::from).collect();
        assert_eq!(found, expected, "{of:?}");
    }
}

#[test]
fn every_code_of_e4m3_is_worth_its_value_and_minus_zero_is_kept() {
    let all: Vec<u8> = (0..=255).map(|code| if code & 0x7F == 0x7F { 0 } else { code }).collect();
    let mut bytes = Vec::new();
    Codes::E4M3.pack(&all, &mut bytes);
    let found = values(Codes::E4M3, &bytes, all.len());
    for (code, found) in all.into_iter().zip(found) {
        let expected = worth(Codes::E4M3, code);
        assert_eq!(f64::from(found).to_bits(), expected.to_bits(), "code {code:#04x}");
    }
}

/// Holds a number to `code * scale + zero`, within a rounding of the product and one of the sum.
fn hold(what: &str, found: f32, code: f64, scale: f32, zero: f32) {
    let product = code * f64::from(scale);
    let expected = product + f64::from(zero);
    let bound = 2f64.powi(-24) * (product.abs() + expected.abs()) * (1.0 + 2f64.powi(-20));
    let error = (f64::from(found) - expected).abs();
    assert!(error <= bound, "{what}: {error:e}, bound {bound:e}");
}

/// Rows, channels of a row, channels that share a scale.
const SHAPES: [(usize, usize, usize); 6] =
    [(1, 32, 32), (7, 64, 64), (33, 64, 32), (5, 96, 32), (3, 128, 64), (70, 64, 64)];

#[test]
fn a_number_is_its_code_times_the_scale_of_its_group_and_the_zero_where_there_is_one() {
    for of in ALL {
        for (rows, width, group) in SHAPES {
            let (bytes, codes) = (packed(of, rows * width), codes(of, rows * width));
            let scales = numbers(1, rows * width / group);
            for zeros in [numbers(2, scales.len()), Vec::new()] {
                let mut found = vec![f32::NAN; rows * width];
                let shared = Shared::Group(group);
                let affine = Affine { scales: &scales, zeros: &zeros, shared };
                decode(of, &bytes, affine, &mut found);
                for (at, found) in found.into_iter().enumerate() {
                    let zero = zeros.get(at / group).copied().unwrap_or(0.0);
                    let what = format!("{of:?} {rows}x{width} in groups of {group}, number {at}");
                    hold(&what, found, worth(of, codes[at]), scales[at / group], zero);
                }
            }
        }
    }
}

#[test]
fn a_number_is_its_code_times_the_scale_of_its_column_and_the_zero_of_the_column() {
    for of in ALL {
        for (rows, width, _) in SHAPES {
            let (bytes, codes) = (packed(of, rows * width), codes(of, rows * width));
            let (scales, zeros) = (numbers(1, width), numbers(2, width));
            let mut found = vec![f32::NAN; rows * width];
            let affine = Affine { scales: &scales, zeros: &zeros, shared: Shared::Column };
            decode(of, &bytes, affine, &mut found);
            for (at, found) in found.into_iter().enumerate() {
                let column = at % width;
                let what = format!("{of:?} {rows}x{width}, number {at}");
                hold(&what, found, worth(of, codes[at]), scales[column], zeros[column]);
            }
        }
    }
}

#[test]
fn fewer_numbers_than_codes_are_the_first_ones() {
    let bytes = packed(Codes::UInt4, 4 * UNIT);
    let mut found = vec![f32::NAN; 2 * UNIT];
    let affine = Affine { scales: &[1.0], zeros: &[], shared: Shared::Group(4 * UNIT) };
    decode(Codes::UInt4, &bytes, affine, &mut found);
    let expected: Vec<f32> = codes(Codes::UInt4, 2 * UNIT).into_iter().map(f32::from).collect();
    assert_eq!(found, expected);
}

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    normal_matrix(seed, 1, count).into_iter().collect()
}
