//! GGML's blocks in a GGUF file. Rounding makes the bytes already, because a block holds its scale.

use ndarray::ArrayView2;

use super::{Codes, Description, File, Granularity, Reader};
use crate::FormatError;
use crate::checkpoint::Scheme;
use crate::format::Grid;
use crate::gguf::{BLOCK, TensorType};
use crate::layouts::ggml;

/// A format of one type of block.
const fn of(
    name: &'static str,
    about: &'static str,
    kind: TensorType,
    weights: Grid,
    overhead: &'static [u32],
) -> Description {
    Description {
        name,
        about,
        weights,
        // llama.cpp rounds activations to blocks of int8 wherever weights are blocks.
        activations: Some(Grid::Int(8)),
        granularity: Granularity::FixedGroup(BLOCK as u64),
        overhead,
        shared: None,
        multiples: [1, 1],
        file: File::Gguf(kind),
        scheme: Some(Scheme::Ggml(kind)),
        read_by: &[Reader::Course, Reader::LlamaCpp],
        round: |format, w| match format.description.file {
            File::Gguf(kind) => Ok(Codes::Blocks { kind, bytes: encode(kind, w.view(), None)? }),
            _ => Err(FormatError::WrongCodes("GGUF")),
        },
        store: |codes: &Codes| stored(codes),
    }
}

/// The blocks of a matrix `[out_features, in_features]`. `importance`, `[in_features]`, says how much the error
/// of each column counts.
///
/// # Errors
/// As [`ggml::encode`].
pub fn encode(
    kind: TensorType,
    w: ArrayView2<f32>,
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, FormatError> {
    let w = w.as_standard_layout();
    let values = w.as_slice().unwrap_or_default();
    let Some(importance) = importance else { return Ok(ggml::encode(kind, values)?) };
    let rows = values.chunks(w.ncols().max(1));
    let rows = rows.map(|row| ggml::encode_row(kind, row, Some(importance)));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Blocks as they lie in a file.
pub(super) fn stored(codes: &Codes) -> Result<Vec<Vec<u8>>, FormatError> {
    match codes {
        Codes::Blocks { bytes, .. } => Ok(vec![bytes.clone()]),
        _ => Err(FormatError::WrongCodes("GGUF")),
    }
}

pub(super) const Q8_0: Description =
    of("gguf-q8_0", "int8 in blocks of 32 (GGUF Q8_0)", TensorType::Q8_0, Grid::Int(8), &[16]);
pub(super) const Q4_0: Description =
    of("gguf-q4_0", "int4 in blocks of 32 (GGUF Q4_0)", TensorType::Q4_0, Grid::Int(4), &[16]);
pub(super) const Q4_1: Description = of(
    "gguf-q4_1",
    "int4 in blocks of 32 with a minimum (GGUF Q4_1)",
    TensorType::Q4_1,
    Grid::Int(4),
    &[16, 16],
);
pub(super) const MXFP4: Description = of(
    "gguf-mxfp4",
    "FP4 e2m1 in blocks of 32 with a power of two (GGUF MXFP4)",
    TensorType::Mxfp4,
    Grid::E2M1,
    &[8],
);
