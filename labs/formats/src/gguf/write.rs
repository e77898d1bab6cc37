//! The header of a GGUF file, version 3, that is to be written.

use std::collections::BTreeMap;

use super::{GgufError, TensorType, Value};

/// Where each tensor's data may begin: the default of the format.
const ALIGNMENT: u64 = 32;
/// The key that names another one.
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
    metadata: &BTreeMap<String, Value>,
    tensors: &[(&str, TensorType, &[u64])],
) -> Result<Layout, GgufError> {
    let metadata = metadata.iter().filter(|(key, _)| *key != ALIGNMENT_KEY);
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.clone().count() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_text(key, &mut header);
        header.extend(type_of(value).to_le_bytes());
        put(value, &mut header);
    }
    let (mut begins, mut offset) = (Vec::new(), 0u64);
    for &(name, kind, shape) in tensors {
        let (weights, bytes) = kind.block().ok_or(GgufError::Undecodable(kind))?;
        put_text(name, &mut header);
        header.extend((shape.len() as u32).to_le_bytes());
        // The format lists axes from the innermost.
        shape.iter().rev().for_each(|axis| header.extend(axis.to_le_bytes()));
        header.extend(kind.id().to_le_bytes());
        header.extend(offset.to_le_bytes());
        begins.push(offset);
        let length = shape.iter().product::<u64>() / weights as u64 * bytes as u64;
        offset = (offset + length).next_multiple_of(ALIGNMENT);
    }
    let data = (header.len() as u64).next_multiple_of(ALIGNMENT);
    header.resize(data as usize, 0);
    begins.iter_mut().for_each(|begin| *begin += data);
    Ok(Layout { header, begins, bytes: data + offset })
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The number of a value's type.
fn type_of(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::Text(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::U8(v) => bytes.extend(v.to_le_bytes()),
        Value::I8(v) => bytes.extend(v.to_le_bytes()),
        Value::U16(v) => bytes.extend(v.to_le_bytes()),
        Value::I16(v) => bytes.extend(v.to_le_bytes()),
        Value::U32(v) => bytes.extend(v.to_le_bytes()),
        Value::I32(v) => bytes.extend(v.to_le_bytes()),
        Value::F32(v) => bytes.extend(v.to_le_bytes()),
        Value::Bool(v) => bytes.push((*v).into()),
        Value::Text(v) => put_text(v, bytes),
        Value::U64(v) => bytes.extend(v.to_le_bytes()),
        Value::I64(v) => bytes.extend(v.to_le_bytes()),
        Value::F64(v) => bytes.extend(v.to_le_bytes()),
        Value::Array(values) => {
            // The type of an empty array is lost, and no reader asks for the type: text.
            bytes.extend(values.first().map_or(8, type_of).to_le_bytes());
            bytes.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| put(value, bytes));
        }
    }
}
