//! What can be wrong with a checkpoint's files.

use std::path::{Path, PathBuf};

use crate::gguf::GgufError;

/// The longest header that is read, in bytes: the limit of the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// Why a file cannot be read as a checkpoint. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system says no.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// Reading fails in the middle of a header.
    #[error("cannot read the header: {0}")]
    Read(#[from] std::io::Error),
    /// Another kind of file.
    #[error("not a safetensors file: {0}")]
    NotSafetensors(String),
    /// The file ends too early.
    #[error("the file is cut short: {0}; fetch it again")]
    CutShort(String),
    /// A header longer than any real one.
    #[error(
        "the length in the first 8 bytes claims {0} bytes, and no header is longer than {max}: \
         this is no safetensors file, or a damaged one; fetch it again from a source you trust",
        max = MAX_HEADER
    )]
    HeaderTooLong(u64),
    /// A header that breaks a rule of the format.
    #[error("the header is damaged: {0}")]
    Damaged(String),
    /// A tensor that breaks a rule of the format.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// The rule, and what to do.
        problem: String,
    },
    /// A damaged GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A file of a checkpoint that is not as its error says.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<CheckpointError>,
    },
    /// A path with no checkpoint behind it.
    #[error("{}: {problem}", path.display())]
    NoCheckpoint {
        /// The path.
        path: PathBuf,
        /// What is there instead, and what to give.
        problem: String,
    },
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
