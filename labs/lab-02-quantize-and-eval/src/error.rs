//! What can be wrong with the input of the cost model.

use formats::architecture::ArchitectureError;
use formats::format::Grid;

/// What can be wrong with the input of the cost model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// A count, or a divisor, is 0. The text names it for a reader, in any words.
    #[error("{0} is 0: give a number above 0")]
    Zero(&'static str),
    /// Groups must tile a row of the matrix.
    #[error(
        "{in_features} in_features do not divide into groups of {group_size}: take a group size \
         that divides them, or keep the matrix in 16 bits"
    )]
    Indivisible {
        /// Width of the matrix.
        in_features: u64,
        /// Weights in a group.
        group_size: u64,
    },
    /// The granularity of a scale is not known.
    #[error(
        "the granularity of a scale is not known: read the granularity from the checkpoint's shapes"
    )]
    UnreadGroup,
    /// The count does not fit into 64 bits. The text names it, in any words.
    #[error("the {0} do not fit into 64 bits: check the sizes")]
    TooLarge(&'static str),
    /// The size of a memory is negative, NaN or too large.
    #[error("{0} is not a size: give a finite number of GB or GiB that is not negative")]
    NotASize(f64),
    /// The utilization is not a share of a memory.
    #[error("utilization is {0}: give a share of the device's memory, above 0 and at most 1")]
    Utilization(f64),
    /// Weights and workspace take more than the engine may use.
    #[error(
        "{taken_bytes} bytes are taken and the engine may use {requested_bytes}, so it would not \
         start: take a smaller format, a larger device or a higher utilization"
    )]
    NoRoom {
        /// Bytes that the engine may use in all.
        requested_bytes: u64,
        /// Bytes that are taken before the cache.
        taken_bytes: u64,
    },
    /// The device has no unit that multiplies this grid.
    #[error(
        "the device has no rate for {0:?}: give a format with activations in 16 bits, as an engine \
         on such a device computes the layer"
    )]
    NoRate(Grid),
    /// A rate or a time is not above 0 and finite.
    #[error("{what} is {value}: give a finite number above 0")]
    NotPositive {
        /// Name of the number, in any words.
        what: &'static str,
        /// The value that was given.
        value: f64,
    },
    /// The sizes are not those of a model.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
}
