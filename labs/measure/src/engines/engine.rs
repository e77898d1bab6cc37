//! The engines, and what one has to be able to do to be measured.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::checkpoints::Checkpoint;
use super::engine_meters::{KvCache, Quality, Run};
use super::plan::Load;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Engine {
    /// This course's own model: nothing to install.
    #[value(name = "ours", alias = "course")]
    #[serde(rename = "this course")]
    Course,
    /// vLLM, through its server.
    #[serde(rename = "vLLM")]
    Vllm,
    /// llama.cpp, through its tools.
    #[value(name = "llama.cpp")]
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// Linear layers on an NVIDIA GPU: `cargo book capture gpu`, which has more options.
    #[serde(rename = "GPU")]
    Gpu,
}

impl Engine {
    /// The engines whose captures have the frame of this module.
    pub const SERVING: [Self; 3] = [Self::Course, Self::Vllm, Self::LlamaCpp];

    /// What captures and tables call the engine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Course => "this course",
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
            Self::Gpu => "GPU",
        }
    }

    /// The engine in names of files.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Course => "ours",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama-cpp",
            Self::Gpu => "gpu",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An engine that can be asked.
pub trait Backend {
    /// Loads a checkpoint; the others are compared with the one that `is_original`. What is known of
    /// the loading goes into `run`, also where it fails.
    ///
    /// # Errors
    /// If there is no such checkpoint, or the engine refuses it.
    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        is_original: bool,
        run: &mut Run,
    ) -> Result<Box<dyn Loaded + '_>>;
}

/// A checkpoint that an engine has loaded. Every method fails if the engine does.
pub trait Loaded {
    /// How the engine continues `prompt`, the likeliest token each time, `tokens` at most.
    fn complete(&mut self, prompt: &str, tokens: usize) -> Result<String>;

    /// The meter of quality: how the passage is predicted.
    fn quality(&mut self, say: &mut dyn FnMut(&str)) -> Result<Quality>;

    /// The capacity meter, its first half: bytes of the weights; `None` if the engine does not tell.
    fn weight_bytes(&mut self) -> Result<Option<u64>>;

    /// The capacity meter, its second half: the KV cache that the engine sets up. Blocks that the
    /// engine does not count are 0.
    fn kv_cache(&mut self) -> Result<KvCache>;

    /// The throughput meter of prefill: tokens per second of the prompt of `load`, one request, one
    /// number for each time.
    fn prefill(&mut self, load: Load) -> Result<Vec<f64>>;

    /// The throughput meter of decode: all requests of `load` at once. Tokens generated per second of
    /// wall time, from the first request sent to the last answer, one number for each time.
    fn decode(&mut self, load: Load) -> Result<Vec<f64>>;

    /// Writes into `run` how the engine reads the weights. Asked last, because some kernels are chosen
    /// by the first request.
    fn tell(&mut self, run: &mut Run);
}
