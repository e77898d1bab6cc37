//! AWQ on a whole model with lab 07's functions: the first stage of a quantizer, an exact change of the
//! tensors. Any rounding may follow, the nearest codes or GPTQ.
//!
//! The tokens of the calibration text run through the model as it is, one decoder layer at a time. Four
//! vectors of scales are searched in a layer: behind each norm, between v and o, and between up and down.
//! All four are searched before one of them is applied, as in mit-han-lab/llm-awq. The error of a candidate
//! is that of the outputs of the layers that read the scaled input, over all tokens, for which the
//! Hessian of lab 06 has everything: the error of a weight that is off by `D` is `tr(D H D^T)`.
//!
//! Where feedback follows, candidates can be tried with feedback. Feedback already makes up for most of what
//! scales are for, so the nearest codes ask for larger ratios than feedback can use.

use std::collections::{BTreeMap, BTreeSet};

use awq::duo;
use awq::{AwqError, Candidate, Heads, Rounding, Search};
use formats::FormatError;
use formats::layouts::Grouped;
use formats::registry::{Codes, StorageFormat, WITH_ZERO_POINTS};
use gptq::Hessian;
use half::f16;

use model::{InLayer, LayerId, Model, Norm, Projection, READERS, Weights};
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;

use crate::decoder_layers::DecoderLayers;
use crate::gptq_matrix;
use crate::gptq_options::Options;
use crate::layer_by_layer::{CHUNKS_AT_ONCE, Sum, of_each, whole_chunks};
use crate::{Plan, Transform, WriteError};

/// Rows of a weight that candidates are tried on where feedback follows, because twenty runs of GPTQ take
/// long.
const ROWS_TRIED: usize = 192;

/// How scales are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AwqOptions {
    /// The rounding that candidates are tried with, unless feedback follows.
    pub rounding: Rounding,
    /// The rounding with feedback that follows, if candidates are tried with it. A ratio that is best for
    /// the nearest codes need not be best for codes that make up for each other's errors.
    pub feedback: Option<Options>,
    /// Whether the candidates are those of AutoAWQ's and llm-compressor's formula.
    pub duo: bool,
    /// Whether weights are clipped. Not for a rounding with feedback, which would take the clipped weight
    /// for the original.
    pub clip: bool,
}

/// What the search has found for one input of a decoder layer.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The first of the layers that read the input.
    pub id: LayerId,
    /// The scales, and the error of each candidate.
    pub search: Search,
}

/// The scales that belong to each tensor.
#[derive(Clone, Debug, Default)]
pub struct ActivationScales {
    settings: String,
    norms: BTreeMap<String, Array1<f32>>,
    columns: BTreeMap<String, Array1<f32>>,
    rows: BTreeMap<String, Array1<f32>>,
    maxima: BTreeMap<String, Array2<f32>>,
    choices: Vec<Choice>,
}

