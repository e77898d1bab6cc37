//! The weights of one safetensors file or several.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use formats::checkpoint::{self, Checkpoint, CheckpointError, Dtype, Storage, Tensor, read_header};
use formats::float8;
use half::{bf16, f16};
use ndarray::Array2;

use super::store::Tensors;
use super::weight::Weight;
use crate::ModelError;

/// Bytes that are read at a time, so that no tensor is in memory as bytes and as numbers.
const PIECE: usize = 1 << 20;

/// Where each tensor of a checkpoint lies.
pub(crate) struct Shards {
    tensors: BTreeMap<String, Stored>,
}

struct Stored {
    file: PathBuf,
    tensor: Tensor,
    /// First byte, counted from the start of the file.
    begin: u64,
}

impl Shards {
    /// Finds the tensors in `folder`: in one file, or in the shards that an index names.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let checkpoint = checkpoint::open(folder)?;
        check_plain(&checkpoint)?;
        let mut tensors = BTreeMap::new();
        for file in &checkpoint.files {
            for (name, stored) in stored_in(&file.path)? {
                if let Some(other) = tensors.insert(name.clone(), stored) {
                    let what = format!("tensor `{name}` in two files, {}", other.file.display());
                    return Err(ModelError::unsupported(what, "each tensor is in one"));
                }
            }
        }
        Ok(Self { tensors })
    }

    /// Reads the tensor `name`, `[rows, columns]`; a vector is one row.
    pub(crate) fn read_named(&self, name: &str) -> Result<Array2<f32>, ModelError> {
        let missing = || ModelError::MissingTensor { name: name.into(), nearest: String::new() };
        let stored = self.tensors.get(name).ok_or_else(missing)?;
        let values = read_values(name, stored)?;
        let rows = if let [rows, _, ..] = *stored.tensor.shape { rows as usize } else { 1 };
        let columns = values.len() / rows.max(1);
        Array2::from_shape_vec((rows, columns), values)
            .map_err(|error| CheckpointError::Damaged(error.to_string()).into())
    }
}

/// Refuses a quantized checkpoint, and one whose index and shards disagree.
fn check_plain(checkpoint: &Checkpoint) -> Result<(), ModelError> {
    if checkpoint.config.is_some() {
        return Err(ModelError::unsupported(
            "a quantized checkpoint (its config has a quantization_config)",
            "plain F32, F16 or BF16 weights are; `cargo book inspect` says what is in it",
        ));
    }
    match checkpoint.problems.first() {
        Some(problem) => Err(ModelError::config("weight_map", format!("is wrong: {problem:?}"))),
        None => Ok(()),
    }
}

/// The tensors of one file, from its header.
fn stored_in(path: &Path) -> Result<Vec<(String, Stored)>, ModelError> {
    let mut file = File::open(path).map_err(ModelError::io(path))?;
    // `read_header` checks every rule of the format: lengths, offsets, shapes, the end of the file.
    let header = read_header(&mut file)?;
    let stored =
        header.tensors.into_iter().zip(header.begins).map(|(tensor, begin)| {
            (tensor.name.clone(), Stored { file: path.into(), tensor, begin })
        });
    Ok(stored.collect())
}

impl Tensors for Shards {
    fn name(&self, weight: Weight) -> String {
        weight.hugging_face()
    }

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let shape =
            |stored: &Stored| stored.tensor.shape.iter().map(|&axis| axis as usize).collect();
        self.tensors.iter().map(|(name, stored)| (name.clone(), shape(stored))).collect()
    }

    fn read(&mut self, weight: Weight) -> Result<Array2<f32>, ModelError> {
        self.read_named(&self.name(weight))
    }

    /// Old checkpoints carry the rotary frequencies, which the config gives.
    fn is_ignored(&self, name: &str) -> bool {
        name.ends_with("rotary_emb.inv_freq")
    }
}

/// The numbers of one tensor, read and widened piece by piece.
fn read_values(name: &str, stored: &Stored) -> Result<Vec<f32>, ModelError> {
    let (size, widen): (usize, fn(&[u8]) -> f32) = match stored.tensor.storage {
        Storage::Elements(Dtype::F32) => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Storage::Elements(Dtype::F16) => (2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32()),
        Storage::Elements(Dtype::BF16) => (2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        Storage::Elements(Dtype::F8E4M3) => (1, |b| float8::decode(b[0])),
        Storage::Elements(Dtype::F8E5M2) => (1, |b| float8::decode_e5m2(b[0])),
        other => {
            let what = format!("the dtype {other} of tensor `{name}`");
            return Err(ModelError::unsupported(what, "F32, F16, BF16, F8_E4M3 and F8_E5M2 are"));
        }
    };
    let io = || ModelError::io(&stored.file);
    let mut file = File::open(&stored.file).map_err(io())?;
    file.seek(SeekFrom::Start(stored.begin)).map_err(io())?;
    // The header was checked against the file's length, so the allocation is not larger than the file.
    let mut left = stored.tensor.bytes as usize;
    let mut values = Vec::with_capacity(left / size);
    let mut piece = vec![0; PIECE.min(left)];
    while left > 0 {
        let bytes = &mut piece[..PIECE.min(left)];
        file.read_exact(bytes).map_err(io())?;
        values.extend(bytes.chunks_exact(size).map(widen));
        left -= bytes.len();
    }
    Ok(values)
}
