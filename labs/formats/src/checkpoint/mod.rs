//! What a checkpoint is, from its headers alone.
//!
//! A quantized matrix is several tensors: codes, scales, perhaps zero points. Their names and shapes
//! tell the layout, the bits of a code and the granularity. [`inspect`] reads the headers of a file, puts
//! the parts together, and compares the result with the config that came with the file. No weight is
//! read.
//!
//! * [`read_header`]: the header of a safetensors file; [`gguf`](crate::gguf) has the other one.
//! * [`mod@classify`]: from tensors to quantized matrices.
//! * [`config`]: what a config says, as values; [`mod@contradictions`]: whether shapes and config agree.
//! * [`inspection_report`]: the tables that `cargo book inspect` prints.
//! * [`golden`]: tiny checkpoints that other people's tools wrote.
//!
//! No forged file causes a panic, and no length is trusted before it is compared with the file.

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
mod split_gguf;
mod tensor;

pub use classify::classify;
pub use classify::inventory::Inventory;
pub use config::{ActGranularity, Activations, Expected, Numbers, QuantConfig, ScaleTime};
pub use contradictions::{Aspect, Comparison};
pub use dtype::{Dtype, Storage};
pub use error::CheckpointError;
pub use files::{Checkpoint, FileSummary, gguf_tensors, open};
pub use inspection::{Inspection, examine, inspect};
pub use names::{collapse, printable};
pub use problem::Problem;
pub use safetensors_header::{Header, read_header};
pub use scheme::{GptqVersion, Quantized, Scheme, UnknownLayout, ZeroPoints, bits_per_weight};
pub use split_gguf::SplitPart;
pub use tensor::Tensor;
