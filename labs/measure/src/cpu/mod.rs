//! What the kernels of lab 03 do on this machine's processor, beside what its memory can do.

pub mod capture;
mod gguf;
pub mod kernels;
mod products;
pub mod program;
mod provenance;
mod quantizing;
