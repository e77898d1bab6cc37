//! The model in a format of 8 or 4 bits, on fast kernels.

use std::fmt;
use std::sync::Arc;

use formats::format::{Grid, Group, Overhead};
use half::f16;
use kernels::{Int4, Int8, KernelError};
use ndarray::Array2;

use crate::{LayerId, Linear, LinearError, Model, ModelError};

/// The group size that [`Format::ALL`] has: that of GGML's blocks.
const GROUP_SIZE: usize = 32;

/// How the linear layers of a model are stored and multiplied. `W8A16` has weights of 8 bits and
/// activations as they are; here these are `f32`, which a GPU would hold in 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// int8 per output channel, int8 per token.
    W8A8,
    /// int8 per output channel.
    W8A16,
    /// int4 in groups along a row, each with an `f16` scale.
    W4A16 {
        /// Weights that share a scale.
        group_size: usize,
    },
    /// int4 in groups along a row, int8 in the same groups along a token.
    W4A8 {
        /// Weights that share a scale, and activations that share one: a multiple of 32.
        group_size: usize,
    },
}

impl Format {
    /// All of them, int4 in groups of 32.
    pub const ALL: [Self; 4] = [
        Self::W8A8,
        Self::W8A16,
        Self::W4A16 { group_size: GROUP_SIZE },
        Self::W4A8 { group_size: GROUP_SIZE },
    ];

    /// Its name, without the group size.
    pub fn name(self) -> &'static str {
        match self {
            Self::W8A8 => "w8a8",
            Self::W8A16 => "w8a16",
            Self::W4A16 { .. } => "w4a16",
            Self::W4A8 { .. } => "w4a8",
        }
    }

    /// The format of this name in [`Format::ALL`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Grid, granularity and overhead, as the cost model computes with them. Activations that are not
    /// quantized are `f32` here.
    pub fn answers(self) -> formats::format::Format {
        let (bits, overhead) = match self {
            Self::W8A8 | Self::W8A16 => (8, Overhead { bits: 32, per: Group::Channel }),
            Self::W4A16 { group_size } | Self::W4A8 { group_size } => {
                (4, Overhead { bits: 16, per: Group::Size(group_size as u64) })
            }
        };
        formats::format::Format {
            name: self.name().into(),
            weights: Grid::Int(bits),
            activations: if self.has_int8_activations() { Grid::Int(8) } else { Grid::F32 },
            overhead: vec![overhead].into(),
        }
    }

    /// Whether activations are multiplied in 8 bits.
    fn has_int8_activations(self) -> bool {
        matches!(self, Self::W8A8 | Self::W4A8 { .. })
    }

    /// The format of the layer `id`. The head has 8 bits in every format, because in most small models
    /// the head is the embedding, where 4 bits cost more quality than in any other layer.
    pub fn at(self, id: LayerId) -> Self {
        match (id, self.has_int8_activations()) {
            (LayerId::Layer(..), _) => self,
            (LayerId::Head, true) => Self::W8A8,
            (LayerId::Head, false) => Self::W8A16,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::W8A8 | Self::W8A16 => f.write_str(self.name()),
            Self::W4A16 { group_size } | Self::W4A8 { group_size } => {
                write!(f, "{} g{group_size}", self.name())
            }
        }
    }
}

/// Weights as codes and scales.
#[derive(Clone, Debug, PartialEq)]
pub enum Codes {
    /// int8, `[out_features, in_features]`, and a scale for each row.
    Int8(Array2<i8>, Vec<f32>),
    /// int4, `[out_features, in_features]`, each in -8..=7, and a scale for each group,
    /// `[out_features, in_features / group_size]`.
    Int4(Array2<i8>, Array2<f16>),
}

/// Rounds the weights. A trait, because the labs round and this crate does not depend on a lab.
pub trait Quantizer {
    /// int8 codes of `w`, `[out_features, in_features]`, and the scale of each row.
    ///
    /// # Errors
    /// If `w` cannot be quantized.
    fn int8(&self, w: &Array2<f32>) -> Result<(Array2<i8>, Vec<f32>), LinearError>;

    /// int4 codes of `w`, `[out_features, in_features]`, and the scale of each group,
    /// `[out_features, in_features / group_size]`.
    ///
    /// # Errors
    /// If `w` cannot be quantized, or not in groups of that size.
    fn int4(
        &self,
        w: &Array2<f32>,
        group_size: usize,
    ) -> Result<(Array2<i8>, Array2<f16>), LinearError>;
}

