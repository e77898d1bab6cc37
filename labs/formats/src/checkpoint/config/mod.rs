//! Reads the quantization config of a checkpoint.
//!
//! Every tool has its own field names, such as `bits`, `w_bit` and `num_bits`. The fields become one
//! [`Expected`] for each group of modules, which is then compared with the shapes.

pub(super) mod config_files;
pub(crate) mod expected;
mod json_fields;
mod methods;
mod module_patterns;
pub(crate) mod quant_config;

pub use config_files::{FILES, parse_json};
pub use expected::{
    ActGranularity, Activations, Expected, KvCache, Numbers, ScaleTime, WeightGrid,
};
pub use quant_config::{ModuleRule, QuantConfig};
