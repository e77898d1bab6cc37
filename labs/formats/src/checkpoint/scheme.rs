//! The schemes of quantized matrices.

use std::fmt::{self, Display};

use crate::format::Group;
use crate::gguf::TensorType;

use super::tensor::Tensor;

/// The layout of a matrix, and the tool that packs it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// AutoAWQ's GEMM layout: `qweight [in, out/8]`, interleaved nibbles.
    AwqGemm,
    /// GPTQ: `qweight [in/8, out]`. Only the config tells the version, because the shapes are the same.
    Gptq(GptqVersion),
    /// compressed-tensors: integer codes in 32-bit words along the inputs.
    PackQuantized,
    /// compressed-tensors: one `int8` a weight.
    IntQuantized,
    /// One FP8 a weight, to be multiplied by `weight_scale`.
    Fp8,
    /// One FP8 a weight, with DeepSeek's name for a scale of each block: `weight_scale_inv`.
    Fp8ScaleInv,
    /// One FP8 a weight, and a power of two as one byte for 32 of them.
    Mxfp8,
    /// compressed-tensors: two FP4 a byte, an FP8 scale for 16, one `f32` for the tensor.
    Nvfp4,
    /// The same under ModelOpt's names: `weight`, `weight_scale`, `weight_scale_2`.
    Nvfp4ModelOpt,
    /// compressed-tensors: two FP4 a byte, and a power of two as one byte for 32 of them.
    Mxfp4,
    /// The same for the experts of gpt-oss: `*_blocks` and `*_scales`.
    Mxfp4GptOss,
    /// bitsandbytes: two indices into a table of 16 values a byte. `true`: scales quantized as well.
    BnbTable {
        /// The table: `nf4` or `fp4`.
        table: &'static str,
        /// Whether the scales are quantized too.
        double: bool,
    },
    /// bitsandbytes: LLM.int8().
    BnbInt8,
    /// A type of GGML, in a GGUF file.
    Ggml(TensorType),
    /// Another layout, by its name. Only its size is known here, and no config is compared with its name.
    Named(&'static str),
}

impl Scheme {
    /// The experts of DeepSeek-V4, whose type is beside the quantization config (`expert_dtype`) and not in it.
    pub(super) const EXPERTS: Self = Self::Named("MXFP4, DeepSeek-V4 names");
}

/// How GPTQ's zero points are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GptqVersion {
    /// Minus one.
    V1,
    /// As they are.
    V2,
    /// As they are, and codes in planes of bits: GPTQModel's `gptq_p`, for 3, 5, 6 and 7 bits. The shapes are
    /// those of the other versions.
    Planar,
    /// The config does not name the version.
    #[default]
    Unsaid,
}

impl Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::AwqGemm => "AWQ gemm",
            Self::Gptq(GptqVersion::V1) => "GPTQ v1",
            Self::Gptq(GptqVersion::V2) => "GPTQ v2",
            Self::Gptq(GptqVersion::Planar) => "GPTQ, planar",
            Self::Gptq(GptqVersion::Unsaid) => "GPTQ, v1 or v2",
            Self::PackQuantized => "pack-quantized",
            Self::IntQuantized => "int-quantized",
            Self::Fp8 => "FP8, weight_scale",
            Self::Fp8ScaleInv => "FP8, weight_scale_inv",
            Self::Mxfp8 => "mxfp8-quantized",
            Self::Nvfp4 => "nvfp4-pack-quantized",
            Self::Nvfp4ModelOpt => "NVFP4, ModelOpt names",
            Self::Mxfp4 => "mxfp4-pack-quantized",
            Self::Mxfp4GptOss => "MXFP4, gpt-oss names",
            Self::BnbTable { table, double: false } => return write!(f, "bitsandbytes {table}"),
            Self::BnbTable { table, double: true } => {
                return write!(f, "bitsandbytes {table}, double");
            }
            Self::BnbInt8 => "bitsandbytes int8",
            Self::Ggml(kind) => return write!(f, "GGML {kind}"),
            Self::Named(name) => name,
        };
        f.write_str(name)
    }
}

/// Whether the grid is symmetric about zero, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroPoints {
    /// No zero points are stored.
    Absent,
    /// The format stores zero points only for an asymmetric grid, and they are stored.
    Stored,
    /// The format always stores zero points. Only the data tell whether all are this one.
    Always(u32),
    /// Each block has a minimum of its own.
    Minimum,
    /// Codes are indices into a table.
    Table,
}

impl ZeroPoints {
    /// `Some(true)` for a symmetric grid, `None` where the header cannot tell.
    pub fn symmetric(self) -> Option<bool> {
        match self {
            Self::Absent => Some(true),
            Self::Stored | Self::Minimum => Some(false),
            Self::Always(_) | Self::Table => None,
        }
    }
}

impl Display for ZeroPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("yes: no zero points are stored"),
            Self::Stored => f.write_str("no: zero points are stored"),
            Self::Always(middle) => {
                write!(f, "zero points are stored; whether all are {middle} needs the data")
            }
            Self::Minimum => f.write_str("no: each block stores a minimum"),
            Self::Table => f.write_str("the codes are indices into a table"),
        }
    }
}

/// A matrix that is stored quantized, put together from its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// The module: `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// The layout, and the tool that packs it so.
    pub scheme: Scheme,
    /// Bits of a code; `None` where neither shapes nor config say.
    pub bits: Option<u64>,
    /// The weights that share a scale.
    pub group: Group,
    /// Whether the grid is symmetric, and how that is known.
    pub zeros: ZeroPoints,
    /// The matrix it stands for: `[out, in]`, experts in front; `None` where the header cannot tell.
    pub shape: Option<Vec<u64>>,
    /// How many weights it holds, if that is known.
    pub weights: Option<u64>,
    /// Every tensor it is made of but a bias, which a plain layer has too. A name is what comes after that of the
    /// module: `qweight`, `scales`.
    pub parts: Vec<Tensor>,
}

/// A module whose layout is not known here, so that nobody is told how many weights it has.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownLayout {
    /// The module: `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// The layout, as far as it can be named: `MLX`, `GGML type 139`; else the words for none.
    pub layout: String,
    /// How many tensors it is made of, a bias left out.
    pub parts: usize,
    /// Bytes of all its parts; in a GGUF file with the padding that follows.
    pub bytes: u64,
    /// Why the layout is not known, as the end of a sentence that begins with "not checked, because".
    pub because: String,
}

impl Quantized {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.bytes))
    }

    /// Bits a weight costs, all parts counted.
    pub fn bits_per_weight(&self) -> Option<f64> {
        bits_per_weight(self.bytes(), self.weights?)
    }

    /// `out` and `in`, experts left out.
    pub fn matrix(&self) -> Option<[u64; 2]> {
        self.shape.as_ref()?.last_chunk().copied()
    }
}

/// Bits a weight costs; `None` for no weights.
pub fn bits_per_weight(bytes: u64, weights: u64) -> Option<f64> {
    (weights > 0).then(|| bytes as f64 * 8.0 / weights as f64)
}
