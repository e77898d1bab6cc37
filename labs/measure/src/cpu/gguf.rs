//! A GGUF file of one matrix: what `llama-quantize` takes, and what our encoders write.

use std::collections::BTreeMap;

use formats::gguf::{GgufError, RawValue, TensorType, layout};

/// The tensor's name in llama.cpp.
pub const TENSOR: &str = "blk.0.ffn_down.weight";

/// The header of a Llama of one layer that has one matrix, `[out_features, in_features]`, stored as
/// `kind`. The tensor's bytes follow it.
///
/// # Errors
/// As [`layout`].
pub fn header(
    out_features: usize,
    in_features: usize,
    kind: TensorType,
) -> Result<Vec<u8>, GgufError> {
    let number = |value: usize| RawValue::from(value as u32);
    let metadata = BTreeMap::from(
        [
            ("general.architecture", "llama".into()),
            ("llama.attention.head_count", number(32)),
            ("llama.attention.layer_norm_rms_epsilon", 1e-5f32.into()),
            ("llama.block_count", number(1)),
            ("llama.context_length", number(512)),
            ("llama.embedding_length", number(out_features)),
            ("llama.feed_forward_length", number(in_features)),
            ("llama.vocab_size", number(32)),
            ("tokenizer.ggml.model", "none".into()),
        ]
        .map(|(key, value)| (key.to_string(), value)),
    );
    let shape = [out_features as u64, in_features as u64];
    Ok(layout(&metadata, &[(TENSOR, kind, &shape)])?.header)
}
