//! Fast loops that the labs share. Tests compare each with a slow and readable reference.
//!
//! * [`plain`]: products with `f32` weights.
//! * [`Int8`]: weights of 8 bits with a scale per row, times activations in `f32`
//!   ([`Int8::w8a16`]) or in 8 bits ([`Int8::w8a8`]).
//! * [`Int4`]: weights of 4 bits with a scale per group, times activations in `f32`
//!   ([`Int4::w4a16`]) or in 8 bits ([`Int4::w4a8`]).
//! * [`Gram`]: the sum of `x x^T` over tokens.
//! * [`cached`]: products with the codes of a KV cache.
//! * [`elementwise`]: SwiGLU and softmax.
//! * [`Hadamard`]: the fast Walsh-Hadamard transform.
//! * [`read()`]: plain reading of memory, the roofline bound of a product with one token.
//!
//! The names are the field's: `w8a16` has weights of 8 bits and activations that are not quantized.
//! A GPU holds such activations in 16 bits; here they are `f32`.
//!
//! A kernel runs on the threads of the rayon pool that calls it, see [`Threads`]. The number of threads changes no bit of a result.
//!
//! `unsafe` is only the choice between instructions at run time ([`dispatch`]) and the loads and
//! stores of whole registers (`loops/avx2.rs`, `loops/avx512.rs`). A machine with neither gets the same
//! loops in plain Rust.
#![allow(unsafe_code)]

pub mod cached;
pub mod dispatch;
pub mod elementwise;
mod error;
mod gram;
mod hadamard;
mod int4;
mod int8;
mod loops;
mod panels;
pub mod plain;
mod read;
pub mod rounding;
mod threads;
mod tokens;

pub use dispatch::{Instructions, instructions};
pub use error::KernelError;
pub use gram::Gram;
pub use hadamard::Hadamard;
pub use int4::Int4;
pub use int8::Int8;
pub use read::read;
pub use threads::{Threads, ThreadsError};
