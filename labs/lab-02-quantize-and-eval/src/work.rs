//! The work that is metered: the linear layers of two models, as engines run them.
//!
//! Engines fuse the query, key and value projections into one product, and gate and up into
//! another, so a layer is four products. All layers have their own weights: together they are far
//! larger than any cache.

/// A linear layer: `[out_features, in_features]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// `qkv_proj`, `o_proj`, `gate_up_proj` or `down_proj`.
    pub name: &'static str,
    /// Output channels.
    pub out_features: usize,
    /// Inputs.
    pub in_features: usize,
}

impl Shape {
    /// Number of weights.
    pub fn weights(self) -> usize {
        self.out_features * self.in_features
    }
}

/// What the meters need to know of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The name a capture and the command line use.
    pub name: &'static str,
    /// Transformer layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside the MLP.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Numbers a head.
    pub head_dim: usize,
    /// Tokens the model knows.
    pub vocabulary: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
}

/// Qwen2.5-0.5B.
pub const QWEN: Model = Model {
    name: "qwen2.5-0.5b",
    layers: 24,
    hidden: 896,
    intermediate: 4864,
    heads: 14,
    kv_heads: 2,
    head_dim: 64,
    vocabulary: 151_936,
    tied: true,
};

/// Llama-3.1-8B.
pub const LLAMA: Model = Model {
    name: "llama-3.1-8b",
    layers: 32,
    hidden: 4096,
    intermediate: 14_336,
    heads: 32,
    kv_heads: 8,
    head_dim: 128,
    vocabulary: 128_256,
    tied: false,
};

/// The models, smallest first.
pub const MODELS: [Model; 2] = [QWEN, LLAMA];

/// Tokens a step: decode at these batch sizes, and a prefill of 2,048 tokens.
pub const BATCHES: [usize; 6] = [1, 4, 16, 64, 256, 2048];

/// The batches of a quick run: bound by bytes, between, bound by operations.
pub const QUICK_BATCHES: [usize; 3] = [1, 16, 2048];

impl Model {
    /// The four products of a layer, in the order they run.
    pub fn shapes(&self) -> [Shape; 4] {
        let attention = self.heads * self.head_dim;
        let kv = 2 * self.kv_heads * self.head_dim;
        let shape = |name, out_features, in_features| Shape { name, out_features, in_features };
        [
            shape("qkv_proj", attention + kv, self.hidden),
            shape("o_proj", self.hidden, attention),
            shape("gate_up_proj", 2 * self.intermediate, self.hidden),
            shape("down_proj", self.hidden, self.intermediate),
        ]
    }

    /// Weights of all linear layers inside the blocks.
    pub fn linear_weights(&self) -> usize {
        self.layers * self.shapes().iter().map(|shape| shape.weights()).sum::<usize>()
    }

    /// Bytes of the embedding and the head in 16 bits, which all formats here leave alone.
    pub fn embedding_bytes(&self) -> usize {
        self.vocabulary * self.hidden * 2 * if self.tied { 1 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linear_weights_are_those_of_the_published_configurations() {
        assert_eq!(QWEN.linear_weights(), 357_826_560);
        assert_eq!(LLAMA.linear_weights(), 6_979_321_856);
    }

    #[test]
    fn every_shape_divides_into_groups_and_16_byte_rows() {
        for shape in MODELS.iter().flat_map(Model::shapes) {
            assert_eq!(shape.in_features % 128, 0, "{shape:?}");
            assert_eq!(shape.out_features % 16, 0, "{shape:?}");
        }
    }
}
