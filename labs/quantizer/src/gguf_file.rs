//! GGUF, version 3: the metadata of the input, with tensors in another type of blocks.

use std::path::Path;

use formats::checkpoint::{Storage, Tensor};
use formats::gguf::{Gguf, TensorType, layout};

use crate::WriteError;
use crate::safetensors_file::Sink;

/// The key for the type of most tensors, in llama.cpp's numbers.
const FILE_TYPE: &str = "general.file_type";

/// A GGUF file at `path` with `tensors`, in their order, and the metadata of the file `input`.
pub(crate) fn create(
    path: &Path,
    input: &Path,
    kind: TensorType,
    tensors: &[Tensor],
) -> Result<Sink, WriteError> {
    let mut metadata = Gguf::open(input)?.raw_metadata()?;
    metadata.insert(FILE_TYPE.into(), file_type(kind).into());
    let entries = tensors.iter().map(|tensor| match tensor.storage {
        Storage::Blocks(kind) => Ok((tensor.name.as_str(), kind, tensor.shape.as_slice())),
        other => {
            let problem = format!("`{}` is {other}, not one of GGML's types", tensor.name);
            Err(WriteError::Plan(problem))
        }
    });
    let layout = layout(&metadata, &entries.collect::<Result<Vec<_>, _>>()?)?;
    let spans = tensors.iter().zip(layout.begins);
    let spans = spans.map(|(tensor, begin)| (tensor.name.clone(), (begin, tensor.bytes)));
    Sink::create(path, &layout.header, spans.collect(), layout.bytes)
}

/// llama.cpp's number for a file of mostly this type (`llama_ftype`).
fn file_type(kind: TensorType) -> u32 {
    match kind {
        TensorType::F16 => 1,
        TensorType::Q4_0 => 2,
        TensorType::Q4_1 => 3,
        TensorType::Q8_0 => 7,
        TensorType::Mxfp4 => 38,
        _ => 0,
    }
}
