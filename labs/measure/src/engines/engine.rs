//! The engines.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
