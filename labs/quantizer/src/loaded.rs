//! Checkpoints that are read back and run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::bitsandbytes::{self, QuantState};
use formats::bytes;
use formats::checkpoint::config::parse_json;
use formats::checkpoint::{self, Dtype, Expected, Scheme, Storage, Tensor};
use formats::dequantize::{Layout, dequantize};
use formats::registry::StoredPart;
use model::{Config, Model, ModelError};
use ndarray::Array2;
use serde_json::{Map, Value};

use crate::kv_scales::{self, KvScales};
use crate::quantized_inputs::{InputScales, layer};
use crate::safetensors_file::{Found, Sink, tensors_in};
use crate::{WriteError, transform_config};

/// A folder that [`write()`](crate::write()) made, or any other that holds the same formats.
pub struct Checkpoint {
    folder: PathBuf,
    tensors: BTreeMap<String, Found>,
    matrices: BTreeMap<String, Matrix>,
}

/// A quantized matrix.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    layout: Layout,
    shape: [usize; 2],
    /// The names of its parts.
    parts: Vec<String>,
    /// How the inputs of the layer are quantized; `None` leaves them in floats.
    inputs: Option<InputScales>,
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
        if let Some(unknown) = inspection.inventory.unknown.first() {
            let (module, because) = (&unknown.module, &unknown.because);
            let problem = format!("{module} is not decoded here, because {because}");
            return Err(WriteError::Unsupported(problem));
        }
        let mut tensors = BTreeMap::new();
        for file in &inspection.files {
            let found = tensors_in(&file.path)?.into_iter();
            tensors.extend(found.map(|found| (found.tensor.name.clone(), found)));
        }
        let mut matrices = BTreeMap::new();
        for quantized in &inspection.inventory.quantized {
            let config = inspection.config.as_ref();
            let expected = config.and_then(|config| config.expected(&quantized.module));
            let quantized = with_shape(quantized, &tensors)?;
            matrices.insert(format!("{}.weight", quantized.module), matrix(&quantized, expected)?);
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
            Some(matrix) => Ok(dequantize(matrix.layout, matrix.shape, &self.parts_of(matrix)?)?),
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

    /// The model, computing as the config asks: where activations are quantized, so are the inputs of
    /// the layer, in `quantized_inputs`.
    ///
    /// # Errors
    /// If the architecture is not supported.
    pub fn model(&self) -> Result<Model, WriteError> {
        let config = Config::load(&self.folder)?;
        let quantization = self.quantization()?;
        let read = |name: &str| Ok(self.read(name)?[(0, 0)]);
        let storage = KvScales::of_checkpoint(&quantization, &config, read)?;
        let rotation = transform_config::read(&quantization, config.intermediate_size, |end| {
            let mut names = self.tensors.keys();
            names.find(|name| name.ends_with(end)).map(|name| self.read(name)).transpose()
        })?;
        let mut shapes = self.shapes();
        // Without a scheme such a tensor is a surprise, and the model refuses it.
        shapes.retain(|(name, _)| {
            let is_of_cache = storage.is_some() && kv_scales::is_scale(name);
            let is_of_rotation = rotation.is_some() && transform_config::is_matrix(name);
            !is_of_cache && !is_of_rotation
        });
        // Kept outside of the model's error, because the model's error cannot hold one of this crate.
        let mut failed = None;
        let model = Model::from_tensors(config, shapes, &mut |name| {
            self.read(name).map_err(|error| {
                failed = Some(error);
                ModelError::Config { key: name.into(), problem: "cannot be decoded".into() }
            })
        });
        let mut model = model.map_err(|error| failed.unwrap_or(error.into()))?;
        for id in model.layer_ids() {
            let Some(matrix) = self.matrices.get(&format!("{id}.weight")) else { continue };
            if let Some(inputs) = matrix.inputs {
                let parts = self.parts_of(matrix)?;
                let layer = layer(inputs, matrix.layout, &parts, model.linear(id)?)?;
                model.replace(id, layer)?;
            }
        }
        if let Some(storage) = storage {
            model.set_kv_cache(storage)?;
        }
        if let Some(rotation) = rotation {
            model.set_down_rotation(Arc::new(rotation))?;
        }
        Ok(model)
    }

    /// The `quantization_config`; empty where there is none.
    fn quantization(&self) -> Result<Map<String, Value>, WriteError> {
        let path = self.folder.join("config.json");
        let json = parse_json(&std::fs::read(&path).map_err(WriteError::io(&path))?);
        let json =
            json.map_err(|error| WriteError::Unsupported(format!("{}: {error}", path.display())))?;
        Ok(json["quantization_config"].as_object().cloned().unwrap_or_default())
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

/// A matrix with its shape, which bitsandbytes has in the data and not in the headers.
fn with_shape(
    found: &checkpoint::Quantized,
    tensors: &BTreeMap<String, Found>,
) -> Result<checkpoint::Quantized, WriteError> {
    let Scheme::BnbTable { table, .. } = found.scheme else { return Ok(found.clone()) };
    let name = format!("{}.weight.quant_state.{}", found.module, bitsandbytes::state_name(table));
    let missing = || WriteError::Unsupported(format!("`{name}` is missing"));
    let state = QuantState::read(&tensors.get(&name).ok_or_else(missing)?.part()?)?;
    let shape = Some(state.shape.map(|axis| axis as u64).to_vec());
    Ok(checkpoint::Quantized { shape, ..found.clone() })
}

/// A matrix, from what the inspector and the config say of it.
fn matrix(
    found: &checkpoint::Quantized,
    expected: Option<&Expected>,
) -> Result<Matrix, WriteError> {
    let (module, scheme, group) = (&found.module, found.scheme, found.group);
    let unread = || {
        WriteError::Unsupported(format!("{module}: {scheme} in groups {group} is not decoded here"))
    };
    let layout = Layout::of(found).filter(|layout| layout.is_read()).ok_or_else(unread)?;
    let shape = found.matrix().ok_or_else(unread)?;
    let parts = found.parts.iter().map(|part| format!("{module}.{}", part.name)).collect();
    let shape = shape.map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
    let activations = expected.and_then(|expected| expected.activations.as_ref());
    let inputs = match activations {
        Some(activations) => InputScales::of(activations)
            .map_err(|what| WriteError::Unsupported(format!("{module}: {what}")))?,
        None => None,
    };
    Ok(Matrix { layout, shape, parts, inputs })
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
