//! What can be wrong with the input of this lab.

use kit::int8::QuantError;

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SmoothError {
    /// Nothing to take a maximum of.
    #[error("there is no token to calibrate on: give at least one batch with at least one token")]
    NoTokens,
    /// A batch has another number of channels than the first one.
    #[error("batch {batch} has {found} channels and the first has {expected}: calibrate one layer")]
    BatchesDiffer {
        /// Which batch, counted from 0.
        batch: usize,
        /// Its channels.
        found: usize,
        /// Channels of the first.
        expected: usize,
    },
    /// Two things that must have one entry per channel do not.
    #[error("{what} has {found} channels and {other} {expected}: both must be in_features")]
    ChannelsDiffer {
        /// What has the wrong number.
        what: &'static str,
        /// Its channels.
        found: usize,
        /// What it was compared with.
        other: &'static str,
        /// The channels of that.
        expected: usize,
    },
    /// The migration strength is not between the two extremes.
    #[error(
        "alpha is {0}: it shares the difficulty out, from 0 (all of it stays in the activations) to \
         1 (all of it goes to the weights). 0.5 is the usual start"
    )]
    AlphaOutOfRange(f32),
    /// A channel was 0 in every token that was seen.
    #[error(
        "channel {channel} was 0 in every calibration token, so its scale would be the smallest \
         allowed, 1e-5: the first value that is not 0 would then grow 100,000 times. Calibrate on \
         more tokens, or take the channel out of the layer"
    )]
    DeadChannel {
        /// Which channel.
        channel: usize,
    },
    /// A largest magnitude that is none: negative, NaN or infinite.
    #[error(
        "{what} of channel {channel} is {value}: a largest magnitude is finite and not negative"
    )]
    NotAMagnitude {
        /// Of what the magnitude is.
        what: &'static str,
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A smoothing scale that cannot be divided by and multiplied with.
    #[error("the smoothing scale of channel {channel} is {value}: it must be above 0 and finite")]
    NotAScale {
        /// Which channel.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// NaN or infinity in a matrix, or codes and scales that do not go together.
    #[error(transparent)]
    Quant(#[from] QuantError),
}
