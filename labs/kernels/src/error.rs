//! The errors of the kernels.

/// An input that a kernel refuses. Each message says what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// The input and the weights disagree about `in_features`.
    #[error("x has {x} features a row and the weights have {w}: both must be in_features")]
    FeaturesDiffer {
        /// Columns of `x`.
        x: usize,
        /// Columns of the weights.
        w: usize,
    },
    /// The scales do not fit the codes.
    #[error(
        "{scales:?} scales do not fit codes of shape {codes:?}: int8 takes one a row, int4 a row of \
         them for each row, as many as there are groups of equal size"
    )]
    ScalesDoNotFit {
        /// Rows and columns of the scales.
        scales: [usize; 2],
        /// Rows and columns of the codes.
        codes: [usize; 2],
    },
    /// A code outside the grid.
    #[error("the code in row {row}, column {column} is {code}: the grid is {range}")]
    CodeOutOfRange {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The code.
        code: i8,
        /// The codes that are allowed.
        range: &'static str,
    },
    /// The group size is not a multiple of the 32 features that w4a8 sums in 16 bits.
    #[error(
        "group_size {0} is no multiple of 32: w4a8 quantizes the activations in the groups of the \
         weights and adds 32 products up in 16 bits; take a multiple of 32, or w4a16"
    )]
    GroupSize(usize),
    /// The sum over so many features may overflow an `i32`.
    #[error("{found} features are too many: an i32 holds the sum of {limit} products of two bytes")]
    TooManyFeatures {
        /// Features of a row.
        found: usize,
        /// The most there may be.
        limit: usize,
    },
    /// No Hadamard matrix of this kind.
    #[error(
        "there is no Hadamard matrix of order {order} x {power}: the first factor must have entries 1 and \
         -1 and orthogonal rows, the second must be a power of two"
    )]
    Hadamard {
        /// Rows of the first factor.
        order: usize,
        /// Rows of the second.
        power: usize,
    },
    /// A row that is no whole number of blocks of a Hadamard matrix.
    #[error("{features} features are no multiple of {block}, the size of a Hadamard matrix")]
    Block {
        /// Columns of the row.
        features: usize,
        /// Columns of a block.
        block: usize,
    },
    /// An activation is NaN or infinite.
    #[error("token {token} has {value} at feature {feature}: only finite values have a code")]
    NotFinite {
        /// Which row of `x`.
        token: usize,
        /// Which column of `x`.
        feature: usize,
        /// The value.
        value: f32,
    },
}
