//! What can be wrong with the input of this lab.

use kit::int4::Int4Error;

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AwqError {
    /// The calibration has no token.
    #[error("there is no token to calibrate on: give a batch with at least one token")]
    NoTokens,
    /// There is nothing to search: no layer or no candidate.
    #[error("there is no {0} to search over: give at least one")]
    Nothing(&'static str),
    /// Two tensors that belong together have different numbers of channels. Either may be the one for
    /// comparison, and the names are for a reader, in any words.
    #[error("{what} has {found} channels and {other} {expected}: both must be the same")]
    ChannelsDiffer {
        /// Name of a tensor.
        what: &'static str,
        /// Channels of that tensor.
        found: usize,
        /// Name of the other tensor.
        other: &'static str,
        /// Channels of the other tensor.
        expected: usize,
    },
    /// A tensor holds NaN or infinity.
    #[error(
        "{what} holds {value} at row {row}, column {column}: only finite values have a mean and a \
         place on a grid. Look for an overflow in the layers before"
    )]
    NotFinite {
        /// Name of the tensor, in any words.
        what: &'static str,
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value, NaN or infinite.
        value: f32,
    },
    /// A mean magnitude is negative, NaN or infinite.
    #[error("the mean magnitude of channel {channel} is {value}: it is finite and not negative")]
    NotAMagnitude {
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// The ratio is not between the two extremes.
    #[error("the ratio is {0}: give a number from 0 (no scales) to 1 (the means themselves)")]
    RatioOutOfRange(f32),
    /// A scale is not above 0 and finite.
    #[error("the scale of channel {channel} is {value}: a scale is above 0 and finite")]
    NotAScale {
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// No candidate of a search has a finite error.
    #[error(
        "each of {0} candidates has an error of NaN or infinity: look for an overflow in the layer"
    )]
    NoFiniteError(usize),
    /// Query heads do not share kv heads evenly.
    #[error(
        "{query} query heads do not share {kv} kv heads: the first must be a multiple of the second. \
         Leave the pair of v and o without scales"
    )]
    UnevenHeads {
        /// Query heads.
        query: usize,
        /// Key and value heads.
        kv: usize,
    },
    /// Maxima do not fit the groups of a weight.
    #[error(
        "maxima of shape {maxima:?} do not fit a weight of shape {weight:?}: they need its rows, and a \
         number of columns that divides its columns"
    )]
    MaximaDoNotFit {
        /// Shape of the maxima.
        maxima: [usize; 2],
        /// Shape of the weight.
        weight: [usize; 2],
    },
    /// A scale of a group is too large for the type in which it is stored.
    #[error(
        "group {group} of row {row} reaches {absmax}: its scale is beyond the largest f16. Use a \
         smaller ratio, or leave this tensor in 16 bits"
    )]
    ScaleOverflow {
        /// The row of the group.
        row: usize,
        /// The group inside the row.
        group: usize,
        /// The largest magnitude in it.
        absmax: f32,
    },
    /// An error of groups.
    #[error(transparent)]
    Int4(#[from] Int4Error),
}
