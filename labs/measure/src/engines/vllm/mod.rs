//! vLLM, through the two interfaces that every deployment has: the server of OpenAI's protocol and the
//! page `/metrics`.
//!
//! [`Server`] starts one and stops it, [`Client`] asks one, wherever it runs. Names of fields are
//! those of vLLM 0.32.

mod client;
mod metrics;
pub mod served_score;
mod server;
mod vllm_backend;
mod vllm_log;

pub use client::{Answer, Client};
pub use metrics::{Metrics, Sample};
pub use server::{Options, Server};
pub use vllm_backend::{KvMemory, Vllm, Where};
pub use vllm_log::facts;
