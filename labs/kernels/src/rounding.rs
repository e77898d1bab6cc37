//! Magnitudes and rounding in a few instructions, which compilers vectorize.

use half::f16;

/// The bits of an infinity. Magnitudes compare as their bits do, and NaN comes after infinity, so the
/// largest bits give the absmax and say whether all values are finite.
pub const INFINITE: u32 = 0x7F80_0000;

/// The bits of the absmax.
#[inline(always)]
pub fn absmax_bits(values: &[f32]) -> u32 {
    // Integers may be compared in any order, so a compiler finds the registers by itself.
    values.iter().map(|value| magnitude_bits(*value)).fold(0, u32::max)
}

/// The bits of a magnitude: all but the sign.
#[inline(always)]
fn magnitude_bits(value: f32) -> u32 {
    value.to_bits() & 0x7FFF_FFFF
}

/// The integer nearest to a number between -2^15 and 2^15, half to even, because the lowest bits of
/// 1.5 * 2^23 + n are those of n. A cast is slower, because it checks for NaN and the range.
#[inline(always)]
pub fn nearest(value: f32) -> i16 {
    (value + 12_582_912.0).to_bits() as i16
}

/// The value of a finite `f16`. The bits move to their places in an `f32`, and 2^112 makes up for the
/// difference of the exponents' biases (127 - 15). Both steps are exact, for subnormals too. A call
/// for each group would cost more than the group.
#[inline(always)]
pub fn to_f32(value: f16) -> f32 {
    let bits = u32::from(value.to_bits());
    let magnitude = f32::from_bits((bits & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_f16_has_its_own_value() {
        for bits in 0..=u16::MAX {
            let scale = f16::from_bits(bits);
            if scale.is_finite() {
                assert_eq!(to_f32(scale).to_bits(), scale.to_f32().to_bits(), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn the_largest_bits_are_those_of_the_largest_magnitude() {
        for count in [0, 1, 7, 8, 23] {
            let values: Vec<f32> = (0..count).map(|i| (i * 37 % 23) as f32 - 11.0).collect();
            let slow = values.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
            assert_eq!(f32::from_bits(absmax_bits(&values)), slow, "{values:?}");
        }
        assert!(absmax_bits(&[1.0, f32::NAN, 2.0]) > INFINITE);
        assert_eq!(absmax_bits(&[1.0, f32::NEG_INFINITY]), INFINITE);
    }

    #[test]
    fn halves_go_to_even() {
        for quarter in -600_i16..=600 {
            let value = f32::from(quarter) / 4.0;
            assert_eq!(f32::from(nearest(value)), value.round_ties_even(), "{value}");
        }
    }
}
