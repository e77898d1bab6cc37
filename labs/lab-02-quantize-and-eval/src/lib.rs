//! Lab 02: predict what a format buys, then measure it.
//!
//! The cost model predicts from a `config.json` and a data sheet: bytes of weights, blocks of KV
//! cache, and the tokens per second that no engine can exceed. [`served`] has what it is asked
//! about, `kit` the sizes of published models, formats and devices. Its functions are re-exported
//! from [`solution`]; with `LAB_IMPL=starter` from [`starter`], which is the file to edit.
//!
//! The program `gpu-meters` takes three meters of each format on an NVIDIA GPU (throughput,
//! capacity, output sanity) and writes a [`capture`]. What needs no GPU is here for tests and for
//! the book: the schema, the [`floors`] under a product, the W4A16 layout in [`pack`]. What needs one
//! sits behind the feature `gpu`.

pub mod capture;
#[cfg(feature = "gpu")]
pub mod cuda;
mod error;
pub mod exercises;
pub mod floors;
#[cfg(feature = "gpu")]
pub mod formats;
#[cfg(feature = "gpu")]
pub mod meters;
pub mod numbers;
pub mod pack;
#[cfg(feature = "gpu")]
mod provenance;
#[cfg(feature = "gpu")]
pub mod run;
#[cfg(feature = "gpu")]
pub mod sanity;
pub mod served;
#[cfg(feature = "gpu")]
pub mod slice;
pub mod solution;
pub mod starter;
pub mod work;
pub mod wrong_answers;

pub use error::CostError;
pub use served::{BLOCK_TOKENS, Floors, ModelFormat, Served, UTILIZATION};
#[cfg(lab_impl = "solution")]
pub use solution::*;
#[cfg(lab_impl = "starter")]
pub use starter::*;
#[cfg(lab_impl = "wrong")]
pub use wrong_answers::chosen::*;
