//! The names of the linear layers.

use std::fmt;

/// The linear layers of one decoder layer, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// Queries: `[heads * head_dim, hidden_size]`.
    Q,
    /// Keys: `[kv_heads * head_dim, hidden_size]`.
    K,
    /// Values: `[kv_heads * head_dim, hidden_size]`.
    V,
    /// Output of attention: `[hidden_size, heads * head_dim]`.
    O,
    /// The gate of the MLP: `[intermediate_size, hidden_size]`.
    Gate,
    /// The other half of the MLP's input: `[intermediate_size, hidden_size]`.
    Up,
    /// Output of the MLP: `[hidden_size, intermediate_size]`.
    Down,
}

impl Projection {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Its name in a Hugging Face checkpoint, within the decoder layer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }
}

/// A linear layer of the model, as hooks and replacements name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerId {
    /// One of the seven in a decoder layer, counted from 0.
    Layer(usize, Projection),
    /// The head: from the last hidden state to logits.
    Head,
}

impl LayerId {
    /// The decoder layer, counted from 0; `None` for the head.
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Layer(layer, _) => Some(layer),
            Self::Head => None,
        }
    }

    /// Which of the seven it is; `None` for the head.
    pub fn projection(self) -> Option<Projection> {
        match self {
            Self::Layer(_, projection) => Some(projection),
            Self::Head => None,
        }
    }
}

/// As a Hugging Face checkpoint names the module: `model.layers.3.mlp.down_proj`, `lm_head`.
impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer, projection) => {
                write!(f, "model.layers.{layer}.{}", projection.name())
            }
            Self::Head => f.write_str("lm_head"),
        }
    }
}
