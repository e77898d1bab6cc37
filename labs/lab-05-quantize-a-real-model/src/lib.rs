//! Lab 05: the quantizer leaves the classroom.
//!
//! The functions of labs 01, 03 and 04 write a checkpoint that engines serve. What is left to decide is
//! the plan, and that is the exercise: which tensors are quantized and which are left alone, what each
//! becomes, which lab function makes its bytes, what the config says, and how many bytes the file will
//! have before a single weight is read.
//!
//! The rest is given: [`write()`] streams tensor by tensor, [`decode`] is the way back, [`loaded`] runs
//! what was written, [`smooth`] folds SmoothQuant into the weights, [`fp8`] has the one grid that no lab
//! has built. All of it asks the plan.
//!
//! Shapes are `[out_features, in_features]`. The functions are re-exported from [`solution`]; with
//! `LAB_IMPL=starter` from [`starter`], which is the file to edit.

pub mod bytes;
mod config;
pub mod decode;
mod error;
pub mod file;
pub mod fp8;
mod gguf_file;
pub mod labs;
pub mod loaded;
mod report;
mod safetensors_file;
mod scheme;
pub mod smooth;
pub mod solution;
pub mod starter;
mod tokenizer;
mod write;
pub mod wrong_answers;

pub use error::QuantizeError;
pub use kit::checkpoint::{Dtype, Storage, Tensor};
pub use kit::gguf::TensorType;
pub use report::{LayerError, Report};
pub use scheme::{Decision, Float, Reason, Recipe, Scheme, blocks, part};
#[cfg(lab_impl = "solution")]
pub use solution::*;
#[cfg(lab_impl = "starter")]
pub use starter::*;
pub use write::{Job, Progress, write};
#[cfg(lab_impl = "wrong")]
pub use wrong_answers::chosen::*;
