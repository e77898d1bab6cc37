//! The schemes of this lab, and a recipe for a file.

use std::fmt::{self, Display};

use formats::bytes::Float;
use formats::gguf::{BLOCK, TensorType};
use formats::registry::{File, StorageFormat};

/// How the linear layers of a model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Floats, as the original that the others are compared with.
    Plain,
    /// compressed-tensors `int-quantized`: int8 per channel, and int8 activations with one scale
    /// for each token, found when the model runs.
    W8A8,
    /// compressed-tensors `pack-quantized`, 8 bits: int8 per channel, activations stay in floats.
    W8A16,
    /// compressed-tensors `pack-quantized`, 4 bits, in groups of this size.
    W4A16(u64),
    /// AutoAWQ's GEMM layout, 4 bits, in groups of this size.
    Awq(u64),
    /// GPTQ's layout, version 1, 4 bits, in groups of this size.
    Gptq(u64),
    /// compressed-tensors `float-quantized`: FP8 e4m3fn per channel, and FP8 activations with one
    /// scale for each token.
    Fp8,
    /// Blocks of GGML in a GGUF file: Q8_0, Q4_0 or Q4_1.
    Gguf(TensorType),
}

impl Scheme {
    /// The scheme of a format of the registry, or `None` for a format that this lab does not name.
    /// Such a format follows its own description.
    pub fn of(format: StorageFormat) -> Option<Self> {
        Some(match (format.description.name, &format.description.file) {
            ("none", _) => Self::Plain,
            ("w8a8", _) => Self::W8A8,
            ("w8a16", _) => Self::W8A16,
            ("w4a16", _) => Self::W4A16(format.group_size),
            ("awq", _) => Self::Awq(format.group_size),
            ("gptq", _) => Self::Gptq(format.group_size),
            ("fp8", _) => Self::Fp8,
            ("gguf-q8_0" | "gguf-q4_0" | "gguf-q4_1", &File::Gguf(kind)) => Self::Gguf(kind),
            _ => return None,
        })
    }

    /// The earlier lab that chooses the codes; `None` where no lab does.
    pub fn lab_of_codes(self) -> Option<&'static str> {
        match self {
            Self::W8A8 | Self::W8A16 => Some("01"),
            Self::W4A16(_) | Self::Awq(_) | Self::Gptq(_) => Some("03"),
            Self::Plain | Self::Fp8 | Self::Gguf(_) => None,
        }
    }

    /// Weights of a group, or `None` if the granularity is a row or there is no scale.
    pub fn group_size(self) -> Option<u64> {
        match self {
            Self::W4A16(size) | Self::Awq(size) | Self::Gptq(size) => Some(size),
            Self::Gguf(_) => Some(BLOCK as u64),
            _ => None,
        }
    }
}

/// The name on the command line.
impl Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "none",
            Self::W8A8 => "w8a8",
            Self::W8A16 => "w8a16",
            Self::W4A16(_) => "w4a16",
            Self::Awq(_) => "awq",
            Self::Gptq(_) => "gptq",
            Self::Fp8 => "fp8",
            Self::Gguf(kind) => return write!(f, "gguf-{}", kind.to_string().to_lowercase()),
        })
    }
}

/// A scheme, and the type of the tensors that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How linear layers are stored.
    pub scheme: Scheme,
    /// The type of all other tensors.
    pub float: Float,
}
