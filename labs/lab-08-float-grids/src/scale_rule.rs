//! The rules for the scale of an MX block.

/// How the exponent of a block's scale follows from the block's largest magnitude, `absmax`.
///
/// `emax` is the exponent of the largest value of the grid: 2 for E2M1 and E2M3, 4 for E3M2, 8 for
/// E4M3, 15 for E5M2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRule {
    /// The OCP specification, torchao's `FLOOR`, llama.cpp: `floor(log2(absmax)) - emax`. Magnitudes
    /// beyond the largest value are clipped.
    Floor,
    /// compressed-tensors 0.20: as [`ScaleRule::Floor`], after `absmax` is rounded to one bit of
    /// fraction, half up. The one bit is that of FP4, and FP8 has the same rule.
    CompressedTensors,
    /// torchao's `EVEN`: as [`ScaleRule::Floor`], after `absmax` is rounded to the bits of fraction
    /// that the grid has, half up.
    Even,
    /// torchao's `CEIL`: `ceil(log2(absmax)) - emax`.
    Ceil,
    /// torchao's `RCEIL`, modelopt, cuBLAS: `ceil(log2(absmax / largest))`, where `largest` is the
    /// largest value of the grid and the quotient is an `f32`. Nothing is clipped.
    NoClip,
}

impl ScaleRule {
    /// Every rule.
    pub const ALL: [Self; 5] =
        [Self::Floor, Self::CompressedTensors, Self::Even, Self::Ceil, Self::NoClip];

    /// What the book calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "OCP floor",
            Self::CompressedTensors => "compressed-tensors",
            Self::Even => "torchao EVEN",
            Self::Ceil => "torchao CEIL",
            Self::NoClip => "RCEIL, no clipping",
        }
    }
}
