//! The fast FP4 against lab 08's readable one.

use float_grids::{E2M1, solution};
use formats::float4::{VALUES, decode, encode, pack};
use kit::data::normal_matrix;

#[test]
fn every_code_and_every_limit_is_that_of_the_lab() {
    for code in 0..16 {
        assert_eq!(decode(code).to_bits(), solution::decode(&E2M1, code).to_bits(), "code {code}");
        assert_eq!(encode(decode(code)), code, "code {code}, decoded and encoded");
    }
    for ends in VALUES.windows(2) {
        let middle = (ends[0] + ends[1]) / 2.0;
        for bits in middle.to_bits() - 1..=middle.to_bits() + 1 {
            for value in [f32::from_bits(bits), -f32::from_bits(bits)] {
                assert_eq!(encode(value), solution::encode(&E2M1, value), "{value:e}");
            }
        }
    }
    for value in [7.0, -1e9, f32::INFINITY, -0.0, 1e-30, f32::NAN] {
        assert_eq!(encode(value), solution::encode(&E2M1, value), "{value}");
    }
    for &value in normal_matrix(1, 1, 5000).iter() {
        assert_eq!(encode(3.0 * value), solution::encode(&E2M1, 3.0 * value), "{value}");
    }
}

#[test]
fn the_first_of_two_codes_is_in_the_low_nibble() {
    assert_eq!(pack(&[1, 15, 2]), [0xF1, 0x02]);
}
