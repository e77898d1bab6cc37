//! The integration tests in one binary: one a file would link the same crates in each.

mod activation_scales;
mod gguf_from_folder;
mod importance;
mod interrupted;
mod kv_scales;
mod layer_by_layer;
mod registry;
mod rotate;
mod sensitivity;
mod tiny;
mod written;
