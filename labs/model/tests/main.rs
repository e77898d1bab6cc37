//! The integration tests in one binary: one a file would link the same crates in each. `memory` is a
//! binary of its own, because the meter counts the whole process.

mod coded_cache;
mod golden;
mod hooks;
mod quantized;
mod refusals;
mod smollm2;
mod tiny;
mod tokenizer;
