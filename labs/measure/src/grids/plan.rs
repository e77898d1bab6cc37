//! The runs: the nearest codes of every format, and two formats with GPTQ.

use super::feedback::{self, Feedback};
use super::stored::{self, Stored};

/// How the weights of a run are made.
#[derive(Clone, Copy)]
pub enum Asked {
    /// The nearest codes.
    Nearest(&'static Stored),
    /// GPTQ.
    Feedback(&'static Feedback),
}

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
    stored::ALL.iter().map(Asked::Nearest).chain(feedback::ALL.iter().map(Asked::Feedback))
}

/// The place of a run in the plan.
pub fn place(name: &str) -> Option<usize> {
    all().position(|asked| asked.name() == name)
}
