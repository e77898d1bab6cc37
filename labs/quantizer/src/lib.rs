//! From one checkpoint to another: transform, round, store.
//!
//! [`write()`] streams a model tensor by tensor with the functions of the labs, [`decode`] is the way
//! back, [`loaded`] runs what was written, [`smooth`] folds SmoothQuant into the weights. What a tensor
//! becomes is the plan of lab 05, the reader's own with `LAB_IMPL=starter`.

mod config;
pub mod decode;
mod gguf_file;
pub mod loaded;
mod report;
mod safetensors_file;
pub mod smooth;
mod tokenizer;
mod write;

pub use report::{LayerError, Report};
pub use write::{Job, Progress, write};
