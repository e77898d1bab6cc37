//! The part of `cargo book` that the tests of the labs need too: paths, the list of labs, and how a
//! lab's spec is compiled and run.

pub mod fetch;
pub mod labs;
pub mod python;
pub mod recognition;
pub mod spec;
pub mod workspace;
