//! How activations are quantized, where the config of a format leaves that open.

use serde_json::{Value, json};

use super::StorageFormat;
use crate::FormatError;
use crate::format::Grid;

/// How activations are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationFormat {
    /// The name on a command line.
    pub name: &'static str,
    /// The format in words.
    pub about: &'static str,
    /// Bits of a code.
    pub bits: u32,
    /// When scales are found.
    pub scales: Scales,
}

/// When the scales of activations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// While the model runs, one for each token.
    PerToken,
    /// By calibration, one for each layer.
    Static,
    /// By calibration, one for each layer, and a quarter of that scale in the layers where the first token of a
    /// text would decide it: the values of that token are clipped.
    StaticClipped,
    /// By calibration, but one for each token in the layers where the first token of a text would decide the
    /// scale of all others.
    StaticButMassive,
}

impl ActivationFormat {
    /// Every format.
    pub const ALL: [Self; 5] = [
        Self {
            name: "int8",
            about: "8 bits, a scale per token",
            bits: 8,
            scales: Scales::PerToken,
        },
        Self {
            name: "int8-static",
            about: "8 bits, a calibrated scale per layer",
            bits: 8,
            scales: Scales::Static,
        },
        Self {
            name: "int8-clipped",
            about: "int8-static, a massive first token clipped to a quarter",
            bits: 8,
            scales: Scales::StaticClipped,
        },
        Self {
            name: "int8-mixed",
            about: "int8-static, and int8 in the layers with a massive first token",
            bits: 8,
            scales: Scales::StaticButMassive,
        },
        Self {
            name: "int4",
            about: "4 bits, a scale per token",
            bits: 4,
            scales: Scales::PerToken,
        },
    ];

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name == name)
    }

    /// Refuses a format of weights whose config has no such entry, or whose weights are no integers.
    ///
    /// # Errors
    /// If `format` is such a format; the message says which are not.
    pub fn check(self, format: StorageFormat) -> Result<(), FormatError> {
        if format.takes_kv_scales() && matches!(format.description.weights, Grid::Int(_)) {
            return Ok(());
        }
        Err(FormatError::Activations { activations: self.name, format: format.description.name })
    }

    /// Whether scales come from calibration.
    pub fn is_calibrated(self) -> bool {
        self.scales != Scales::PerToken
    }

    /// The entry `input_activations` of the config, for layers whose scale is in the file or for others.
    pub fn config(self, is_static: bool) -> Value {
        let strategy = if is_static { "tensor" } else { "token" };
        json!({"num_bits": self.bits, "type": "int", "symmetric": true, "strategy": strategy,
               "dynamic": !is_static})
    }
}
