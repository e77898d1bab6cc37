//! What the labs share, so that no lab depends on another.
//!
//! * [`architecture`], [`format`]: the sizes of published models, and what a format stores.
//! * [`device`]: what a device can do at most.
//! * [`data`]: seeded tensors and planted outliers, the same numbers on every machine.
//! * [`meters`]: how far an approximation is from its reference, accumulated in `f64`.
//! * [`reference`]: the slow product in `f64` that everything faster is held to.
//! * [`int8`]: a matrix of int8 codes with its scales.
//! * [`table`]: one type for every table of the book, rendered for a chapter and for a snapshot.
//! * [`real_slice`]: real weights of SmolLM2-135M that travel with the repository.
//! * [`rules`]: how libraries turn a group of weights into codes and a scale, to the bit.
//! * [`skip`]: how a test says that it was left out.
//! * [`wrong`]: plausible wrong answers, kept as code.
//! * [`gguf`]: the GGUF file that the real weights come from, decoded block by block.
//! * [`checkpoint`]: what any checkpoint is, from its headers alone.
//! * [`card`]: any card string or config, as the three answers.
//! * [`capture`]: the file of a run on one machine, and what a program can say of its run.

pub mod architecture;
pub mod capture;
pub mod card;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod format;
pub mod gguf;
pub mod int8;
pub mod meters;
pub mod real_slice;
pub mod reference;
pub mod rules;
pub mod skip;
pub mod table;
pub mod wrong;

pub use table::Table;
