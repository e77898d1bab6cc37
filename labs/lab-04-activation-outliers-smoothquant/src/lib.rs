//! Lab 04: the third question, weights only or activations too?
//!
//! A layer whose weights *and* inputs are int8 multiplies integers, which is what the fast units of a
//! GPU want. The scales have to leave the sum, so an input may have one scale for all of it or one
//! per token, and never one per channel; and it is channels that have outliers. SmoothQuant (Xiao and
//! others, 2022) moves their loudness into the weights before anything is quantized.
//!
//! Activations are `[tokens, in_features]`, weights `[out_features, in_features]`: a channel is a
//! column of both, a token a row of the first. [`decomposition`] has the other road, that of
//! LLM.int8().
//!
//! The functions are re-exported from [`solution`]; with `LAB_IMPL=starter` from [`starter`], which
//! is the file to edit.

pub mod decomposition;
mod error;
mod migrated;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::SmoothError;
pub use kit::int8::{QMAX, QuantError, Quantized};
pub use migrated::{Granularity, MIN_SCALE, Migrated, quantize_weight};

kit::implementation!();