impl ActivationScales {
    /// Runs the model behind `weights` on the whole chunks among `tokens`, and searches. `watch`
    /// learns how many of all decoder layers are done.
    ///
    /// # Errors
    /// If the text has no whole chunk, the architecture is not supported, or lab 07 refuses (the layer is
    /// named).
    pub fn calibrate(
        weights: &Weights,
        plan: &Plan,
        tokens: &[u32],
        options: &AwqOptions,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, WriteError> {
        let quantized = plan.quantized(weights.tensors());
        let layers_of = DecoderLayers { weights, transform: None };
        let model = layers_of.outline()?;
        let chunks = whole_chunks(&model, tokens)?;
        let mut hidden = chunks.map(|chunk| model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        let layers = model.config().layers;
        let mut search = LayerSearch { model, format: plan.format, options, quantized };
        let mut scales = Self { settings: format!("{options:?}"), ..Self::default() };
        for layer in 0..layers {
            layers_of.fill(&mut search.model, layer)?;
            let (behind, inputs) = search.run(layer, hidden)?;
            hidden = behind;
            search.search(layer, &inputs, &mut scales)?;
            search.model.clear_layer(layer)?;
            watch(layer + 1, layers);
        }
        Ok(scales)
    }

    /// What the search has found, in the order of the layers.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }
}

impl Transform for ActivationScales {
    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if format.description.is_int4_in_chosen_groups() {
            return Ok(());
        }
        Err(WriteError::Unsupported(format!(
            "AWQ's scales are for int4 in groups of a chosen size, not for {format}"
        )))
    }

    fn lab(&self) -> &'static str {
        "07"
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn apply(&self, name: &str, mut tensor: Array2<f32>) -> Result<Array2<f32>, WriteError> {
        let fits = |found: usize, scales: &Array1<f32>| match found == scales.len() {
            true => Ok(()),
            false => Err(WriteError::Plan(format!("the scales do not fit `{name}`"))),
        };
        if let Some(scales) = self.norms.get(name) {
            fits(tensor.ncols(), scales)?;
            tensor /= scales;
        }
        if let Some(scales) = self.columns.get(name) {
            fits(tensor.ncols(), scales)?;
            tensor *= scales;
        }
        if let Some(scales) = self.rows.get(name) {
            fits(tensor.nrows(), scales)?;
            tensor /= &scales.view().insert_axis(Axis(1));
        }
        match self.maxima.get(name) {
            Some(maxima) => Ok(awq::clip(&tensor, maxima)?),
            None => Ok(tensor),
        }
    }
}

/// The rounding that lab 07 searches with, to the nearest codes.
impl crate::Rounding for Rounding {
    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        let (asymmetric, name) = (self.grid == awq::Grid::Asymmetric, format.description.name);
        if asymmetric && !WITH_ZERO_POINTS.contains(&name) {
            return Err(WriteError::Unsupported(format!(
                "{name} stores no zero points here: take --scheme {}, or leave out --zero-point",
                WITH_ZERO_POINTS.join(" or ")
            )));
        }
        Ok(())
    }

    fn lab(&self, _: StorageFormat) -> Option<&'static str> {
        Some("07")
    }

    fn round(
        &self,
        _: &str,
        w: &Array2<f32>,
        _: StorageFormat,
    ) -> Result<Option<Codes>, WriteError> {
        let rounded = Rounding::round(self, w)?;
        let scales = rounded.scales.mapv(f16::from_f32);
        let grouped =
            Grouped::new(rounded.codes, rounded.zeros, scales).map_err(FormatError::from)?;
        Ok(Some(Codes::Grouped(grouped)))
    }
}

/// What some projections were given.
struct Inputs {
    readers: &'static [Projection],
    means: Array1<f32>,
    h: Hessian,
}

/// The search in one decoder layer.
struct LayerSearch<'a> {
    model: Model,
    format: StorageFormat,
    options: &'a AwqOptions,
    quantized: BTreeSet<&'a str>,
}

