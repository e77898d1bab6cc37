//! Lab 08: grids that are not integers.
//!
//! A small float has a sign, a few bits of exponent and a few bits of fraction, and [`FloatGrid`] says
//! how many. Its values lie dense around 0 and sparse at the ends, where the values of an integer grid
//! have equal distances. A block of such codes has a scale that is a code itself: a power of two (MX), or
//! an FP8 number under one float for the tensor (NVFP4). A table grid (NF4) lists its values.
//!
//! Weights are `[out_features, in_features]`, and blocks lie along `in_features`. A code of fewer than
//! eight bits is the low bits of a `u8`.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

mod blocks;
mod error;
mod grid;
mod scale_rule;
pub mod solution;
pub mod starter;
mod table;
pub mod wrong_answers;

pub use blocks::{Blocks, NibbleOrder, check_finite, check_matrix};
pub use error::FloatError;
pub use grid::{E2M1, E2M3, E3M2, E4M3, E5M2, FloatGrid, Specials, power_of_two};
pub use scale_rule::ScaleRule;
pub use table::{DoubleScales, TableBlocks, dynamic_table, linspace, normal_quantile};

/// Weights of an MX block, which share a power of two.
pub const MX_BLOCK: usize = 32;
/// Weights of an NVFP4 block, which share an E4M3 scale.
pub const NVFP4_BLOCK: usize = 16;
/// The first argument of the quantiles of NF4: bitsandbytes' `offset`, (1 - 1/30 + 1 - 1/32) / 2 in
/// seven digits.
pub const NF4_OFFSET: f32 = 0.967_708_3;
/// Scales of NF4 that share a second scale under double quantization.
pub const DOUBLE_BLOCK: usize = 256;

kit::implementation!();
