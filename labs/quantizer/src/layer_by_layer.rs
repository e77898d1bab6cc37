//! GPTQ on a whole model with lab 06's functions, one decoder layer at a time.
//!
//! The tokens of the calibration text run through one decoder layer, whose inputs become Hessians. Its
//! weights are rounded, and the outputs of the *rounded* layer are the inputs of the next one, so that a
//! later layer makes up for the errors of the layers before. Beside the embedding, the memory holds one layer
//! in `f32`, its Hessians and its activations.
//!
//! Lab 06's functions choose the codes of integers, and give a grid of floats the factor of the Hessian. The
//! sum of `x x^T` is `kernels::gram` here, because that sum is most of the arithmetic.
//!
//! A layer that is done is kept in a folder beside the target, and a run that was killed goes on there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::slice::ChunksExact;
use std::sync::Arc;

use formats::gguf::TensorType;
use formats::registry::{Codes, StorageFormat};
use gptq::{GptqError, Hessian};
use kernels::Gram;
use model::{Dense, InLayer, LayerId, Model, ModelError, Projection, READERS};
use ndarray::Array2;
use rayon::prelude::*;

use crate::decoder_layers::DecoderLayers;
use crate::fused::Fused;
use crate::gptq_blocks;
use crate::gptq_matrix;
use crate::gptq_options::Options;
use crate::kept_layers::KeptLayers;
use crate::{CHUNK, Plan, Rounding, Transform, WriteError};

/// Chunks that run before their inputs are added to the Hessians, when the rest of the layer is not
/// needed: enough for all threads of a desktop, and few enough for its memory.
pub(crate) const CHUNKS_AT_ONCE: usize = 16;

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
    /// The numbers that its codes stand for, `[out_features, in_features]`.
    pub values: &'a Array2<f32>,
}

/// The codes of every decoder layer, which are in a folder beside the target.
pub struct LayerByLayer<'a> {
    layers: DecoderLayers<'a>,
    format: StorageFormat,
    kept: KeptLayers,
}

impl<'a> LayerByLayer<'a> {
    /// Runs the model of `layers` on the whole chunks among `tokens` (of [`CHUNK`], or of the positions
    /// that the model has), and rounds each matrix that `plan` quantizes. `kept` is the start of the name of
    /// the folder.
    ///
    /// # Errors
    /// If the format is not one for GPTQ, the text has no whole chunk, the architecture is not supported,
    /// lab 06 refuses (the layer is named), a layer cannot be kept, or the transform does not fit.
    pub fn calibrate(
        layers: DecoderLayers<'a>,
        plan: &Plan,
        tokens: &[u32],
        options: &Options,
        kept: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Self, WriteError> {
        options.check(plan.format)?;
        let model = layers.outline()?;
        let chunks = whole_chunks(&model, tokens)?;
        let used = &tokens[..tokens.len() - chunks.remainder().len()];
        // The name of the format, because a description has addresses of functions, which differ in every
        // run of a program.
        let changed = layers.transform.map(Transform::settings);
        let settings = (plan.format.description.name, plan.format.group_size, options, changed);
        let settings = (settings, plan.kinds(layers.weights.tensors()));
        let kept = KeptLayers::new(kept, &settings, layers.weights, used)?;
        let tensors = layers.weights.tensors();
        let plan = &plan.of_model(tensors);
        let fused = Fused::of(plan, tensors, |tensor| layers.read(&tensor.name))?;
        let (format, quantized) = (plan.format, plan.quantized(tensors));
        let kinds = plan.kinds(tensors);
        let mut run = Run { model, format, options, quantized, kinds, fused };
        let mut hidden =
            chunks.map(|chunk| run.model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        let all = run.model.config().layers;
        for layer in 0..all {
            layers.fill(&mut run.model, layer)?;
            let mut at = of_each(hidden, |x| run.model.enter(layer, x))?;
            match kept.read(layer)? {
                Some(done) => replace_all(&mut run.model, layer, &done, format)?,
                None => kept.write(layer, &run.round_layer(layer, &mut at, watch)?)?,
            }
            let behind = if layer + 1 < all { at } else { Vec::new() };
            hidden = of_each(behind, |at| run.model.leave(at))?;
            run.model.clear_layer(layer)?;
            watch.layer(layer + 1, all);
        }
        Ok(Self { layers, format, kept })
    }

    /// The model with the values of the codes, all of it in `f32`.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub fn model(&self) -> Result<Model, WriteError> {
        let mut model = self.layers.outline()?;
        for layer in 0..model.config().layers {
            self.layers.fill(&mut model, layer)?;
            let done = self.kept.read(layer)?.unwrap_or_default();
            replace_all(&mut model, layer, &done, self.format)?;
        }
        Ok(model)
    }

    /// Removes the folder of the layers that are done, when the checkpoint is written.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn forget(self) -> Result<(), WriteError> {
        self.kept.remove()
    }
}

impl Rounding for LayerByLayer<'_> {
    fn lab(&self, _: StorageFormat) -> Option<&'static str> {
        Some("06")
    }

    fn round(
        &self,
        name: &str,
        _: &Array2<f32>,
        _: StorageFormat,
    ) -> Result<Option<Codes>, WriteError> {
        self.kept.weight(name)
    }
}

/// The whole chunks among `tokens`, of [`CHUNK`] or of the positions that the model has.
///
/// # Errors
/// If there is none.
pub(crate) fn whole_chunks<'t>(
    model: &Model,
    tokens: &'t [u32],
) -> Result<ChunksExact<'t, u32>, WriteError> {
    let chunk = CHUNK.min(model.config().max_positions);
    let chunks = tokens.chunks_exact(chunk);
    if chunks.len() > 0 {
        return Ok(chunks);
    }
    let problem = format!(
        "{} tokens are no whole chunk of {chunk}: calibrate on a longer text, or on more --tokens",
        tokens.len()
    );
    Err(WriteError::Unsupported(problem))
}

