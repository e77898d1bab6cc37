//! The weights of a model, wherever they are stored.

mod gguf_tensors;
mod shards;
mod store;
mod weight;

pub(crate) use gguf_tensors::{GgufTensors, in_gguf_order, in_hugging_face_order};
pub(crate) use shards::Shards;
pub(crate) use store::Tensors;
pub(crate) use weight::Weight;
pub use weight::gguf_name;
