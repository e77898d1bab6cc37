//! What can be wrong with a matrix that is to be packed, or with tensors that are to be unpacked.

use crate::gguf::TensorType;
use half::f16;

use kit::int4::Int4Error;

/// What can be wrong with a matrix that is to be packed, or with tensors that are to be unpacked.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LayoutError {
    #[error("{layout} needs {axis} to be a multiple of {of}, and it is {size}: {fix}")]
    Indivisible {
        layout: &'static str,
        axis: &'static str,
        size: usize,
        of: usize,
        fix: &'static str,
    },
    #[error(
        "{layout}: `{tensor}` has the shape {found:?}, and the other tensors ask for {expected:?}; \
         look whether the file is in another layout, or whether two layers are mixed"
    )]
    ShapesDisagree {
        layout: &'static str,
        tensor: &'static str,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error(
        "weight_shape is {0:?}: it must be [out_features, in_features], both from 1 up, and small \
         enough for this machine"
    )]
    WeightShape([i64; 2]),
    #[error("the code of row {row}, column {column} is {code}: {bits} bits hold 0..={}", largest(*bits))]
    Code { row: usize, column: usize, code: i16, bits: u32 },
    #[error("the zero point of row {row}, group {group} is {zero}: {layout} holds {range}")]
    Zero { layout: &'static str, row: usize, group: usize, zero: u8, range: String },
    #[error(
        "the zero point of row {row}, group {group} is 0: GPTQ v1 stores it minus one, and -1 has \
         no bits there. Use checkpoint_format gptq_v2, or quantize with zero points from 1 up"
    )]
    ZeroMinusOne { row: usize, group: usize },
    /// A word of GPTQ v1 zero points that cannot become v2 by adding to the word.
    #[error(
        "the word {word:08x} of qzeros holds a nibble f: in v1 that is the zero point 16, or the \
         damage of a zero point 0. Adding one carries into its neighbour; unpack the tensors as \
         v1, look at the zero points, and quantize again if they are wrong"
    )]
    Carry { word: u32 },
    #[error(
        "the scale of row {row}, group {group} is {scale}: a quantizer without a guard divided by \
         zero, or went beyond 65504, the largest f16. Quantize this tensor again"
    )]
    Scale { row: usize, group: usize, scale: f16 },
    #[error("g_idx puts input channel {input} into group {group}, and the groups are 0..{groups}")]
    NoSuchGroup { input: usize, group: i64, groups: usize },
    #[error(
        "the groups are not neighbours (act-order), and {layout} has no g_idx to say so: pack as \
         GPTQ, or quantize without desc_act"
    )]
    ActOrder { layout: &'static str },
    #[error(
        "{layout} has groups of {wanted}, and this matrix has groups of {found}: quantize with \
         group_size {wanted}"
    )]
    GroupSize { layout: &'static str, found: usize, wanted: usize },
    #[error(
        "the group {group} of row {row} would get the minimum {minimum}, which is not an f16: Q4_1 \
         stores -zero * scale rounded, and the weights would move. Encode the floats instead"
    )]
    MinimumNotExact { row: usize, group: usize, minimum: f32 },
    /// A Q4_1 block whose minimum lies between two multiples of the scale.
    #[error(
        "block {block} has the scale {scale} and the minimum {minimum}: no zero point 0..=15 gives \
         that minimum, only the floats do"
    )]
    NoZeroPoint { block: usize, scale: f16, minimum: f16 },
    #[error(
        "{out_features} rows of {in_features} weights in {kind} are {expected} bytes, not \
         {found}; is the file cut short?"
    )]
    Bytes {
        kind: TensorType,
        out_features: usize,
        in_features: usize,
        found: usize,
        expected: String,
    },
    #[error("value {index} is {value}: only finite values can be encoded")]
    NotFinite { index: usize, value: f32 },
    #[error(
        "block {block} would get the scale or the minimum {value}, beyond 65504, the largest f16: \
         ggml writes infinity here. Leave this tensor in 32 bits"
    )]
    BlockOverflow { block: usize, value: f32 },
    #[error("blocks of type {0} are not encoded here; Q4_0, Q4_1, Q8_0 and the k-quants are")]
    NotEncoded(TensorType),
    #[error(
        "an importance matrix for rows of {found} columns, and the rows have {wanted}: the matrix is \
         that of another model"
    )]
    Importance { found: usize, wanted: usize },
    #[error(transparent)]
    Int4(#[from] Int4Error),
}

/// The largest code of so many bits.
fn largest(bits: u32) -> u32 {
    (1 << bits) - 1
}
