//! What the model minds: the divergence of the model in which one matrix alone is rounded, for each matrix of the
//! decoder layers.
//!
//! The divergence is measured with the type of the largest error, and goes with the squared error of the matrix in
//! the other types. The error of a column counts by the mean square of its inputs, as in an importance matrix.
//! 210 runs of a short text are minutes, so each layer that is done is kept in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::FormatError;
use formats::checkpoint::Storage;
use formats::gguf::{TensorType, dequantize, finds_again, last_code};
use formats::registry::encode_blocks;
use model::{
    Cache, Closeness, Convention, Dense, LayerId, Model, Projection, Reference, Weights, gguf_name,
};
use ndarray::Array2;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::budget::{Choice, Matrix};
use crate::importance::Importance;
use crate::kept_layers::{changed_file, fnv};
use crate::layer_by_layer::{Watch, whole_chunks};
use crate::{CHUNK, WriteError};

/// Chunks on which the divergence is measured: enough that the order of the matrices stays the same.
const CHUNKS: usize = 2;

/// The cost of each matrix of the decoder layers in each type of blocks that fits its rows, calibrated on the whole
/// chunks of `tokens`. A type that [finds the grid of the input again](finds_again) is no choice: it would lose next to
/// nothing, be taken everywhere, and say nothing about the weights. What is done is kept in `folder`, in a file whose name has a hash of everything that decides
/// the numbers.
///
/// # Errors
/// If the architecture is not supported, the text has no whole chunk, or the file cannot be read or written.
pub fn measure(
    weights: &Weights,
    tokens: &[u32],
    folder: &Path,
    watch: &mut dyn Watch,
) -> Result<Vec<Matrix>, WriteError> {
    let mut model = Model::load(weights.path())?;
    let chunks: Vec<&[u32]> = whole_chunks(&model, tokens)?.collect();
    let kept = Kept::new(folder, weights, tokens)?;
    let mut done = kept.read()?;
    let layers = model.config().layers;
    if done.len() == layers * Projection::ALL.len() {
        return Ok(with_choices(done, weights));
    }
    let importance = Importance::collect(&model, &chunks)?;
    let passage = Passage::of(&model, &chunks[..chunks.len().min(CHUNKS)])?;
    for layer in done.len() / Projection::ALL.len()..layers {
        for id in Projection::ALL.map(|projection| LayerId::Layer(layer, projection)) {
            done.push(passage.matrix(&mut model, id, importance.of(&gguf_name(id)))?);
        }
        kept.write(&done)?;
        watch.layer(layer + 1, layers);
    }
    Ok(with_choices(done, weights))
}

/// The matrices with the types that say something about them, as far as there are any.
fn with_choices(matrices: Vec<Matrix>, weights: &Weights) -> Vec<Matrix> {
    let stored =
        |name: &str| weights.tensors().iter().find(|of| of.name == name).map(|of| of.storage);
    let mut chosen = matrices;
    for matrix in &mut chosen {
        if let Some(Storage::Blocks(stored)) = stored(&matrix.name) {
            matrix.choices.retain(|of| !finds_again(of.kind, stored));
        }
    }
    chosen.retain(|matrix| !matrix.choices.is_empty());
    chosen
}

/// The text, and what the model predicts on it.
struct Passage<'t> {
    chunks: &'t [&'t [u32]],
    reference: Vec<Reference>,
}

impl<'t> Passage<'t> {
    fn of(model: &Model, chunks: &'t [&'t [u32]]) -> Result<Self, WriteError> {
        let reference = chunks.iter().map(|chunk| Ok(Reference::new(logits(model, chunk)?)));
        Ok(Self { chunks, reference: reference.collect::<Result<_, WriteError>>()? })
    }

    fn divergence(&self, model: &Model) -> Result<f64, WriteError> {
        let mut close = Closeness::default();
        for (chunk, reference) in self.chunks.iter().zip(&self.reference) {
            close.add(reference, &logits(model, chunk)?)?;
        }
        Ok(close.mean_kl_divergence())
    }

    /// The cost of one matrix. The model is as before afterwards.
    fn matrix(
        &self,
        model: &mut Model,
        id: LayerId,
        importance: Option<&[f32]>,
    ) -> Result<Matrix, WriteError> {
        let name = format!("{id}.weight");
        let none = || WriteError::Plan(format!("{name} is no matrix of floats"));
        let w = model.linear(id)?.weight().ok_or_else(none)?.clone();
        let fits = |kind: &TensorType| {
            let (weights, _) = kind.block().unwrap_or((usize::MAX, 0));
            last_code(*kind).is_some() && w.ncols().is_multiple_of(weights)
        };
        let kinds: Vec<TensorType> = TensorType::DECODED.into_iter().filter(fits).collect();
        let rounded =
            kinds.par_iter().with_max_len(1).map(|&kind| Rounded::of(kind, &w, importance));
        let rounded = rounded.collect::<Result<Vec<_>, WriteError>>()?;
        let Some(worst) = rounded.iter().max_by(|a, b| a.error.total_cmp(&b.error)) else {
            // Rows that no block divides stay floats, whatever the budget is.
            return Ok(Matrix { name, weights: w.len() as u64, choices: Vec::new() });
        };
        let before = model.replace(id, Arc::new(Dense::new(worst.values.clone())))?;
        let divergence = self.divergence(model);
        model.replace(id, before)?;
        let of_error = if worst.error > 0.0 { divergence? / worst.error } else { 0.0 };
        let choice = |of: &Rounded| Choice {
            kind: of.kind,
            bytes: of.bytes,
            divergence: of_error * of.error,
        };
        let choices = rounded.iter().map(choice).collect();
        Ok(Matrix { name, weights: w.len() as u64, choices })
    }
}

