//! Lab 02: predict what a format buys, then measure it.
//!
//! The cost model predicts from a `config.json` and a data sheet: bytes of weights, blocks of KV
//! cache, and the tokens per second that no engine can exceed. [`served`] has what it is asked
//! about, `formats` the sizes of published models, formats and devices. Its functions are re-exported
//! from [`solution`]; with `LAB_IMPL=starter` from [`starter`], which is the file to edit.

mod error;
pub mod exercises;
pub mod served;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::CostError;
pub use served::{BLOCK_TOKENS, ModelFormat, Roofline, Served, UTILIZATION};

kit::implementation!();
