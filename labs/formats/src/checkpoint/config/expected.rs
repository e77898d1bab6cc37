//! The expectation of a config for a group of modules, in one form for all tools.

use crate::format::Group;

/// The expectation of the config for a group of modules. Bits, group, symmetry and format are compared
/// with the shapes. No shape shows the other fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Bits of a code.
    pub bits: Option<u64>,
    /// The weights that share a scale.
    pub group: Option<Group>,
    /// Whether the grid is symmetric.
    pub symmetric: Option<bool>,
    /// The tool's name for the layout: `format` of compressed-tensors, `packing_format` of auto-round.
    pub format: Option<String>,
    /// The grid of the weights.
    pub grid: Option<WeightGrid>,
    /// The granularity that the method implies where the config has no field for it.
    pub implied_group: Option<Group>,
    /// The activations; `None` if nothing is said of them.
    pub activations: Option<Activations>,
    /// Whether the rows were quantized in the order of their activations.
    pub act_order: Option<bool>,
    /// Whether the config says that scales of activations are in the file.
    pub input_scale: bool,
    /// bitsandbytes: the table, where the config names it.
    pub table: Option<String>,
    /// bitsandbytes: whether scales are quantized too, where the config says so.
    pub double: Option<bool>,
}

/// The grid of the weights, with the layout where the grid has one of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum WeightGrid {
    /// Integers or floats, with the scales that the config names.
    Plain(Numbers),
    /// FP4, an FP8 scale for 16 weights, one `f32` for the tensor.
    Nvfp4,
    /// FP4, a power of two for 32 weights.
    Mxfp4,
    /// FP6 E2M3, a power of two for 32 weights.
    Mxfp6E2m3,
    /// FP6 E3M2, a power of two for 32 weights.
    Mxfp6E3m2,
    /// FP6 of a kind that the config does not say, a power of two for 32 weights.
    Mxfp6,
    /// FP8, a power of two for 32 weights.
    Mxfp8,
    /// bitsandbytes: LLM.int8().
    BnbInt8,
    /// bitsandbytes: a table of 16 values, blocks of 64 weights.
    BnbTable {
        /// NF4, or else bitsandbytes' FP4.
        nf4: bool,
        /// Whether the scales are quantized too.
        double: bool,
    },
}

/// The kind of a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Integers.
    Int,
    /// Floats.
    Float,
    /// Another kind, by the name in the config.
    Other(String),
}

impl Numbers {
    /// The kind that compressed-tensors calls `name`.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "int" => Self::Int,
            "float" => Self::Float,
            other => Self::Other(other.into()),
        }
    }
}

/// What a config says of the activations when a layer multiplies. With 16 bits they are not quantized.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    /// Bits of a number.
    pub bits: u64,
    /// The kind of a number.
    pub numbers: Option<Numbers>,
    /// When the scale is found.
    pub scale: Option<ScaleTime>,
    /// The activations that share a scale.
    pub granularity: Option<ActGranularity>,
}

/// When the scale of activations is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleTime {
    /// By calibration; the scale is in the file.
    Static,
    /// At run time.
    Dynamic,
}

/// The activations that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActGranularity {
    /// Those of a token.
    Token,
    /// The whole tensor, or neighbours.
    Group(Group),
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvCache {
    /// FP8 E4M3.
    Fp8E4m3,
    /// NVFP4.
    Nvfp4,
    /// Integers of so many bits.
    Int(u64),
}
