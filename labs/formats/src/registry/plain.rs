//! Floats: the original that the quantized formats are compared with.

use ndarray::Array2;

use super::{Description, File, Granularity, Reader, StoredPart, wrong_parts};
use crate::FormatError;
use crate::format::Grid;

pub(super) const NONE: Description = Description {
    name: "none",
    about: "floats: the original that the others are compared with",
    weights: Grid::Sixteen,
    activations: None,
    granularity: Granularity::None,
    overhead: &[],
    multiples: [1, 1],
    file: File::Safetensors { parts: |_, _| Vec::new(), config: |_, _| None },
    read_by: &[Reader::Course, Reader::Vllm],
    recognizes: |_| false,
    round: |_, _| Err(FormatError::NothingQuantized),
    store: |_| Err(FormatError::NothingQuantized),
    decode: floats,
};

/// A tensor of floats.
fn floats(shape: [usize; 2], parts: &[StoredPart]) -> Result<Array2<f32>, FormatError> {
    let [part] = parts else { return Err(wrong_parts("none", parts)) };
    part.floats(shape)
}
