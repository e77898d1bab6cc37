//! The sizes of a model as its config.json gives them: dense or a mixture of experts, with a cache of
//! keys and values, of windows of them, or of latents.
//!
//! [`Architecture`] is the dense Llama-like decoder that lab 02 computes with. What is beyond it is here.

mod families;
mod from_config;

use crate::architecture::Architecture;

pub use from_config::SizesError;

/// Matrices of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// `[out_features, in_features]`.
    pub shape: [u64; 2],
    /// How many there are in the model.
    pub stored: u64,
    /// How many of them a token multiplies with.
    pub active: u64,
    /// Whether they are those of routed experts.
    pub expert: bool,
}

impl Matrices {
    /// A matrix that stands once in each of so many layers, and that every token passes.
    fn in_layers(layers: u64, shape: [u64; 2]) -> Self {
        Self { shape, stored: layers, active: layers, expert: false }
    }
}

/// What a token leaves in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePart {
    /// Numbers a token, over the layers that keep it so.
    pub numbers: u64,
    /// The tokens that are kept, if not all.
    pub window: Option<u64>,
}

/// The sizes of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSizes {
    /// The linear layers inside the blocks.
    pub matrices: Vec<Matrices>,
    /// The embedding, `[vocabulary, hidden]`. A head has the same shape.
    pub table: [u64; 2],
    /// Whether the head is the embedding, stored once.
    pub tied: bool,
    /// Weights that nobody quantizes: norms, biases, routers.
    pub vectors: u64,
    /// The cache.
    pub cache: Vec<CachePart>,
    /// Numbers of the keys and of the values of all heads of all layers, for the arithmetic of attention.
    pub attention: u64,
    /// The same model, where it is a dense Llama-like one.
    pub dense: Option<Architecture>,
    /// What is not counted.
    pub notes: Vec<String>,
}

impl ModelSizes {
    /// Weights of the linear layers in the blocks: all, and those of a token.
    pub fn linear_weights(&self) -> [u64; 2] {
        let all = self.matrices.iter().map(|matrices| {
            let [out, inputs] = matrices.shape;
            [matrices.stored, matrices.active].map(|count| count * out * inputs)
        });
        all.fold([0, 0], |[stored, active], more| [stored + more[0], active + more[1]])
    }

    /// Weights of the embedding and the head; a tied pair counts once.
    pub fn table_weights(&self) -> u64 {
        self.table[0] * self.table[1] * if self.tied { 1 } else { 2 }
    }

    /// All parameters.
    pub fn parameters(&self) -> u64 {
        self.linear_weights()[0] + self.table_weights() + self.vectors
    }

    /// Whether a token passes only a part of the weights.
    pub fn is_mixture(&self) -> bool {
        self.matrices.iter().any(|matrices| matrices.expert)
    }

    /// Numbers in the cache of a sequence of `tokens` tokens.
    pub fn cache_numbers(&self, tokens: u64) -> u64 {
        let kept = |part: &CachePart| part.window.map_or(tokens, |window| tokens.min(window));
        self.cache.iter().map(|part| part.numbers.saturating_mul(kept(part))).sum()
    }
}

impl From<&Architecture> for ModelSizes {
    fn from(model: &Architecture) -> Self {
        let matrices = model.layer_matrices().map(|it| Matrices::in_layers(model.layers, it));
        Self {
            matrices: matrices.to_vec(),
            table: [model.vocabulary, model.hidden],
            tied: model.tied,
            vectors: model.vector_weights(),
            cache: vec![CachePart {
                numbers: 2 * model.layers * model.kv_heads * model.head_dim,
                window: None,
            }],
            attention: 2 * model.layers * model.heads * model.head_dim,
            dense: Some(*model),
            notes: Vec::new(),
        }
    }
}