impl LayerSearch<'_> {
    /// Runs a layer, and returns what is behind it and its inputs.
    fn run(
        &self,
        layer: usize,
        hidden: Vec<Array2<f32>>,
    ) -> Result<(Vec<Array2<f32>>, Vec<Inputs>), WriteError> {
        let sums = READERS.iter().map(|readers| Sum::new(&self.model, layer, readers));
        let mut sums = sums.collect::<Result<Vec<_>, _>>()?;
        let mut means = vec![Array1::<f64>::zeros(0); sums.len()];
        let (mut behind, chunks) = (Vec::new(), hidden.len());
        let mut hidden = hidden.into_iter().peekable();
        while hidden.peek().is_some() {
            let some = hidden.by_ref().take(CHUNKS_AT_ONCE).collect();
            let mut some: Vec<InLayer> = of_each(some, |x| self.model.enter(layer, x))?;
            for (stage, (sum, means)) in sums.iter_mut().zip(&mut means).enumerate() {
                if stage > 0 {
                    some = of_each(some, |at| self.model.go_on(at))?;
                }
                sum.add(&some)?;
                let inputs: Vec<_> = some.iter().map(|at| at.input().clone()).collect();
                // Chunks have the same number of tokens, so their means count by their number.
                let share = some.len() as f64 / chunks as f64;
                let new = awq::channel_means(&inputs)?.mapv(|mean| share * f64::from(mean));
                *means = if means.is_empty() { new } else { &*means + &new };
            }
            behind.extend(of_each(some, |at| self.model.leave(at))?);
        }
        let inputs = sums.into_iter().zip(means).map(|(sum, means)| {
            let (readers, h) = sum.hessian();
            Inputs { readers, means: means.mapv(|mean| mean as f32), h }
        });
        Ok((behind, inputs.collect()))
    }

    /// Searches the scales of a layer, and the maxima for the layer with all of them.
    fn search(
        &self,
        layer: usize,
        inputs: &[Inputs],
        scales: &mut ActivationScales,
    ) -> Result<(), WriteError> {
        let found = inputs.par_iter().with_max_len(1).map(|inputs| self.scales(layer, inputs));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        for (inputs, found) in inputs.iter().zip(found) {
            let Some(search) = found else { continue };
            let name = |projection| format!("{}.weight", LayerId::Layer(layer, projection));
            let before = &search.best.scales;
            let spread = match self.writer(inputs.readers) {
                Writer::Norm(norm) => {
                    scales.norms.insert(format!("{}.weight", norm(layer)), before.clone());
                    before.clone()
                }
                Writer::Linear(projection, heads) => {
                    scales.rows.insert(name(projection), before.clone());
                    awq::spread(before, &heads)?
                }
            };
            for &reader in inputs.readers {
                scales.columns.insert(name(reader), spread.clone());
            }
            scales.choices.push(Choice { id: LayerId::Layer(layer, inputs.readers[0]), search });
        }
        if self.options.clip {
            let each = inputs.iter().flat_map(|i| i.readers.iter().map(move |reader| (reader, i)));
            let each: Vec<_> = each.collect();
            let maxima = each.par_iter().with_max_len(1);
            let maxima =
                maxima.map(|(reader, inputs)| self.maxima(layer, **reader, inputs, scales));
            let maxima = maxima.collect::<Result<Vec<_>, _>>()?;
            scales.maxima.extend(maxima.into_iter().flatten());
        }
        Ok(())
    }

    /// The layer whose outputs are divided by the scales of the readers' input.
    fn writer(&self, readers: &[Projection]) -> Writer {
        let config = self.model.config();
        match readers[0] {
            Projection::Q => Writer::Norm(Norm::Attention),
            Projection::O => Writer::Linear(
                Projection::V,
                Heads { query: config.heads, kv: config.kv_heads, dim: config.head_dim },
            ),
            Projection::Gate => Writer::Norm(Norm::Mlp),
            _ => Writer::Linear(Projection::Up, Heads::one_to_one(config.intermediate_size)),
        }
    }

    /// The scales of one input, if a layer that reads the input is quantized.
    fn scales(&self, layer: usize, inputs: &Inputs) -> Result<Option<Search>, WriteError> {
        let Inputs { readers, means, h } = inputs;
        let id = LayerId::Layer(layer, readers[0]);
        let weights = readers.iter().filter_map(|&reader| self.weight(layer, reader).transpose());
        let weights = weights.collect::<Result<Vec<_>, _>>()?;
        if weights.is_empty() {
            return Ok(None);
        }
        let found = || -> Result<Search, WriteError> {
            let heads = match self.writer(readers) {
                Writer::Norm(_) => Heads::one_to_one(means.len()),
                Writer::Linear(_, heads) => heads,
            };
            let of_rows = awq::means_of_rows(means, &heads)?;
            let candidates = self.candidates(&of_rows, &weights, &heads)?;
            let trial = self.trial(h, weights);
            let errors = candidates.par_iter().with_max_len(1);
            let errors = errors.map(|tried| trial.error(&awq::spread(&tried.scales, &heads)?));
            let errors: Vec<f64> = errors.collect::<Result<_, _>>()?;
            let mut errors = errors.into_iter();
            Ok(awq::search(candidates, |_| Ok(errors.next().unwrap_or(f64::NAN)))?)
        };
        found().map(Some).map_err(|error| error.within(&id.to_string()))
    }

    /// How candidates are tried on the `weights` that read the inputs of `h`.
    fn trial<'t>(&'t self, h: &'t Hessian, weights: Vec<Array2<f32>>) -> Trial<'t> {
        match &self.options.feedback {
            // Rows are rounded without each other, so a few of each weight say which ratio is best.
            Some(options) => Trial::Feedback {
                h,
                weights: weights.iter().map(some_rows).collect(),
                // Fitting takes most of the time, and lowers the errors of all candidates alike.
                options: Options { sweeps: 0, ..*options },
                format: self.format,
            },
            // Twice as fast in f32, and an error is compared to a fraction of a percent.
            None => Trial::Nearest {
                h: h.matrix.mapv(|element| element as f32),
                weights,
                rounding: &self.options.rounding,
            },
        }
    }

    fn candidates(
        &self,
        means: &Array1<f32>,
        weights: &[Array2<f32>],
        heads: &Heads,
    ) -> Result<Vec<Candidate>, AwqError> {
        if !self.options.duo {
            return awq::candidates(means);
        }
        let of_weights = duo::weight_means(weights, self.options.rounding.group_size);
        duo::candidates(means, &awq::means_of_rows(&of_weights, heads)?)
    }

    /// The weight of a projection as it was, if it is quantized.
    fn weight(
        &self,
        layer: usize,
        projection: Projection,
    ) -> Result<Option<Array2<f32>>, WriteError> {
        let id = LayerId::Layer(layer, projection);
        let quantized = self.quantized.contains(format!("{id}.weight").as_str());
        Ok(self.model.linear(id)?.weight().filter(|_| quantized).cloned())
    }

    /// The maxima of a projection with its scales, for its inputs over the scales.
    fn maxima(
        &self,
        layer: usize,
        projection: Projection,
        inputs: &Inputs,
        scales: &ActivationScales,
    ) -> Result<Option<(String, Array2<f32>)>, WriteError> {
        let name = format!("{}.weight", LayerId::Layer(layer, projection));
        let Some(w) = self.weight(layer, projection)?.filter(|_| awq::is_clipped(&name)) else {
            return Ok(None);
        };
        let scaled = scales.columns.get(&name).map(|columns| under_scales(&inputs.h, columns));
        let h = &scaled.as_ref().unwrap_or(&inputs.h).matrix;
        let found = || -> Result<Array2<f32>, WriteError> {
            let x = roots(h, self.options.rounding.group_size)?;
            Ok(awq::search_clip(&x, &scales.apply(&name, w)?, &self.options.rounding)?)
        };
        let maxima = found().map_err(|error| error.within(&name))?;
        Ok(Some((name, maxima)))
    }
}

