//! The metadata of a GGUF file.

use std::io::{Read, Seek};

use formats::gguf::{Gguf, Value};

use super::sizes::Config;
use crate::{CacheStorage, ModelError};

/// Reads the sizes from the metadata of a GGUF file.
pub(crate) fn from_gguf<R: Read + Seek>(gguf: &Gguf<R>) -> Result<Config, ModelError> {
    check_supported(gguf)?;
    let size = |key: &str| -> Result<usize, ModelError> {
        let value = gguf.u64(&format!("llama.{key}"))?;
        usize::try_from(value)
            .map_err(|_| ModelError::config(key, format!("is {value}: too large")))
    };
    let (hidden_size, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let config = Config {
        vocab_size: vocab_size(gguf)?,
        hidden_size,
        intermediate_size: size("feed_forward_length")?,
        layers: size("block_count")?,
        heads,
        kv_heads: or(gguf, "llama.attention.head_count_kv", heads, || {
            size("attention.head_count_kv")
        })?,
        head_dim: head_dim(gguf, hidden_size, heads)?,
        max_positions: size("context_length")?,
        rope_theta: or(gguf, "llama.rope.freq_base", 10_000.0, || {
            Ok(gguf.f64("llama.rope.freq_base")?)
        })?,
        rms_norm_eps: gguf.f64("llama.attention.layer_norm_rms_epsilon")? as f32,
        tied: None,
        bos: token(gguf, "tokenizer.ggml.bos_token_id"),
        eos: token(gguf, "tokenizer.ggml.eos_token_id").into_iter().collect(),
        kv_cache: CacheStorage::default(),
    };
    config.checked()
}

fn check_supported<R: Read + Seek>(gguf: &Gguf<R>) -> Result<(), ModelError> {
    let architecture = gguf.text("general.architecture")?;
    if architecture != "llama" {
        let what = format!("the architecture `{architecture}` (general.architecture)");
        return Err(ModelError::unsupported(what, "`llama` is"));
    }
    let scaling = gguf.metadata().get("llama.rope.scaling.type").and_then(Value::as_str);
    if let Some(scaling) = scaling.filter(|&scaling| scaling != "none") {
        let what = format!("llama.rope.scaling.type `{scaling}`");
        return Err(ModelError::unsupported(what, "plain rotary embedding (`none`) is"));
    }
    let experts = gguf.metadata().get("llama.expert_count").and_then(Value::as_u64);
    if let Some(experts) = experts.filter(|&experts| experts > 0) {
        let what = format!("a mixture of {experts} experts (llama.expert_count)");
        return Err(ModelError::unsupported(what, "a dense MLP is"));
    }
    Ok(())
}

/// The result of `read` if there is a `key`, else `default`.
fn or<R: Read + Seek, T>(
    gguf: &Gguf<R>,
    key: &str,
    default: T,
    read: impl FnOnce() -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    if gguf.metadata().contains_key(key) { read() } else { Ok(default) }
}

/// The width of a head, all of which has to be rotated.
fn head_dim<R: Read + Seek>(
    gguf: &Gguf<R>,
    hidden_size: usize,
    heads: usize,
) -> Result<usize, ModelError> {
    let number = |key: &str| gguf.metadata().get(key).and_then(Value::as_u64);
    let head_dim = match number("llama.attention.key_length") {
        Some(length) => usize::try_from(length).unwrap_or(usize::MAX),
        None => Config::head_share(hidden_size, heads)?,
    };
    match number("llama.rope.dimension_count") {
        Some(turned) if turned != head_dim as u64 => Err(ModelError::unsupported(
            format!(
                "turning {turned} of {head_dim} elements of a head (llama.rope.dimension_count)"
            ),
            "turning whole heads is",
        )),
        _ => Ok(head_dim),
    }
}

/// The rows of the embedding: the metadata may leave the number out.
fn vocab_size<R: Read + Seek>(gguf: &Gguf<R>) -> Result<usize, ModelError> {
    Ok(gguf.info("token_embd.weight")?.shape.first().copied().unwrap_or(0))
}

fn token<R: Read + Seek>(gguf: &Gguf<R>, key: &str) -> Option<u32> {
    gguf.metadata().get(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())
}
