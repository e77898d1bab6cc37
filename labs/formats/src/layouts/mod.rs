//! The layouts of real checkpoints, to the bit.
//!
//! The layouts store the same codes, and differ in which codes share a word. Every layout is unpacked
//! to a [`Grouped`] and packed from one:
//!
//! * [`awq`]: AutoAWQ, version "gemm". Eight neighbours along `out_features` share a word.
//! * [`gptq`]: GPTQ, v1 and v2. Eight neighbours along `in_features` share a word, zero points
//!   along `out_features`, and `g_idx` says which group an input channel belongs to.
//! * [`compressed_tensors`]: its format `pack-quantized`. Along `in_features`, row major.
//! * [`ggml`]: the blocks Q4_0, Q4_1 and Q8_0 of a GGUF file. Scale and codes lie side by side.
//!   Q8_0 has 8-bit codes: it is encoded from floats, not from a [`Grouped`].
//!
//! Each is compared with the words that the format's own library writes (`golden/layouts.json`). For a
//! figure, [`WordLayout`] says which neighbour is in which nibble, and [`ggml::block_bytes`] what
//! each byte of a block holds; the packers read the same tables.
//!
//! ```
//! use formats::layouts::{Grouped, awq, gptq};
//! use int4_groups::solution::quantize_groups;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let w = kit::data::normal_matrix(3, 32, 64);
//! let grouped = Grouped::try_from(&quantize_groups(&w, 32)?)?;
//!
//! let from_awq = awq::unpack(&awq::pack(&grouped)?)?;
//! let v1 = gptq::Version::V1;
//! let from_gptq = gptq::unpack(&gptq::pack(&grouped, v1)?, v1)?;
//! assert_eq!(from_awq, from_gptq);
//! # Ok(())
//! # }
//! ```
//!
//! Other bit widths and `bf16` scales, which real files also have, are not supported.

pub mod awq;
pub mod compressed_tensors;
mod error;
pub mod ggml;
pub mod gptq;
mod grouped;
mod stored;
mod words;

pub use error::LayoutError;
pub use grouped::Grouped;
pub use stored::Stored;
pub use words::{Along, WordLayout};
