//! The GGUF file that the real weights come from, decoded block by block.
//!
//! A GGUF file is a header and then the tensors' bytes. The header is read whole and checked when
//! the file is opened; a tensor is read when it is asked for, so a file of any size takes only the
//! memory of the tensors in use. No length in the file is trusted before it has been compared with
//! the bytes that are there.
//!
//! ```no_run
//! # fn main() -> Result<(), formats::gguf::GgufError> {
//! use formats::gguf::{Gguf, unpermute_rotary};
//!
//! let mut model = Gguf::open("target/model/SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! let heads = model.u64("llama.attention.head_count")?;
//! let q_proj = model.tensor("blk.1.attn_q.weight")?; // [out_features, in_features]
//! let q_proj = unpermute_rotary(&q_proj, heads as usize)?;
//! # Ok(())
//! # }
//! ```

mod blocks;
mod cursor;
mod error;
mod header;
pub mod k_quants;
mod listed;
mod rotary;
mod tensor_type;
mod value;
mod with_codes;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use ndarray::Array2;

use crate::printable::printable;

pub use blocks::{BLOCK, dequantize};
use cursor::Cursor;
pub use error::GgufError;
use header::Header;
pub use header::TensorInfo;
pub use rotary::{permute_rotary, unpermute_rotary};
pub use tensor_type::TensorType;
pub use value::Value;
pub use with_codes::{finds_again, last_code, with_codes};
pub use write::{Layout, RawValue, layout};

/// An opened GGUF file, version 2 or 3.
pub struct Gguf<R> {
    reader: R,
    header: Header,
}

impl Gguf<BufReader<File>> {
    /// Opens the file at `path` and reads its header.
    ///
    /// # Errors
    /// If the file cannot be read, is not GGUF version 2 or 3, is cut short or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        Self::read(BufReader::new(File::open(path).map_err(named)?))
    }
}

impl<'a> Gguf<io::Cursor<&'a [u8]>> {
    /// Reads the header of a file that is in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, GgufError> {
        Self::read(io::Cursor::new(bytes))
    }
}

