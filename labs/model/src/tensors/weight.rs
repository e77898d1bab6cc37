//! The names of a weight in the two formats.

use crate::{LayerId, Projection};

/// The name of a linear layer's weight in a GGUF file.
pub fn gguf_name(id: LayerId) -> String {
    Weight::Linear(id).gguf()
}

/// A weight of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Embedding,
    /// The norm before attention.
    AttentionNorm(usize),
    /// The norm before the MLP.
    MlpNorm(usize),
    /// The norm before the head.
    LastNorm,
    Linear(LayerId),
}

impl Weight {
    /// Every weight that a Llama of `layers` layers can have.
    pub(crate) fn all(layers: usize) -> impl Iterator<Item = Self> {
        (0..layers).flat_map(Self::in_layer).chain(Self::ENDS)
    }

    /// Weights outside of the layers.
    const ENDS: [Self; 3] = [Self::Embedding, Self::LastNorm, Self::Linear(LayerId::Head)];

    fn in_layer(index: usize) -> impl Iterator<Item = Self> {
        let linear = move |projection| Self::Linear(LayerId::Layer(index, projection));
        let norms = [Self::AttentionNorm(index), Self::MlpNorm(index)];
        Projection::ALL.map(linear).into_iter().chain(norms)
    }

    /// The weight that a Hugging Face checkpoint calls `name`; `None` for one that no plain Llama has.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next());
        let layer: usize = layer.and_then(|layer| layer.parse().ok()).unwrap_or(0);
        let of_layer = Self::in_layer(layer).chain(Self::ENDS);
        of_layer.into_iter().find(|weight| weight.hugging_face() == name)
    }

    /// Its name in a Hugging Face checkpoint.
    pub(crate) fn hugging_face(self) -> String {
        match self {
            Self::Embedding => "model.embed_tokens.weight".into(),
            Self::AttentionNorm(layer) => format!("model.layers.{layer}.input_layernorm.weight"),
            Self::MlpNorm(layer) => format!("model.layers.{layer}.post_attention_layernorm.weight"),
            Self::LastNorm => "model.norm.weight".into(),
            Self::Linear(id) => format!("{id}.weight"),
        }
    }

    /// Its name in a GGUF file.
    pub(crate) fn gguf(self) -> String {
        match self {
            Self::Embedding => "token_embd.weight".into(),
            Self::AttentionNorm(layer) => format!("blk.{layer}.attn_norm.weight"),
            Self::MlpNorm(layer) => format!("blk.{layer}.ffn_norm.weight"),
            Self::LastNorm => "output_norm.weight".into(),
            Self::Linear(LayerId::Head) => "output.weight".into(),
            Self::Linear(LayerId::Layer(layer, projection)) => {
                let name = match projection {
                    Projection::Q => "attn_q",
                    Projection::K => "attn_k",
                    Projection::V => "attn_v",
                    Projection::O => "attn_output",
                    Projection::Gate => "ffn_gate",
                    Projection::Up => "ffn_up",
                    Projection::Down => "ffn_down",
                };
                format!("blk.{layer}.{name}.weight")
            }
        }
    }
}
