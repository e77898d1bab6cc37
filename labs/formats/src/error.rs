//! What can be wrong with a format that is asked for, or with a matrix in one.

use kit::int4::Int4Error;
use kit::int8::QuantError;

use crate::float::Float;
use crate::gguf::GgufError;
use crate::layouts::LayoutError;
use crate::rules::RuleError;

/// What can be wrong. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// No format of that name.
    #[error("there is no format `{name}`; there are: {known}")]
    NoFormat {
        /// What was asked for.
        name: String,
        /// Every name.
        known: String,
    },
    /// A group size that does not fill whole words.
    #[error("group size {0}: eight codes share a word, so take a positive multiple of 8")]
    GroupSize(u64),
    /// The format that leaves everything in floats was asked for codes.
    #[error("`none` quantizes nothing")]
    NothingQuantized,
    /// The codes are those of another grid.
    #[error("these codes are not {0}: round the matrix for the format that stores it")]
    WrongCodes(&'static str),
    /// A matrix without one of the parts of its layout.
    #[error("a matrix in {layout} needs `{missing}`, and has only {found}")]
    MissingPart {
        /// The layout.
        layout: String,
        /// What is missing.
        missing: &'static str,
        /// The parts that are there.
        found: String,
    },
    /// A layout that is known and not decoded.
    #[error("{0} is not decoded here: `cargo book inspect` describes the file")]
    NotDecoded(String),
    /// A part that is damaged or of another kind.
    #[error("`{name}` {problem}")]
    Part {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that is kept, and is NaN or infinite.
    #[error("value {index} is {value}: a model with such a weight is damaged")]
    NotFinite {
        /// Its index, counted from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A value that is kept, and beyond the type asked for.
    #[error("value {index}, {value}, is beyond {}: take --dtype bf16 or f32", float.torch_dtype())]
    FloatOverflow {
        /// Its index, counted from 0.
        index: usize,
        /// The value.
        value: f32,
        /// The type.
        float: Float,
    },
    /// What a rounding rule refuses.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// What int8 refuses.
    #[error(transparent)]
    Int8(#[from] QuantError),
    /// What int4 refuses.
    #[error(transparent)]
    Int4(#[from] Int4Error),
    /// What a layout refuses.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What GGML's blocks refuse.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}
