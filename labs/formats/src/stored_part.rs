//! A tensor of a file with its bytes, read as numbers.

use half::{bf16, f16};
use ndarray::Array2;

use crate::FormatError;
use crate::checkpoint::{Dtype, Storage, Tensor};
use crate::float8;
use crate::gguf::TensorType;

/// A tensor of a file, with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPart {
    /// Name, type and shape.
    pub tensor: Tensor,
    /// Its data.
    pub bytes: Vec<u8>,
}

impl StoredPart {
    /// Columns that the file says it has; 1 for a tensor with one axis.
    pub(crate) fn columns(&self) -> usize {
        self.tensor.shape.get(1).map_or(1, |&n| usize::try_from(n).unwrap_or(usize::MAX))
    }

    /// Floats of 8, 16 or 32 bits, whichever the file has.
    ///
    /// # Errors
    /// If they are no floats that are decoded here, or no matrix of `shape`.
    pub fn floats(&self, shape: [usize; 2]) -> Result<Array2<f32>, FormatError> {
        match self.tensor.storage {
            Storage::Elements(Dtype::F32) => self.numbers(shape, f32::from_le_bytes),
            Storage::Elements(Dtype::F16) => {
                self.numbers(shape, |b| f16::from_le_bytes(b).to_f32())
            }
            Storage::Elements(Dtype::BF16) => {
                self.numbers(shape, |b| bf16::from_le_bytes(b).to_f32())
            }
            Storage::Elements(dtype) if dtype.is_fp8() => self.float8(shape),
            other => {
                Err(self.refused(format!("is {other}, which is no float of 8, 16 or 32 bits")))
            }
        }
    }

    /// The values of FP8 codes.
    ///
    /// # Errors
    /// If the type is not decoded here, or they are no matrix of `shape`.
    pub fn float8(&self, shape: [usize; 2]) -> Result<Array2<f32>, FormatError> {
        let decode = match self.tensor.storage {
            Storage::Elements(dtype) => float8::decoder(dtype),
            Storage::Blocks(_) => None,
        };
        let decode = decode.ok_or_else(|| {
            let storage = self.tensor.storage;
            self.refused(format!("is {storage}, and F8_E4M3 and F8_E5M2 are decoded"))
        })?;
        self.numbers(shape, |[byte]| decode(byte))
    }

    /// Words of packed codes.
    pub(crate) fn words(&self, shape: [usize; 2]) -> Result<Array2<i32>, FormatError> {
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
    pub(crate) fn shaped<T>(
        &self,
        numbers: Vec<T>,
        shape: [usize; 2],
    ) -> Result<Array2<T>, FormatError> {
        let count = numbers.len();
        Array2::from_shape_vec(shape, numbers)
            .map_err(|_| self.refused(format!("has {count} numbers, no matrix of {shape:?}")))
    }

    /// The type of its blocks.
    pub(crate) fn blocks(&self) -> Result<TensorType, FormatError> {
        match self.tensor.storage {
            Storage::Blocks(kind) => Ok(kind),
            other => Err(self.refused(format!("is {other}, not blocks of GGML"))),
        }
    }

    /// Whether this is the part called `name`.
    pub fn is(&self, name: &str) -> bool {
        self.tensor.name.rsplit('.').next() == Some(name)
    }

    pub(crate) fn refused(&self, problem: String) -> FormatError {
        FormatError::Part { name: self.tensor.name.clone(), problem }
    }
}
