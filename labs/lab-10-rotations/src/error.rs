//! What can be wrong with the input of this lab.

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RotationError {
    /// No Hadamard matrix has this order.
    #[error(
        "there is no Hadamard matrix of order {0}: an order is 1, 2 or a multiple of 4. Rotate blocks \
         of an order that has one, and pad nothing"
    )]
    NoHadamard(usize),
    /// A Hadamard matrix of this order may exist, and this lab has no construction of one.
    #[error(
        "no construction of this lab gives a Hadamard matrix of order {0}: the orders are 1, 12 and 36 times \
         a power of two. Rotate blocks of such an order, or add a row to the table of cores"
    )]
    NoConstruction(usize),
    /// A number of the butterflies or of Sylvester's construction is no power of two.
    #[error(
        "{0} is no power of two: give butterflies and Sylvester's construction 1, 2, 4, 8 and so on"
    )]
    NotAPowerOfTwo(usize),
    /// Paley's construction does not exist for this number.
    #[error(
        "Paley's construction {construction} needs a prime that leaves {remainder} when it is divided by 4, \
         and {q} is none"
    )]
    NotPaley {
        /// The construction, `I` or `II`.
        construction: &'static str,
        /// The remainder that the prime must leave: 3 for I and 1 for II.
        remainder: usize,
        /// The number that was given.
        q: usize,
    },
    /// A matrix does not fit the rotation, or a vector the matrix.
    #[error(
        "{what} has {found} and must have {expected}: give tensors of one model, and a rotation of that order"
    )]
    Width {
        /// What has the wrong size, in any words.
        what: &'static str,
        /// The size that was found.
        found: usize,
        /// The size that fits.
        expected: usize,
    },
    /// A width that consists of heads does not divide into heads.
    #[error(
        "{found} channels do not divide into heads of {head_dim}: give the rotation the size of a head"
    )]
    Heads {
        /// Channels, or rows of a weight.
        found: usize,
        /// Channels of a head.
        head_dim: usize,
    },
    /// A number is NaN or infinite.
    #[error(
        "the matrix holds {value} at row {row}, column {column}: a rotation spreads that to the whole row. \
         Look for an overflow in the layers before"
    )]
    NotFinite {
        /// Row of the first such number.
        row: usize,
        /// Its column.
        column: usize,
        /// The number, NaN or infinite.
        value: f64,
    },
    /// A norm in front of layers still has weights.
    #[error(
        "{norm} has weights other than 1: a rotation does not commute with them. Fuse the norms first"
    )]
    NotFused {
        /// Which norm, `the input norm of layer 3` for example.
        norm: String,
    },
    /// The model has one matrix for the embedding and the head.
    #[error(
        "the head is the embedding: fuse the norms first, which gives the head a matrix of its own"
    )]
    Tied,
    /// The model runs such a rotation already.
    #[error("the model already rotates {0} online: rotate a model that does not, once")]
    Twice(&'static str),
    /// A token has no row in the embedding.
    #[error("token {token} has no row in an embedding of {vocabulary} rows: give smaller ids")]
    Token {
        /// The token.
        token: usize,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// The layers and the rotations do not correspond.
    #[error("there are {found} rotations for {layers} layers: give one for each layer")]
    Layers {
        /// How many rotations there are.
        found: usize,
        /// How many layers.
        layers: usize,
    },
}
