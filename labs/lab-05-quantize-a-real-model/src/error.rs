//! What can be wrong with what is to be quantized, or with what was.

use std::path::{Path, PathBuf};

use fake_quant_linear::QuantError;
use formats::checkpoint::CheckpointError;
use formats::gguf::GgufError;
use formats::layouts::LayoutError;
use int4_groups::Int4Error;
use model::ModelError;
use smoothquant::SmoothError;

use crate::{Float, Scheme};

/// What can be wrong. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// No scheme of that name.
    #[error("there is no scheme `{name}`; there are: {}", Scheme::NAMES.join(", "))]
    NoScheme {
        /// What was asked for.
        name: String,
    },
    /// A group that does not fill whole words.
    #[error("group size {0}: eight codes share a word, so take a positive multiple of 8")]
    GroupSize(u64),
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
        error: Box<QuantizeError>,
    },
    /// A value that is kept, and is NaN or infinite.
    #[error("value {index} is {value}: a model with such a weight is damaged")]
    NotFinite {
        /// Its place, counted from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A value that is kept, and beyond the type asked for.
    #[error("value {index}, {value}, is beyond {}: take --dtype bf16 or f32", float.torch_dtype())]
    FloatOverflow {
        /// Its place, counted from 0.
        index: usize,
        /// The value.
        value: f32,
        /// The type.
        float: Float,
    },
    /// A file of no bytes.
    #[error("a shard of 0 bytes has room for no tensor")]
    NoRoom,
    /// What lab 01 refuses.
    #[error(transparent)]
    Int8(#[from] QuantError),
    /// What lab 03 refuses.
    #[error(transparent)]
    Int4(#[from] Int4Error),
    /// What the layouts of lab 03 refuse.
    #[error(transparent)]
    Layout(#[from] LayoutError),
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

impl QuantizeError {
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