impl<R: Read + Seek> Gguf<R> {
    /// Reads the header from `reader`, which starts where the file does.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn read(mut reader: R) -> Result<Self, GgufError> {
        let header = Header::read(&mut reader)?;
        Ok(Self { reader, header })
    }

    /// Bytes of the header: where the last tensor's entry ends.
    pub fn header_bytes(&self) -> u64 {
        self.header.bytes
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.header.file_bytes
    }

    /// All metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.header.metadata
    }

    /// The metadata value of `key`.
    ///
    /// # Errors
    /// [`GgufError::NoKey`] if there is none.
    pub fn value(&self, key: &str) -> Result<&Value, GgufError> {
        self.metadata().get(key).ok_or_else(|| GgufError::NoKey(key.into()))
    }

    /// The elements of the array `key`, as texts.
    ///
    /// # Errors
    /// If there is none, it is not an array of texts, or the file cannot be read.
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>, GgufError> {
        self.elements(key, "an array of texts", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    /// The elements of the array `key`, as whole numbers.
    ///
    /// # Errors
    /// If there is none, an element is not a whole number from 0 up, or the file cannot be read.
    pub fn integers(&mut self, key: &str) -> Result<Vec<u64>, GgufError> {
        self.elements(key, "an array of whole numbers from 0 up", |value| value.as_u64())
    }

    fn elements<T>(
        &mut self,
        key: &str,
        wanted: &'static str,
        convert: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, GgufError> {
        let found = self.value(key)?.type_name();
        let other = || GgufError::WrongType { key: printable(key), found, wanted };
        let (Value::Array(_), Some(&(begin, _))) = (self.value(key)?, self.header.spans.get(key))
        else {
            return Err(other());
        };
        // The elements come after the number of the array's own type.
        let mut cursor = Cursor::starting_at(&mut self.reader, begin + 4)?;
        let elements = cursor.elements(&format!("metadata `{}`", printable(key)), convert)?;
        elements.ok_or_else(other)
    }

    /// All metadata as the bytes of the file, for a file with the same metadata.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn raw_metadata(&mut self) -> Result<BTreeMap<String, RawValue>, GgufError> {
        let mut raw = BTreeMap::new();
        for (key, &(begin, bytes)) in &self.header.spans {
            // The length is safe to allocate, because the value was passed when the header was read.
            let mut value = vec![0; bytes as usize];
            self.reader.seek(SeekFrom::Start(begin))?;
            self.reader.read_exact(&mut value)?;
            raw.insert(key.clone(), RawValue(value));
        }
        Ok(raw)
    }

    /// The metadata value of `key` as a whole number.
    ///
    /// # Errors
    /// If there is none, or it is not a whole number from 0 up.
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        self.typed(key, "a whole number from 0 up", Value::as_u64)
    }

    /// The metadata value of `key` as a float.
    ///
    /// # Errors
    /// If there is none, or it is not a float.
    pub fn f64(&self, key: &str) -> Result<f64, GgufError> {
        self.typed(key, "a float", Value::as_f64)
    }

    /// The metadata value of `key` as text.
    ///
    /// # Errors
    /// If there is none, or it is not text.
    pub fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.typed(key, "text", Value::as_str)
    }

    fn typed<'v, T>(
        &'v self,
        key: &str,
        wanted: &'static str,
        convert: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<T, GgufError> {
        let value = self.value(key)?;
        let found = value.type_name();
        convert(value).ok_or_else(|| GgufError::WrongType { key: key.into(), found, wanted })
    }

    /// Every tensor, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// What the header says of the tensor `name`.
    ///
    /// # Errors
    /// [`GgufError::NoTensor`] if there is none.
    pub fn info(&self, name: &str) -> Result<&TensorInfo, GgufError> {
        self.tensors().iter().find(|tensor| tensor.name == name).ok_or_else(|| {
            GgufError::NoTensor { name: printable(name), nearest: nearest(name, self.tensors()) }
        })
    }

    /// The bytes of the tensor `name` as they are stored, block after block.
    ///
    /// # Errors
    /// If there is no such tensor, its type is unknown, or the file cannot be read.
    pub fn bytes(&mut self, name: &str) -> Result<Vec<u8>, GgufError> {
        let &TensorInfo { offset, bytes, kind, .. } = self.info(name)?;
        // The length is safe to allocate, because the header was compared with the file's length.
        let mut bytes = vec![0; bytes.ok_or(GgufError::Undecodable(kind))?];
        self.reader.seek(SeekFrom::Start(offset))?;
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The tensor `name`, dequantized: `[out_features, in_features]`, a vector as `[1, features]`, one number as `[1, 1]`.
    ///
    /// # Errors
    /// If there is no such tensor, it has more than two axes, its type is not decoded here, or
    /// the file cannot be read.
    pub fn tensor(&mut self, name: &str) -> Result<Array2<f32>, GgufError> {
        let info = self.info(name)?;
        let (kind, shape) = (info.kind, info.shape.clone());
        let not_a_matrix = || GgufError::NotAMatrix { name: printable(name), shape: shape.clone() };
        let dim = match *shape.as_slice() {
            [] => (1, 1),
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => return Err(not_a_matrix()),
        };
        let values = dequantize(kind, &self.bytes(name)?)?;
        Array2::from_shape_vec(dim, values).map_err(|_| not_a_matrix())
    }
}

/// Up to four names, those with the longest common beginning with `name` first.
fn nearest(name: &str, tensors: &[TensorInfo]) -> String {
    let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_by_key(|other| std::cmp::Reverse(common(other)));
    let names: Vec<String> = names.into_iter().take(4).map(printable).collect();
    names.join(", ")
}
