//! The formats that are metered.

use clap::ValueEnum;

use super::cuda::lt::Kind;

/// A format of the course, as the meters see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// bf16 weights and activations.
    Bf16,
    /// FP8 W8A8: e4m3, one scale a tensor, dynamic for activations.
    Fp8Tensor,
    /// FP8 W8A8: e4m3, one scale a channel and, dynamic, one a token.
    Fp8Channel,
    /// INT8 W8A8: one scale a channel and, dynamic, one a token.
    Int8,
    /// int4 weights in groups of 128, bf16 activations.
    #[value(name = "w4a16-g128")]
    W4A16,
}

impl Format {
    /// All of them; the one with the most code of our own last, because an illegal address in a
    /// kernel ends the device's context for everything after it.
    pub const ALL: [Self; 5] =
        [Self::Bf16, Self::Fp8Tensor, Self::Fp8Channel, Self::Int8, Self::W4A16];

    /// The name in captures and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8Tensor => "fp8-tensor",
            Self::Fp8Channel => "fp8-channel",
            Self::Int8 => "int8",
            Self::W4A16 => "w4a16-g128",
        }
    }

    /// Whether the activations are quantized too.
    pub fn quantizes_activations(self) -> bool {
        matches!(self, Self::Fp8Tensor | Self::Fp8Channel | Self::Int8)
    }

    /// The least compute capability that has it: bf16 came with Ampere, e4m3 products with Ada, and
    /// the library's scales per row with Hopper.
    pub fn least_capability(self) -> (u32, u32) {
        match self {
            Self::Bf16 | Self::Int8 | Self::W4A16 => (8, 0),
            Self::Fp8Tensor => (8, 9),
            Self::Fp8Channel => (9, 0),
        }
    }

    /// The kind of the library's product.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Bf16 | Self::W4A16 => Kind::Bf16,
            Self::Fp8Tensor => Kind::Fp8Tensor,
            Self::Fp8Channel => Kind::Fp8Rows,
            Self::Int8 => Kind::Int8,
        }
    }
}
