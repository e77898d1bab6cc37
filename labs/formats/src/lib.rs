//! What files and cards say of quantized weights.
//!
//! * [`format`](mod@format): a storage format as the answers to the three questions.
//! * [`registry`]: every format that the course writes and reads, one value for each.
//! * [`architecture`], [`device`]: the sizes of published models, and what a device can do at most.
//! * [`rules`]: how libraries turn a group of weights into codes and a scale, to the bit.
//! * [`float8`], [`float4`], [`e8m0`], [`bytes`]: the grids of FP8, of FP4 and of the scales of MX, and
//!   numbers as the bytes of a file; [`magnitude`]: the largest of them.
//! * [`microscaling`]: blocks whose scale is a code of eight bits, MX and NVFP4.
//! * [`layouts`]: how AutoAWQ, GPTQ, compressed-tensors and GGML pack codes, to the bit.
//! * [`bitsandbytes`]: tables of sixteen values, NF4 among them, and their quant state.
//! * [`gguf`]: the GGUF file that the real weights come from, decoded block by block.
//! * [`checkpoint`]: what any checkpoint is, from its headers alone.
//! * [`mod@dequantize`]: the floats that a quantized matrix stands for, in the files of any program.
//! * [`card`]: any card string or config, as the three answers.

pub mod architecture;
pub mod bitsandbytes;
pub mod bytes;
pub mod card;
pub mod checkpoint;
pub mod dequantize;
pub mod device;
pub mod e8m0;
mod error;
mod float;
pub mod float4;
pub mod float8;
pub mod format;
pub mod gguf;
pub mod layouts;
pub mod magnitude;
pub mod microscaling;
pub mod model_sizes;
mod printable;
pub mod registry;
pub mod rules;
mod stored_part;

pub use error::FormatError;
