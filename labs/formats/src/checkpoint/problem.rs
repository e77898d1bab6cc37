//! A contradiction: the file loads, and two of its statements disagree.

use std::fmt::{self, Display};

/// A contradiction inside a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The tensor or module it is about.
    pub name: String,
    /// What the file says.
    pub file: String,
    /// What the config or the format says.
    pub expected: String,
}

impl Problem {
    /// A contradiction about `name`.
    pub fn new(
        name: impl Into<String>,
        file: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), file: file.into(), expected: expected.into() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.name, self.file, self.expected)
    }
}
