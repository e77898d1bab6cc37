//! What can be asked for, and the words for what happens to a tensor.

use std::fmt::{self, Display};

use formats::checkpoint::{Dtype, Storage, Tensor};
use formats::gguf::{BLOCK, TensorType};

use crate::QuantizeError;

/// How the linear layers of a model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// As floats: the original that the others are compared with.
    Plain,
    /// compressed-tensors `int-quantized`: int8 per channel, and int8 activations with one scale for
    /// each token, found when the model runs.
    W8A8,
    /// compressed-tensors `pack-quantized`, 8 bits: int8 per channel, activations stay floats.
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
    /// What the command line calls them.
    pub const NAMES: [&str; 10] = [
        "none",
        "w8a8",
        "w8a16",
        "w4a16",
        "awq",
        "gptq",
        "fp8",
        "gguf-q8_0",
        "gguf-q4_0",
        "gguf-q4_1",
    ];

    /// The scheme that the command line calls `name`; `group_size` is for those that have groups.
    ///
    /// # Errors
    /// If there is no such scheme, or the size is not a positive multiple of 8: eight codes share a
    /// word.
    pub fn named(name: &str, group_size: u64) -> Result<Self, QuantizeError> {
        if group_size == 0 || !group_size.is_multiple_of(8) {
            return Err(QuantizeError::GroupSize(group_size));
        }
        match name {
            "none" => Ok(Self::Plain),
            "w8a8" => Ok(Self::W8A8),
            "w8a16" => Ok(Self::W8A16),
            "w4a16" => Ok(Self::W4A16(group_size)),
            "awq" => Ok(Self::Awq(group_size)),
            "gptq" => Ok(Self::Gptq(group_size)),
            "fp8" => Ok(Self::Fp8),
            "gguf-q8_0" => Ok(Self::Gguf(TensorType::Q8_0)),
            "gguf-q4_0" => Ok(Self::Gguf(TensorType::Q4_0)),
            "gguf-q4_1" => Ok(Self::Gguf(TensorType::Q4_1)),
            other => Err(QuantizeError::NoScheme { name: other.into() }),
        }
    }

    /// Neighbours in a row that share a scale; `None` where a row has one, or nothing has.
    pub fn group_size(self) -> Option<u64> {
        match self {
            Self::W4A16(size) | Self::Awq(size) | Self::Gptq(size) => Some(size),
            Self::Gguf(_) => Some(BLOCK as u64),
            _ => None,
        }
    }

    /// Whether the result is a GGUF file rather than a folder.
    pub fn is_gguf(self) -> bool {
        matches!(self, Self::Gguf(_))
    }
}

/// As the command line names it.
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

/// The type of what stays a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// 11 significant bits, up to 65,504. The default: the `f16` scales of lab 03 stay exact when an
    /// engine casts them to the type of the model, and the largest activation of SmolLM2 is far below
    /// the end.
    F16,
    /// 8 significant bits, the range of `f32`.
    Bf16,
    /// 24 significant bits.
    F32,
}

impl Float {
    /// Its name in a safetensors header.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
            Self::F32 => Dtype::F32,
        }
    }

    /// Its name in `config.json`.
    pub fn torch_dtype(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
        }
    }
}

/// A scheme, and the type of what it leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How linear layers are stored.
    pub scheme: Scheme,
    /// How everything else is.
    pub float: Float,
}

/// What happens to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is quantized.
    Quantize,
    /// It stays a float.
    Keep(Reason),
}

/// Why a tensor stays a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The scheme is [`Scheme::Plain`].
    Plain,
    /// It is no weight matrix: a norm, a bias.
    NotAMatrix,
    /// It is looked up, not multiplied.
    Embedding,
    /// It makes the logits, and in many models it is the embedding.
    Head,
    /// `size`, its length along `axis`, is no multiple of `by`.
    Indivisible {
        /// `out_features` or `in_features`.
        axis: &'static str,
        /// Its length.
        size: u64,
        /// What would have to divide it.
        by: u64,
    },
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("nothing is quantized"),
            Self::NotAMatrix => f.write_str("no matrix"),
            Self::Embedding => f.write_str("the embedding, which is looked up"),
            Self::Head => f.write_str("the head, which makes the logits"),
            Self::Indivisible { axis, size, by } => {
                write!(f, "its {axis}, {size}, is no multiple of {by}")
            }
        }
    }
}

/// The tensor `module.name` of a safetensors file.
pub fn part(module: &str, name: &str, dtype: Dtype, shape: &[u64]) -> Tensor {
    let elements = shape.iter().fold(1u64, |product, &n| product.saturating_mul(n));
    Tensor {
        name: format!("{module}.{name}"),
        storage: Storage::Elements(dtype),
        shape: shape.to_vec(),
        bytes: elements.saturating_mul(dtype.bits()) / 8,
    }
}

/// The tensor `name` of a GGUF file: rows of whole blocks of `kind`.
pub fn blocks(name: &str, kind: TensorType, shape: &[u64]) -> Tensor {
    let elements = shape.iter().fold(1u64, |product, &n| product.saturating_mul(n));
    let (weights, bytes) = kind.block().unwrap_or((1, 0));
    Tensor {
        name: name.into(),
        storage: Storage::Blocks(kind),
        shape: shape.to_vec(),
        bytes: (elements / weights as u64).saturating_mul(bytes as u64),
    }
}
