//! What a checkpoint's config says about its quantization.
//!
//! Every tool has its own words: `bits`, `w_bit` and `num_bits` are one thing. Here they become one
//! [`Expected`] for each module, which the shapes are then held to.

pub(super) mod config_files;
pub(crate) mod expected;
mod json_fields;
mod methods;
mod module_patterns;
pub(crate) mod quant_config;

pub use expected::{
    ActGranularity, Activations, Expected, KvCache, Numbers, ScaleTime, WeightGrid,
};
pub use quant_config::{ModuleRule, QuantConfig};
