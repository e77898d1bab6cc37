//! The types of floats that a checkpoint keeps.

use crate::checkpoint::Dtype;

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
