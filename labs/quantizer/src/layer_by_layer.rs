//! GPTQ on a whole model with lab 06's functions, one decoder layer at a time.
//!
//! The tokens of the calibration text run through one decoder layer, whose inputs become Hessians. Its
//! weights are rounded, and the outputs of the *rounded* layer are the inputs of the next one, so that a
//! later layer makes up for the errors of the layers before. Beside the model in `f32`, the memory holds
//! the activations between two layers and the Hessians of one.
//!
//! A layer that is done is kept in a folder beside the target, and a run that was killed goes on there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use formats::FormatError;
use formats::format::Grid as Answer;
use formats::layouts::Grouped;
use formats::registry::{Codes, Decision, StorageFormat};
use gptq::{Grid, GroupScales, Hessian, Rounded, Settings, add_batch, gptq};
use model::{Dense, LayerId, Model, Projection, Weights};
use ndarray::Array2;
use rayon::prelude::*;

use crate::kept_layers::KeptLayers;
use crate::{Plan, Rounding, WriteError};

/// Tokens of a chunk of the calibration text, which the model runs from an empty cache.
pub const CHUNK: usize = 512;

/// How the codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The grid of four bits. Eight bits have lab 01's.
    pub int4: Grid,
    /// Where the scales of groups come from.
    pub scales: GroupScales,
    /// Whether columns with large inputs are rounded first.
    pub act_order: bool,
    /// The share of the mean of the diagonal that is added to it.
    pub damping: f64,
    /// Whether a decoder layer runs again after each of its four inputs, so that every Hessian sees
    /// the rounded layers before. Else one run gives all Hessians of the layer.
    pub sequential: bool,
}

impl Options {
    /// The choices of llm-compressor 0.14: its grid, static scales, act-order, damping 0.01, one run for
    /// each layer.
    pub const LLM_COMPRESSOR: Self = Self {
        int4: Grid::LLM_COMPRESSOR,
        scales: GroupScales::Static,
        act_order: true,
        damping: 0.01,
        sequential: false,
    };

    /// The settings of a matrix with rows of `in_features`.
    fn settings(&self, format: StorageFormat, in_features: usize) -> Result<Settings, WriteError> {
        let &Self { int4, scales, act_order, damping, .. } = self;
        let plain = if format.description.is_int4_in_chosen_groups() {
            Settings::new(int4, usize::try_from(format.group_size).unwrap_or(usize::MAX))
        } else if format.description.is_int8_per_channel() {
            Settings::new(Grid::LAB_01, in_features)
        } else {
            let problem = format!(
                "GPTQ is for int4 in groups of a chosen size and for int8 per channel, not {format}"
            );
            return Err(WriteError::Unsupported(problem));
        };
        Ok(Settings { scales, act_order, damping, ..plain })
    }
}

/// The projections of a decoder layer that read one input; the first one names the input.
const READERS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// The codes of every decoder layer.
pub struct LayerByLayer {
    rounded: BTreeMap<String, Rounded>,
    kept: KeptLayers,
}

impl LayerByLayer {
    /// Runs the model behind `weights` on the whole chunks of [`CHUNK`] among `tokens`, and rounds each
    /// matrix that `plan` quantizes. `kept` is the start of the name of a folder for layers that are
    /// done, `progress` is called with the number of layers done and of all layers after each one.
    ///
    /// # Errors
    /// If the format is not one for GPTQ, the text has no whole chunk, the architecture is not supported,
    /// lab 06 refuses (the layer is named), or a layer cannot be kept.
    pub fn calibrate(
        weights: &Weights,
        plan: &Plan,
        tokens: &[u32],
        options: &Options,
        kept: &Path,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, WriteError> {
        options.settings(plan.format, 1)?;
        let chunks = tokens.chunks_exact(CHUNK);
        if chunks.len() == 0 {
            let problem = format!("{} tokens are no whole chunk of {CHUNK}", tokens.len());
            return Err(WriteError::Unsupported(problem));
        }
        let used = &tokens[..chunks.len() * CHUNK];
        let kept =
            KeptLayers::new(kept, &(plan.format, plan.format.group_size, options), weights, used)?;
        let quantized = weights.tensors().iter().filter(|t| plan.decide(t) == Decision::Quantize);
        let quantized: BTreeSet<&str> = quantized.map(|tensor| tensor.name.as_str()).collect();
        let mut run =
            Run { model: Model::load(weights.path())?, format: plan.format, options, quantized };
        let mut hidden =
            chunks.map(|chunk| run.model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        let (mut rounded, layers) = (BTreeMap::new(), run.model.config().layers);
        for layer in 0..layers {
            let done = match kept.read(layer)? {
                Some(done) => done,
                None => {
                    let done = run.round_layer(layer, &hidden)?;
                    kept.write(layer, &done)?;
                    done
                }
            };
            for (name, done) in done {
                run.replace(layer, &name, &done)?;
                rounded.insert(name, done);
            }
            if layer + 1 < layers {
                for x in &mut hidden {
                    *x = run.model.decoder_layer(layer, x, &mut |_, _| ())?;
                }
            }
            progress(layer + 1, layers);
        }
        Ok(Self { rounded, kept })
    }

    /// Removes the folder of the layers that are done, when the checkpoint is written.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn forget(self) -> Result<(), WriteError> {
        self.kept.remove()
    }
}

impl Rounding for LayerByLayer {
    fn round(
        &self,
        name: &str,
        w: &Array2<f32>,
        format: StorageFormat,
    ) -> Result<Codes, WriteError> {
        let rounded = self.rounded.get(name).filter(|rounded| rounded.q().dim() == w.dim());
        let rounded = rounded.ok_or_else(|| {
            WriteError::Plan(format!(
                "GPTQ has no codes for {:?}: it is in no decoder layer",
                w.dim()
            ))
        })?;
        match format.description.weights {
            Answer::Int(8) => Ok(Codes::Int8(rounded.int8()?)),
            _ => {
                let grouped = Grouped::try_from(&rounded.int4()?).map_err(FormatError::from)?;
                Ok(Codes::Int4(grouped))
            }
        }
    }
}

/// A model whose first layers are rounded.
struct Run<'a> {
    model: Model,
    format: StorageFormat,
    options: &'a Options,
    quantized: BTreeSet<&'a str>,
}

