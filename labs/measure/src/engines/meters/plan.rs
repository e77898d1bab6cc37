//! What every format of every engine is asked to do.

use serde::{Deserialize, Serialize};

/// What every format of every engine is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Tokens of the prompt whose reading is timed.
    pub prompt: usize,
    /// Requests at once whose writing is timed, one number for each meter.
    pub batches: Vec<usize>,
    /// Tokens of the prompt of such a request.
    pub request_prompt: usize,
    /// Tokens that such a request writes.
    pub request_written: usize,
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
    /// Tokens of a chunk of the passage that is scored.
    pub chunk: usize,
    /// Chunks of it at most; none for the whole passage.
    pub chunks: Option<usize>,
}

/// Requests that are sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many.
    pub requests: usize,
    /// Tokens of the prompt of each.
    pub prompt: usize,
    /// Tokens that each writes.
    pub written: usize,
}

impl Load {
    /// Tokens that all requests write.
    pub fn all_written(self) -> usize {
        self.requests * self.written
    }

    /// The prompt of request `index`, tokens of a vocabulary of `vocabulary`: no two requests share
    /// a beginning, so that no engine can read it from a cache.
    pub fn prompt_of(self, index: usize, vocabulary: usize) -> Vec<u32> {
        // Any tokens do: the work does not depend on which. Those in front of 256 may be special.
        let span = vocabulary.saturating_sub(256).max(1);
        (0..self.prompt).map(|at| (256 + (index * 65_537 + at * 7919) % span) as u32).collect()
    }
}

impl Plan {
    /// What a laptop does in minutes.
    pub fn new() -> Self {
        Self {
            prompt: 512,
            batches: vec![1, 16],
            request_prompt: 32,
            request_written: 64,
            seconds: 3.0,
            repetitions: 5,
            device_bytes: 1 << 30,
            utilization: 0.92,
            block_tokens: 128,
            chunk: 512,
            chunks: Some(4),
        }
    }

    /// The requests of the meter with `requests` at once.
    pub fn load(&self, requests: usize) -> Load {
        Load { requests, prompt: self.request_prompt, written: self.request_written }
    }

    /// Tokens that the longest request needs room for.
    pub fn longest(&self) -> usize {
        self.prompt.max(self.request_prompt + self.request_written).max(self.chunk) + 1
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_begin_alike_and_every_token_is_in_the_vocabulary() {
        let load = Plan::new().load(64);
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
