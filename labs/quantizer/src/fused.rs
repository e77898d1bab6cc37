//! The matrices that an engine multiplies as one: q, k and v, and gate and up.
//!
//! vLLM concatenates their codes and keeps one global scale, so a format with such a number needs the
//! same number in all of them.

use std::collections::BTreeMap;

use formats::checkpoint::Tensor;
use formats::magnitude::absmax;
use formats::registry::Decision;
use ndarray::Array2;
use rayon::prelude::*;

use crate::{Plan, WriteError};

/// The modules that are multiplied as one.
const FUSED: [&[&str]; 2] = [&["q_proj", "k_proj", "v_proj"], &["gate_proj", "up_proj"]];

/// The largest magnitude of each fused layer.
pub(crate) struct Fused(BTreeMap<String, f32>);

impl Fused {
    /// Reads the matrices that `plan` quantizes if its format shares a number, and nothing for another
    /// format. `read` returns a tensor as it is going to be rounded.
    ///
    /// # Errors
    /// If a tensor cannot be read.
    pub(crate) fn of(
        plan: &Plan,
        tensors: &[Tensor],
        read: impl Fn(&Tensor) -> Result<Array2<f32>, WriteError> + Sync,
    ) -> Result<Self, WriteError> {
        if plan.format.description.shared.is_none() {
            return Ok(Self(BTreeMap::new()));
        }
        let quantized = tensors.par_iter().filter(|of| plan.decide(of) == Decision::Quantize);
        let largest = quantized.map(|tensor| {
            let w = read(tensor).map_err(|error| error.within(&tensor.name))?;
            Ok((layer(&tensor.name), absmax(&w)))
        });
        let mut fused = BTreeMap::new();
        for (layer, absmax) in largest.collect::<Result<Vec<_>, WriteError>>()? {
            let known: &mut f32 = fused.entry(layer).or_default();
            *known = known.max(absmax);
        }
        Ok(Self(fused))
    }

    /// The largest magnitude of the layer that the matrix `name` is a part of.
    pub(crate) fn absmax(&self, name: &str) -> Option<f32> {
        self.0.get(&layer(name)).copied()
    }
}

/// The name of the layer that the matrix `name` is a part of: `model.layers.0.self_attn.q_proj` for each
/// of q, k and v.
fn layer(name: &str) -> String {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let (path, last) = module.rsplit_once('.').unwrap_or(("", module));
    let first =
        FUSED.into_iter().find(|names| names.contains(&last)).map_or(last, |names| names[0]);
    format!("{path}.{first}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_k_and_v_are_one_layer_and_so_are_gate_and_up() {
        let of = |name: &str| layer(&format!("model.layers.3.{name}.weight"));
        assert_eq!(of("self_attn.k_proj"), of("self_attn.v_proj"));
        assert_eq!(of("mlp.gate_proj"), of("mlp.up_proj"));
        assert_ne!(of("self_attn.q_proj"), of("self_attn.o_proj"));
        assert_ne!(of("mlp.gate_proj"), layer("model.layers.4.mlp.gate_proj.weight"));
    }
}
