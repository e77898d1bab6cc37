//! Lab 02: predict the bytes and the speed of a format, then measure both.
//!
//! The cost model predicts from a `config.json` and a data sheet: bytes of weights, blocks of KV
//! cache, and the tokens per second that no engine can exceed. [`served`] has the input and the
//! output types, `formats` the sizes of published models, formats and devices. The functions are
//! re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`], which is the file
//! to edit.

mod error;
pub mod exercises;
pub mod served;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::CostError;
pub use served::{BLOCK_TOKENS, ModelFormat, Roofline, Served, UTILIZATION};

kit::implementation!();
