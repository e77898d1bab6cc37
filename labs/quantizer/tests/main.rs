//! The integration tests in one binary: one a file would link the same crates in each.

mod interrupted;
mod registry;
mod tiny;
mod written;
