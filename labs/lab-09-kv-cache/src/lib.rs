//! Lab 09: the KV cache is a tensor too.
//!
//! A decoder keeps the keys and values of all tokens so far, and reads all of them for each new token. At
//! long context the cache is larger than the weights, so it is quantized as well. Its matrices grow while
//! they are read: a scale may only depend on tokens that are there. [`Layout`] says which numbers share a
//! scale and which codes there are, [`Policy`] which tokens stay floats, and [`Cache`] holds one request's
//! keys and values of one layer.
//!
//! The keys and the values of one head are `[tokens, head_dim]`, those of a layer
//! `[tokens, kv_heads, head_dim]`, the queries of one token `[heads, head_dim]`. A channel is a column.
//! Numbers of the cache that stay floats, scales and zeros have 16 bits ([`sixteen_bits`]).
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

mod cache;
mod checks;
mod decoding;
mod error;
mod layout;
mod shape;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use cache::{Cache, Head, Policy, Side, joined};
pub use checks::{check_batch, check_positions, check_query, check_tokens, check_values};
pub use decoding::{EXACT, decode_steps};
pub use error::KvError;
pub use layout::{Bits, Coded, Granularity, Grid, Layout};
pub use shape::Shape;

use half::f16;

/// Bits of a number of the cache that stays a float, of a scale and of a zero.
pub const FLOAT_BITS: usize = 16;

/// `value` rounded to `f16`, as a cache stores it.
pub fn sixteen_bits(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

kit::implementation!();
