//! Rotations of a whole model with lab 10's functions: the same function in a basis without outliers.
//!
//! R1 rotates the residual stream, and R2 the values of each head. Both are offline: embedding, head and the
//! linear layers take them up, and any engine runs the result. The weights of the norms move into the layers
//! behind them first, so a head that was the embedding becomes a matrix of its own. R4 rotates the inputs of
//! `down_proj` while the model runs, because a product of gate and up lies between these inputs and the layers
//! before. Sources: QuaRot (Ashkboos et al. 2024), `fake_quant/rotation_utils.py`; the names and R2 are
//! those of SpinQuant (Liu et al. 2024). No embedding is centred here, because a mean belongs to LayerNorm.

use std::collections::BTreeMap;
use std::sync::Arc;

use formats::bytes::Float;
use formats::checkpoint::Tensor;
use formats::registry::{StorageFormat, StoredPart};
use kernels::Hadamard;
use model::{Config, Dense, LayerId, Model, Norm, Projection, READERS, Weights};
use ndarray::{Array1, Array2, ArrayViewMut2, Axis};
use rayon::prelude::*;
use rotations::{
    Rotation, RotationError, factors, fuse_norm, hadamard, rotate_heads, rotate_inputs,
    rotate_outputs,
};
use serde_json::{Map, Value};

use crate::decoder_layers::DecoderLayers;
use crate::transform_config;
use crate::{Transform, WriteError};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
/// Rows or columns that are rotated at a time, which bounds the memory of numbers in `f64`.
const PART: usize = 256;

/// Which rotations, and the signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationOptions {
    /// Rotates the residual stream.
    pub r1: bool,
    /// Rotates the values of each head.
    pub r2: bool,
    /// Rotates the inputs of `down_proj` while the model runs.
    pub r4: bool,
    /// Decides the signs of R1 and R2. R4 has none.
    pub seed: u64,
}

/// The rotations of a model.
#[derive(Clone, Debug)]
pub struct Rotations {
    options: RotationOptions,
    /// Where R1 is asked, the norm in front of each weight.
    norms: BTreeMap<String, Array1<f64>>,
    r1: Option<Rotation>,
    /// One for each decoder layer.
    r2: Vec<Rotation>,
    /// Of the inputs of `down_proj`, or of blocks of them.
    r4: Option<Rotation>,
    is_tied: bool,
}

impl Rotations {
    /// The rotations for a checkpoint. Reads its norms.
    ///
    /// # Errors
    /// If the architecture is not supported, the model has a tensor that these rotations do not know (a
    /// bias), or no construction of lab 10 gives a Hadamard matrix for a width. The message names the rotation.
    pub fn of(weights: &Weights, options: RotationOptions) -> Result<Self, WriteError> {
        let config = Config::load(weights.path())?;
        let RotationOptions { r1, r2, r4, seed } = options;
        refuse_unknown(weights.tensors(), config.layers)?;
        let of = |what: String, rotation: Result<Rotation, RotationError>| {
            rotation.map_err(|error| WriteError::Unsupported(format!("--rotate {what}: {error}")))
        };
        let hidden = config.hidden_size;
        let residual = r1.then(|| {
            of(format!("r1, a residual stream of {hidden}"), Rotation::random(hidden, seed))
        });
        let values = (0..if r2 { config.layers } else { 0 }).map(|layer| {
            let what = format!("r2, heads of {}", config.head_dim);
            // Signs of their own for each layer; R1 has those of the seed.
            of(what, Rotation::random(config.head_dim, seed.wrapping_add(1 + layer as u64)))
        });
        let inner = config.intermediate_size;
        let down = r4.then(|| {
            of(format!("r4, {inner} inputs of down_proj"), Rotation::plain(block_of(inner)))
        });
        let has_head = weights.tensors().iter().any(|tensor| tensor.name == HEAD);
        Ok(Self {
            options,
            norms: if r1 { norms(weights, config.layers)? } else { BTreeMap::new() },
            r1: residual.transpose()?,
            r2: values.collect::<Result<_, _>>()?,
            r4: down.transpose()?,
            is_tied: config.tied.unwrap_or(!has_head),
        })
    }