/// What a vector of scales is divided out of.
enum Writer {
    Norm(fn(usize) -> Norm),
    Linear(Projection, Heads),
}

/// The rounding that candidates are tried with.
enum Trial<'a> {
    Nearest { h: Array2<f32>, weights: Vec<Array2<f32>>, rounding: &'a Rounding },
    Feedback { h: &'a Hessian, weights: Vec<Array2<f32>>, options: Options, format: StorageFormat },
}

impl Trial<'_> {
    /// The error of the outputs of all weights with their columns multiplied by `scales`.
    fn error(&self, scales: &Array1<f32>) -> Result<f64, WriteError> {
        match self {
            Self::Nearest { h, weights, rounding } => {
                let each = weights
                    .iter()
                    .map(|w| Ok(error_under(h, w, &awq::scaled_values(w, scales, rounding)?)));
                each.sum()
            }
            Self::Feedback { h, weights, options, format } => {
                let scaled = under_scales(h, scales);
                let each = weights.iter().map(|w| {
                    let rounded = gptq_matrix::integers(&(w * scales), &scaled, options, *format)?;
                    Ok(h.error(w, &(rounded.values() / scales)))
                });
                each.sum()
            }
        }
    }
}

/// The Hessian of inputs that are divided by `scales`.
fn under_scales(h: &Hessian, scales: &Array1<f32>) -> Hessian {
    let scales = scales.mapv(f64::from);
    let matrix = &h.matrix / &scales / scales.view().insert_axis(Axis(1));
    Hessian { matrix, tokens: h.tokens }
}

/// At most [`ROWS_TRIED`] rows of `w`, evenly spread.
fn some_rows(w: &Array2<f32>) -> Array2<f32> {
    let step = w.nrows().div_ceil(ROWS_TRIED).max(1);
    w.slice(s![..;step, ..]).to_owned()
}

