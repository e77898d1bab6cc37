//! A storage format as the answers to the three questions, in a form that arithmetic can use.
//!
//! What grid: [`Grid`]. What granularity: the weights that share a scale or a zero point, [`Overhead`].
//! Weights only, or activations too: the grid of each, [`Format::weights`] and
//! [`Format::activations`].

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;

/// The values that a number can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grid {
    /// `f32`.
    F32,
    /// `bf16` or `f16`: what engines compute in when nothing is quantized.
    Sixteen,
    /// FP8 E4M3: 1 sign, 4 exponent and 3 fraction bits, up to 448.
    E4M3,
    /// FP6: E2M3, up to 7.5, or E3M2, up to 28.
    Fp6,
    /// FP4 E2M1: 1 sign, 2 exponent and 1 fraction bits, up to 6.
    E2M1,
    /// Integers of so many bits.
    Int(u32),
    /// A table with an entry for each code of so many bits: NF4, codebooks.
    Table(u32),
}

impl Grid {
    /// Bits of a code.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::Sixteen => 16,
            Self::E4M3 => 8,
            Self::Fp6 => 6,
            Self::E2M1 => 4,
            Self::Int(bits) | Self::Table(bits) => bits,
        }
    }
}

/// Where a symmetric grid of integers ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// At the same magnitude on both sides, lab 03's rule: absmax over 7 and codes -7..=7 of four bits, absmax
    /// over 3 and codes -3..=3 of three.
    Equal,
    /// At the last code on both sides, the rule of GPTQ and llm-compressor: absmax over 7.5 and codes -8..=7 of
    /// four bits, absmax over 3.5 and codes -4..=3 of three. Of the two ends of a group only one is clipped, and
    /// steps are smaller.
    AllCodes,
}

impl Ends {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Equal, Self::AllCodes];

    /// The codes of so many bits, 2 to 8.
    pub fn codes(self, bits: u32) -> RangeInclusive<i8> {
        let max = i8::MAX >> (8 - bits);
        match self {
            Self::Equal => -max..=max,
            Self::AllCodes => -max - 1..=max,
        }
    }

    /// The absmax of a group over this number is its scale.
    pub fn divisor(self, bits: u32) -> f32 {
        let max = f32::from(*self.codes(bits).end());
        match self {
            Self::Equal => max,
            Self::AllCodes => max + 0.5,
        }
    }
}

/// The weights that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The whole tensor.
    Tensor,
    /// An output channel: a row of `[out, in]`.
    Channel,
    /// This many neighbours along the inputs.
    Size(u64),
    /// A block of so many rows and so many columns.
    Block(u64, u64),
    /// The shapes do not tell.
    Unread,
}

impl Group {
    /// How many scales `[out, in]` needs: rows and columns of them. `None` if the shapes do not tell.
    pub fn grid(self, out: u64, inputs: u64) -> Option<[u64; 2]> {
        match self {
            Self::Tensor => Some([1, 1]),
            Self::Channel => Some([out, 1]),
            Self::Size(size) if size > 0 => Some([out, inputs.div_ceil(size)]),
            Self::Block(rows, columns) if rows > 0 && columns > 0 => {
                Some([out.div_ceil(rows), inputs.div_ceil(columns)])
            }
            _ => None,
        }
    }
}

impl Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.write_str("tensor"),
            Self::Channel => f.write_str("channel"),
            Self::Size(size) => size.fmt(f),
            Self::Block(rows, columns) => write!(f, "{rows}x{columns}"),
            Self::Unread => f.write_str("?"),
        }
    }
}

/// A number stored once for several weights: a scale, a zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// Its bits.
    pub bits: u32,
    /// The weights that share it.
    pub per: Group,
}

/// A storage format of a linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// What it is called.
    pub name: Cow<'static, str>,
    /// The grid of the weights.
    pub weights: Grid,
    /// The grid of the activations when the layer multiplies. Products of two quantized operands run
    /// at the rate of that grid, all others at the rate of 16-bit floats.
    pub activations: Grid,
    /// Scales and zero points, which are stored besides the codes.
    pub overhead: Cow<'static, [Overhead]>,
}

impl Format {
    /// Nothing quantized, in 16 bits.
    pub const BF16: Self = Self {
        name: Cow::Borrowed("bf16"),
        weights: Grid::Sixteen,
        activations: Grid::Sixteen,
        overhead: Cow::Borrowed(&[]),
    };

    /// int8 weights with an `f32` scale per output channel, int8 activations with one per token.
    pub const W8A8: Self = Self {
        name: Cow::Borrowed("W8A8"),
        weights: Grid::Int(8),
        activations: Grid::Int(8),
        overhead: Cow::Borrowed(&[Overhead { bits: 32, per: Group::Channel }]),
    };

    /// FP8 weights with an `f32` scale per output channel, FP8 activations with one per token.
    pub const FP8: Self = Self {
        name: Cow::Borrowed("FP8"),
        weights: Grid::E4M3,
        activations: Grid::E4M3,
        overhead: Cow::Borrowed(&[Overhead { bits: 32, per: Group::Channel }]),
    };

    /// NVFP4 weights and activations. The 32 bits of a whole matrix are left out, because they are less than a
    /// ten-thousandth of the bytes of the smallest matrix that the book computes with.
    pub const NVFP4: Self = Self {
        name: Cow::Borrowed("NVFP4"),
        weights: Grid::E2M1,
        activations: Grid::E2M1,
        overhead: Cow::Borrowed(&[Overhead { bits: 8, per: Group::Size(16) }]),
    };

    /// int4 weights with a 16-bit scale for each group, activations in 16 bits.
    pub fn w4a16(group_size: u64) -> Self {
        Self {
            name: format!("W4A16 g{group_size}").into(),
            weights: Grid::Int(4),
            activations: Grid::Sixteen,
            overhead: vec![Overhead { bits: 16, per: Group::Size(group_size) }].into(),
        }
    }
}
