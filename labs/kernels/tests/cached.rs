//! Products with the codes of a KV cache, compared with the equation in `f64`.

use kernels::cached::{Codes, UNIT, add_weighted, dots};
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
        let found: Vec<f64> = of.unpack(&bytes).into_iter().map(f64::from).collect();
        assert_eq!(found, expected, "{of:?}");
    }
}

#[test]
fn every_code_of_e4m3_is_worth_its_value_and_minus_zero_is_kept() {
    let all: Vec<u8> = (0..=255).map(|code| if code & 0x7F == 0x7F { 0 } else { code }).collect();
    let mut bytes = Vec::new();
    Codes::E4M3.pack(&all, &mut bytes);
    let found = Codes::E4M3.unpack(&bytes);
    for (code, found) in all.into_iter().zip(found) {
        let expected = worth(Codes::E4M3, code);
        assert_eq!(f64::from(found).to_bits(), expected.to_bits(), "code {code:#04x}");
    }
}

/// Holds a sum to `terms` in `f64`: `roundings` roundings on the way of one term (Higham, section 3.1).
fn hold(what: &str, found: f32, terms: impl Iterator<Item = f64> + Clone, roundings: usize) {
    let unit = roundings as f64 * 2f64.powi(-24);
    let bound = unit / (1.0 - unit) * terms.clone().map(f64::abs).sum::<f64>();
    let error = (f64::from(found) - terms.sum::<f64>()).abs();
    assert!(error <= bound, "{what}: {error:e}, bound {bound:e}");
}

/// Rows, channels of a row, channels that share a sum.
const SHAPES: [(usize, usize, usize); 6] =
    [(1, 32, 32), (7, 64, 64), (33, 64, 32), (5, 96, 32), (3, 128, 64), (70, 64, 64)];

/// Queries that read the same rows.
const QUERIES: usize = 3;

#[test]
fn each_query_times_codes_is_the_sum_of_each_group_within_the_bound_of_its_roundings() {
    for of in ALL {
        for (rows, width, group) in SHAPES {
            let (bytes, codes) = (packed(of, rows * width), codes(of, rows * width));
            let x: Vec<f32> = normal_matrix(1, QUERIES, width).into_iter().collect();
            let sums = rows * width / group;
            let mut y = vec![f32::NAN; QUERIES * sums];
            dots(of, &bytes, &x, width, group, &mut y);
            for (at, found) in y.into_iter().enumerate() {
                let (query, at) = (at / sums, at % sums);
                let from = at * group;
                let x = &x[query * width + from % width..];
                let terms = codes[from..from + group].iter().zip(x);
                let terms = terms.map(|(&code, &x)| worth(of, code) * f64::from(x));
                let what = format!("{of:?} {rows}x{width}, query {query}, group {at} of {group}");
                hold(&what, found, terms, group + 1);
            }
        }
    }
}

#[test]
fn weighted_codes_are_added_to_what_is_there_each_group_with_its_coefficient() {
    for of in ALL {
        for (rows, width, group) in SHAPES {
            let (bytes, codes) = (packed(of, rows * width), codes(of, rows * width));
            let sums = rows * width / group;
            let coefficients: Vec<f32> = normal_matrix(2, QUERIES, sums).into_iter().collect();
            let before: Vec<f32> = normal_matrix(3, QUERIES, width).into_iter().collect();
            let mut out = before.clone();
            add_weighted(of, &bytes, &coefficients, width, group, &mut out);
            for (at, found) in out.into_iter().enumerate() {
                let (query, channel) = (at / width, at % width);
                let of_row = |row: usize| {
                    let group = row * width / group + channel / group;
                    let coefficient = coefficients[query * sums + group];
                    worth(of, codes[row * width + channel]) * f64::from(coefficient)
                };
                let terms = (0..rows).map(of_row).chain([f64::from(before[at])]);
                let what = format!("{of:?} {rows}x{width}, query {query}, channel {channel}");
                hold(&what, found, terms, rows + 1);
            }
        }
    }
}
