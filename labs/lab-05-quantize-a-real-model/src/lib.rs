//! Lab 05: a checkpoint that engines serve, made of the functions of labs 01, 03 and 04.
//!
//! The exercise is the plan: which tensors are quantized and which are kept, the parts of each
//! tensor, the lab function that makes the bytes of a part, the config, and the size of the file
//! before a weight is read.
//!
//! The rest is given. [`fp8`] has the grid that no lab has built, [`file`] the layout of the file.
//! The crate `quantizer` writes tensor by tensor by the plan, reads the files and runs them.
//!
//! Shapes are `[out_features, in_features]`. The functions are re-exported from [`solution`], and
//! with `LAB_IMPL=starter` from [`starter`], which is the file to edit.

pub mod file;
pub mod labs;
mod scheme;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use formats::FormatError;
pub use formats::bytes::{self, Float};
pub use formats::checkpoint::{Dtype, Storage, Tensor};
pub use formats::float8 as fp8;
pub use formats::gguf::TensorType;
pub use formats::registry::{Decision, Reason, blocks, part};
pub use scheme::{Recipe, Scheme};

kit::implementation!();
