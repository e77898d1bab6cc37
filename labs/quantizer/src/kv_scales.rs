//! The scales of an FP8 cache, which a checkpoint brings along (compressed-tensors' `kv_cache_scheme`).

use formats::bytes;
use formats::checkpoint::{Dtype, Storage, Tensor};
use formats::float8;
use model::{Cache, CacheFormat, CacheStorage, Config, Model, ModelError};
use ndarray::arr2;
use serde_json::{Map, Value, json};

use crate::WriteError;

/// The format whose cache has one scale for the keys and one for the values of a layer.
const FORMAT: &str = "fp8";

/// Of each layer the scale of keys and that of values: a number is stored as E4M3 of the number over the
/// scale.
#[derive(Clone, Debug, PartialEq)]
pub struct KvScales(Vec<[f32; 2]>);

impl KvScales {
    /// The scales with which the largest key and the largest value of `tokens` fill the grid, in chunks of
    /// so many tokens. Keys are those after the rotation, because a cache holds these.
    ///
    /// # Errors
    /// If there is no token, or the model fails.
    pub fn calibrate(model: &Model, tokens: &[u32], chunk: usize) -> Result<Self, WriteError> {
        if tokens.is_empty() {
            return Err(ModelError::NoTokens.into());
        }
        let mut largest = vec![[0.0_f32; 2]; model.config().layers];
        for tokens in tokens.chunks(chunk.max(1)) {
            let mut cache = Cache::new(model.config(), tokens.len())?;
            model.hidden(tokens, &mut cache, &mut |_, _| ())?;
            for (largest, now) in largest.iter_mut().zip(cache.absmax()) {
                *largest = [largest[0].max(now[0]), largest[1].max(now[1])];
            }
        }
        // A layer of zeros has any scale, and 0 cannot be divided by.
        let scale = |absmax: f32| if absmax > 0.0 { absmax / float8::MAX } else { 1.0 };
        Ok(Self(largest.into_iter().map(|largest| largest.map(scale)).collect()))
    }

    /// The tensors of a checkpoint.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let tensor = |name| {
            let storage = Storage::Elements(Dtype::F32);
            Tensor { name, storage, shape: vec![1], bytes: size_of::<f32>() as u64 }
        };
        self.named().map(|(name, _)| tensor(name)).collect()
    }

    /// Names and bytes of the tensors.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.named().map(|(name, scale)| (name, bytes::of(&arr2(&[[scale]]))))
    }

    fn named(&self) -> impl Iterator<Item = (String, f32)> {
        let of_layer = |(layer, scales): (usize, &[f32; 2])| {
            let scales = *scales;
            ["k_scale", "v_scale"]
                .into_iter()
                .zip(scales)
                .map(move |(name, scale)| (tensor(layer, name), scale))
        };
        self.0.iter().enumerate().flat_map(of_layer)
    }

    /// The `quantization_config` of a format that takes these scales, with the scheme of the cache.
    pub(crate) fn config(quantization: Option<Value>) -> Value {
        // What compressed-tensors writes where no weight is quantized.
        let dense = || {
            json!({"quant_method": "compressed-tensors", "format": "dense", "config_groups": {},
            "ignore": [], "quantization_status": "compressed"})
        };
        let mut config = quantization.unwrap_or_else(dense);
        config["kv_cache_scheme"] = json!({"num_bits": 8, "type": "float", "strategy": "tensor",
            "symmetric": true, "dynamic": false});
        config
    }

    /// The cache of a checkpoint whose config has a scheme for it; `read` returns a tensor of one number.
    ///
    /// # Errors
    /// If the scheme is not FP8 with one scale, or a scale is missing or no positive number.
    pub(crate) fn of_checkpoint(
        quantization: &Map<String, Value>,
        config: &Config,
        read: impl Fn(&str) -> Result<f32, WriteError>,
    ) -> Result<Option<CacheStorage>, WriteError> {
        let Some(scheme) = quantization.get("kv_cache_scheme").filter(|scheme| !scheme.is_null())
        else {
            return Ok(None);
        };
        if (&scheme["num_bits"], &scheme["type"], &scheme["strategy"])
            != (&json!(8), &json!("float"), &json!("tensor"))
        {
            let problem = format!(
                "kv_cache_scheme {scheme}: only 8-bit floats with one scale per tensor are run here"
            );
            return Err(WriteError::Unsupported(problem));
        }
        let scale = |layer, name| {
            let name = tensor(layer, name);
            let scale = read(&name)?;
            if !(scale.is_finite() && scale > 0.0) {
                return Err(WriteError::Unsupported(format!(
                    "{name} is {scale}: not a positive number"
                )));
            }
            Ok(scale)
        };
        let layers = (0..config.layers)
            .map(|layer| Ok([scale(layer, "k_scale")?, scale(layer, "v_scale")?]));
        let scales: Vec<[f32; 2]> = layers.collect::<Result<_, WriteError>>()?;
        Ok(Some(CacheStorage { format: CacheFormat::named(FORMAT)?, scales: scales.into() }))
    }
}

/// Whether a tensor is a scale of a cache.
pub(crate) fn is_scale(name: &str) -> bool {
    name.ends_with(".k_scale") || name.ends_with(".v_scale")
}

/// The name that compressed-tensors gives a scale, and vLLM reads.
fn tensor(layer: usize, name: &str) -> String {
    format!("model.layers.{layer}.self_attn.{name}")
}
