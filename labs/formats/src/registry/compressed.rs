//! What compressed-tensors 0.20.0 writes under `quantization_config`.

use serde_json::{Value, json};

/// The strategy of the weights' scales, and the size of a group where there are groups.
pub(super) struct Strategy(&'static str, Option<u64>);

/// A scale for each output channel.
pub(super) const CHANNEL: Strategy = Strategy("channel", None);

/// A scale for each group of `size` neighbours in a row.
pub(super) fn group(size: u64) -> Strategy {
    Strategy("group", Some(size))
}

impl Strategy {
    /// Symmetric weights of so many bits; `kind` is `int` or `float`.
    pub(super) fn of(self, bits: u64, kind: &str) -> Value {
        let mut weights = json!({"num_bits": bits, "type": kind, "symmetric": true,
                                 "strategy": self.0, "dynamic": false});
        if let Some(size) = self.1 {
            weights["group_size"] = size.into();
        }
        weights
    }
}

/// Activations of 8 bits with a scale for each token, found while the model runs.
pub(super) fn per_token(kind: &str) -> Value {
    json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "token", "dynamic": true})
}

/// The whole object: every `Linear` but those in `ignore`.
pub(super) fn config(format: &str, weights: Value, activations: Value, ignore: &[String]) -> Value {
    let group = json!({"targets": ["Linear"], "weights": weights,
                       "input_activations": activations, "output_activations": null});
    json!({"quant_method": "compressed-tensors", "format": format,
           "quantization_status": "compressed", "ignore": ignore,
           "config_groups": {"group_0": group}})
}
