//! The runs: the nearest codes of every format, and two formats with GPTQ.

use quantizer::Options;

use super::stored::{self, Stored};

/// How the weights of a run are made.
#[derive(Clone, Copy)]
pub enum Asked {
    /// The nearest codes.
    Nearest(&'static Stored),
    /// GPTQ.
    Feedback(&'static Feedback),
}

/// A format with GPTQ.
pub struct Feedback {
    /// The run.
    pub name: &'static str,
    /// The name of the same format with the nearest codes.
    pub nearest_codes: &'static str,
    /// The name in the registry.
    pub scheme: &'static str,
}

/// NVFP4, and int4 of the same size, which the method was made for.
pub static FEEDBACK: [Feedback; 2] = [
    Feedback {
        name: "int4 g32, max / 7.5, GPTQ",
        nearest_codes: "int4 g32, max / 7.5",
        scheme: "w4a16",
    },
    Feedback { name: "NVFP4, GPTQ", nearest_codes: stored::NVFP4, scheme: "nvfp4" },
];

/// Weights of a group of int4.
pub(super) const GROUP_SIZE: u64 = 32;

/// llm-compressor's choices, but every Hessian sees the rounded weights before it.
pub(super) const OPTIONS: Options = Options { sequential: true, ..Options::LLM_COMPRESSOR };

impl Asked {
    /// The name of the run.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest(stored) => stored.name,
            Self::Feedback(feedback) => feedback.name,
        }
    }
}

/// All runs.
pub fn all() -> impl Iterator<Item = Asked> {
    stored::ALL.iter().map(Asked::Nearest).chain(FEEDBACK.iter().map(Asked::Feedback))
}

/// The place of a run in the plan.
pub fn place(name: &str) -> Option<usize> {
    all().position(|asked| asked.name() == name)
}
