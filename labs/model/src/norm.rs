//! RMSNorm, and the names of the norms.

use std::fmt;

use kernels::plain::dot;
use ndarray::Array2;

/// A norm in front of linear layers, into which SmoothQuant folds its scales, and out of which a
/// rotation takes the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Norm {
    /// In front of Q, K and V of a decoder layer, counted from 0.
    Attention(usize),
    /// In front of gate and up of a decoder layer, counted from 0.
    Mlp(usize),
    /// In front of the head.
    Last,
}

/// As a Hugging Face checkpoint names the module.
impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attention(layer) => write!(f, "model.layers.{layer}.input_layernorm"),
            Self::Mlp(layer) => write!(f, "model.layers.{layer}.post_attention_layernorm"),
            Self::Last => f.write_str("model.norm"),
        }
    }
}

/// Each row of `x`, `[tokens, hidden_size]`, divided by its root mean square and multiplied by
/// `weight`: `x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich 2019, equation 4; `eps` is
/// Llama's).
pub(crate) fn rms_norm(x: &Array2<f32>, weight: &[f32], eps: f32) -> Array2<f32> {
    let mut out = x.as_standard_layout().into_owned();
    for mut row in out.rows_mut() {
        let Some(row) = row.as_slice_mut() else { continue };
        let mean_square = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        row.iter_mut().zip(weight).for_each(|(x, weight)| *x = *x * scale * weight);
    }
    out
}