/// `tr(D H D^T)` of the difference `D` of two weights, `[out_features, in_features]`.
fn error_under(h: &Array2<f32>, w: &Array2<f32>, values: &Array2<f32>) -> f64 {
    let moved = values - w;
    let products = moved.dot(h);
    products.iter().zip(&moved).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// A few tokens, `[group_size, in_features]`, that stand for all tokens of the Hessian `h` in each group by
/// itself: `x^T x` of the columns of a group is the group's part of `h`. The search for a maximum compares
/// errors of one group, so it finds the same in a fraction of the time.
fn roots(h: &Array2<f64>, group_size: usize) -> Result<Array2<f32>, WriteError> {
    let mut x = Array2::zeros((group_size, h.ncols()));
    for start in (0..h.ncols()).step_by(group_size) {
        let columns = start..start + group_size;
        let mut part = h.slice(s![columns.clone(), columns.clone()]).to_owned();
        // Inputs that depend on each other have no factor. The sums of a chunk are in f32, so an element can
        // be off by 512 * 2^-24 of the diagonal. Three times as much decides no maximum.
        let damp = 1e-4 * part.diag().mean().unwrap_or(0.0) + f64::MIN_POSITIVE;
        part.diag_mut().mapv_inplace(|element| element + damp);
        let root = gptq::cholesky(&part)?;
        x.slice_mut(s![.., columns]).assign(&root.t().mapv(|root| root as f32));
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::data::normal_matrix;

    #[test]
    fn the_error_in_f32_is_that_of_the_hessian() {
        let (w, values) = (normal_matrix(3, 7, 24), normal_matrix(4, 7, 24));
        let x = normal_matrix(5, 90, 24).mapv(f64::from);
        let h = Hessian { matrix: x.t().dot(&x), tokens: 90 };
        let found = error_under(&h.matrix.mapv(|element| element as f32), &w, &values);
        assert!((found / h.error(&w, &values) - 1.0).abs() < 1e-5, "{found}");
    }

    #[test]
    fn the_roots_have_the_errors_of_all_tokens_in_each_group() -> Result<(), WriteError> {
        let (x, d) = (normal_matrix(1, 50, 24).mapv(f64::from), normal_matrix(2, 1, 24));
        let roots = roots(&x.t().dot(&x), 8)?.mapv(f64::from);
        for group in 0..3 {
            let columns = s![.., 8 * group..8 * group + 8];
            let d = d.slice(columns).mapv(f64::from);
            let error = |x: &Array2<f64>| x.slice(columns).dot(&d.t()).mapv(|e| e * e).sum();
            let (few, all) = (error(&roots), error(&x));
            assert!((few / all - 1.0).abs() < 1e-3, "{few} {all}");
        }
        Ok(())
    }

    #[test]
    fn inputs_that_depend_on_each_other_have_roots_although_their_sums_are_rounded() {
        // 4,000 tokens in three directions.
        let x = normal_matrix(8, 4000, 3).dot(&normal_matrix(9, 3, 64));
        let large = Array1::from_shape_fn(64, |channel| if channel == 9 { 100.0 } else { 1.0 });
        let x = &x * &large;
        let h = x.t().dot(&x).mapv(f64::from);
        let root = roots(&h, 64).expect("damped").mapv(f64::from);
        let moved = (root.t().dot(&root) - &h).fold(0.0, |max: f64, d| max.max(d.abs()));
        assert!(moved < 2e-4 * h.diag().mean().unwrap_or(0.0), "{moved}");
    }

    #[test]
    fn a_trial_with_feedback_has_the_error_that_feedback_leaves_on_the_scaled_weight()
    -> Result<(), WriteError> {
        let format = StorageFormat::named("w4a16", 8)?;
        let options = Options::LLM_COMPRESSOR;
        let (w, x) = (normal_matrix(6, 7, 24), normal_matrix(7, 90, 24));
        let scales = Array1::from_shape_fn(24, |channel| 1.0 + channel as f32 / 8.0);
        let of = |x: &Array2<f32>| {
            let x = x.mapv(f64::from);
            Hessian { matrix: x.t().dot(&x), tokens: 90 }
        };
        let h = of(&x);
        let trial = Trial::Feedback { h: &h, weights: vec![w.clone()], options, format };
        let (scaled, of_scaled) = (&w * &scales, of(&(&x / &scales)));
        let rounded = gptq_matrix::integers(&scaled, &of_scaled, &options, format)?;
        let expected = of_scaled.error(&scaled, &rounded.values());
        assert!((trial.error(&scales)? / expected - 1.0).abs() < 1e-4, "{expected}");
        Ok(())
    }

    #[test]
    fn a_trial_takes_few_rows_from_the_whole_weight() {
        let w = Array2::from_shape_fn((400, 1), |(row, _)| row as f32);
        let some = some_rows(&w);
        assert!(some.nrows() <= ROWS_TRIED && some[(some.nrows() - 1, 0)] > 390.0, "{some}");
        assert_eq!(some_rows(&w.slice(s![..5, ..]).to_owned()).nrows(), 5);
    }
}