    /// R4 as the kernel computes it, if it is asked.
    ///
    /// # Errors
    /// If the kernel refuses the matrix.
    pub fn online(&self) -> Result<Option<Hadamard>, WriteError> {
        let Some(r4) = &self.r4 else { return Ok(None) };
        let power = r4.order() / r4.core.nrows();
        let hadamard = Hadamard::new(&r4.core.mapv(|sign| sign as i8), power);
        hadamard.map(Some).map_err(|error| WriteError::Unsupported(error.to_string()))
    }

    /// The tensor `w` of the projection `id`.
    fn projection(&self, id: LayerId, w: Array2<f32>) -> Result<Array2<f32>, RotationError> {
        let values = id.layer().and_then(|layer| self.r2.get(layer));
        let (by_rows, by_columns) = (Axis(0), Axis(1));
        let norm = self.norms.get(&format!("{id}.weight"));
        let w = in_parts(w, by_rows, norm, fuse_norm)?;
        let read = |w, r1| in_parts(w, by_rows, r1, rotate_inputs);
        let wrote = |w, r1| in_parts(w, by_columns, r1, rotate_outputs);
        let r1 = self.r1.as_ref();
        match id.projection() {
            Some(Projection::V) => in_parts(read(w, r1)?, by_columns, values, |w, r2| {
                Ok(rotate_heads(&w.t().to_owned(), r2)?.reversed_axes())
            }),
            Some(Projection::O) => wrote(in_parts(w, by_rows, values, rotate_heads)?, r1),
            Some(Projection::Down) => {
                // A block is to the input what a head is to the values.
                let r4 = self.r4.as_ref();
                wrote(in_parts(w, by_rows, r4, rotate_heads)?, r1)
            }
            _ => read(w, r1),
        }
    }
}

impl Transform for Rotations {
    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if self.r4.is_none() || format.takes_transform_config() {
            return Ok(());
        }
        Err(WriteError::Unsupported(format!(
            "--rotate r4 needs an engine that rotates the inputs of down_proj, and only compressed-tensors' \
             config can say so; {format} has another: take a format of compressed-tensors, or r1,r2"
        )))
    }

    fn lab(&self) -> &'static str {
        "10"
    }

    fn settings(&self) -> String {
        format!("{:?}", self.options)
    }

    fn apply(&self, name: &str, w: Array2<f32>) -> Result<Array2<f32>, WriteError> {
        if let Some(((row, column), &value)) = w.indexed_iter().find(|(_, x)| !x.is_finite()) {
            let value = value.into();
            return Err(RotationError::NotFinite { row, column, value }.into());
        }
        let is_norm = name.ends_with("norm.weight");
        Ok(match self.r1.as_ref() {
            Some(_) if is_norm => Array2::ones(w.dim()),
            Some(r1) if name == EMBEDDING => in_parts(w, Axis(0), Some(r1), rotate_inputs)?,
            _ => match module(name) {
                Some(id) => self.projection(id, w)?,
                None => w,
            },
        })
    }

    fn tensors(&self, tensors: &[Tensor]) -> Vec<Tensor> {
        let mut tensors = tensors.to_vec();
        let needs_head = self.r1.is_some() && !tensors.iter().any(|tensor| tensor.name == HEAD);
        let embedding = tensors.iter().find(|tensor| tensor.name == EMBEDDING);
        let head = embedding.map(|embedding| Tensor { name: HEAD.into(), ..embedding.clone() });
        tensors.extend(head.filter(|_| needs_head));
        tensors
    }

    fn origin<'n>(&self, name: &'n str) -> &'n str {
        if self.is_tied && name == HEAD { EMBEDDING } else { name }
    }

    fn added(&self, float: Float) -> Result<Vec<StoredPart>, WriteError> {
        let matrix = |r4: &Rotation| {
            let signs = hadamard(r4.order())?.mapv(|sign| sign as f32);
            transform_config::matrix(&signs, float)
        };
        let stored = self.r4.as_ref().filter(|r4| has_core(r4));
        Ok(stored.map(matrix).transpose()?.into_iter().collect())
    }

    fn finish(&self, weights: &Weights, model: &mut Model) -> Result<(), WriteError> {
        let layers = DecoderLayers { weights, transform: Some(self) };
        if self.r1.is_some() {
            model.replace_embedding(Arc::new(Dense::new(layers.read(EMBEDDING)?)))?;
            model.replace(LayerId::Head, Arc::new(Dense::new(layers.read(HEAD)?)))?;
        }
        if let Some(r4) = self.online()? {
            model.set_down_rotation(Arc::new(r4))?;
        }
        Ok(())
    }

    fn config(&self, config: &mut Map<String, Value>) {
        if self.r1.is_some() {
            config.insert("tie_word_embeddings".into(), false.into());
        }
        if let Some(r4) = &self.r4 {
            transform_config::add(config, r4.order(), has_core(r4));
        }
    }
}

