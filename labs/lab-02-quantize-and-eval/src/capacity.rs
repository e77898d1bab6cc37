//! The capacity meter: how many blocks of KV cache fit beside the weights, by vLLM's formula.

use crate::work::Model;

/// Tokens a block on a GPU.
pub const BLOCK_TOKENS: u64 = 16;
/// The share of the device's memory that vLLM asks for.
pub const UTILIZATION: f64 = 0.92;
/// The context at which concurrency is counted.
pub const CONTEXT: u64 = 4096;

/// What one block of the KV cache costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KvCache {
    /// Layers that keep keys and values.
    pub layers: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Numbers a head.
    pub head_dim: u64,
    /// Bytes a number: 2 for bf16, 1 for FP8.
    pub bytes: u64,
}

impl KvCache {
    /// The cache of `model` in bf16.
    pub fn bf16(model: &Model) -> Self {
        Self {
            layers: model.layers as u64,
            kv_heads: model.kv_heads as u64,
            head_dim: model.head_dim as u64,
            bytes: 2,
        }
    }

    /// Bytes a token: keys and values of all layers.
    pub fn token_bytes(self) -> u64 {
        2 * self.layers * self.kv_heads * self.head_dim * self.bytes
    }

    /// Whole blocks of `block_tokens` tokens that fit into `available` bytes.
    pub fn blocks(self, available: u64, block_tokens: u64) -> u64 {
        available / (block_tokens * self.token_bytes())
    }
}

/// What vLLM leaves to the KV cache: `ceil(total * utilization)` less what is taken. The room that
/// activations and graphs take is not counted here, so an engine has a little less.
pub fn available(total: u64, taken: u64, utilization: f64) -> u64 {
    ((total as f64 * utilization).ceil() as u64).saturating_sub(taken)
}

/// How many requests of `context` tokens fit at once.
pub fn concurrency(blocks: u64, block_tokens: u64, context: u64) -> f64 {
    (blocks * block_tokens) as f64 / context as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{LLAMA, QWEN};

    /// Printed by vLLM 0.32.0 on a CPU, block size 128, one GiB, SmolLM2-135M in bf16.
    #[test]
    fn the_blocks_of_smollm2_are_those_that_vllm_printed() {
        let cache = KvCache { layers: 30, kv_heads: 3, head_dim: 64, bytes: 2 };
        assert_eq!(cache.token_bytes(), 23_040);
        let blocks = cache.blocks(1 << 30, 128);
        assert_eq!(blocks, 364);
        assert_eq!(blocks * 128, 46_592);
        assert_eq!(format!("{:.2}x", concurrency(blocks, 128, 2048)), "22.75x");
    }

    /// Printed by the same engine for a small Llama in float32 with 64 MiB.
    #[test]
    fn a_page_of_float32_costs_what_vllm_says() {
        let cache = KvCache { layers: 4, kv_heads: 2, head_dim: 32, bytes: 4 };
        assert_eq!(cache.token_bytes() * 128, 262_144);
        assert_eq!(cache.blocks(64 << 20, 128), 256);
    }

    #[test]
    fn the_models_have_their_published_cost_a_token() {
        assert_eq!(KvCache::bf16(&LLAMA).token_bytes(), 131_072);
        assert_eq!(KvCache::bf16(&QWEN).token_bytes(), 12_288);
    }

    #[test]
    fn a_device_that_is_too_small_has_no_room_and_no_underflow() {
        assert_eq!(available(100, 93, 0.92), 0);
        assert_eq!(available(101, 90, 0.92), 3);
    }
}
