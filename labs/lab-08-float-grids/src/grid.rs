//! The description of a small float.

/// A small float: a sign, then bits of exponent, then bits of fraction. At most eight bits.
///
/// An exponent field of 0 holds the subnormal values, which are `fraction * 2^(1 - bias -
/// fraction_bits)`. An exponent field `e` above 0 holds `(1 + fraction / 2^fraction_bits) * 2^(e -
/// bias)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatGrid {
    /// What it is called.
    pub name: &'static str,
    /// Bits of the exponent field.
    pub exponent_bits: u32,
    /// Bits of the fraction field.
    pub fraction_bits: u32,
    /// What is taken away from the exponent field.
    pub bias: i32,
    /// The codes that stand for no finite value.
    pub specials: Specials,
}

/// The codes of a small float that stand for no finite value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// Every code is a finite value.
    None,
    /// The code whose exponent and fraction are all ones is NaN. There is no infinity. ("fn": finite,
    /// and one NaN of each sign.)
    OneNan,
    /// An exponent of all ones is infinity if the fraction is 0, and NaN if not, as in IEEE 754.
    Ieee,
}

/// FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6.
pub const E2M1: FloatGrid = FloatGrid {
    name: "E2M1",
    exponent_bits: 2,
    fraction_bits: 1,
    bias: 1,
    specials: Specials::None,
};

/// FP6 with three bits of fraction, up to 7.5.
pub const E2M3: FloatGrid = FloatGrid { name: "E2M3", fraction_bits: 3, ..E2M1 };

/// FP6 with three bits of exponent, up to 28.
pub const E3M2: FloatGrid =
    FloatGrid { name: "E3M2", exponent_bits: 3, fraction_bits: 2, bias: 3, ..E2M1 };

/// FP8 with three bits of fraction, up to 448: torch's `float8_e4m3fn`.
pub const E4M3: FloatGrid = FloatGrid {
    name: "E4M3",
    exponent_bits: 4,
    fraction_bits: 3,
    bias: 7,
    specials: Specials::OneNan,
};

/// FP8 with five bits of exponent, up to 57,344: torch's `float8_e5m2`.
pub const E5M2: FloatGrid = FloatGrid {
    name: "E5M2",
    exponent_bits: 5,
    fraction_bits: 2,
    bias: 15,
    specials: Specials::Ieee,
};

impl FloatGrid {
    /// Every grid of the lab, from the fewest bits up.
    pub const ALL: [Self; 5] = [E2M1, E2M3, E3M2, E4M3, E5M2];

    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        1 + self.exponent_bits + self.fraction_bits
    }

    /// How many codes there are: both signs, and those that are no finite value.
    pub fn codes(&self) -> u16 {
        1 << self.bits()
    }

    /// The bit of the sign.
    pub fn sign_bit(&self) -> u8 {
        1 << (self.bits() - 1)
    }

    /// The bits of exponent and fraction.
    pub fn magnitude_bits(&self) -> u8 {
        self.sign_bit() - 1
    }
}

/// `2^exponent`, exact: from the smallest subnormal `f32`, 2^-149, to 2^127. 0 below, infinity above.
pub fn power_of_two(exponent: i32) -> f32 {
    match exponent {
        ..-149 => 0.0,
        -149..-126 => f32::from_bits(1 << (exponent + 149)),
        -126..=127 => f32::from_bits(((exponent + 127) as u32) << 23),
        128.. => f32::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact_to_both_ends() {
        let mut power = 1.0_f64;
        for exponent in 0..=127 {
            assert_eq!(f64::from(power_of_two(exponent)), power);
            assert_eq!(f64::from(power_of_two(-exponent)), 1.0 / power);
            power *= 2.0;
        }
        assert_eq!(power_of_two(-149), f32::from_bits(1));
        assert_eq!((power_of_two(-150), power_of_two(128)), (0.0, f32::INFINITY));
    }
}
