//! What can be wrong with the input of this lab.

use kit::int4::Int4Error;
use kit::int8::QuantError;

/// What can be wrong with the input of this lab.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GptqError {
    /// No batch was added to the Hessian.
    #[error("the Hessian has seen no token: add a batch with at least one token before rounding")]
    NoTokens,
    /// A tensor has another number of input features than the Hessian.
    #[error("{what} has {found} features and the Hessian {expected}: both must be in_features")]
    FeaturesDiffer {
        /// Name of the tensor.
        what: &'static str,
        /// Columns of the tensor.
        found: usize,
        /// Columns of the Hessian.
        expected: usize,
    },
    /// A batch or a weight holds NaN or infinity.
    #[error(
        "{what} holds {value} at row {row}, column {column}: a Hessian and a grid are for finite \
         values. Look for an overflow in the layers before"
    )]
    NotFinite {
        /// Name of the tensor.
        what: &'static str,
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value, NaN or infinite.
        value: f32,
    },
    /// The damping is negative, NaN or infinite.
    #[error(
        "damping is {0}: give a share of the mean of the diagonal, from 0 up. 0.01 is the usual one"
    )]
    DampingOutOfRange(f64),
    /// The matrix has no Cholesky factor.
    #[error(
        "the Hessian is not positive definite: a pivot is {pivot:e}. Raise damping (0.01 is usual, \
         0.1 is strong), or calibrate on more tokens than the layer has input features"
    )]
    NotPositiveDefinite {
        /// The pivot: what is left of a diagonal element.
        pivot: f64,
    },
    /// The matrix to factor is not square.
    #[error("a matrix of shape {0:?} has no Cholesky factor: give a Hessian, which is square")]
    NotSquare([usize; 2]),
    /// A block without columns.
    #[error("a block of 0 columns never ends: give at least 1. 128 is the usual one")]
    EmptyBlock,
    /// Act-order with scales from inside the loop.
    #[error(
        "act-order takes the columns of a group at different times, so its scale cannot be computed \
         when the group begins: use static scales with act-order"
    )]
    ActOrderNeedsStaticScales,
    /// A scale is too large for the type in which it is stored.
    #[error(
        "group {group} of row {row} reaches {absmax}: its scale is beyond the largest number of the \
         type of the scales. Store the scales in a wider type, or raise damping"
    )]
    ScaleOverflow {
        /// The row of the group.
        row: usize,
        /// The group inside the row.
        group: usize,
        /// The largest magnitude in it.
        absmax: f32,
    },
    /// An error of int4 codes and of groups.
    #[error(transparent)]
    Int4(#[from] Int4Error),
    /// An error of int8 codes.
    #[error(transparent)]
    Int8(#[from] QuantError),
}
