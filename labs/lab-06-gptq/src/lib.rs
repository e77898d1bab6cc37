//! Lab 06: GPTQ, rounding with feedback.
//!
//! Round-to-nearest chooses the code of each weight as if the weight were alone. A layer is a sum over
//! weights, so the error of one weight can be made up for by others whose inputs are correlated with
//! its own. GPTQ (Frantar and others, 2022) rounds a matrix column by column, and after each column moves
//! all columns behind it to where they make up best for the error so far.
//!
//! Weights are `[out_features, in_features]`, inputs `[tokens, in_features]`, the Hessian and its
//! factors `[in_features, in_features]`. [`Grid`] says which codes there are, [`Hessian`] what the layer
//! was given, [`Settings`] how to round, [`Rounded`] what comes out.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

mod error;
mod grid;
mod hessian;
mod rounded;
mod settings;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::GptqError;
pub use grid::{Grid, Stored};
pub use hessian::Hessian;
pub use kit::int4::{Int4Error, Int4Groups};
pub use rounded::Rounded;
pub use settings::{GroupScales, Settings};

kit::implementation!();
