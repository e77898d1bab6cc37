//! Lab 02: what the formats buy on real tensor cores.
//!
//! The program `gpu-meters` takes three meters of each format on an NVIDIA GPU (throughput,
//! capacity, output sanity) and writes a [`capture`]. What needs no GPU is here for tests and for
//! the book: the schema, the [`floors`] under a time, the [`capacity`] formula, the W4A16 layout in
//! [`pack`]. What needs one sits behind the feature `gpu`.

pub mod capacity;
pub mod capture;
#[cfg(feature = "gpu")]
pub mod cuda;
pub mod floors;
#[cfg(feature = "gpu")]
pub mod formats;
#[cfg(feature = "gpu")]
pub mod meters;
pub mod numbers;
pub mod pack;
#[cfg(feature = "gpu")]
mod provenance;
#[cfg(feature = "gpu")]
pub mod run;
#[cfg(feature = "gpu")]
pub mod sanity;
#[cfg(feature = "gpu")]
pub mod slice;
pub mod work;
