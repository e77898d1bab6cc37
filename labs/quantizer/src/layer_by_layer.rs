//! GPTQ on a whole model with lab 06's functions, one decoder layer at a time.
//!
//! The tokens of the calibration text run through one decoder layer, whose inputs become Hessians. Its
//! weights are rounded, and the outputs of the *rounded* layer are the inputs of the next one, so that a
//! later layer makes up for the errors of the layers before. Beside the model in `f32`, the memory holds
//! the activations of one layer and its Hessians.
//!
//! Lab 06's functions choose the codes. Its sum of `x x^T` is `kernels::gram` here, because that sum is most
//! of the arithmetic.
//!
//! A layer that is done is kept in a folder beside the target, and a run that was killed goes on there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use formats::FormatError;
use formats::format::Grid as Answer;
use formats::layouts::Grouped;
use formats::registry::{Codes, Decision, StorageFormat};
use gptq::{GptqError, Hessian, Rounded};
use kernels::Gram;
use model::{Dense, InLayer, LayerId, Model, ModelError, Projection, READERS, Weights};
use ndarray::Array2;
use rayon::prelude::*;

use crate::gptq_matrix::{self, Options};
use crate::kept_layers::KeptLayers;
use crate::{CHUNK, Plan, Rounding, WriteError};

/// Chunks that run before their inputs are added to the Hessians, when the rest of the layer is not
/// needed: enough for all threads of a desktop, and few enough for its memory.
const CHUNKS_AT_ONCE: usize = 16;

/// Learns of the progress.
pub trait Watch {
    /// A matrix is rounded.
    fn matrix(&mut self, _matrix: &RoundedMatrix<'_>) {}

    /// So many of all decoder layers are done.
    fn layer(&mut self, done: usize, layers: usize);
}

/// A matrix that was rounded, and under which Hessian.
pub struct RoundedMatrix<'a> {
    /// The name of the weight.
    pub name: &'a str,
    /// The weight, `[out_features, in_features]`.
    pub w: &'a Array2<f32>,
    /// The Hessian of its inputs.
    pub h: &'a Hessian,
    /// Its codes and scales.
    pub rounded: &'a Rounded,
}

/// The codes of every decoder layer.
pub struct LayerByLayer {
    rounded: BTreeMap<String, Rounded>,
    model: Model,
    kept: KeptLayers,
}

impl LayerByLayer {
    /// Runs the model behind `weights` on the whole chunks among `tokens` (of [`CHUNK`], or of the positions
    /// that the model has), and rounds each matrix that `plan` quantizes. `kept` is the start of the name of
    /// a folder for layers that are done.
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
        watch: &mut dyn Watch,
    ) -> Result<Self, WriteError> {
        options.settings(plan.format, 1)?;
        let model = Model::load(weights.path())?;
        let chunk = CHUNK.min(model.config().max_positions);
        let chunks = tokens.chunks_exact(chunk);
        if chunks.len() == 0 {
            let problem = format!(
                "{} tokens are no whole chunk of {chunk}: calibrate on a longer text, or on more --tokens",
                tokens.len()
            );
            return Err(WriteError::Unsupported(problem));
        }
        let used = &tokens[..chunks.len() * chunk];
        // The name of the format, because a description has addresses of functions, which differ in every
        // run of a program.
        let settings = (plan.format.description.name, plan.format.group_size, options);
        let kept = KeptLayers::new(kept, &settings, weights, used)?;
        let quantized = weights.tensors().iter().filter(|t| plan.decide(t) == Decision::Quantize);
        let quantized: BTreeSet<&str> = quantized.map(|tensor| tensor.name.as_str()).collect();
        let mut run = Run { model, format: plan.format, options, quantized };
        let mut hidden =
            chunks.map(|chunk| run.model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        let (mut rounded, layers) = (BTreeMap::new(), run.model.config().layers);
        for layer in 0..layers {
            let mut at = of_each(hidden, |x| run.model.enter(layer, x))?;
            let done = match kept.read(layer)? {
                Some(done) => {
                    done.iter().try_for_each(|(name, done)| run.replace(layer, name, done))?;
                    done
                }
                None => {
                    let done = run.round_layer(layer, &mut at, watch)?;
                    kept.write(layer, &done)?;
                    done
                }
            };
            rounded.extend(done);
            let behind = if layer + 1 < layers { at } else { Vec::new() };
            hidden = of_each(behind, |at| run.model.leave(at))?;
            watch.layer(layer + 1, layers);
        }
        Ok(Self { rounded, model: run.model, kept })
    }

    /// The model with the values of the codes.
    pub fn model(&self) -> &Model {
        &self.model
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
    fn lab(&self) -> &'static str {
        "06"
    }

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

/// Calls `of` for each chunk on the threads of the pool.
fn of_each<In: Send, Out: Send>(
    chunks: Vec<In>,
    of: impl Fn(In) -> Result<Out, ModelError> + Send + Sync,
) -> Result<Vec<Out>, ModelError> {
    chunks.into_par_iter().with_max_len(1).map(of).collect()
}

/// A model whose first layers are rounded.
struct Run<'a> {
    model: Model,
    format: StorageFormat,
    options: &'a Options,
    quantized: BTreeSet<&'a str>,
}

