//! Lab 01: a grid, a scale, and the first two of the three questions.
//!
//! The grid is int8, -127 to 127. The scale is the distance of two neighbours on the grid, and the
//! shape of [`Quantized::scales`] is the granularity: `[1, 1]` is one scale for the whole tensor,
//! `[out_features, 1]` one per row. Weights are `[out_features,
//! in_features]`, as `torch.nn.Linear` keeps them, so a row is an output channel.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use kit::int8::{QMAX, QuantError, Quantized};

kit::implementation!();
