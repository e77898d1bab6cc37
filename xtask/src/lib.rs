//! What the commands of `cargo book` and the tests of the labs both need: where things are, which
//! labs there are, and how a lab's spec is compiled and run.

pub mod fetch;
pub mod labs;
pub mod python;
pub mod recognition;
pub mod spec;
pub mod workspace;
