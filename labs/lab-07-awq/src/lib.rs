//! Lab 07: AWQ, scales from the activations.
//!
//! A weight whose input is large needs a finer grid than a weight whose input is small. AWQ (Lin and
//! others, 2023) multiplies the columns of a weight before they are rounded, and divides the inputs by
//! the same scales, so that the layer computes the same with finer steps in the columns that matter. The
//! mean magnitudes of the inputs say which columns matter, and a search says how much.
//!
//! Inputs are `[tokens, in_features]`, weights `[out_features, in_features]`: a channel is a column of
//! both. [`Rounding`] says which codes there are, [`Heads`] how values reach the output projection. [`duo`]
//! has the second formula for scales, which AutoAWQ and llm-compressor take.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

pub mod duo;
mod error;
mod heads;
mod rounding;
mod search_result;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::AwqError;
pub use heads::Heads;
pub use kit::int4::Int4Error;
pub use rounding::{Grid, Rounded, Rounding, Stored};
pub use search_result::{Block, Candidate, Search, clip_maxima, ratios};

/// The lower limit of a scale before the scales are normalized. Source: `_search_module_scale` in
/// `awq/quantize/auto_scale.py` of mit-han-lab/llm-awq.
pub const MIN_SCALE: f32 = 1e-4;

kit::implementation!();
