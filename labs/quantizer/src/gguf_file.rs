//! GGUF, version 3: the metadata of the input, with tensors in another type of blocks.

use std::path::Path;

use formats::checkpoint::{Storage, Tensor};
use formats::gguf::{Gguf, TensorType, layout};
use formats::registry::File;

use crate::safetensors_file::Sink;
use crate::{WriteError, gguf_metadata};

/// The key for the type of most tensors, in llama.cpp's numbers.
const FILE_TYPE: &str = "general.file_type";

/// A GGUF file at `path` with `tensors`, in their order, and the metadata of `input`, a file
/// or a folder, `file_type` apart.
pub(crate) fn create(
    path: &Path,
    input: &Path,
    file_type: u32,
    tensors: &[Tensor],
) -> Result<Sink, WriteError> {
    let mut metadata = match input.is_dir() {
        true => gguf_metadata::of_folder(input)?,
        false => Gguf::open(input)?.raw_metadata()?,
    };
    metadata.insert(FILE_TYPE.into(), file_type.into());
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

/// llama.cpp's number for the types of a file (`llama_ftype`); `None` for a file that is not GGUF.
pub(crate) fn file_type(file: &File) -> Option<u32> {
    Some(match file {
        File::Safetensors { .. } => return None,
        File::Mixed(mix) => mix.file_type,
        File::Gguf(TensorType::F16) => 1,
        File::Gguf(TensorType::Q4_0) => 2,
        File::Gguf(TensorType::Q4_1) => 3,
        File::Gguf(TensorType::Q8_0) => 7,
        File::Gguf(TensorType::Mxfp4) => 38,
        File::Gguf(_) => 0,
    })
}
