//! Real inference engines, as a Rust program sees them.
//!
//! A checkpoint is right when engines that others wrote serve it. This crate starts two of them,
//! asks them, reads their meters and stops them:
//!
//! * [`vllm`]: the server, through OpenAI's protocol and `/metrics`.
//! * [`llama_cpp`]: the tools of llama.cpp, through what they print.
//! * [`score`]: perplexity of what a server serves, by llama.cpp's convention.
//! * [`meters`]: throughput, capacity and output sanity, taken of every engine in the same way.
//! * [`vllm_map`]: what lies in vLLM's quantization folder, a file that was written by hand.
//! * [`check`], [`capture`]: what `cargo book serve-check` asks, and the file that it writes.
//!
//! ```no_run
//! # fn main() -> Result<(), measure::engines::EngineError> {
//! use measure::engines::vllm::{Options, Server};
//! use std::path::Path;
//!
//! let program = Path::new("target/engines/vllm/venv/bin/vllm");
//! let checkpoint = Path::new("target/checkpoints/w8a8");
//! let server = Server::start(&Options::new(program, checkpoint, Path::new("target/vllm.log")))?;
//! println!("{}", server.client().complete("The capital of France is", 14)?.text);
//! println!("{:?}", server.client().cache_config()?);
//! # Ok(())
//! # }
//! ```
//!
//! Whatever goes wrong is an [`EngineError`] that says what the engine said. A program that was
//! started ends with the value that holds it, and its processes with it.

pub mod capture;
pub mod check;
pub mod checkpoints;
mod error;
mod http;
pub mod llama_cpp;
pub mod measure;
pub mod meters;
pub mod ours;
mod process;
pub mod provenance;
pub mod ready;
pub mod score;
pub mod serve_check;
pub mod vllm;
pub mod vllm_map;

pub use error::EngineError;
