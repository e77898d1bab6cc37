//! The errors of writing a checkpoint and of reading one.

use std::path::{Path, PathBuf};

use awq::AwqError;
use formats::FormatError;
use formats::checkpoint::CheckpointError;
use formats::gguf::GgufError;
use gptq::GptqError;
use model::ModelError;
use rotations::RotationError;
use smoothquant::SmoothError;

/// The errors of writing a checkpoint and of reading one. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Linear layers that a group size does not divide.
    #[error("{problem}")]
    LeftOut {
        /// The layers, the reason, and group sizes that divide them.
        problem: String,
    },
    /// The target exists.
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
        /// The type of its blocks.
        kind: String,
    },
    /// The file system refuses a file.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        error: std::io::Error,
    },
    /// A tensor that cannot be quantized.
    #[error("tensor `{name}`: {error}")]
    Tensor {
        /// Its name.
        name: String,
        /// The reason.
        error: Box<WriteError>,
    },
    /// A limit of 0 bytes for a file.
    #[error("a shard of 0 bytes has room for no tensor")]
    NoRoom,
    /// An error of a format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An error of lab 04.
    #[error(transparent)]
    Smooth(#[from] SmoothError),
    /// An error of lab 06.
    #[error(transparent)]
    Gptq(#[from] GptqError),
    /// An error of lab 07.
    #[error(transparent)]
    Awq(#[from] AwqError),
    /// An error of lab 10.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// An error of the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A damaged checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A damaged GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A checkpoint or a request that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The plan and the bytes disagree, so the plan is wrong.
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
