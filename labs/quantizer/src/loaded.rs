//! Checkpoints that are read back and run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::checkpoint::{self, Dtype, Storage, Tensor};
use formats::format::Grid;
use formats::registry::{StorageFormat, StoredPart};
use formats::{bytes, float8};
use model::{Config, Dense, Linear, LinearError, Model, ModelError};
use ndarray::{Array1, Array2, Axis};
use quantize_model::labs;

use crate::WriteError;
use crate::safetensors_file::{Found, Sink, tensors_in};

/// A folder that [`write()`](crate::write()) made, or any other that holds the same formats.
pub struct Checkpoint {
    folder: PathBuf,
    tensors: BTreeMap<String, Found>,
    matrices: BTreeMap<String, Matrix>,
}

/// A quantized matrix.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    format: StorageFormat,
    shape: [usize; 2],
    /// The names of its parts: the parts of the format in their order, then all others.
    parts: Vec<String>,
}

impl Checkpoint {
    /// Opens a folder of safetensors: only headers are read.
    ///
    /// # Errors
    /// If a file is missing or damaged, config and shapes contradict each other, or the format of a
    /// matrix is not supported.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, WriteError> {
        let folder = folder.as_ref();
        let inspection = checkpoint::inspect(folder)?;
        if let Some(problem) = inspection.problems.first() {
            let problem = format!("{} contradicts itself: {problem:?}", folder.display());
            return Err(WriteError::Unsupported(problem));
        }
        let mut tensors = BTreeMap::new();
        for file in &inspection.files {
            let found = tensors_in(&file.path)?.into_iter();
            tensors.extend(found.map(|found| (found.tensor.name.clone(), found)));
        }
        let mut matrices = BTreeMap::new();
        for quantized in &inspection.inventory.quantized {
            matrices.insert(format!("{}.weight", quantized.module), matrix(quantized)?);
        }
        Ok(Self { folder: folder.into(), tensors, matrices })
    }

    /// Names and shapes of the tensors, a quantized matrix as one tensor.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let parts: Vec<&String> = self.matrices.values().flat_map(|m| &m.parts).collect();
        let plain = self.tensors.values().filter(|found| !parts.contains(&&found.tensor.name));
        let plain = plain.map(|found| {
            let shape = found.tensor.shape.iter().map(|&axis| axis as usize).collect();
            (found.tensor.name.clone(), shape)
        });
        let matrices = self.matrices.iter().map(|(name, m)| (name.clone(), m.shape.to_vec()));
        plain.chain(matrices).collect()
    }

    /// The tensor `name` as numbers, `[rows, columns]`; a vector is one row.
    ///
    /// # Errors
    /// If there is no such tensor, or its bytes cannot be read or decoded.
    pub fn read(&self, name: &str) -> Result<Array2<f32>, WriteError> {
        let read = || match self.matrices.get(name) {
            Some(matrix) => Ok(matrix.format.decode(matrix.shape, &self.parts_of(matrix)?)?),
            None => plain(self.tensor(name)?),
        };
        read().map_err(|error: WriteError| error.within(name))
    }

    /// Writes every tensor, decoded, into one safetensors file in F32, for a comparison with another
    /// library.
    ///
    /// # Errors
    /// If a tensor cannot be decoded, or the file cannot be written or is there already.
    pub fn decode_into(&self, path: &Path) -> Result<(), WriteError> {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let shape: Vec<u64> = shape.into_iter().map(|axis| axis as u64).collect();
            let bytes = 4 * shape.iter().product::<u64>();
            Tensor { name, storage: Storage::Elements(Dtype::F32), shape, bytes }
        };
        let tensors: Vec<Tensor> = self.shapes().into_iter().map(tensor).collect();
        let file = Sink::safetensors(path, &tensors)?;
        for tensor in &tensors {
            file.put(&tensor.name, &bytes::of(&self.read(&tensor.name)?))?;
        }
        file.finish().map(|_| ())
    }

    fn tensor(&self, name: &str) -> Result<&Found, WriteError> {
        let nearest = String::new();
        let missing = || ModelError::MissingTensor { name: name.into(), nearest };
        Ok(self.tensors.get(name).ok_or_else(missing)?)
    }

    fn parts_of(&self, matrix: &Matrix) -> Result<Vec<StoredPart>, WriteError> {
        matrix.parts.iter().map(|part| self.tensor(part)?.part()).collect()
    }

    /// The model. A layer of a format that quantizes activations quantizes its inputs with one scale for
    /// each token, sums products of codes, and multiplies the sums by the scales.
    ///
    /// # Errors
    /// If the architecture is not supported.
    pub fn model(&self) -> Result<Model, WriteError> {
        let config = Config::load(&self.folder)?;
        // Kept outside of the model's error, because the model's error cannot hold one of this crate.
        let mut failed = None;
        let model = Model::from_tensors(config, self.shapes(), &mut |name| {
            self.read(name).map_err(|error| {
                failed = Some(error);
                ModelError::Config { key: name.into(), problem: "cannot be decoded".into() }
            })
        });
        let mut model = model.map_err(|error| failed.unwrap_or(error.into()))?;
        for id in model.layer_ids() {
            let Some(matrix) = self.matrices.get(&format!("{id}.weight")) else { continue };
            if let Some(activations) = matrix.format.description.activations {
                let layer = Codes::new(activations, matrix, &self.parts_of(matrix)?)?;
                model.replace(id, Arc::new(layer))?;
            }
        }
        Ok(model)
    }
}

