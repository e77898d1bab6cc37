//! Three meters, taken of every engine in the same way: throughput, capacity, output sanity.
//!
//! An engine is one small trait, [`Engine`], and what it has loaded another, [`Loaded`]; [`take()`]
//! reads the meters of one format by them. What the cost model says before anything runs is in
//! [`predict`], both beside each other in [`table`]. `cargo book measure` is the command.

mod capture;
mod engine;
mod llama_cpp;
mod plan;
pub mod predict;
pub mod table;
mod take;
mod vllm;

pub use capture::{Capacity, Capture, Ceilings, Run, Throughput};
pub use engine::{Engine, KvCache, Loaded, MeterError, Told, WRITTEN};
pub use llama_cpp::LlamaCpp;
pub use plan::{Load, Plan};
pub use take::{rates, take};
pub use vllm::{Source, Vllm};
