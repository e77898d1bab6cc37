//! What can be wrong with a format that is asked for, or with a matrix in one.

use kit::int4::Int4Error;
use kit::int8::QuantError;

use crate::float::Float;
use crate::gguf::GgufError;
use crate::layouts::LayoutError;
use crate::rules::RuleError;

/// What can be wrong. Each says what to do.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("there is no format `{name}`; there are: {known}")]
    NoFormat { name: String, known: String },
    #[error("group size {0}: eight codes share a word, so take a positive multiple of 8")]
    GroupSize(u64),
    #[error(
        "--activations {activations} is for integer weights in compressed-tensors' config (w8a8, w8a16, \
         w4a16), not for {format}"
    )]
    Activations { activations: &'static str, format: &'static str },
    #[error("`none` quantizes nothing")]
    NothingQuantized,
    #[error("these codes are not {0}: round the matrix for the format that stores it")]
    WrongCodes(&'static str),
    #[error("a matrix in {layout} needs `{missing}`, and has only {found}")]
    MissingPart { layout: String, missing: &'static str, found: String },
    #[error("{0} is not decoded here: `cargo book inspect` describes the file")]
    NotDecoded(String),
    #[error("`{name}` {problem}")]
    Part { name: String, problem: String },
    #[error("value {index} is {value}: a model with such a weight is damaged")]
    NotFinite { index: usize, value: f32 },
    #[error("value {index}, {value}, is beyond {}: take --dtype bf16 or f32", float.torch_dtype())]
    FloatOverflow { index: usize, value: f32, float: Float },
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error(transparent)]
    Int8(#[from] QuantError),
    #[error(transparent)]
    Int4(#[from] Int4Error),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
}
