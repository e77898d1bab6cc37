//! What can be wrong with a matrix that is to be quantized.

use fake_quant_linear::QuantError;
use formats::FormatError;
use formats::layouts::LayoutError;
use int4_groups::Int4Error;

/// What can be wrong. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// What lab 01 refuses.
    #[error(transparent)]
    Int8(#[from] QuantError),
    /// What lab 03 refuses.
    #[error(transparent)]
    Int4(#[from] Int4Error),
    /// What a layout refuses.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What a format refuses.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Something that is not quantized here.
    #[error("{0}")]
    Unsupported(String),
}
