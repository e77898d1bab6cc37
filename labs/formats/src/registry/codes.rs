//! The codes between rounding and storing, and the parts that a file stores.

use half::{bf16, f16};
use kit::int8::Quantized;
use ndarray::Array2;

use crate::FormatError;
use crate::checkpoint::{Dtype, Storage, Tensor};
use crate::gguf::TensorType;
use crate::layouts::Grouped;

/// The codes of a matrix `[out_features, in_features]` with their scales: rounding chooses
/// the codes and storing lays them out.
#[derive(Clone, Debug, PartialEq)]
pub enum Codes {
    /// int8, a scale for each row.
    Int8(Quantized),
    /// FP8 e4m3, `[out_features, in_features]`, and a scale for each row, `[out_features, 1]`.
    Float8 {
        /// The codes.
        codes: Array2<u8>,
        /// The scales.
        scales: Array2<f32>,
    },
    /// int4 in groups, with zero points.
    Int4(Grouped),
    /// Blocks of GGML, row after row.
    Blocks(Vec<u8>),
}

impl Codes {
    pub(super) fn int8(&self) -> Result<&Quantized, FormatError> {
        if let Self::Int8(w) = self { Ok(w) } else { Err(FormatError::WrongCodes("int8")) }
    }

    pub(super) fn int4(&self) -> Result<&Grouped, FormatError> {
        if let Self::Int4(w) = self { Ok(w) } else { Err(FormatError::WrongCodes("int4")) }
    }
}

/// A tensor of a file, with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPart {
    /// Name, type and shape.
    pub tensor: Tensor,
    /// Its data.
    pub bytes: Vec<u8>,
}

impl StoredPart {
    /// Rows that the file says it has; 0 for a tensor without axes.
    pub(super) fn rows(&self) -> usize {
        self.tensor.shape.first().map_or(0, |&n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// Columns that the file says it has; 1 for a tensor with one axis.
    pub(super) fn columns(&self) -> usize {
        self.tensor.shape.get(1).map_or(1, |&n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// Floats of 16 or 32 bits, whichever the file has.
    ///
    /// # Errors
    /// If they are no floats, or no matrix of `shape`.
    pub fn floats(&self, shape: [usize; 2]) -> Result<Array2<f32>, FormatError> {
        match self.tensor.storage {
            Storage::Elements(Dtype::F32) => self.numbers(shape, f32::from_le_bytes),
            Storage::Elements(Dtype::F16) => {
                self.numbers(shape, |b| f16::from_le_bytes(b).to_f32())
            }
            Storage::Elements(Dtype::BF16) => {
                self.numbers(shape, |b| bf16::from_le_bytes(b).to_f32())
            }
            other => Err(self.refused(format!("is {other}, which is no float"))),
        }
    }

    /// Words of packed codes.
    pub(super) fn words(&self, shape: [usize; 2]) -> Result<Array2<i32>, FormatError> {
        self.numbers(shape, i32::from_le_bytes)
    }

    /// Numbers of `N` bytes.
    ///
    /// # Errors
    /// If they are no matrix of `shape`.
    pub fn numbers<T, const N: usize>(
        &self,
        shape: [usize; 2],
        number: impl Fn([u8; N]) -> T,
    ) -> Result<Array2<T>, FormatError> {
        let (numbers, rest) = self.bytes.as_chunks::<N>();
        if !rest.is_empty() {
            let problem = format!("has {} bytes, no whole numbers of {N}", self.bytes.len());
            return Err(self.refused(problem));
        }
        self.shaped(numbers.iter().copied().map(number).collect(), shape)
    }

    /// `numbers` as a matrix.
    pub(super) fn shaped<T>(
        &self,
        numbers: Vec<T>,
        shape: [usize; 2],
    ) -> Result<Array2<T>, FormatError> {
        let count = numbers.len();
        Array2::from_shape_vec(shape, numbers)
            .map_err(|_| self.refused(format!("has {count} numbers, no matrix of {shape:?}")))
    }

    /// The type of its blocks.
    pub(super) fn blocks(&self) -> Result<TensorType, FormatError> {
        match self.tensor.storage {
            Storage::Blocks(kind) => Ok(kind),
            other => Err(self.refused(format!("is {other}, not blocks of GGML"))),
        }
    }

    /// Whether this is the part called `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.tensor.name.rsplit('.').next() == Some(name)
    }

    fn refused(&self, problem: String) -> FormatError {
        FormatError::Part { name: self.tensor.name.clone(), problem }
    }
}

/// Parts that are not those of a matrix in `format`.
pub(super) fn wrong_parts(format: &'static str, parts: &[StoredPart]) -> FormatError {
    let names: Vec<&str> = parts.iter().map(|part| part.tensor.name.as_str()).collect();
    FormatError::WrongParts { format, found: names.join(", ") }
}