/// Calls `of` for each chunk on the threads of the pool.
pub(crate) fn of_each<In: Send, Out: Send>(
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
    kinds: BTreeMap<&'a str, TensorType>,
    fused: Fused,
}

impl Run<'_> {
    /// Rounds one decoder layer, and returns its codes by the names of the weights. `at` are the chunks
    /// before the layer, and stay somewhere in it.
    fn round_layer(
        &mut self,
        layer: usize,
        at: &mut Vec<InLayer>,
        watch: &mut dyn Watch,
    ) -> Result<BTreeMap<String, Codes>, WriteError> {
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
    ) -> Result<BTreeMap<String, Codes>, WriteError> {
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
    ) -> Result<BTreeMap<String, Codes>, WriteError> {
        let each = hessians.iter().flat_map(|(readers, h)| readers.iter().map(move |&p| (p, h)));
        let each: Vec<_> =
            each.map(|(projection, h)| (LayerId::Layer(layer, projection), h)).collect();
        let done = each.par_iter().with_max_len(1).map(|&(id, h)| self.round_one(id, h));
        let mut rounded = BTreeMap::new();
        for (done, (id, h)) in done.collect::<Result<Vec<_>, _>>()?.into_iter().zip(each) {
            let Some((name, codes, values)) = done else { continue };
            if let Some(w) = self.model.linear(id)?.weight() {
                watch.matrix(&RoundedMatrix { name: &name, w, h, values: &values });
            }
            self.model.replace(id, Arc::new(Dense::new(values)))?;
            rounded.insert(name, codes);
        }
        Ok(rounded)
    }

    /// The name and the codes of a weight, and the numbers that they stand for, if it is quantized.
    fn round_one(
        &self,
        id: LayerId,
        h: &Hessian,
    ) -> Result<Option<(String, Codes, Array2<f32>)>, WriteError> {
        let name = format!("{id}.weight");
        let linear = self.model.linear(id)?;
        let Some(w) = linear.weight().filter(|_| self.quantized.contains(name.as_str())) else {
            return Ok(None);
        };
        let absmax = self.fused.absmax(&name);
        let codes = match self.kinds.get(name.as_str()) {
            Some(&kind) => gptq_blocks::round(w, h, self.options, kind),
            None => gptq_matrix::round(w, h, self.options, self.format, absmax),
        };
        let codes = codes.map_err(|error| error.within(&name))?;
        let values = self.format.values([w.nrows(), w.ncols()], &codes)?;
        Ok(Some((name, codes, values)))
    }
}

/// Puts rounded weights of a layer into the model.
fn replace_all(
    model: &mut Model,
    layer: usize,
    codes: &BTreeMap<String, Codes>,
    format: StorageFormat,
) -> Result<(), WriteError> {
    for (name, codes) in codes {
        let id = Projection::ALL.map(|projection| LayerId::Layer(layer, projection));
        let id = id.into_iter().find(|id| format!("{id}.weight") == *name);
        let id = id.ok_or_else(|| WriteError::Plan(format!("`{name}` is not in layer {layer}")))?;
        let linear = model.linear(id)?;
        let values = format.values([linear.out_features(), linear.in_features()], codes)?;
        model.replace(id, Arc::new(Dense::new(values)))?;
    }
    Ok(())
}

/// The sum of `x x^T` of the input of some projections.
pub(crate) struct Sum {
    /// The first of the projections, which names the input.
    id: LayerId,
    readers: &'static [Projection],
    gram: Gram,
    tokens: usize,
}

impl Sum {
    pub(crate) fn new(
        model: &Model,
        layer: usize,
        readers: &'static [Projection],
    ) -> Result<Self, WriteError> {
        let id = LayerId::Layer(layer, readers[0]);
        Ok(Self { id, readers, gram: Gram::new(model.linear(id)?.in_features()), tokens: 0 })
    }

    /// Adds the inputs of chunks that stand before the projections.
    pub(crate) fn add(&mut self, at: &[InLayer]) -> Result<(), WriteError> {
        let inputs: Vec<_> = at.iter().map(InLayer::input).collect();
        inputs
            .par_iter()
            .try_for_each(|input| check_finite(input))
            .map_err(|error| WriteError::from(error).within(&self.id.to_string()))?;
        self.gram.add(&inputs);
        self.tokens += inputs.iter().map(|input| input.nrows()).sum::<usize>();
        Ok(())
    }

    /// The Hessian, as lab 06's `add_batch` scales it.
    pub(crate) fn hessian(self) -> (&'static [Projection], Hessian) {
        let mut matrix = self.gram.matrix();
        matrix.mapv_inplace(|sum| 2.0 / self.tokens as f64 * sum);
        (self.readers, Hessian { matrix, tokens: self.tokens })
    }
}

/// Finds a value of a batch that is not finite.
fn check_finite(x: &Array2<f32>) -> Result<(), GptqError> {
    // All values first, without their places, because a compiler uses whole registers for that.
    if x.iter().fold(true, |all, x| all & x.is_finite()) {
        return Ok(());
    }
    match x.indexed_iter().find(|(_, x)| !x.is_finite()) {
        Some(((row, column), &value)) => {
            Err(GptqError::NotFinite { what: "the batch", row, column, value })
        }
        None => Ok(()),
    }
}
