//! Lab 05: the quantizer leaves the classroom.
//!
//! The functions of labs 01, 03 and 04 write a checkpoint that engines serve. What is left to decide is
//! the plan, and that is the exercise: which tensors are quantized and which are left alone, what each
//! becomes, which lab function makes its bytes, what the config says, and how many bytes the file will
//! have before a single weight is read.
//!
//! The rest is given: [`fp8`] has the one grid that no lab has built, [`file`] the layout of the file,
//! and the crate `quantizer` streams tensor by tensor, reads back and runs what was written. All of it
//! asks the plan.
//!
//! Shapes are `[out_features, in_features]`. The functions are re-exported from [`solution`]; with
//! `LAB_IMPL=starter` from [`starter`], which is the file to edit.

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
