//! `config.json`, as transformers writes it.

use std::path::Path;

use formats::checkpoint::config::parse_json;
use serde::Deserialize;
use serde_json::Value;

use super::sizes::Config;
use crate::{CacheStorage, ModelError};

/// The keys that matter here. `Option` where transformers has a default.
#[derive(Deserialize)]
struct Json {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_parameters: Option<Value>,
    rope_scaling: Option<Value>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<Eos>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Eos {
    One(u32),
    Many(Vec<u32>),
}

/// Reads `config.json`.
pub(crate) fn from_hugging_face(path: &Path) -> Result<Config, ModelError> {
    let text = std::fs::read(path).map_err(ModelError::io(path))?;
    let damaged = |error| ModelError::config("config.json", format!("cannot be read: {error}"));
    // Python writes `Infinity` and `NaN`, in fields that do not matter here too.
    let value = parse_json(&text).map_err(damaged)?;
    // The model type first, because another architecture may lack keys, and its name is the better
    // message.
    check_model_type(value.get("model_type").and_then(Value::as_str))?;
    let json: Json = serde_json::from_value(value).map_err(damaged)?;
    check_supported(&json)?;
    let heads = json.num_attention_heads;
    let head_dim = match json.head_dim {
        Some(head_dim) => head_dim,
        None => Config::head_share(json.hidden_size, heads)?,
    };
    let rope_theta = rope_theta(&json)?;
    let config = Config {
        vocab_size: json.vocab_size,
        hidden_size: json.hidden_size,
        intermediate_size: json.intermediate_size,
        layers: json.num_hidden_layers,
        heads,
        kv_heads: json.num_key_value_heads.unwrap_or(heads),
        head_dim,
        max_positions: json.max_position_embeddings,
        rope_theta,
        rms_norm_eps: json.rms_norm_eps,
        // The default of transformers' LlamaConfig.
        tied: Some(json.tie_word_embeddings.unwrap_or(false)),
        bos: json.bos_token_id,
        eos: match json.eos_token_id {
            None => Vec::new(),
            Some(Eos::One(eos)) => vec![eos],
            Some(Eos::Many(eos)) => eos,
        },
        kv_cache: CacheStorage::default(),
    };
    config.checked()
}

fn check_model_type(model_type: Option<&str>) -> Result<(), ModelError> {
    match model_type {
        Some("llama") => Ok(()),
        Some(other) => Err(ModelError::unsupported(
            format!("the architecture `{other}` (model_type)"),
            "`llama` is, that of SmolLM2, TinyLlama and Llama 2",
        )),
        None => Err(ModelError::config("model_type", "is missing: is this a model's config.json?")),
    }
}

fn check_supported(json: &Json) -> Result<(), ModelError> {
    check_model_type(json.model_type.as_deref())?;
    if let Some(act) = json.hidden_act.as_deref().filter(|&act| act != "silu") {
        let what = format!("the activation `{act}` (hidden_act)");
        return Err(ModelError::unsupported(what, "`silu` is"));
    }
    for (key, bias) in [("attention_bias", json.attention_bias), ("mlp_bias", json.mlp_bias)] {
        if bias == Some(true) {
            return Err(ModelError::unsupported(key, "linear layers here have no bias"));
        }
    }
    check_rope("rope_scaling", json.rope_scaling.as_ref())?;
    check_rope("rope_parameters", json.rope_parameters.as_ref())
}

/// Transformers has written both keys, and the type under two names, depending on its version.
fn check_rope(key: &str, rope: Option<&Value>) -> Result<(), ModelError> {
    let kind = rope.and_then(|rope| rope.get("rope_type").or_else(|| rope.get("type")));
    match kind {
        Some(kind) if kind.as_str() != Some("default") => Err(ModelError::unsupported(
            format!("{key} of the type {kind}"),
            "plain rotary embedding (`default`) is",
        )),
        _ => Ok(()),
    }
}

/// Transformers 5 writes `rope_theta` under `rope_parameters`, older versions write it at the top. The
/// default is Llama's.
fn rope_theta(json: &Json) -> Result<f64, ModelError> {
    let nested = json.rope_parameters.as_ref().and_then(|rope| rope.get("rope_theta"));
    match nested {
        None => Ok(json.rope_theta.unwrap_or(10_000.0)),
        Some(theta) => theta
            .as_f64()
            .ok_or_else(|| ModelError::config("rope_parameters.rope_theta", "is no number")),
    }
}
