//! What can be wrong with a matrix that is to be packed, or with tensors that are to be unpacked.

use crate::gguf::TensorType;
use half::f16;

use kit::int4::Int4Error;

/// What can be wrong with a matrix that is to be packed, or with tensors that are to be unpacked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// A size that does not fill whole words or blocks.
    #[error("{layout} needs {axis} to be a multiple of {of}, and it is {size}: {fix}")]
    Indivisible {
        /// The layout.
        layout: &'static str,
        /// The axis.
        axis: &'static str,
        /// Its size.
        size: usize,
        /// What the size should be a multiple of.
        of: usize,
        /// What to do.
        fix: &'static str,
    },
    /// Tensors whose shapes do not fit together.
    #[error(
        "{layout}: `{tensor}` has the shape {found:?}, and the other tensors ask for {expected:?}; \
         look whether the file is in another layout, or whether two layers are mixed"
    )]
    ShapesDisagree {
        /// The layout.
        layout: &'static str,
        /// The tensor that does not fit.
        tensor: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that would fit.
        expected: Vec<usize>,
    },
    /// `weight_shape` of compressed-tensors holds sizes that no matrix has.
    #[error(
        "weight_shape is {0:?}: it must be [out_features, in_features], both from 1 up, and small \
         enough for this machine"
    )]
    WeightShape([i64; 2]),
    /// A code that four bits cannot hold.
    #[error("the code of row {row}, column {column} is {code}: four bits hold 0..=15")]
    Code {
        /// The row of the code.
        row: usize,
        /// Its column.
        column: usize,
        /// The code.
        code: u8,
    },
    /// A zero point that the layout cannot hold.
    #[error("the zero point of row {row}, group {group} is {zero}: {layout} holds {range}")]
    Zero {
        /// The layout.
        layout: &'static str,
        /// The row of the group.
        row: usize,
        /// The group.
        group: usize,
        /// Its zero point.
        zero: u8,
        /// What would fit.
        range: &'static str,
    },
    /// A zero point of 0 in GPTQ v1.
    #[error(
        "the zero point of row {row}, group {group} is 0: GPTQ v1 stores it minus one, and -1 does \
         not fit a nibble. Use checkpoint_format gptq_v2, or quantize with zero points from 1 up"
    )]
    ZeroMinusOne {
        /// The row of the group.
        row: usize,
        /// The group.
        group: usize,
    },
    /// A word of GPTQ v1 zero points that cannot become v2 by adding to the word.
    #[error(
        "the word {word:08x} of qzeros holds a nibble f: in v1 that is the zero point 16, or the \
         damage of a zero point 0. Adding one carries into its neighbour; unpack the tensors as \
         v1, look at the zero points, and quantize again if they are wrong"
    )]
    Carry {
        /// The word.
        word: u32,
    },
    /// A scale that is NaN or infinite.
    #[error(
        "the scale of row {row}, group {group} is {scale}: a quantizer without a guard divided by \
         zero, or went beyond 65504, the largest f16. Quantize this tensor again"
    )]
    Scale {
        /// The row of the group.
        row: usize,
        /// The group.
        group: usize,
        /// Its scale.
        scale: f16,
    },
    /// An entry of `g_idx` that names no group.
    #[error("g_idx puts input channel {input} into group {group}, and the groups are 0..{groups}")]
    NoSuchGroup {
        /// The input channel.
        input: usize,
        /// The group it should belong to.
        group: i64,
        /// How many groups there are.
        groups: usize,
    },
    /// Act-order where there is no `g_idx`.
    #[error(
        "the groups are not neighbours (act-order), and {layout} has no g_idx to say so: pack as \
         GPTQ, or quantize without desc_act"
    )]
    ActOrder {
        /// The layout.
        layout: &'static str,
    },
    /// A group size that the layout does not have.
    #[error(
        "{layout} has groups of {wanted}, and this matrix has groups of {found}: quantize with \
         group_size {wanted}"
    )]
    GroupSize {
        /// The layout.
        layout: &'static str,
        /// Weights in a group of the matrix.
        found: usize,
        /// Weights in a block.
        wanted: usize,
    },
    /// A minimum that `f16` does not hold.
    #[error(
        "the group {group} of row {row} would get the minimum {minimum}, which is not an f16: Q4_1 \
         stores -zero * scale rounded, and the weights would move. Encode the floats instead"
    )]
    MinimumNotExact {
        /// The row of the group.
        row: usize,
        /// The group.
        group: usize,
        /// -zero * scale.
        minimum: f32,
    },
    /// A Q4_1 block whose minimum lies between two multiples of the scale.
    #[error(
        "block {block} has the scale {scale} and the minimum {minimum}: no zero point 0..=15 gives \
         that minimum, only the floats do"
    )]
    NoZeroPoint {
        /// The block.
        block: usize,
        /// Its scale.
        scale: f16,
        /// Its minimum.
        minimum: f16,
    },
    /// Bytes that are not those of the matrix.
    #[error(
        "{out_features} rows of {in_features} weights in {kind} are {expected} bytes, not \
         {found}; is the file cut short?"
    )]
    Bytes {
        /// The type of the blocks.
        kind: TensorType,
        /// Rows.
        out_features: usize,
        /// Weights in a row.
        in_features: usize,
        /// The bytes there are.
        found: usize,
        /// The bytes there should be.
        expected: String,
    },
    /// A value that is NaN or infinite.
    #[error("value {index} is {value}: only finite values can be encoded")]
    NotFinite {
        /// Where it is.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A block whose scale or minimum is beyond `f16`.
    #[error(
        "block {block} would get the scale or the minimum {value}, beyond 65504, the largest f16: \
         ggml writes infinity here. Leave this tensor in 32 bits"
    )]
    BlockOverflow {
        /// The block.
        block: usize,
        /// Its scale or its minimum.
        value: f32,
    },
    /// A type that is not encoded here.
    #[error("blocks of type {0} are not encoded here; Q4_0, Q4_1 and Q8_0 are")]
    NotEncoded(TensorType),
    /// Scales or words that do not make a matrix.
    #[error(transparent)]
    Int4(#[from] Int4Error),
}
