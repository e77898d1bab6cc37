//! What can be wrong with the input of this lab.

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FloatError {
    /// The rows do not divide into blocks.
    #[error(
        "rows of {in_features} weights do not divide into blocks of {block}: leave this tensor in 16 \
         bits, or pad its rows"
    )]
    BlockDoesNotDivide {
        /// Weights in a row.
        in_features: usize,
        /// Weights in a block.
        block: usize,
    },
    /// A block without weights.
    #[error("a block of 0 weights has no scale: give at least 1. 64 is the usual one of NF4")]
    EmptyBlock,
    /// A value is NaN or infinite.
    #[error(
        "value {index}, counted row by row, is {value}: only finite values have a place on a grid"
    )]
    NotFinite {
        /// Where the value is.
        index: usize,
        /// The value, NaN or infinite.
        value: f32,
    },
    /// The scales do not cut the rows of codes into equal blocks.
    #[error(
        "scales of shape {scales:?} do not fit codes of shape {codes:?}: they need a row for each of \
         the {} rows, and a number of columns that divides {}", codes[0], codes[1]
    )]
    ScalesDoNotFit {
        /// Shape of the scales.
        scales: [usize; 2],
        /// Shape of the codes.
        codes: [usize; 2],
    },
    /// The scale of the tensor is no positive number.
    #[error("the global scale is {0}: give a positive, finite number, 2688 / absmax of the tensor")]
    GlobalScale(f32),
    /// Codes do not fill whole bytes, or whole blocks of them.
    #[error("{codes} codes do not fill blocks of {multiple}: pad them with code 0")]
    NotWhole {
        /// How many codes there are.
        codes: usize,
        /// What they must be a multiple of.
        multiple: usize,
    },
    /// A code needs more than four bits.
    #[error("code {code} at {index} does not fit four bits: codes of FP4 and NF4 are 0..=15")]
    CodeOutOfRange {
        /// Where the code is.
        index: usize,
        /// The code.
        code: u8,
    },
}
