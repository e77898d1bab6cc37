//! How the inputs of linear layers are quantized, where the config of a format leaves that open
//! (compressed-tensors' `input_activations`).

use std::collections::BTreeMap;

use formats::bytes;
use formats::checkpoint::{Dtype, Storage, Tensor};
use formats::registry::{ActivationFormat, ActivationScales};
use model::{InLayer, LayerId, Model, READERS};
use ndarray::{Array2, ArrayView1, arr2};
use serde_json::Value;

use crate::decoder_layers::DecoderLayers;
use crate::layer_by_layer::{CHUNKS_AT_ONCE, of_each, whole_chunks};
use crate::{Plan, WriteError};

/// How much larger the input of the first token is, where that token would decide the scale of all others.
const MASSIVE: f32 = 2.0;

/// The share of the magnitude of such a token that the grid still reaches where the token is clipped.
const CLIP: f32 = 0.25;

/// A format with the scales that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    format: ActivationFormat,
    /// Of each module whose scale is in the file.
    scales: BTreeMap<String, f32>,
    /// The modules that have a scale for each token, in a format where others have one in the file.
    per_token: Vec<String>,
}

/// The largest magnitudes of an input.
#[derive(Clone, Copy, Default)]
struct Largest {
    all: f32,
    but_first: f32,
}

impl Activations {
    /// The format, with calibrated scales where it has them: the largest magnitude of a layer's input in the
    /// whole chunks among `tokens`, over 127. The model runs in floats, one decoder layer at a time.
    ///
    /// # Errors
    /// If the format of the weights has no such activations, the text has no whole chunk, the architecture is
    /// not supported, or a transform does not fit.
    pub fn calibrate(
        format: ActivationFormat,
        layers: DecoderLayers<'_>,
        plan: &Plan,
        tokens: &[u32],
    ) -> Result<Self, WriteError> {
        format.check(plan.format)?;
        let mut calibrated = Self { format, scales: BTreeMap::new(), per_token: Vec::new() };
        if !format.is_calibrated() {
            return Ok(calibrated);
        }
        let mut model = layers.outline()?;
        let chunks = whole_chunks(&model, tokens)?;
        let mut hidden = chunks.map(|chunk| model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        let quantized = plan.quantized(layers.weights.tensors());
        for layer in 0..model.config().layers {
            layers.fill(&mut model, layer)?;
            let (behind, largest) = run(&model, layer, hidden)?;
            hidden = behind;
            for (readers, largest) in READERS.iter().zip(largest) {
                let modules =
                    readers.iter().map(|&reader| LayerId::Layer(layer, reader).to_string());
                let is_quantized =
                    |module: &String| quantized.contains(format!("{module}.weight").as_str());
                calibrated.add(modules.filter(is_quantized), largest);
            }
            model.clear_layer(layer)?;
        }
        Ok(calibrated)
    }

    /// Decides for the modules that read one input.
    fn add(&mut self, modules: impl Iterator<Item = String>, largest: Largest) {
        let is_massive = largest.all > MASSIVE * largest.but_first;
        if is_massive && self.format.scales == ActivationScales::StaticButMassive {
            return self.per_token.extend(modules);
        }
        let clipped = is_massive && self.format.scales == ActivationScales::StaticClipped;
        let top = if clipped { CLIP * largest.all } else { largest.all };
        // An input of zeros has any scale, and 0 cannot be divided by.
        let scale = if top > 0.0 { top / f32::from(i8::MAX) } else { 1.0 };
        self.scales.extend(modules.map(|module| (module, scale)));
    }

    /// The modules that have a scale for each token, in a format where others have one in the file.
    pub fn per_token(&self) -> &[String] {
        &self.per_token
    }

    /// The tensors of a checkpoint.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let tensor = |module: &String| {
            let (name, storage) = (part(module), Storage::Elements(Dtype::F32));
            Tensor { name, storage, shape: vec![1], bytes: size_of::<f32>() as u64 }
        };
        self.scales.keys().map(tensor).collect()
    }

    /// Names and bytes of the tensors.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.scales.iter().map(|(module, &scale)| (part(module), bytes::of(&arr2(&[[scale]]))))
    }

    /// Puts the entries into a `quantization_config`.
    pub(crate) fn config(&self, quantization: &mut Value) {
        let Some(groups) = quantization["config_groups"].as_object_mut() else { return };
        for group in groups.values_mut() {
            group["input_activations"] = self.format.config(!self.scales.is_empty());
        }
        let first = groups.values().next().cloned();
        if let Some(mut group) = first.filter(|_| !self.per_token.is_empty()) {
            // A module is named more exactly than its class, so this group decides for the module.
            group["targets"] = self.per_token.clone().into();
            group["input_activations"] = self.format.config(false);
            groups.insert("group_1".into(), group);
        }
    }
}

/// The name that compressed-tensors gives a scale.
fn part(module: &str) -> String {
    format!("{module}.input_scale")
}

/// Runs a layer, and returns what is behind it and the magnitudes of its four inputs.
fn run(
    model: &Model,
    layer: usize,
    hidden: Vec<Array2<f32>>,
) -> Result<(Vec<Array2<f32>>, [Largest; READERS.len()]), WriteError> {
    let (mut behind, mut largest) = (Vec::new(), [Largest::default(); READERS.len()]);
    let mut hidden = hidden.into_iter().peekable();
    while hidden.peek().is_some() {
        let some = hidden.by_ref().take(CHUNKS_AT_ONCE).collect();
        let mut some: Vec<InLayer> = of_each(some, |x| model.enter(layer, x))?;
        for (stage, largest) in largest.iter_mut().enumerate() {
            if stage > 0 {
                some = of_each(some, |at| model.go_on(at))?;
            }
            some.iter().for_each(|at| largest.see(at.input()));
        }
        behind.extend(of_each(some, |at| model.leave(at))?);
    }
    Ok((behind, largest))
}

impl Largest {
    /// Looks at the input of a chunk, `[tokens, in_features]`.
    fn see(&mut self, input: &Array2<f32>) {
        let absmax = |row: ArrayView1<f32>| row.fold(0.0, |max: f32, x| max.max(x.abs()));
        for (token, row) in input.rows().into_iter().enumerate() {
            let now = absmax(row);
            self.all = self.all.max(now);
            if token > 0 {
                self.but_first = self.but_first.max(now);
            }
        }
    }
}
