//! The codes between rounding and storing.

use kit::int8::Quantized;
use ndarray::Array2;

use crate::FormatError;
use crate::gguf::TensorType;
use crate::layouts::Grouped;

/// The codes of a matrix `[out_features, in_features]` with their scales: rounding chooses
/// the codes and storing lays them out.
#[derive(Clone, Debug, PartialEq)]
pub enum Codes {
    /// int8, a scale for each row.
    Int8(Quantized),
    /// FP8 e4m3, `[out_features, in_features]`, and a scale for each row, `[out_features, 1]`, for each
    /// block, or for all.
    Float8 {
        /// The codes.
        codes: Array2<u8>,
        /// The scales.
        scales: Array2<f32>,
    },
    /// FP4 or FP8 in blocks along the rows, with a scale of one byte for each block.
    Blocked {
        /// The codes, `[out_features, in_features]`.
        codes: Array2<u8>,
        /// The codes of the scales, `[out_features, in_features / block]`.
        scales: Array2<u8>,
        /// The scale by which stored scales are divided, where there is one.
        global: Option<f32>,
    },
    /// Codes of a table, `[out_features, in_features]`, and the scale of each block of a row,
    /// `[out_features, in_features / block]`.
    Table {
        /// The codes.
        codes: Array2<u8>,
        /// The scales.
        scales: Array2<f32>,
    },
    /// int4 or int3 in groups, with zero points.
    Grouped(Grouped),
    /// Blocks of GGML, row after row.
    Blocks {
        /// The type of all blocks.
        kind: TensorType,
        /// The blocks.
        bytes: Vec<u8>,
    },
}

impl Codes {
    /// These scales with other codes of small floats, `[out_features, in_features]`; `None` where codes are
    /// not small floats.
    pub fn with_floats(&self, codes: Array2<u8>) -> Option<Self> {
        match self {
            Self::Float8 { scales, .. } => Some(Self::Float8 { codes, scales: scales.clone() }),
            Self::Blocked { scales, global, .. } => {
                Some(Self::Blocked { codes, scales: scales.clone(), global: *global })
            }
            _ => None,
        }
    }

    pub(super) fn int8(&self) -> Result<&Quantized, FormatError> {
        if let Self::Int8(w) = self { Ok(w) } else { Err(FormatError::WrongCodes("int8")) }
    }

    pub(super) fn grouped(&self) -> Result<&Grouped, FormatError> {
        if let Self::Grouped(w) = self {
            Ok(w)
        } else {
            Err(FormatError::WrongCodes("int4 or int3"))
        }
    }
}