/// A linear layer on the fast kernels of a [`Format`].
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedLinear {
    weights: Weights,
    int8_activations: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Weights {
    Int8(Int8),
    Int4(Int4),
}

impl QuantizedLinear {
    /// A layer with these weights; with `int8_activations` its inputs are quantized on the way, each
    /// token (int8 weights) or each group of a token (int4 weights) with its own scale.
    ///
    /// # Errors
    /// If scales and codes do not fit each other, or a code four bits.
    pub fn new(codes: &Codes, int8_activations: bool) -> Result<Self, KernelError> {
        let weights = match codes {
            Codes::Int8(codes, scales) => Weights::Int8(Int8::new(codes, scales)?),
            Codes::Int4(codes, scales) => Weights::Int4(Int4::new(codes, scales)?),
        };
        Ok(Self { weights, int8_activations })
    }

    /// The layer of `format` with the weights `w`, `[out_features, in_features]`.
    ///
    /// # Errors
    /// If `quantizer` refuses `w`, or gives codes that do not fit.
    pub fn quantize(
        w: &Array2<f32>,
        format: Format,
        quantizer: &dyn Quantizer,
    ) -> Result<Self, LinearError> {
        let codes = match format {
            Format::W8A8 | Format::W8A16 => {
                let (codes, scales) = quantizer.int8(w)?;
                Codes::Int8(codes, scales)
            }
            Format::W4A16 { group_size } | Format::W4A8 { group_size } => {
                let (codes, scales) = quantizer.int4(w, group_size)?;
                Codes::Int4(codes, scales)
            }
        };
        Ok(Self::new(&codes, format.has_int8_activations())?)
    }
}

impl Linear for QuantizedLinear {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        Ok(match (&self.weights, self.int8_activations) {
            (Weights::Int8(weights), true) => weights.w8a8(x)?,
            (Weights::Int8(weights), false) => weights.w8a16(x)?,
            (Weights::Int4(weights), true) => weights.w4a8(x)?,
            (Weights::Int4(weights), false) => weights.w4a16(x)?,
        })
    }

    fn out_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.out_features(),
            Weights::Int4(weights) => weights.out_features(),
        }
    }

    fn in_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.in_features(),
            Weights::Int4(weights) => weights.in_features(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.memory_bytes(),
            Weights::Int4(weights) => weights.memory_bytes(),
        }
    }

    /// For int8 only, because no embedding has 4 bits here.
    fn row(&self, index: usize) -> Option<Vec<f32>> {
        match &self.weights {
            Weights::Int8(weights) => weights.row(index),
            Weights::Int4(_) => None,
        }
    }
}

impl Model {
    /// The same model with every linear layer in `format`, and the head in 8 bits ([`Format::at`]). A
    /// tied embedding stays tied and has 8 bits, too. An embedding of its own and the norms stay `f32`.
    ///
    /// # Errors
    /// [`ModelError::Linear`] if a layer is not `f32`, `quantizer` refuses it, or its codes do not
    /// fit; it names the layer.
    pub fn quantized(&self, format: Format, quantizer: &dyn Quantizer) -> Result<Self, ModelError> {
        let mut model = self.clone();
        for id in self.layer_ids() {
            let named = |error| ModelError::Linear { id, error };
            let w = self.linear(id)?.weight();
            let w =
                w.ok_or_else(|| named("its weights are not f32: quantize the original".into()))?;
            let new = QuantizedLinear::quantize(w, format.at(id), quantizer).map_err(named)?;
            model.replace(id, Arc::new(new))?;
        }
        if self.is_tied() {
            model.embedding = Arc::clone(&model.head);
        }
        Ok(model)
    }

    /// Bytes of weights that the decode step of one token reads: every linear layer and norm, and one
    /// row of the embedding.
    pub fn bytes_per_step(&self) -> usize {
        let linears = self.layer_ids().filter_map(|id| self.linear(id).ok());
        let norms = self.layers.len() * 2 + 1;
        linears.map(|linear| linear.bytes()).sum::<usize>()
            + size_of::<f32>() * self.config.hidden_size * (norms + 1)
    }
}
