//! SmoothQuant on a whole model with lab 04's functions. The scales are folded into the tensors.
//!
//! Only the outputs of a norm can be smoothed at no cost: the inputs of the query, key and value
//! projections, and those of gate and up. These projections read one input and so share one vector of
//! scales, for which the absmax of the weights is taken over all of them. The norm is divided by the
//! scales, the weights are multiplied by them, and the model computes the same. Source: `smooth_lm` of SmoothQuant's reference
//! implementation, which smooths these inputs and no others.

use std::collections::BTreeMap;

use model::{Cache, LayerId, Model, Projection, READERS, Tokenizer, Weights};
use ndarray::{Array1, Array2};

use crate::{CHUNK, Transform, WriteError};
use quantize_model::labs::{channel_absmax, fold_into_norm, smoothing_scales};
use smoothquant::SmoothError;

/// The scales that belong to each tensor.
#[derive(Clone, Debug, Default)]
pub struct Smoothing {
    norms: BTreeMap<String, Array1<f32>>,
    weights: BTreeMap<String, Array1<f32>>,
}

/// The norms of a decoder layer, and the projections that read their outputs.
const NORMS: [(&str, &[Projection]); 2] =
    [("input_layernorm", READERS[0]), ("post_attention_layernorm", READERS[2])];

impl Smoothing {
    /// As [`Smoothing::calibrate`], on the whole chunks of [`CHUNK`] tokens of `text`.
    ///
    /// # Errors
    /// As [`Smoothing::calibrate`]; if the text is no whole chunk.
    pub fn on_text(weights: &Weights, text: &str, alpha: f32) -> Result<Self, WriteError> {
        let tokens = Tokenizer::load(weights.path())?.encode(text)?;
        let chunks: Vec<&[u32]> = tokens.chunks_exact(CHUNK).collect();
        if chunks.is_empty() {
            let problem = format!("the calibration text is no whole chunk of {CHUNK} tokens");
            return Err(WriteError::Unsupported(problem));
        }
        Self::calibrate(weights, &chunks, alpha)
    }

    /// Runs the model behind `weights` on `chunks` of tokens and computes the scales for `alpha`.
    ///
    /// The whole model is in memory in `f32`, so the largest tensor does not bound the memory of
    /// calibration.
    ///
    /// # Errors
    /// If the architecture is not supported, or lab 04 refuses: no tokens, a dead channel, an `alpha` out
    /// of range.
    pub fn calibrate(weights: &Weights, chunks: &[&[u32]], alpha: f32) -> Result<Self, WriteError> {
        let model = Model::load(weights.path())?;
        let mut inputs: BTreeMap<LayerId, Array1<f32>> = BTreeMap::new();
        each_input(&model, chunks, |id, x| {
            // Query and gate alone, because the other projections read the same inputs.
            if matches!(id.projection(), Some(Projection::Q | Projection::Gate)) {
                let now = channel_absmax(x)?;
                widen(inputs.entry(id).or_insert_with(|| Array1::zeros(now.len())), &now);
            }
            Ok(())
        })?;
        let mut smoothing = Self::default();
        for layer in 0..model.config().layers {
            for (norm, readers) in NORMS {
                let norm = format!("model.layers.{layer}.{norm}.weight");
                let ids = readers.iter().map(|&projection| LayerId::Layer(layer, projection));
                let scales = || -> Result<_, WriteError> {
                    let input = ids.clone().find_map(|id| inputs.get(&id));
                    let input = input.ok_or(SmoothError::NoTokens)?;
                    Ok(smoothing_scales(input, &weight_absmax(&model, ids.clone())?, alpha)?)
                };
                let scales = scales().map_err(|error| error.within(&norm))?;
                let names = ids.map(|id| format!("{id}.weight"));
                smoothing.weights.extend(names.map(|name| (name, scales.clone())));
                smoothing.norms.insert(norm, scales);
            }
        }
        Ok(smoothing)
    }
}

impl Transform for Smoothing {
    fn apply(&self, name: &str, tensor: Array2<f32>) -> Result<Array2<f32>, WriteError> {
        if let Some(scales) = self.norms.get(name) {
            let norm = fold_into_norm(&tensor.flatten().to_owned(), scales)?;
            return Ok(norm.insert_axis(ndarray::Axis(0)));
        }
        match self.weights.get(name) {
            Some(scales) if scales.len() == tensor.ncols() => Ok(tensor * scales),
            Some(_) => Err(WriteError::Plan(format!("the scales do not fit `{name}`"))),
            None => Ok(tensor),
        }
    }
}

/// Runs `model` on each of `chunks` from an empty cache, and calls `see` with the input of every layer,
/// `[tokens, in_features]`.
///
/// # Errors
/// An error of the model, or the first error of `see` with the layer's id.
pub fn each_input<C: AsRef<[u32]>>(
    model: &Model,
    chunks: &[C],
    mut see: impl FnMut(LayerId, &Array2<f32>) -> Result<(), SmoothError> + Send,
) -> Result<(), WriteError> {
    for chunk in chunks {
        let chunk = chunk.as_ref();
        let mut cache = Cache::new(model.config(), chunk.len())?;
        // A hook cannot fail, so the first error is kept until the end of the chunk.
        let mut refused = None;
        model.hidden(chunk, &mut cache, &mut |id, x| {
            if let (None, Err(error)) = (&refused, see(id, x)) {
                refused = Some((id, error));
            }
        })?;
        if let Some((id, error)) = refused {
            return Err(WriteError::from(error).within(&format!("the input of {id}")));
        }
    }
    Ok(())
}

/// Replaces each element of `max` by the larger of `max` and `now`.
pub fn widen(max: &mut Array1<f32>, now: &Array1<f32>) {
    max.zip_mut_with(now, |max, now| *max = max.max(*now));
}

/// The absmax of each input channel over the weights of all `ids`, which read one input.
///
/// # Errors
/// If none of the layers keeps its `f32` weight, or a weight holds NaN or infinity.
pub fn weight_absmax(
    model: &Model,
    ids: impl IntoIterator<Item = LayerId>,
) -> Result<Array1<f32>, WriteError> {
    let mut all: Option<Array1<f32>> = None;
    for id in ids {
        let Some(w) = model.linear(id)?.weight() else { continue };
        let now = channel_absmax(w)?;
        widen(all.get_or_insert_with(|| Array1::zeros(now.len())), &now);
    }
    Ok(all.ok_or(SmoothError::NoTokens)?)
}
