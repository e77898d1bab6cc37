//! What can be wrong with a checkpoint's files.

use std::path::{Path, PathBuf};

use crate::gguf::GgufError;

/// The longest header that is read, in bytes: the limit of the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// Why a file cannot be read as a checkpoint. Each says what to do about it.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("cannot read {}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("cannot read the header: {0}")]
    Read(#[from] std::io::Error),
    #[error("not a safetensors file: {0}")]
    NotSafetensors(String),
    #[error("the file is cut short: {0}; fetch it again")]
    CutShort(String),
    #[error(
        "the length in the first 8 bytes claims {0} bytes, and no header is longer than {max}: \
         this is no safetensors file, or a damaged one; fetch it again from a source you trust",
        max = MAX_HEADER
    )]
    HeaderTooLong(u64),
    #[error("the header is damaged: {0}")]
    Damaged(String),
    #[error("tensor `{name}`: {problem}")]
    Tensor { name: String, problem: String },
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{}: {error}", path.display())]
    InFile { path: PathBuf, error: Box<CheckpointError> },
    #[error("{}: {problem}", path.display())]
    NoCheckpoint { path: PathBuf, problem: String },
}

impl CheckpointError {
    /// The same error with the file it is about.
    pub(super) fn within(self, path: &Path) -> Self {
        match self {
            named @ (Self::Io { .. } | Self::InFile { .. } | Self::NoCheckpoint { .. }) => named,
            other => Self::InFile { path: path.into(), error: Box::new(other) },
        }
    }

    /// Names the path that an I/O error is about.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io { path: path.into(), error }
    }
}
