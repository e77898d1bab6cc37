//! Floats: the original that the quantized formats are compared with.

use super::{Description, File, Granularity, Reader};
use crate::FormatError;
use crate::format::Grid;

pub(super) const NONE: Description = Description {
    name: "none",
    about: "floats: the original that the others are compared with",
    weights: Grid::Sixteen,
    activations: None,
    granularity: Granularity::None,
    overhead: &[],
    shared: None,
    multiples: [1, 1],
    file: File::Safetensors { parts: |_, _| Vec::new(), config: |_, _| None },
    scheme: None,
    read_by: &[Reader::Course, Reader::Vllm],
    round: |_, _| Err(FormatError::NothingQuantized),
    store: |_| Err(FormatError::NothingQuantized),
};
