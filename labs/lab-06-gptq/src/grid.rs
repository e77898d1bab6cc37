//! The grid on which codes are chosen, which labs 01 and 03 have built.

use half::{bf16, f16};

/// A symmetric grid: the codes that there are, the scale of a group, and the type of the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The smallest code.
    pub min: i8,
    /// The largest code.
    pub max: i8,
    /// The absmax of a group over this number is its scale.
    pub divisor: f32,
    /// The type in which scales are stored.
    pub stored: Stored,
}

/// The type in which scales are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 16 bits, 11 of them significant.
    F16,
    /// 16 bits, 8 of them significant.
    Bf16,
    /// 32 bits.
    F32,
}

impl Grid {
    /// Lab 03's int4: `absmax / 7`, codes -7..=7, scales in `f16`.
    pub const LAB_03: Self = Self { min: -7, max: 7, divisor: 7.0, stored: Stored::F16 };
    /// llm-compressor's int4: `absmax / 7.5`, codes -8..=7. Of the two ends of a group only one is
    /// clipped, and a step is a fifteenth smaller.
    pub const LLM_COMPRESSOR: Self = Self { min: -8, max: 7, divisor: 7.5, stored: Stored::F16 };
    /// Lab 01's int8: `absmax / 127`, codes -127..=127, scales in `f32`.
    pub const LAB_01: Self = Self { min: -127, max: 127, divisor: 127.0, stored: Stored::F32 };

    /// The scale of a group, rounded to the type in which it is stored. The scale is 1 where that is 0,
    /// and infinite where it overflows.
    pub fn scale(&self, absmax: f32) -> f32 {
        let scale = match self.stored {
            Stored::F16 => f16::from_f32(absmax / self.divisor).to_f32(),
            Stored::Bf16 => bf16::from_f32(absmax / self.divisor).to_f32(),
            Stored::F32 => absmax / self.divisor,
        };
        if scale > 0.0 { scale } else { 1.0 }
    }

    /// The nearest code, half to even. The quotient is that of labs 01 and 03, in `f32`, so that a
    /// weight that no feedback has moved gets the code of these labs.
    pub fn code(&self, value: f64, scale: f32) -> i8 {
        let steps = (value as f32 / scale).round_ties_even();
        steps.clamp(self.min.into(), self.max.into()) as i8
    }

    /// The number that a code stands for.
    pub fn value(&self, code: i8, scale: f32) -> f64 {
        f64::from(code) * f64::from(scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_rounded_to_its_type_and_never_0() {
        let third = |stored| Grid { stored, divisor: 3.0, ..Grid::LAB_03 }.scale(1.0);
        assert_eq!(third(Stored::F32), 1.0 / 3.0);
        assert_eq!(third(Stored::F16), 0.333_251_95);
        assert_eq!(third(Stored::Bf16), 0.333_984_38);
        assert_eq!(Grid::LAB_03.scale(0.0), 1.0);
        assert_eq!(Grid::LAB_03.scale(1e-9), 1.0, "underflows in f16");
        assert!(Grid::LAB_03.scale(1e6).is_infinite());
    }

    #[test]
    fn codes_are_half_to_even_and_end_where_the_grid_ends() {
        let codes = |grid: Grid| [-9.0, -7.5, -0.5, 0.5, 1.5, 7.5].map(|v| grid.code(v, 1.0));
        assert_eq!(codes(Grid::LAB_03), [-7, -7, 0, 0, 2, 7]);
        assert_eq!(codes(Grid::LLM_COMPRESSOR), [-8, -8, 0, 0, 2, 7]);
        assert_eq!(codes(Grid::LAB_01), [-9, -8, 0, 0, 2, 8]);
    }
}
