//! What every checkpoint of every engine is asked.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use model::Convention;
use serde::{Deserialize, Serialize};

use crate::capture::rates;

/// The meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meter {
    /// The prompts are continued, the passage is scored.
    Quality,
    /// Bytes of the weights, blocks of the KV cache.
    Capacity,
    /// Tokens per second of prefill and of decode.
    Throughput,
}

/// What every checkpoint of every engine is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The meters.
    pub meters: Vec<Meter>,
    /// The prompts that are continued.
    pub prompts: Vec<String>,
    /// Tokens of a continuation, at most.
    pub answer_tokens: usize,
    /// The text that is scored.
    pub passage: String,
    /// Tokens of a chunk of that text; the second half is scored.
    pub chunk: usize,
    /// Chunks at most; none for the whole text.
    pub chunks: Option<usize>,
    /// Tokens of the prompt whose prefill is timed.
    #[serde(alias = "prompt")]
    pub prefill_tokens: usize,
    /// Requests at once whose decode is timed, one number for each reading.
    pub batches: Vec<usize>,
    /// Tokens of the prompt of such a request.
    pub request_prompt: usize,
    /// Tokens that such a request generates.
    #[serde(alias = "request_written")]
    pub request_generated: usize,
    /// A reading is repeated until so many seconds have passed.
    pub seconds: f64,
    /// A reading is repeated so many times at most.
    pub repetitions: usize,
    /// Bytes of memory that weights and KV cache share.
    pub device_bytes: u64,
    /// The part of it that the engine may use, 0 to 1.
    pub utilization: f64,
    /// Tokens of a block of the KV cache.
    pub block_tokens: u64,
    /// How keys and values are stored, by the engine's own name; none leaves it to the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<String>,
}

/// Requests that are sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many.
    pub requests: usize,
    /// Tokens of the prompt of each.
    pub prompt: usize,
    /// Tokens that each generates.
    pub generated: usize,
}

impl Load {
    /// Tokens that all requests generate.
    pub fn all_generated(self) -> usize {
        self.requests * self.generated
    }

    /// The prompt of request `index`, tokens of a vocabulary of `vocabulary`: no two requests share
    /// a beginning, so that no engine can read it from a cache.
    pub fn prompt_of(self, index: usize, vocabulary: usize) -> Vec<u32> {
        // Any tokens do, because the work does not depend on which. Those below 256 may be special.
        let span = vocabulary.saturating_sub(256).max(1);
        (0..self.prompt).map(|at| (256 + (index * 65_537 + at * 7919) % span) as u32).collect()
    }
}

impl Plan {
    /// Whether `meter` is taken.
    pub fn takes(&self, meter: Meter) -> bool {
        self.meters.contains(&meter)
    }

    /// One request: the prompt whose prefill is timed, and the one token that comes with it.
    pub fn prefill(&self) -> Load {
        Load { requests: 1, prompt: self.prefill_tokens, generated: 1 }
    }

    /// The load of decode with `requests` at once.
    pub fn decode(&self, requests: usize) -> Load {
        Load { requests, prompt: self.request_prompt, generated: self.request_generated }
    }

    /// Tokens that the longest request needs room for.
    pub fn longest(&self) -> usize {
        let request = self.request_prompt + self.request_generated;
        self.prefill_tokens.max(request).max(self.chunk) + 1
    }

    /// How the passage, in `tokens`, is cut and scored: the chunks of the plan and no more.
    pub fn cut(&self, tokens: &mut Vec<u32>, bos: Option<u32>) -> Convention {
        tokens.truncate(self.chunks.map_or(usize::MAX, |chunks| chunks.saturating_mul(self.chunk)));
        Convention { chunk: self.chunk, bos }
    }

    /// The tokens per second of each time that `once` was repeated, which returns its tokens.
    ///
    /// # Errors
    /// If `once` fails.
    pub fn rates(&self, mut once: impl FnMut() -> Result<usize>) -> Result<Vec<f64>> {
        let limit = Duration::from_secs_f64(self.seconds.clamp(0.0, 3600.0));
        rates(limit, self.repetitions, || once().map(|tokens| tokens as f64))
    }
}

/// What a laptop does in minutes.
impl Default for Plan {
    fn default() -> Self {
        let prompts =
            ["The capital of France is", "Once upon a time, there was a", "The opposite of hot is"];
        Self {
            meters: Meter::value_variants().to_vec(),
            prompts: prompts.map(String::from).to_vec(),
            answer_tokens: 14,
            passage: "labs/model/passage/alice.txt".into(),
            chunk: 512,
            chunks: Some(4),
            prefill_tokens: 512,
            batches: vec![1, 16],
            request_prompt: 32,
            request_generated: 64,
            seconds: 3.0,
            repetitions: 5,
            device_bytes: 1 << 30,
            utilization: 0.92,
            block_tokens: 128,
            kv_cache: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_begin_alike_and_every_token_is_in_the_vocabulary() {
        let load = Plan::default().decode(64);
        let prompts: Vec<_> = (0..64).map(|index| load.prompt_of(index, 49_152)).collect();
        for (index, prompt) in prompts.iter().enumerate() {
            assert_eq!(prompt.len(), 32);
            assert!(prompt.iter().all(|&token| (256..49_152).contains(&token)), "{prompt:?}");
            assert!(prompts[..index].iter().all(|other| other[0] != prompt[0]), "{index}");
        }
        // A tiny vocabulary gives tokens too, and no panic.
        assert_eq!(load.prompt_of(3, 100).len(), 32);
    }
}
