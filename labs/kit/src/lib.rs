//! Code that the labs share.
//!
//! * [`data`]: seeded tensors and planted outliers, the same numbers on every machine.
//! * [`difference`]: how two arrays differ, in a line.
//! * [`meters`]: the error of an approximation against its reference, accumulated in `f64`.
//! * [`reference`]: the slow product in `f64`, with which tests compare every faster one.
//! * [`int8`]: a matrix of int8 codes with its scales.
//! * [`int4`]: a matrix of int4 codes in groups, with a scale for each group.
//! * [`table`]: one type for every table of the book, rendered for a chapter and for a snapshot.
//! * [`real_slice`]: real weights of SmolLM2-135M that travel with the repository.
//! * [`real_cache`]: keys, values and queries of three of its layers.
//! * [`skip`]: the line by which a test says that it was skipped.
//! * [`workspace`]: paths in the repository.
//! * [`wrong`]: plausible wrong answers, kept as code.

pub mod data;
pub mod difference;
pub mod int4;
pub mod int8;
pub mod meters;
pub mod real_cache;
pub mod real_slice;
pub mod reference;
pub mod skip;
pub mod table;
pub mod workspace;
pub mod wrong;

pub use table::Table;
