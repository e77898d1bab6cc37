//! FP8 against torch, on every code, every tie and their neighbours.

use formats::float8::{decode, encode, quantize_per_channel};
use ndarray::array;
use serde_json::Value;

fn golden() -> Value {
    match serde_json::from_str(include_str!("../golden/fp8.json")) {
        Ok(golden) => golden,
        Err(error) => panic!("golden/fp8.json: {error}"),
    }
}

fn numbers(golden: &Value, key: &str) -> Vec<f64> {
    let numbers: Option<Vec<f64>> =
        golden[key].as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
    numbers.unwrap_or_else(|| panic!("golden/fp8.json has no numbers under {key}"))
}

#[test]
fn every_value_gets_the_code_that_torch_gives_it() {
    let golden = golden();
    let (bits, codes) = (numbers(&golden, "bits"), numbers(&golden, "codes"));
    assert!(bits.len() == codes.len() && bits.len() > 1000, "{} values", bits.len());
    for (bits, code) in bits.into_iter().zip(codes) {
        let value = f32::from_bits(bits as u32);
        assert_eq!(encode(value), code as u8, "the code of {value:e}");
    }
}

#[test]
fn every_code_is_worth_what_torch_says() {
    for (code, value) in numbers(&golden(), "values").into_iter().enumerate() {
        assert_eq!(f64::from(decode(code as u8)), value, "the value of {code:02x}");
        assert_eq!(
            f64::from(decode(code as u8 | 0x80)),
            -value,
            "the value of {code:02x}, negated"
        );
    }
}

#[test]
fn infinity_saturates_and_nan_stays_nan() {
    assert_eq!((encode(f32::INFINITY), encode(f32::NEG_INFINITY)), (0x7E, 0xFE));
    assert!(decode(encode(f32::NAN)).is_nan() && decode(encode(-f32::NAN)).is_nan());
}

#[test]
fn a_row_has_its_largest_magnitude_on_448_and_a_row_of_zeros_scale_1() {
    let w = array![[1.0, -1.0, 0.5, 0.25], [2.0, -4.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]];
    let (codes, scales) = quantize_per_channel(&w).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scales, array![[1.0 / 448.0], [4.0 / 448.0], [1.0]]);
    // The bytes that compressed-tensors 0.20.0 writes for the first two rows.
    let expected =
        array![[0x7e, 0xfe, 0x76, 0x6e], [0x76, 0xfe, 0x00, 0x6e], [0x00, 0x00, 0x00, 0x00]];
    assert_eq!(codes, expected);
}
