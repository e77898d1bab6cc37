//! What a checkpoint is, from its headers alone.
//!
//! A quantized matrix is several tensors: codes, scales, perhaps zero points. Their names and shapes
//! say who packed it, how many bits a code has and who shares a scale. [`inspect`] reads the headers of
//! a file, puts the parts together, and holds the result to the config that came with it. No weight
//! is read.
//!
//! * [`read_header`]: the header of a safetensors file; [`gguf`](crate::gguf) has the other one.
//! * [`mod@classify`]: from tensors to quantized matrices.
//! * [`config`]: what a config says, as values; [`mod@contradictions`]: whether shapes and config agree.
//! * [`inspection_report`]: the tables that `cargo book inspect` prints.
//! * [`golden`]: tiny checkpoints that other people's tools wrote.
//!
//! Nothing here panics on a forged file, and nothing is allocated by a length that the file claims.

pub mod classify;
pub mod config;
pub mod contradictions;
mod dtype;
mod error;
mod files;
pub mod golden;
mod inspection;
pub mod inspection_report;
mod names;
mod problem;
mod raw_header;
mod safetensors_header;
mod scheme;
mod tensor;

pub use classify::classify;
pub use classify::inventory::Inventory;
pub use config::{Expected, QuantConfig};
pub use dtype::{Dtype, Storage};
pub use error::CheckpointError;
pub use files::{Checkpoint, FileSummary, gguf_tensors, open};
pub use inspection::{Inspection, examine, inspect};
pub use names::{collapse, printable};
pub use problem::Problem;
pub use safetensors_header::{Header, read_header};
pub use scheme::{GptqVersion, Part, Quantized, Scheme, ZeroPoints, bits_per_weight};
pub use tensor::Tensor;
