//! The sizes and constants of a Llama.

use crate::{CacheStorage, ModelError};

/// The sizes and constants of a Llama.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Positions that the model was made for.
    pub max_positions: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// What RMSNorm adds to the mean square.
    pub rms_norm_eps: f32,
    /// Whether the head is the embedding; `None` says yes if there is no tensor for the head.
    pub tied: Option<bool>,
    /// The token that begins a text, if the config names one.
    pub bos: Option<u32>,
    /// The tokens that end a text.
    pub eos: Vec<u32>,
    /// How keys and values are stored while the model runs.
    pub kv_cache: CacheStorage,
}

impl Config {
    /// Checks the properties on which the forward pass relies.
    pub(super) fn checked(self) -> Result<Self, ModelError> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_positions),
        ];
        for (key, size) in sizes {
            // The bound keeps products of three sizes from overflowing; no known axis is this long.
            if size == 0 || size > 1 << 20 {
                return Err(ModelError::config(key, format!("is {size}: not from 1 to 2^20")));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem =
                format!("is {}, which does not divide {} heads", self.kv_heads, self.heads);
            return Err(ModelError::config("num_key_value_heads", problem));
        }
        if !self.head_dim.is_multiple_of(2) {
            let problem = format!("is {}: rotary embedding needs an even width", self.head_dim);
            return Err(ModelError::config("head_dim", problem));
        }
        let positive =
            [("rope_theta", self.rope_theta), ("rms_norm_eps", self.rms_norm_eps.into())];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(ModelError::config(key, format!("is {value}: not a positive number")));
            }
        }
        Ok(self)
    }

    /// The width of an even share of the hidden size for each head, where no width is given.
    pub(super) fn head_share(hidden_size: usize, heads: usize) -> Result<usize, ModelError> {
        if heads == 0 || !hidden_size.is_multiple_of(heads) {
            let problem = format!("is missing, and {hidden_size} is no multiple of {heads} heads");
            return Err(ModelError::config("head_dim", problem));
        }
        Ok(hidden_size / heads)
    }
}
