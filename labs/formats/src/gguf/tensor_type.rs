//! The types of tensors in a GGUF file.

use std::fmt::{self, Display};

use super::listed::listed;

/// How a tensor is stored, by GGML's name for it.
#[allow(non_camel_case_types)] // The names are GGML's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// Plain `f32`, 4 bytes a weight.
    F32,
    /// Plain `f16`, 2 bytes a weight.
    F16,
    /// `(code - 8) * d`: an `f16` scale and 32 codes of 4 bits, 18 bytes.
    Q4_0,
    /// `code * d + m`: an `f16` scale, an `f16` minimum and 32 codes of 4 bits, 20 bytes.
    Q4_1,
    /// `(code - 16) * d`: an `f16` scale and 32 codes of 5 bits, 22 bytes.
    Q5_0,
    /// `code * d + m`: an `f16` scale, an `f16` minimum and 32 codes of 5 bits, 24 bytes.
    Q5_1,
    /// `code * d`: an `f16` scale and 32 codes of 8 bits with a sign, 34 bytes.
    Q8_0,
    /// A super-block of 256 codes of 2 bits: 16 sub-blocks with scales and minima of 4 bits, 84 bytes.
    Q2_K,
    /// A super-block of 256 codes of 3 bits: 16 sub-blocks with scales of 6 bits, 110 bytes.
    Q3_K,
    /// A super-block of 256 codes of 4 bits: 8 sub-blocks with scales and minima of 6 bits, 144 bytes.
    Q4_K,
    /// A super-block of 256 codes of 5 bits: 8 sub-blocks with scales and minima of 6 bits, 176 bytes.
    Q5_K,
    /// A super-block of 256 codes of 6 bits: 16 sub-blocks with scales of 8 bits, 210 bytes.
    Q6_K,
    /// `values[code] * d`: an `f16` scale and 32 codes of 4 bits for a table of 16 values, 18 bytes.
    IQ4_NL,
    /// FP4 codes under a power of two: a byte of exponent and 32 codes of 4 bits, 17 bytes.
    Mxfp4,
    /// A type that is listed but not decoded, by its number in the file.
    Other(u32),
}

impl TensorType {
    /// The types that are decoded here.
    pub const DECODED: [Self; 14] = [
        Self::F32,
        Self::F16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
        Self::Mxfp4,
    ];

    /// The type that has the number `id` in a GGUF file.
    pub fn from_id(id: u32) -> Self {
        Self::DECODED.into_iter().find(|kind| kind.id() == id).unwrap_or(Self::Other(id))
    }

    /// The number of the type in a GGUF file.
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2_K => 10,
            Self::Q3_K => 11,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::IQ4_NL => 20,
            Self::Mxfp4 => 39,
            Self::Other(id) => id,
        }
    }

    /// Weights in a block and bytes of a block, `None` for a type that is not listed here.
    pub fn block(self) -> Option<(usize, usize)> {
        listed(self.id()).map(|&(_, _, weights, bytes, _)| (weights, bytes))
    }

    /// Weights that share a scale, which can be a part of a block; `None` for plain numbers and for types
    /// that are not listed here.
    pub fn group(self) -> Option<u64> {
        listed(self.id()).map(|&(.., group)| group).filter(|&group| group > 0)
    }

    /// Bits of a code as text, because those of [`TQ1_0`](Self::Other) are no whole number.
    pub fn code_bits(self) -> String {
        let name = self.to_string();
        let digit = name.chars().find(char::is_ascii_digit).filter(|_| self.group().is_some());
        match (name.as_str(), digit) {
            // Five digits of three values in a byte.
            ("TQ1_0", _) => "1.6".into(),
            (_, digit) => digit.map_or("?".into(), String::from),
        }
    }

    /// Whether [`dequantize`](super::dequantize) knows the type.
    pub fn is_decoded(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match listed(self.id()) {
            Some((_, name, ..)) => f.write_str(name),
            None => write!(f, "type {}", self.id()),
        }
    }
}
