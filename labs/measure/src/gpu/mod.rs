//! Three meters of each format on an NVIDIA GPU: throughput, capacity, quality.
//!
//! What needs no GPU is there for tests and for the book: the capture, the [`floors`] under a product,
//! the W4A16 layout in [`pack`]. The programs need CUDA's driver, which is found at run time.

pub mod capture;
pub mod cuda;
pub mod floors;
pub mod formats;
pub mod meters;
pub mod numbers;
pub mod pack;
pub mod program;
mod provenance;
pub mod run;
pub mod sanity;
pub mod slice;
pub mod work;
