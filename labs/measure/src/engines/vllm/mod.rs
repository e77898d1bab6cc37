//! vLLM, through the two doors that every deployment of it has: the server of OpenAI's protocol and
//! the page `/metrics`.
//!
//! [`Server`] starts one and stops it, [`Client`] asks one, wherever it runs. Names of fields are
//! those of vLLM 0.32.

mod client;
mod log;
mod metrics;
mod server;

pub use client::{Answer, Client};
pub use log::facts;
pub use metrics::{CacheConfig, Metrics, Sample};
pub use server::{Options, Server};
