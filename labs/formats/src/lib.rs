//! What files and cards say of quantized weights.
//!
//! * [`format`](mod@format): a storage format as the answers to the three questions.
//! * [`architecture`], [`device`]: the sizes of published models, and what a device can do at most.
//! * [`rules`]: how libraries turn a group of weights into codes and a scale, to the bit.
//! * [`layouts`]: how AutoAWQ, GPTQ, compressed-tensors and GGML pack codes, to the bit.
//! * [`gguf`]: the GGUF file that the real weights come from, decoded block by block.
//! * [`checkpoint`]: what any checkpoint is, from its headers alone.
//! * [`card`]: any card string or config, as the three answers.

pub mod architecture;
pub mod card;
pub mod checkpoint;
pub mod device;
pub mod format;
pub mod gguf;
pub mod layouts;
pub mod rules;
