//! What can be wrong with the input of this lab.

use kit::int8::QuantError;

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SmoothError {
    /// The calibration has no token.
    #[error("there is no token to calibrate on: give a batch with at least one token")]
    NoTokens,
    /// A batch has another number of channels than the first one.
    #[error("batch {batch} has {found} channels and the first has {expected}: calibrate one layer")]
    BatchesDiffer {
        /// Which batch, counted from 0.
        batch: usize,
        /// Channels of that tensor.
        found: usize,
        /// Channels of the first.
        expected: usize,
    },
    /// Two tensors have different numbers of channels. Either may be the one for comparison, and the
    /// names are for a reader, in any words.
    #[error("{what} has {found} channels and {other} {expected}: both must be in_features")]
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
    /// The migration strength is not between the two extremes.
    #[error(
        "alpha is {0}: give a number from 0 (the outliers stay in the activations) to 1 (the \
         outliers move to the weights). 0.5 is the usual start"
    )]
    AlphaOutOfRange(f32),
    /// The list of candidates for alpha is empty.
    #[error("there is no alpha to choose from: give at least one candidate from 0 to 1")]
    NoAlpha,
    /// A channel was 0 in every calibration token.
    #[error(
        "channel {channel} was 0 in every calibration token, so its scale would be the smallest \
         allowed, 1e-5: the first value that is not 0 would then grow 100,000 times. Calibrate on \
         more tokens, or take the channel out of the layer"
    )]
    DeadChannel {
        /// Which channel.
        channel: usize,
    },
    /// An absmax is negative, NaN or infinite.
    #[error(
        "{what} of channel {channel} is {value}: a largest magnitude is finite and not negative"
    )]
    NotAMagnitude {
        /// `act_absmax` or `weight_absmax`, the name of the parameter.
        what: &'static str,
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A smoothing scale is not above 0 and finite.
    #[error("the smoothing scale of channel {channel} is {value}: it must be above 0 and finite")]
    NotAScale {
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A matrix has NaN or infinity, or codes and scales do not fit.
    #[error(transparent)]
    Quant(#[from] QuantError),
}
