//! What can be wrong with a model's files, or with a request to a model.

use std::path::{Path, PathBuf};

use formats::checkpoint::CheckpointError;
use formats::gguf::GgufError;

use kernels::KernelError;

use crate::layer_id::LayerId;
use crate::linear::LinearError;
use crate::norm::Norm;

/// What can be wrong with a model's files, or with a request to a model. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file system refuses a file.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        error: std::io::Error,
    },
    /// A damaged or unreadable checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A damaged or unreadable GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A value of the config that is missing or makes no sense.
    #[error("the config's `{key}` {problem}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// A model that this crate does not compute.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What the files ask for.
        what: String,
        /// What is supported.
        why: String,
    },
    /// A tensor that the model needs and the files lack.
    #[error("there is no tensor `{name}`; nearest: {nearest}")]
    MissingTensor {
        /// Its name.
        name: String,
        /// The names most like it.
        nearest: String,
    },
    /// A tensor whose shape the config contradicts.
    #[error("tensor `{name}` has the shape {found:?}, the config makes it {expected:?} ({why})")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the config gives it.
        expected: Vec<usize>,
        /// The config's words for that shape.
        why: &'static str,
    },
    /// A token that the vocabulary does not have.
    #[error("token {id} is not in the vocabulary of {vocab_size}: is this the model's tokenizer?")]
    Token {
        /// The token.
        id: u32,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// More tokens than the cache, or the model, has room for.
    #[error("{wanted} positions do not fit {limit}: {what}")]
    NoRoom {
        /// Positions that were asked for.
        wanted: usize,
        /// Positions that fit.
        limit: usize,
        /// Where the limit comes from.
        what: &'static str,
    },
    /// A cache that was made for a model of other sizes.
    #[error("the cache was made for another model: make it with `Cache::new(model.config(), ..)`")]
    OtherCache,
    /// A KV cache in codes, of heads that the kernels cannot cut.
    #[error(
        "heads of {head_dim} channels cannot be cached as {format}: codes are packed 32 at a time. \
         Take the format f32"
    )]
    CacheFormat {
        /// The format.
        format: &'static str,
        /// Channels of a head.
        head_dim: usize,
    },
    /// A name that no cache format has.
    #[error("there is no KV cache format `{name}`; there are: {known}")]
    NoCacheFormat {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The numbers of tokens and of caches differ.
    #[error(
        "there are {tokens} tokens and {caches} caches: a step takes one token of each sequence"
    )]
    Batch {
        /// Tokens that were given.
        tokens: usize,
        /// Caches that were given.
        caches: usize,
    },
    /// No token to compute anything from.
    #[error("there is no token to run: give at least one")]
    NoTokens,
    /// A linear layer of another size than the layer that it replaces.
    #[error("{id} maps {expected:?} [out_features, in_features], the new layer maps {found:?}")]
    Replacement {
        /// The layer.
        id: LayerId,
        /// `[out_features, in_features]` there.
        expected: [usize; 2],
        /// `[out_features, in_features]` of the new layer.
        found: [usize; 2],
    },
    /// A layer that the model does not have.
    #[error("there is no {id}: the model has {layers} layers, counted from 0")]
    NoLayer {
        /// The layer.
        id: LayerId,
        /// Layers of the model.
        layers: usize,
    },
    /// A norm that the model does not have.
    #[error("there is no {norm}: the model has {layers} layers, counted from 0")]
    NoNorm {
        /// The norm.
        norm: Norm,
        /// Layers of the model.
        layers: usize,
    },
    /// The weight of a norm with another length than the weight that it replaces.
    #[error("{norm} has {expected} weights, one a channel, and the new one has {found}")]
    NormLength {
        /// The norm.
        norm: Norm,
        /// Weights there.
        expected: usize,
        /// Weights of the new one.
        found: usize,
    },
    /// A linear layer that fails.
    #[error("{id}: {error}")]
    Linear {
        /// Where it is.
        id: LayerId,
        /// What it says.
        error: LinearError,
    },
    /// A linear layer that gives another shape than it promised.
    #[error("{id} gave an output of shape {found:?}, not {expected:?} [tokens, out_features]")]
    Output {
        /// Where it is.
        id: LayerId,
        /// The shape of its output.
        found: [usize; 2],
        /// The shape that was due.
        expected: [usize; 2],
    },
    /// An embedding of another size.
    #[error("the embedding is {expected:?} [vocab_size, hidden_size], the new one {found:?}")]
    Embedding {
        /// Its shape.
        expected: [usize; 2],
        /// The shape of the new one.
        found: [usize; 2],
    },
    /// A width that a rotation does not fit.
    #[error("{what} cannot be rotated: {error}")]
    Rotation {
        /// What is rotated.
        what: String,
        /// The reason.
        error: KernelError,
    },
    /// A tokenizer that cannot be built or used.
    #[error("the tokenizer: {0}")]
    Tokenizer(String),
    /// A text or a chunk too short to score.
    #[error("perplexity: {0}")]
    Perplexity(String),
}

impl ModelError {
    /// Names the file that the file system refuses.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.into(), error }
    }

    /// Says what is wrong with the config's `key`.
    pub(crate) fn config(key: &str, problem: impl Into<String>) -> Self {
        Self::Config { key: key.into(), problem: problem.into() }
    }

    /// Says what is not supported, and what is.
    pub(crate) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }
}
