//! The plan: which tensors are quantized, and into which parts. Lab 05's functions (the reader's own with
//! `LAB_IMPL=starter`) decide for the formats that the lab names. Every other format follows its
//! description.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use formats::bytes::Float;
use formats::checkpoint::Tensor;
use formats::gguf::TensorType;
use formats::registry::{self, Decision, File, StorageFormat, Whole};
use ndarray::Array2;
use quantize_model::{Recipe, Scheme, file};
use serde_json::Value;

use crate::WriteError;

/// The plan of a job.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How linear layers are stored.
    pub format: StorageFormat,
    /// The type of the tensors that stay floats.
    pub float: Float,
    recipe: Option<Recipe>,
    /// What a mix of types looks at beside a tensor.
    whole: Option<Whole>,
    /// The types of a mix that are not those of its rules, by the names of the weights.
    kinds: Option<Arc<BTreeMap<String, TensorType>>>,
}

impl Plan {
    /// The plan of a model in `format`, with all other tensors as `float`.
    pub fn new(format: StorageFormat, float: Float) -> Self {
        let recipe = Scheme::of(format).map(|scheme| Recipe { scheme, float });
        Self { format, float, recipe, whole: None, kinds: None }
    }

    /// The same for a model with these tensors: a mix has types that depend on the number of layers.
    pub fn of_model(&self, tensors: &[Tensor]) -> Self {
        Self { whole: Some(Whole::of(tensors)), ..self.clone() }
    }

    /// The same with these types in a mix, by the names of the weights; the mix keeps its rules for others.
    #[must_use]
    pub fn with_kinds(self, kinds: BTreeMap<String, TensorType>) -> Self {
        Self { kinds: Some(Arc::new(kinds)), ..self }
    }

    /// The numbers of the labs whose functions plan the files and choose the codes.
    pub fn labs(&self) -> Vec<&'static str> {
        let lab_05 = self.recipe.map(|_| "05");
        let codes = self.recipe.and_then(|recipe| recipe.scheme.lab_of_codes());
        codes.into_iter().chain(lab_05).collect()
    }

    /// Whether `tensor` is quantized, and if not, why.
    pub fn decide(&self, tensor: &Tensor) -> Decision {
        match self.recipe {
            Some(recipe) => quantize_model::decide(tensor, recipe.scheme),
            None => registry::decide(tensor, self.format),
        }
    }

    /// The names of those of `tensors` that are quantized.
    pub(crate) fn quantized<'t>(&self, tensors: &'t [Tensor]) -> BTreeSet<&'t str> {
        let quantized = tensors.iter().filter(|tensor| self.decide(tensor) == Decision::Quantize);
        quantized.map(|tensor| tensor.name.as_str()).collect()
    }

    /// The types of those of `tensors` that become blocks, by their names.
    pub(crate) fn kinds<'t>(&self, tensors: &'t [Tensor]) -> BTreeMap<&'t str, TensorType> {
        let kinds = tensors.iter().map(|tensor| Some((tensor.name.as_str(), self.kind(tensor)?)));
        kinds.flatten().collect()
    }

    /// The parts of `tensor`, in the order of the bytes of [`Plan::round_and_store`].
    pub fn parts(&self, tensor: &Tensor) -> Vec<Tensor> {
        if let Some(kind) = self.mixed(tensor) {
            return vec![registry::blocks(&tensor.name, kind, &tensor.shape)];
        }
        match self.recipe {
            Some(recipe) => quantize_model::parts(tensor, recipe),
            None => registry::parts(tensor, self.format, self.float),
        }
    }

    /// The type of the blocks of `tensor`, as [`Plan::mixed`], and in a format with one type that.
    pub(crate) fn kind(&self, tensor: &Tensor) -> Option<TensorType> {
        match self.format.description.file {
            File::Gguf(kind) => Some(kind).filter(|_| self.decide(tensor) == Decision::Quantize),
            _ => self.mixed(tensor),
        }
    }

    /// The type that a mix has for `tensor`; `None` for a tensor that stays a float, a format with one type, and
    /// a plan that no model was given to.
    pub(crate) fn mixed(&self, tensor: &Tensor) -> Option<TensorType> {
        let File::Mixed(mix) = &self.format.description.file else { return None };
        let given = self.kinds.as_ref().and_then(|kinds| kinds.get(&tensor.name)).copied();
        given
            .or(mix.kind(tensor, self.whole?))
            .filter(|_| self.decide(tensor) == Decision::Quantize)
    }

    /// The bytes of each part of `w`, `[out_features, in_features]`, each weight rounded to the nearest
    /// code. `absmax` is the largest magnitude of the layer that shares a number with `w`, if the format
    /// has such a number.
    pub(crate) fn round_and_store(
        &self,
        w: &Array2<f32>,
        absmax: Option<f32>,
    ) -> Result<Vec<Vec<u8>>, WriteError> {
        if let Some(recipe) = self.recipe {
            return Ok(quantize_model::quantize(w, recipe.scheme)?);
        }
        Ok(self.format.store(&self.format.round_among(w, absmax)?)?)
    }

    /// The `quantization_config` of `config.json`, if there is one.
    pub(crate) fn config(&self, tensors: &[Tensor]) -> Option<Value> {
        match self.recipe {
            Some(Recipe { scheme, .. }) => {
                let left_alone = quantize_model::left_alone(tensors, scheme);
                quantize_model::quantization_config(scheme, &left_alone)
            }
            None => self.format.config(&registry::left_alone(tensors, self.format)),
        }
    }

    /// Bits that a weight of the quantized matrices costs; `None` where none is quantized.
    pub fn bits_per_weight(&self, tensors: &[Tensor]) -> Option<f64> {
        match self.recipe {
            Some(recipe) => quantize_model::bits_per_weight(tensors, recipe),
            None => registry::bits_per_weight_of(tensors.iter().filter_map(|tensor| {
                let parts = self.parts(tensor);
                (self.decide(tensor) == Decision::Quantize).then_some((tensor, parts))
            })),
        }
    }

    /// The size of `model.safetensors` before a weight is read.
    pub fn predicted_bytes(&self, tensors: &[Tensor]) -> u64 {
        if let Some(recipe) = self.recipe {
            return quantize_model::predicted_bytes(tensors, recipe);
        }
        let parts: Vec<Tensor> = tensors.iter().flat_map(|tensor| self.parts(tensor)).collect();
        let data: u64 = parts.iter().map(|part| part.bytes).sum();
        file::LENGTH + file::header(&parts).len() as u64 + data
    }
}
