//! What compressed-tensors 0.20.0 writes under `quantization_config`.

use serde_json::{Value, json};

/// The strategy of the weights' scales, with the fields that belong to the strategy.
pub(super) struct Strategy(&'static str, &'static [&'static str], Value);

/// A scale for each output channel.
pub(super) const CHANNEL: Strategy = Strategy("channel", &[], Value::Null);
/// A scale for the tensor.
pub(super) const TENSOR: Strategy = Strategy("tensor", &[], Value::Null);

/// A scale for each group of `size` neighbours in a row.
pub(super) fn group(size: u64) -> Strategy {
    Strategy("group", &["group_size"], json!([size]))
}

/// A scale for each block of so many rows and columns.
pub(super) fn block(rows: u64, columns: u64) -> Strategy {
    Strategy("block", &["block_structure"], json!([[rows, columns]]))
}

/// A scale of the type `dtype` for each group of `size` neighbours in a row, and for `tensor_group` one more
/// for the tensor.
pub(super) fn typed(strategy: &'static str, size: u64, dtype: &str) -> Strategy {
    Strategy(strategy, &["group_size", "scale_dtype"], json!([size, dtype]))
}

impl Strategy {
    /// Symmetric weights of so many bits; `kind` is `int` or `float`.
    pub(super) fn of(self, bits: u64, kind: &str) -> Value {
        let mut weights = json!({"num_bits": bits, "type": kind, "symmetric": true,
                                 "strategy": self.0, "dynamic": false});
        for (index, &field) in self.1.iter().enumerate() {
            weights[field] = self.2[index].clone();
        }
        weights
    }
}

/// Activations of 8 bits with a scale for each token, found while the model runs.
pub(super) fn per_token(kind: &str) -> Value {
    json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "token", "dynamic": true})
}

/// FP8 activations with a scale for each `size` neighbours of a token, found while the model runs.
pub(super) fn per_group(size: u64) -> Value {
    json!({"num_bits": 8, "type": "float", "symmetric": true, "strategy": "group",
           "group_size": size, "dynamic": true})
}

/// The whole object: every `Linear` but those in `ignore`.
pub(super) fn config(format: &str, weights: Value, activations: Value, ignore: &[String]) -> Value {
    let group = json!({"targets": ["Linear"], "weights": weights,
                       "input_activations": activations, "output_activations": null});
    json!({"quant_method": "compressed-tensors", "format": format,
           "quantization_status": "compressed", "ignore": ignore,
           "config_groups": {"group_0": group}})
}