/// The whole width where lab 10 constructs a matrix for the width, else the largest power of two that divides
/// the width. An odd width has no matrix, and the lab refuses it.
fn block_of(width: usize) -> usize {
    let power = 1 << width.trailing_zeros();
    if factors(width).is_ok() || power == 1 { width } else { power }
}

/// Whether the rotation is more than Sylvester's matrix, which every reader knows by its order.
fn has_core(rotation: &Rotation) -> bool {
    rotation.core.nrows() > 1
}

/// The linear layer of a tensor.
fn module(name: &str) -> Option<LayerId> {
    if name == HEAD {
        return Some(LayerId::Head);
    }
    let rest = name.strip_prefix("model.layers.")?.strip_suffix(".weight")?;
    let (layer, rest) = rest.split_once('.')?;
    let projection = Projection::ALL.into_iter().find(|projection| projection.name() == rest)?;
    Some(LayerId::Layer(layer.parse().ok()?, projection))
}

/// The weights of the norm in front of each weight that reads a norm.
fn norms(weights: &Weights, layers: usize) -> Result<BTreeMap<String, Array1<f64>>, WriteError> {
    let mut norms = BTreeMap::new();
    let of_layer = |layer| {
        let id = move |&projection| LayerId::Layer(layer, projection);
        let [attention, mlp] = [READERS[0], READERS[2]].map(|readers| readers.iter().map(id));
        [(Norm::Attention(layer), attention.collect::<Vec<_>>()), (Norm::Mlp(layer), mlp.collect())]
    };
    let last = (Norm::Last, vec![LayerId::Head]);
    for (norm, readers) in (0..layers).flat_map(of_layer).chain([last]) {
        let weight = weights.read(&format!("{norm}.weight"))?.mapv(f64::from).flatten().to_owned();
        norms.extend(readers.into_iter().map(|id| (format!("{id}.weight"), weight.clone())));
    }
    Ok(norms)
}

/// Refuses a model with tensors that a plain Llama does not have.
fn refuse_unknown(tensors: &[Tensor], layers: usize) -> Result<(), WriteError> {
    let known = |name: &str| {
        let mut norms = (0..layers).flat_map(|layer| [Norm::Attention(layer), Norm::Mlp(layer)]);
        name == EMBEDDING
            || module(name).is_some()
            || name == format!("{}.weight", Norm::Last)
            || norms.any(|norm| name == format!("{norm}.weight"))
            || name.ends_with("rotary_emb.inv_freq")
    };
    match tensors.iter().find(|tensor| !known(&tensor.name)) {
        None => Ok(()),
        Some(tensor) => Err(WriteError::Unsupported(format!(
            "--rotate is for a plain Llama, and `{}` is a tensor that such a model does not have: a bias or \
             another norm would have to be rotated too. Leave out --rotate",
            tensor.name
        ))),
    }
}

/// `change`, in `f64`, of parts of `w` along `axis`, if there is a `change_by`.
fn in_parts<By: Sync>(
    mut w: Array2<f32>,
    axis: Axis,
    change_by: Option<&By>,
    change: impl Fn(&Array2<f64>, &By) -> Result<Array2<f64>, RotationError> + Sync,
) -> Result<Array2<f32>, RotationError> {
    let Some(by) = change_by else { return Ok(w) };
    let parts: Vec<ArrayViewMut2<f32>> = w.axis_chunks_iter_mut(axis, PART).collect();
    parts.into_par_iter().with_max_len(1).try_for_each(|mut part| {
        let changed = change(&part.mapv(f64::from), by)?;
        part.assign(&changed.mapv(|value| value as f32));
        Ok(())
    })?;
    Ok(w)
}
