//! GGUF, version 3: the metadata of the input, its tensors in other blocks.

use std::collections::BTreeMap;
use std::path::Path;

use formats::checkpoint::{Storage, Tensor};
use formats::gguf::{Gguf, TensorType, Value};

use crate::WriteError;
use crate::safetensors_file::Sink;

/// Where each tensor's data may begin: the default of the format.
const ALIGNMENT: u64 = 32;
/// The key that names another one.
const ALIGNMENT_KEY: &str = "general.alignment";
/// The key that says what most tensors are, in llama.cpp's numbers.
const FILE_TYPE: &str = "general.file_type";

/// A GGUF file at `path` with `tensors`, in their order, and the metadata of the file `input`.
pub(crate) fn create(
    path: &Path,
    input: &Path,
    kind: TensorType,
    tensors: &[Tensor],
) -> Result<Sink, WriteError> {
    let mut metadata = Gguf::open(input)?.metadata().clone();
    metadata.remove(ALIGNMENT_KEY);
    metadata.insert(FILE_TYPE.into(), Value::U32(file_type(kind)));
    let mut start = start(&metadata, tensors.len());
    let (mut places, mut offset) = (BTreeMap::new(), 0);
    for tensor in tensors {
        entry(tensor, offset, &mut start)?;
        places.insert(tensor.name.clone(), (offset, tensor.bytes));
        offset = (offset + tensor.bytes).next_multiple_of(ALIGNMENT);
    }
    let data = (start.len() as u64).next_multiple_of(ALIGNMENT);
    places.values_mut().for_each(|(begin, _)| *begin += data);
    Sink::create(path, &start, places, data + offset)
}

/// llama.cpp's number for a file of mostly this type (`llama_ftype`).
fn file_type(kind: TensorType) -> u32 {
    match kind {
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 7,
        _ => 0,
    }
}

fn start(metadata: &BTreeMap<String, Value>, tensors: usize) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(key, &mut bytes);
        bytes.extend(kind_of(value).to_le_bytes());
        put(value, &mut bytes);
    }
    bytes
}

/// A tensor's entry: its axes are listed from the innermost.
fn entry(tensor: &Tensor, offset: u64, bytes: &mut Vec<u8>) -> Result<(), WriteError> {
    let Storage::Blocks(kind) = tensor.storage else {
        let problem = format!("`{}` is {}, not one of GGML's types", tensor.name, tensor.storage);
        return Err(WriteError::Plan(problem));
    };
    text(&tensor.name, bytes);
    bytes.extend((tensor.shape.len() as u32).to_le_bytes());
    tensor.shape.iter().rev().for_each(|axis| bytes.extend(axis.to_le_bytes()));
    bytes.extend(kind.id().to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    Ok(())
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The number of a value's type.
fn kind_of(value: &Value) -> u32 {
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
        Value::Text(v) => text(v, bytes),
        Value::U64(v) => bytes.extend(v.to_le_bytes()),
        Value::I64(v) => bytes.extend(v.to_le_bytes()),
        Value::F64(v) => bytes.extend(v.to_le_bytes()),
        Value::Array(values) => {
            // The type of an empty array is lost, and no reader asks for it: text.
            bytes.extend(values.first().map_or(8, kind_of).to_le_bytes());
            bytes.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| put(value, bytes));
        }
    }
}
