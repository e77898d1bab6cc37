//! The integration tests in one binary: one a file would link the same crates in each.

mod interrupted;
mod layer_by_layer;
mod registry;
mod tiny;
mod written;
