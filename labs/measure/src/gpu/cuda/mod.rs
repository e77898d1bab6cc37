//! The only place with `unsafe`: the driver, NVRTC and cuBLASLt behind calls that check every
//! status and name what failed.
//!
//! Everything here belongs to one thread and one device, whose primary context stays current until
//! the process ends; the types hold raw handles and are neither `Send` nor `Sync`.
#![allow(unsafe_code)]

mod device;
mod graph;
pub mod libraries;
pub mod lt;
pub mod nvrtc;

pub use device::{Arg, Buffer, Device, Facts, Kernel};
pub use graph::{Launched, Repeatable};
