//! The `config.json` of a written checkpoint.

use std::path::Path;

use formats::bytes::Float;
use formats::checkpoint::config::parse_json;
use model::{Config, Weights};
use serde_json::{Map, Value, json};

use crate::WriteError;

/// The `config.json` for the weights: the input's own, or one that is made from the metadata of a GGUF
/// file, with `float` as the type of floats and a new `quantization_config`.
pub(crate) fn config_json(
    weights: &Weights,
    float: Float,
    quantization: Option<Value>,
) -> Result<Map<String, Value>, WriteError> {
    let mut config = if weights.is_gguf() { of_gguf(weights)? } else { of_folder(weights.path())? };
    // `dtype` is the name since transformers 5, `torch_dtype` the one before.
    for key in ["torch_dtype", "dtype"] {
        config.insert(key.into(), float.torch_dtype().into());
    }
    // An old entry describes the input, also where the output is not quantized.
    config.remove("quantization_config");
    if let Some(quantization) = quantization {
        config.insert("quantization_config".into(), quantization);
    }
    Ok(config)
}

fn of_folder(folder: &Path) -> Result<Map<String, Value>, WriteError> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(WriteError::io(&path))?;
    serde_json::from_str(&text).map_err(|error| {
        // Python's words can be read, but the copy of the config would have lost them.
        let problem = match parse_json(text.as_bytes()) {
            Ok(_) => "`NaN` and `Infinity` are not JSON: write numbers in their place".into(),
            Err(_) => error.to_string(),
        };
        WriteError::Unsupported(format!("{}: {problem}", path.display()))
    })
}

fn of_gguf(weights: &Weights) -> Result<Map<String, Value>, WriteError> {
    let config = Config::load(weights.path())?;
    let has_head = weights.tensors().iter().any(|tensor| tensor.name == "lm_head.weight");
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        // GGUF stores an f32, and its shortest decimal is the number of the original config: 1e-5
        // instead of 9.999999747378752e-6.
        "rms_norm_eps": shortest(config.rms_norm_eps),
        "rope_theta": config.rope_theta,
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": !has_head,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos.first(),
    });
    Ok(config.as_object().cloned().unwrap_or_default())
}

/// The number with the fewest digits that is this `f32`.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(value.into())
}