impl Run<'_> {
    /// The codes of one decoder layer, by the names of its weights.
    fn round_layer(
        &mut self,
        layer: usize,
        hidden: &[Array2<f32>],
    ) -> Result<BTreeMap<String, Rounded>, WriteError> {
        let mut rounded = BTreeMap::new();
        let passes: Vec<&[&[Projection]]> =
            if self.options.sequential { READERS.chunks(1).collect() } else { vec![&READERS] };
        for readers in passes {
            let hessians = self.hessians(layer, readers, hidden)?;
            let of_pass = readers.iter().zip(&hessians);
            let each =
                of_pass.flat_map(|(set, h)| set.iter().map(move |&projection| (projection, h)));
            let each: Vec<_> = each.collect();
            let done = each.into_par_iter().map(|(projection, h)| self.round(layer, projection, h));
            for (name, done) in done.collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
                self.replace(layer, &name, &done)?;
                rounded.insert(name, done);
            }
        }
        Ok(rounded)
    }

    /// The Hessian of each of these inputs of a layer.
    fn hessians(
        &self,
        layer: usize,
        readers: &[&[Projection]],
        hidden: &[Array2<f32>],
    ) -> Result<Vec<Hessian>, WriteError> {
        let first = |set: &&[Projection]| LayerId::Layer(layer, set[0]);
        let ids: Vec<LayerId> = readers.iter().map(first).collect();
        let width = |&id: &LayerId| Ok(Hessian::new(self.model.linear(id)?.in_features()));
        let mut hessians = ids.iter().map(width).collect::<Result<Vec<_>, WriteError>>()?;
        for x in hidden {
            let mut inputs = BTreeMap::new();
            self.model.decoder_layer(layer, x, &mut |id, x| {
                if ids.contains(&id) {
                    inputs.insert(id, x.clone());
                }
            })?;
            // In parallel over the inputs, because a product of lab 06 has one thread.
            hessians.par_iter_mut().zip(&ids).try_for_each(|(h, id)| {
                let x =
                    inputs.get(id).ok_or_else(|| WriteError::Plan(format!("{id} has no input")))?;
                add_batch(h, x).map_err(|error| WriteError::from(error).within(&id.to_string()))
            })?;
        }
        Ok(hessians)
    }

    /// The name and the codes of a weight, if it is quantized.
    fn round(
        &self,
        layer: usize,
        projection: Projection,
        h: &Hessian,
    ) -> Result<Option<(String, Rounded)>, WriteError> {
        let id = LayerId::Layer(layer, projection);
        let name = format!("{id}.weight");
        let linear = self.model.linear(id)?;
        let Some(w) = linear.weight().filter(|_| self.quantized.contains(name.as_str())) else {
            return Ok(None);
        };
        let settings = self.options.settings(self.format, w.ncols())?;
        let rounded =
            gptq(w, h, &settings).map_err(|error| WriteError::from(error).within(&name))?;
        Ok(Some((name, rounded)))
    }

    /// Puts the rounded weight into the model.
    fn replace(&mut self, layer: usize, name: &str, rounded: &Rounded) -> Result<(), WriteError> {
        let id = Projection::ALL.map(|projection| LayerId::Layer(layer, projection));
        let id = id.into_iter().find(|id| format!("{id}.weight") == name);
        let id = id.ok_or_else(|| WriteError::Plan(format!("`{name}` is not in layer {layer}")))?;
        self.model.replace(id, Arc::new(Dense::new(rounded.values())))?;
        Ok(())
    }
}
