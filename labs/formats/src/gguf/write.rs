//! Writes the header of a GGUF file, version 3.

use std::collections::BTreeMap;

use super::{GgufError, TensorType};

/// The data of a tensor begin at a multiple of this: the default of the format.
const ALIGNMENT: u64 = 32;
/// The key of another alignment.
const ALIGNMENT_KEY: &str = "general.alignment";

/// A header, and what follows from it.
pub struct Layout {
    /// The bytes in front of the data.
    pub header: Vec<u8>,
    /// Where the data of each tensor begins, from the start of the file.
    pub begins: Vec<u64>,
    /// The length of the whole file.
    pub bytes: u64,
}

/// The layout of a file with this metadata and these tensors, in their order: name, type, shape with
/// the outermost axis first. An alignment in the metadata is replaced by the default.
///
/// # Errors
/// [`GgufError::Undecodable`] for a type without a known block, because its size is unknown.
pub fn layout(
    metadata: &BTreeMap<String, RawValue>,
    tensors: &[(&str, TensorType, &[u64])],
) -> Result<Layout, GgufError> {
    // The metadata come from another file, whose alignment does not hold for the offsets below.
    let metadata = metadata.iter().filter(|(key, _)| *key != ALIGNMENT_KEY);
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.clone().count() as u64).to_le_bytes());
    for (key, value) in metadata {
        header.extend(text(key));
        header.extend(&value.0);
    }
    let (mut begins, mut offset) = (Vec::new(), 0u64);
    for &(name, kind, shape) in tensors {
        let (weights, bytes) = kind.block().ok_or(GgufError::Undecodable(kind))?;
        header.extend(text(name));
        header.extend((shape.len() as u32).to_le_bytes());
        // The format lists axes from the innermost.
        shape.iter().rev().for_each(|axis| header.extend(axis.to_le_bytes()));
        header.extend(kind.id().to_le_bytes());
        // Offsets count from the start of the data, because the header's length is not known yet.
        header.extend(offset.to_le_bytes());
        begins.push(offset);
        let length = shape.iter().product::<u64>() / weights as u64 * bytes as u64;
        offset = (offset + length).next_multiple_of(ALIGNMENT);
    }
    // The data begin at the alignment too, so the header is padded.
    let data = (header.len() as u64).next_multiple_of(ALIGNMENT);
    header.resize(data as usize, 0);
    begins.iter_mut().for_each(|begin| *begin += data);
    Ok(Layout { header, begins, bytes: data + offset })
}

/// A metadata value as the bytes of a file: the number of its type, then the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawValue(pub(super) Vec<u8>);

impl From<u32> for RawValue {
    fn from(value: u32) -> Self {
        Self([4u32.to_le_bytes(), value.to_le_bytes()].concat())
    }
}

impl From<f32> for RawValue {
    fn from(value: f32) -> Self {
        Self([6u32.to_le_bytes(), value.to_le_bytes()].concat())
    }
}

impl From<&str> for RawValue {
    fn from(value: &str) -> Self {
        Self([&8u32.to_le_bytes(), text(value).as_slice()].concat())
    }
}

impl From<bool> for RawValue {
    fn from(value: bool) -> Self {
        Self([&7u32.to_le_bytes()[..], &[u8::from(value)]].concat())
    }
}

impl From<&[i32]> for RawValue {
    fn from(values: &[i32]) -> Self {
        let mut bytes = [9u32, 5].map(u32::to_le_bytes).concat();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        Self(bytes)
    }
}

impl From<&[&str]> for RawValue {
    fn from(values: &[&str]) -> Self {
        let mut bytes = [9u32, 8].map(u32::to_le_bytes).concat();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(text(value)));
        Self(bytes)
    }
}

/// A length and the bytes of a text. GGUF has no terminating zero.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
