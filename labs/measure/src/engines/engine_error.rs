//! What can go wrong between this program and an engine.

use std::path::{Path, PathBuf};

/// Why an engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A program of the engine is not where it should be, or cannot be started.
    #[error(
        "cannot start {0}: {1}; set the engine up first: labs/measure/src/engines/README.md says how"
    )]
    NotThere(PathBuf, std::io::Error),
    /// The engine ended before it served.
    #[error("{program} ended while it started ({status}). Its log ends:\n{tail}")]
    Died {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        tail: String,
    },
    /// The engine runs, and does not say that it is ready.
    #[error("{what} was not ready after {seconds} s. Its log ends:\n{tail}")]
    NeverReady {
        /// The program, or the address that was asked.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// The last lines of its log; empty for an engine that this program did not start.
        tail: String,
    },
    /// A tool ended with an error.
    #[error("{program} failed ({status}). Its last lines:\n{tail}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        tail: String,
    },
    /// A tool ran longer than allowed, and was stopped.
    #[error("{program} was stopped after {seconds} s. Its last lines:\n{tail}")]
    TooLong {
        /// The program.
        program: String,
        /// How long it ran.
        seconds: u64,
        /// The last lines it printed.
        tail: String,
    },
    /// No answer came.
    #[error("{url} does not answer: {why}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// What the connection says.
        why: String,
    },
    /// The engine answered with an error.
    #[error("{url} refuses, status {status}: {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the engine says.
        message: String,
    },
    /// The engine said something that cannot be read.
    #[error("{what} is not as expected: {why}")]
    Unreadable {
        /// Whose answer.
        what: String,
        /// What is missing or wrong.
        why: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl EngineError {
    /// An unreadable answer.
    pub(crate) fn unreadable(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Unreadable { what: what.into(), why: why.to_string() }
    }

    /// What to say of a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::File(path, error)
    }
}