fn logits(model: &Model, chunk: &[u32]) -> Result<Array2<f32>, WriteError> {
    let mut cache = Cache::new(model.config(), chunk.len())?;
    Ok(Convention { chunk: CHUNK, bos: None }.logits(model, chunk, &mut cache)?)
}

/// A matrix in blocks of a type.
struct Rounded {
    kind: TensorType,
    bytes: u64,
    values: Array2<f32>,
    /// Squares, each times the importance of its column.
    error: f64,
}

impl Rounded {
    fn of(
        kind: TensorType,
        w: &Array2<f32>,
        importance: Option<&[f32]>,
    ) -> Result<Self, WriteError> {
        let blocks = encode_blocks(kind, w.view(), importance)?;
        let values = dequantize(kind, &blocks).map_err(FormatError::from)?;
        let values = Array2::from_shape_vec(w.dim(), values);
        let values = values.map_err(|_| WriteError::Plan("its rows are no whole blocks".into()))?;
        let counts = |column: usize| importance.map_or(1.0, |of| f64::from(of[column]));
        let error = w.indexed_iter().zip(&values).map(|(((_, column), was), is)| {
            counts(column) * (f64::from(*was) - f64::from(*is)).powi(2)
        });
        Ok(Self { kind, bytes: blocks.len() as u64, error: error.sum(), values })
    }
}

/// The file of what is done.
struct Kept(PathBuf);

impl Kept {
    fn new(folder: &Path, weights: &Weights, tokens: &[u32]) -> Result<Self, WriteError> {
        let all = format!("{} {tokens:?} {CHUNKS}", changed_file(weights.path())?);
        std::fs::create_dir_all(folder).map_err(WriteError::io(folder))?;
        Ok(Self(folder.join(format!(".sensitivity-{:016x}.json", fnv(all.as_bytes())))))
    }

    fn read(&self) -> Result<Vec<Matrix>, WriteError> {
        let Self(path) = self;
        if !path.exists() {
            return Ok(Vec::new());
        }
        let bytes = std::fs::read(path).map_err(WriteError::io(path))?;
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        let matrices = value.as_ref().and_then(Value::as_array);
        let matrices = matrices.and_then(|all| all.iter().map(matrix_of).collect());
        let damaged = || format!("{} is damaged: remove it", path.display());
        matrices.ok_or_else(|| WriteError::Unsupported(damaged()))
    }

    fn write(&self, matrices: &[Matrix]) -> Result<(), WriteError> {
        let partial = self.0.with_extension("partial");
        let all: Vec<Value> = matrices.iter().map(json_of).collect();
        std::fs::write(&partial, json!(all).to_string()).map_err(WriteError::io(&partial))?;
        std::fs::rename(&partial, &self.0).map_err(WriteError::io(&self.0))
    }
}

fn json_of(matrix: &Matrix) -> Value {
    let choice = |of: &Choice| json!([of.kind.id(), of.bytes, of.divergence]);
    let choices: Vec<Value> = matrix.choices.iter().map(choice).collect();
    json!({"name": matrix.name, "weights": matrix.weights, "choices": choices})
}

fn matrix_of(value: &Value) -> Option<Matrix> {
    let choice = |of: &Value| {
        Some(Choice {
            kind: TensorType::from_id(u32::try_from(of[0].as_u64()?).ok()?),
            bytes: of[1].as_u64()?,
            divergence: of[2].as_f64()?,
        })
    };
    let choices = value["choices"].as_array()?.iter().map(choice).collect::<Option<_>>()?;
    let name = value["name"].as_str()?.into();
    Some(Matrix { name, weights: value["weights"].as_u64()?, choices })
}