/// Loads what `path` names and runs it: a folder of safetensors, quantized or not, or GGUF.
///
/// # Errors
/// As [`Checkpoint::open`] and [`Checkpoint::model`].
pub fn load_quantized(path: impl AsRef<Path>) -> Result<Model, WriteError> {
    let path = path.as_ref();
    if path.join("config.json").is_file() {
        return Checkpoint::open(path)?.model();
    }
    Ok(Model::load(path)?)
}

/// The format of a matrix, from the findings of the inspector.
fn matrix(found: &checkpoint::Quantized) -> Result<Matrix, WriteError> {
    let unread = || {
        let (module, scheme, group) = (&found.module, found.scheme, found.group);
        WriteError::Unsupported(format!("{module}: {scheme} in groups {group} is not decoded"))
    };
    let format = StorageFormat::of(found).ok_or_else(unread)?;
    let shape = found.matrix().ok_or_else(unread)?;
    let names = format.part_names(shape);
    let mut parts: Vec<&str> = found.parts.iter().map(|part| part.name.as_str()).collect();
    // A part that the format does not name comes last, because the codec decides whether to ignore it.
    parts.sort_by_key(|part| names.iter().position(|name| name == part).unwrap_or(names.len()));
    let parts = parts.into_iter().map(|part| format!("{}.{part}", found.module)).collect();
    let shape = shape.map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
    Ok(Matrix { format, shape, parts })
}

/// A tensor of floats.
fn plain(found: &Found) -> Result<Array2<f32>, WriteError> {
    let shape = match *found.tensor.shape.as_slice() {
        [columns] => [1, columns as usize],
        [rows, columns] => [rows as usize, columns as usize],
        ref other => {
            return Err(WriteError::Unsupported(format!("it has {} axes", other.len())));
        }
    };
    Ok(found.part()?.floats(shape)?)
}

/// The codes of `x`, `[tokens, in_features]`, as numbers on the grid of the activations, and the scale
/// of each token, `[tokens, 1]`.
fn quantize_tokens(grid: Grid, x: &Array2<f32>) -> Result<(Array2<f32>, Array2<f32>), LinearError> {
    match grid {
        Grid::E4M3 => {
            let (codes, scales) = float8::quantize_per_channel(x)?;
            Ok((codes.mapv(float8::decode), scales))
        }
        _ => {
            let x = labs::quantize_activations_per_token(x)?;
            Ok((x.q().mapv(f32::from), x.scales().clone()))
        }
    }
}

/// A layer of 8-bit weights and 8-bit activations.
///
/// The sums run in `f32`, because the product of `f32` is much faster here than one of `i32`. A sum of
/// products of int8 codes is exact up to 2^24 and rounded beyond.
struct Codes {
    activations: Grid,
    codes: Dense,
    /// A scale for each output channel.
    scales: Array1<f32>,
}

impl Codes {
    fn new(activations: Grid, matrix: &Matrix, parts: &[StoredPart]) -> Result<Self, WriteError> {
        let [codes, scales] = parts else {
            return Err(WriteError::Plan("8-bit codes come with their scales".into()));
        };
        let scales = scales.floats([matrix.shape[0], 1])?;
        let codes = codes.numbers(matrix.shape, |[byte]| match activations {
            Grid::E4M3 => float8::decode(byte),
            _ => f32::from(i8::from_le_bytes([byte])),
        })?;
        Ok(Self { activations, codes: Dense::new(codes), scales: scales.remove_axis(Axis(1)) })
    }
}

impl Linear for Codes {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        let (codes, scales) = quantize_tokens(self.activations, x)?;
        Ok(self.codes.forward(&codes)? * scales * &self.scales)
    }

    fn out_features(&self) -> usize {
        self.codes.out_features()
    }

    fn in_features(&self) -> usize {
        self.codes.in_features()
    }

    fn bytes(&self) -> usize {
        self.codes.out_features() * self.codes.in_features() + 4 * self.scales.len()
    }
}
