//! What can be wrong with a checkpoint that is to be written, or with one that was.

use std::path::{Path, PathBuf};

use formats::FormatError;
use formats::checkpoint::CheckpointError;
use formats::gguf::GgufError;
use model::ModelError;
use smoothquant::SmoothError;

/// What can be wrong. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Linear layers that a group size does not divide.
    #[error("{problem}")]
    LeftOut {
        /// Which, why, and what would do.
        problem: String,
    },
    /// The target is there already.
    #[error("{} is there already: remove it, or write elsewhere with --out", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The input is quantized already.
    #[error(
        "{} is quantized already ({kind}): its errors would stay in the result. Give the original, or \
         say --requantize", path.display()
    )]
    AlreadyQuantized {
        /// The input.
        path: PathBuf,
        /// How.
        kind: String,
    },
    /// The file system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// A tensor that cannot be quantized.
    #[error("tensor `{name}`: {error}")]
    Tensor {
        /// Its name.
        name: String,
        /// Why.
        error: Box<WriteError>,
    },
    /// A file of no bytes.
    #[error("a shard of 0 bytes has room for no tensor")]
    NoRoom,
    /// What a format refuses.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// What lab 04 refuses.
    #[error(transparent)]
    Smooth(#[from] SmoothError),
    /// What the model refuses.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A damaged checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A damaged GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Something that is not written or read here.
    #[error("{0}")]
    Unsupported(String),
    /// The plan and the bytes disagree: an error in the plan.
    #[error("the plan and the bytes disagree: {0}")]
    Plan(String),
}

impl WriteError {
    /// Names the file that the file system refuses.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.into(), error }
    }

    /// Names the tensor that something is wrong with.
    pub fn within(self, name: &str) -> Self {
        match self {
            Self::Tensor { .. } => self,
            error => Self::Tensor { name: name.into(), error: Box::new(error) },
        }
    }
}
