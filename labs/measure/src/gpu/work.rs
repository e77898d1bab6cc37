//! The work that is metered: the linear layers of two models, as engines run them.
//!
//! Engines fuse the query, key and value projections into one product, and gate and up into
//! another, so a layer is four products. All layers have their own weights: together they are far
//! larger than any cache.

use formats::architecture::{Architecture, LLAMA31_8B, QWEN25_05B};

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

/// A model that is metered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The name a capture and the command line use.
    pub name: &'static str,
    /// Its sizes.
    pub architecture: Architecture,
}

/// Qwen2.5-0.5B.
pub const QWEN: Model = Model { name: "qwen2.5-0.5b", architecture: QWEN25_05B };

/// Llama-3.1-8B.
pub const LLAMA: Model = Model { name: "llama-3.1-8b", architecture: LLAMA31_8B };

/// The models, smallest first.
pub const MODELS: [Model; 2] = [QWEN, LLAMA];

/// Tokens a step: decode at these batch sizes, and a prefill of 2,048 tokens.
pub const BATCHES: [usize; 6] = [1, 4, 16, 64, 256, 2048];

/// The batches of a quick run: bound by bytes, between, bound by operations.
pub const QUICK_BATCHES: [usize; 3] = [1, 16, 2048];

impl Model {
    /// Transformer layers.
    pub fn layers(&self) -> usize {
        self.architecture.layers as usize
    }

    /// The four products of a layer, in the order they run.
    pub fn shapes(&self) -> [Shape; 4] {
        let [q, k, v, o, gate, up, down] = self.architecture.layer_matrices();
        let fused = |name, matrices: &[[u64; 2]]| Shape {
            name,
            out_features: matrices.iter().map(|[out, _]| *out as usize).sum(),
            in_features: matrices[0][1] as usize,
        };
        [
            fused("qkv_proj", &[q, k, v]),
            fused("o_proj", &[o]),
            fused("gate_up_proj", &[gate, up]),
            fused("down_proj", &[down]),
        ]
    }

    /// Bytes of the embedding and the head in 16 bits, which all formats here leave alone.
    pub fn embedding_bytes(&self) -> usize {
        2 * self.architecture.embedding_weights() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusing_loses_no_weight() {
        for model in MODELS {
            let weights: usize = model.shapes().iter().map(|shape| shape.weights()).sum();
            let all = model.architecture.linear_weights();
            assert_eq!((model.layers() * weights) as u64, all, "{}", model.name);
        }
    }

    #[test]
    fn every_shape_divides_into_groups_and_16_byte_rows() {
        for shape in MODELS.iter().flat_map(Model::shapes) {
            assert_eq!(shape.in_features % 128, 0, "{shape:?}");
            assert_eq!(shape.out_features % 16, 0, "{shape:?}");
        }
    }
}
