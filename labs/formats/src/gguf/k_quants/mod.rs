//! The k-quants of llama.cpp, and the blocks of 32 that it falls back to: Q2_K to Q6_K, Q4_0, Q4_1, Q5_0, Q5_1,
//! IQ4_NL.
//!
//! A **super-block** is 256 weights of a row. It has sub-blocks of 16 or 32 weights, each with a scale of 4, 6
//! or 8 bits, in some types with a minimum as well, and one `f16` (or two) that all of these are multiples of.
//! A row that 256 does not divide has no super-blocks, and llama.cpp takes a type with blocks of 32 for it.
//!
//! * [`layout`]: which bits of a block belong to which weight, as one table.
//! * [`encode`]: how codes and scales are found. The steps and their order are those of `ggml-quants.c`
//!   (llama.cpp build 11434), in `f32`, so the bytes are the same.
//! * [`decode`]: the way back.

mod decode;
mod encode;
pub mod layout;
mod search;

pub use decode::decode;
pub use encode::{Overflow, encode};
