//! What was written, read back and run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::checkpoint::{self, Dtype, Storage};
use formats::format::Group;
use half::{bf16, f16};
use model::{Config, Dense, Linear, LinearError, Model, ModelError};
use ndarray::{Array1, Array2, Axis};

use crate::decode;
use crate::safetensors_file::{Found, Sink, tensors_in};
use quantize_model::{QuantizeError, Scheme, Tensor, bytes, fp8, labs};

/// A folder that [`write()`](crate::write()) made, or any other that holds the same formats.
pub struct Checkpoint {
    folder: PathBuf,
    tensors: BTreeMap<String, Found>,
    matrices: BTreeMap<String, Matrix>,
}

/// A quantized matrix.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    scheme: Scheme,
    shape: [usize; 2],
    /// The names of its parts, in the order of the plan.
    parts: Vec<String>,
}

impl Checkpoint {
    /// Opens a folder of safetensors: only headers are read.
    ///
    /// # Errors
    /// If a file is missing or damaged, config and shapes contradict each other, or a matrix is in a
    /// format that is not decoded here.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, QuantizeError> {
        let folder = folder.as_ref();
        let inspection = checkpoint::inspect(folder)?;
        if let Some(problem) = inspection.problems.first() {
            let problem = format!("{} contradicts itself: {problem:?}", folder.display());
            return Err(QuantizeError::Unsupported(problem));
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

    /// Names and shapes of the tensors that the file stands for.
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
    /// If there is none, or its bytes cannot be read or decoded.
    pub fn read(&self, name: &str) -> Result<Array2<f32>, QuantizeError> {
        let read = || match self.matrices.get(name) {
            Some(matrix) => {
                decode::dequantize(matrix.scheme, matrix.shape, &self.bytes_of(matrix)?)
            }
            None => plain(self.tensor(name)?),
        };
        read().map_err(|error: QuantizeError| error.within(name))
    }

    /// Writes every tensor, decoded, into one safetensors file in F32: for a comparison with what
    /// another library decodes.
    ///
    /// # Errors
    /// If a tensor cannot be decoded, or the file cannot be written or is there already.
    pub fn decode_into(&self, path: &Path) -> Result<(), QuantizeError> {
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

    fn tensor(&self, name: &str) -> Result<&Found, QuantizeError> {
        let nearest = String::new();
        let missing = || ModelError::MissingTensor { name: name.into(), nearest };
        Ok(self.tensors.get(name).ok_or_else(missing)?)
    }

    fn bytes_of(&self, matrix: &Matrix) -> Result<Vec<Vec<u8>>, QuantizeError> {
        matrix.parts.iter().map(|part| self.tensor(part)?.bytes()).collect()
    }

    /// The model, computing as the format asks: where activations are quantized, each input of such a
    /// layer gets one scale for each token, the sums run over products of codes, and the scales are
    /// multiplied outside.
    ///
    /// # Errors
    /// If it is no model that the course runs.
    pub fn model(&self) -> Result<Model, QuantizeError> {
        let config = Config::load(&self.folder)?;
        let mut failed = None;
        let model = Model::from_tensors(config, self.shapes(), &mut |name| {
            self.read(name).map_err(|error| {
                failed = Some(error);
                ModelError::Config { key: name.into(), problem: "cannot be decoded".into() }
            })
        });
        let mut model = model.map_err(|error| failed.unwrap_or(error.into()))?;
        let places: Vec<_> = model.places().collect();
        for place in places {
            let Some(matrix) = self.matrices.get(&format!("{place}.weight")) else { continue };
            if let Some(activations) = Activations::of(matrix.scheme) {
                let layer = Codes::new(activations, matrix, &self.bytes_of(matrix)?)?;
                model.replace(place, Arc::new(layer))?;
            }
        }
        Ok(model)
    }
}

/// Loads what `path` names and runs it: a folder of safetensors, quantized or not, or GGUF.
///
/// # Errors
/// As [`Checkpoint::open`] and [`Checkpoint::model`].
pub fn load_quantized(path: impl AsRef<Path>) -> Result<Model, QuantizeError> {
    let path = path.as_ref();
    if path.join("config.json").is_file() {
        return Checkpoint::open(path)?.model();
    }
    Ok(Model::load(path)?)
}

/// The scheme of a matrix, from what the inspector says of it.
fn matrix(quantized: &checkpoint::Quantized) -> Result<Matrix, QuantizeError> {
    use checkpoint::Scheme as Found;
    let size = |group: Group, inputs: u64| match group {
        Group::Size(size) => Some(size),
        Group::Channel => Some(inputs),
        _ => None,
    };
    let unread = || {
        let (module, scheme) = (&quantized.module, quantized.scheme);
        let group = quantized.group;
        QuantizeError::Unsupported(format!("{module}: {scheme} in groups {group} is not decoded"))
    };
    let [out, inputs] = quantized.matrix().ok_or_else(unread)?;
    let group = size(quantized.group, inputs).ok_or_else(unread)?;
    let per_channel = quantized.group == Group::Channel;
    let (scheme, names): (Scheme, &[&str]) = match (quantized.scheme, quantized.bits) {
        (Found::IntQuantized, _) if per_channel => (Scheme::W8A8, &["weight", "weight_scale"]),
        (Found::Fp8, _) if per_channel => (Scheme::Fp8, &["weight", "weight_scale"]),
        (Found::PackQuantized, Some(8)) if per_channel => {
            (Scheme::W8A16, &["weight_packed", "weight_scale", "weight_shape"])
        }
        (Found::PackQuantized, Some(4)) => {
            (Scheme::W4A16(group), &["weight_packed", "weight_scale", "weight_shape"])
        }
        (Found::AwqGemm, _) => (Scheme::Awq(group), &["qweight", "qzeros", "scales"]),
        (Found::Gptq(_), _) => (Scheme::Gptq(group), &["qweight", "qzeros", "scales", "g_idx"]),
        _ => return Err(unread()),
    };
    let shape = [out, inputs].map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
    let parts = names.iter().map(|name| format!("{}.{name}", quantized.module)).collect();
    Ok(Matrix { scheme, shape, parts })
}

/// A tensor of floats.
fn plain(found: &Found) -> Result<Array2<f32>, QuantizeError> {
    let shape = match *found.tensor.shape.as_slice() {
        [columns] => [1, columns as usize],
        [rows, columns] => [rows as usize, columns as usize],
        ref other => {
            return Err(QuantizeError::Unsupported(format!("it has {} axes", other.len())));
        }
    };
    let bytes = found.bytes()?;
    match found.tensor.storage {
        Storage::Elements(Dtype::F32) => decode::matrix(&bytes, shape, f32::from_le_bytes),
        Storage::Elements(Dtype::F16) => {
            decode::matrix(&bytes, shape, |b| f16::from_le_bytes(b).to_f32())
        }
        Storage::Elements(Dtype::BF16) => {
            decode::matrix(&bytes, shape, |b| bf16::from_le_bytes(b).to_f32())
        }
        other => Err(QuantizeError::Unsupported(format!("{other} is no float"))),
    }
}

/// How the inputs of a layer are quantized while it runs.
#[derive(Clone, Copy)]
enum Activations {
    Int8,
    Fp8,
}

impl Activations {
    fn of(scheme: Scheme) -> Option<Self> {
        match scheme {
            Scheme::W8A8 => Some(Self::Int8),
            Scheme::Fp8 => Some(Self::Fp8),
            _ => None,
        }
    }

    /// The codes of `x` as numbers, and the scale of each token, `[tokens, 1]`.
    fn quantize(self, x: &Array2<f32>) -> Result<(Array2<f32>, Array2<f32>), QuantizeError> {
        match self {
            Self::Int8 => {
                let x = labs::quantize_activations_per_token(x)?;
                Ok((x.q().mapv(f32::from), x.scales().clone()))
            }
            Self::Fp8 => {
                let (codes, scales) = fp8::quantize_per_channel(x)?;
                Ok((codes.mapv(fp8::decode), scales))
            }
        }
    }
}

/// A layer of 8-bit weights and 8-bit activations.
///
/// The sums run in `f32`, which is much faster here than `i32`: a sum of products of int8 codes is
/// exact up to 2^24, rounded beyond.
struct Codes {
    activations: Activations,
    codes: Dense,
    /// One for each output channel.
    scales: Array1<f32>,
}

impl Codes {
    fn new(
        activations: Activations,
        matrix: &Matrix,
        parts: &[Vec<u8>],
    ) -> Result<Self, QuantizeError> {
        let [codes, scales] = parts else {
            return Err(QuantizeError::Plan("8-bit codes come with their scales".into()));
        };
        let scales = decode::matrix(scales, [1, matrix.shape[0]], f32::from_le_bytes)?;
        let codes = decode::matrix(codes, matrix.shape, |[byte]| match activations {
            Activations::Int8 => f32::from(i8::from_le_bytes([byte])),
            Activations::Fp8 => fp8::decode(byte),
        })?;
        Ok(Self { activations, codes: Dense::new(codes), scales: scales.remove_axis(Axis(0)) })
    }
}

impl Linear for Codes {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        let (codes, scales) = self.activations.quantize(x)?;
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
