//! What can be wrong with the input of the cost model.

use formats::architecture::ArchitectureError;
use formats::format::Grid;

/// What can be wrong with the input of the cost model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// Something that is counted or divided by is 0.
    #[error("{0} is 0: there is nothing to predict")]
    Zero(&'static str),
    /// Groups must tile a row of the matrix.
    #[error(
        "{in_features} in_features do not divide into groups of {group_size}: take a group size \
         that divides them, or leave the matrix in 16 bits"
    )]
    Indivisible {
        /// Width of the matrix.
        in_features: u64,
        /// Weights in a group.
        group_size: u64,
    },
    /// The format does not say who shares its scales.
    #[error("the format does not say who shares a scale: read it from the checkpoint's shapes")]
    UnreadGroup,
    /// The count does not fit into 64 bits.
    #[error("the {0} do not fit into 64 bits: look at the sizes")]
    TooLarge(&'static str),
    /// No size of a memory.
    #[error("{0} is no size: say a number of GB or GiB, not negative and finite")]
    NotASize(f64),
    /// No share of a memory.
    #[error("utilization is {0}: it is a share of the device's memory, above 0 and at most 1")]
    Utilization(f64),
    /// What is taken is more than what the engine may use.
    #[error(
        "{taken_bytes} bytes are taken and the engine may use {requested_bytes}: it would not \
         start. Take a smaller format, a larger device or a higher utilization"
    )]
    NoRoom {
        /// What the engine may use in all.
        requested_bytes: u64,
        /// What is taken before the cache.
        taken_bytes: u64,
    },
    /// The device has no unit that multiplies this grid.
    #[error(
        "the device has no rate for {0:?}: an engine runs such a layer with activations in 16 bits \
         there, so say that in the format"
    )]
    NoRate(Grid),
    /// A rate or a time that is none.
    #[error("{what} is {value}: it must be above 0 and finite")]
    NotPositive {
        /// Which number.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// The sizes are those of no model.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
}
