//! What can be wrong with the input of this lab.

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KvError {
    /// A matrix cannot be cut into groups.
    #[error(
        "{found} {what} do not divide into groups of {group}: give a group size that divides them"
    )]
    GroupDoesNotDivide {
        /// What a group consists of, `tokens` or `channels`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The group size.
        group: usize,
    },
    /// The scale that was calibrated is no scale.
    #[error(
        "the static scale is {0}: give a positive, finite number, absmax / 448 of a calibration run"
    )]
    StaticScale(f32),
    /// A number that 16 bits cannot hold.
    #[error(
        "{what} holds {value} at token {token}, channel {channel}: a cache holds finite numbers up to \
         65504, the largest f16. Look for an overflow in the layers before"
    )]
    Value {
        /// What holds the number, in any words.
        what: &'static str,
        /// The token.
        token: usize,
        /// The channel, counted over all heads.
        channel: usize,
        /// The number.
        value: f32,
    },
    /// A rotation turns pairs of channels.
    #[error("head_dim is {0}: RoPE turns pairs of channels, so give an even number above 0")]
    OddHeadDim(usize),
    /// Tokens and positions do not correspond.
    #[error("there are {positions} positions for {tokens} tokens: give one for each token")]
    Positions {
        /// Rows of the matrix.
        tokens: usize,
        /// How many positions were given.
        positions: usize,
    },
    /// A tensor does not fit the cache.
    #[error(
        "{what} have the shape {found:?}, and {expected:?} fits the cache and the other tensors"
    )]
    Shape {
        /// Name of the tensor: `the keys`, `the values`, `the tokens` or `the queries`.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// Requests and their numbers of tokens do not correspond.
    #[error("there are {lengths} numbers of tokens for {caches} caches: give one for each request")]
    Requests {
        /// How many caches there are.
        caches: usize,
        /// How many numbers of tokens.
        lengths: usize,
    },
    /// The query heads do not share the key-value heads evenly.
    #[error(
        "{query} query heads do not share {kv} key-value heads evenly: give a multiple of {kv}"
    )]
    UnevenHeads {
        /// Query heads.
        query: usize,
        /// Key-value heads of the cache.
        kv: usize,
    },
    /// There is nothing to attend to.
    #[error("the cache has no token: append the token of the query first")]
    Empty,
}