impl Run<'_> {
    /// Rounds one decoder layer, and returns its codes by the names of the weights. `at` are the chunks
    /// before the layer, and stay somewhere in it.
    fn round_layer(
        &mut self,
        layer: usize,
        at: &mut Vec<InLayer>,
        watch: &mut dyn Watch,
    ) -> Result<BTreeMap<String, Rounded>, WriteError> {
        if self.options.sequential {
            return self.round_in_sequence(layer, at, watch);
        }
        let sums = READERS.iter().map(|readers| Sum::new(&self.model, layer, readers));
        let mut sums = sums.collect::<Result<Vec<_>, _>>()?;
        for some in at.chunks(CHUNKS_AT_ONCE) {
            let mut some = some.to_vec();
            for (stage, sum) in sums.iter_mut().enumerate() {
                if stage > 0 {
                    some = of_each(some, |at| self.model.go_on(at))?;
                }
                sum.add(&some)?;
            }
        }
        let hessians: Vec<_> = sums.into_iter().map(Sum::hessian).collect();
        self.round(layer, &hessians, watch)
    }

    /// As [`Run::round_layer`], but the inputs behind a projection are those of the rounded projection.
    /// Each projection runs once then, with its rounded weights only.
    fn round_in_sequence(
        &mut self,
        layer: usize,
        at: &mut Vec<InLayer>,
        watch: &mut dyn Watch,
    ) -> Result<BTreeMap<String, Rounded>, WriteError> {
        let mut rounded = BTreeMap::new();
        for (stage, readers) in READERS.into_iter().enumerate() {
            if stage > 0 {
                *at = of_each(std::mem::take(at), |at| self.model.go_on(at))?;
            }
            let mut sum = Sum::new(&self.model, layer, readers)?;
            sum.add(at)?;
            rounded.extend(self.round(layer, &[sum.hessian()], watch)?);
        }
        Ok(rounded)
    }

    /// Rounds the readers of these Hessians, and puts them into the model.
    fn round(
        &mut self,
        layer: usize,
        hessians: &[(&[Projection], Hessian)],
        watch: &mut dyn Watch,
    ) -> Result<BTreeMap<String, Rounded>, WriteError> {
        let each = hessians.iter().flat_map(|(readers, h)| readers.iter().map(move |&p| (p, h)));
        let each: Vec<_> = each.collect();
        let done = each.par_iter().with_max_len(1);
        let done = done.map(|&(projection, h)| self.round_one(layer, projection, h));
        let mut rounded = BTreeMap::new();
        for (done, (projection, h)) in done.collect::<Result<Vec<_>, _>>()?.into_iter().zip(each) {
            let Some((name, done)) = done else { continue };
            if let Some(w) = self.model.linear(LayerId::Layer(layer, projection))?.weight() {
                watch.matrix(&RoundedMatrix { name: &name, w, h, rounded: &done });
            }
            self.replace(layer, &name, &done)?;
            rounded.insert(name, done);
        }
        Ok(rounded)
    }

    /// The name and the codes of a weight, if it is quantized.
    fn round_one(
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
        let rounded = gptq_matrix::round(w, h, self.options, self.format);
        let rounded = rounded.map_err(|error| error.within(&name))?;
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

/// The sum of `x x^T` of the input of some projections.
struct Sum {
    /// The first of the projections, which names the input.
    id: LayerId,
    readers: &'static [Projection],
    gram: Gram,
    tokens: usize,
}

impl Sum {
    fn new(
        model: &Model,
        layer: usize,
        readers: &'static [Projection],
    ) -> Result<Self, WriteError> {
        let id = LayerId::Layer(layer, readers[0]);
        Ok(Self { id, readers, gram: Gram::new(model.linear(id)?.in_features()), tokens: 0 })
    }

    /// Adds the inputs of chunks that stand before the projections.
    fn add(&mut self, at: &[InLayer]) -> Result<(), WriteError> {
        let inputs: Vec<_> = at.iter().map(InLayer::input).collect();
        for input in &inputs {
            if let Some(((row, column), &value)) =
                input.indexed_iter().find(|(_, x)| !x.is_finite())
            {
                let error = GptqError::NotFinite { what: "the batch", row, column, value };
                return Err(WriteError::from(error).within(&self.id.to_string()));
            }
        }
        self.gram.add(&inputs);
        self.tokens += inputs.iter().map(|input| input.nrows()).sum::<usize>();
        Ok(())
    }

    /// The Hessian, as lab 06's `add_batch` scales it.
    fn hessian(self) -> (&'static [Projection], Hessian) {
        let mut matrix = self.gram.matrix();
        matrix.mapv_inplace(|sum| 2.0 / self.tokens as f64 * sum);
        (self.readers, Hessian { matrix, tokens: self.tokens })
    }
}
