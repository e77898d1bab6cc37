//! Every storage format that the course writes and reads, one value for each.
//!
//! A [`Description`] is complete: the name on the command line, the three
//! answers, the overhead, the tensors that a matrix becomes, the config, who reads
//! it, and how weights are rounded, stored and decoded. Byte counts, plans, loaders, help texts and
//! tables derive from it. A new format is a file with a description, and a line in [`ALL`]; a forgotten
//! field does not compile, and neither does a description that is missing in [`ALL`].
//!
//! Quantizing has three stages. *Transform* changes a tensor exactly, before anything is rounded;
//! *round* chooses the codes ([`StorageFormat::round`] takes the nearest); *store* lays them out
//! ([`StorageFormat::store`]). Any transform goes with any rounding and any storage, because
//! [`Codes`] is all that lies between the last two.

// A format that is missing in `ALL` is nowhere else either, so it must not be a mere warning.
#![deny(dead_code)]

mod activations;
mod bitsandbytes;
mod block_formats;
mod channels;
mod codes;
mod compressed;
mod decision;
mod groups;
mod microscaling;
mod mixes;
mod nearest;
mod plain;
mod plan;

use std::fmt::{self, Display};

use ndarray::Array2;
use serde_json::Value;

pub use crate::stored_part::StoredPart;
pub use activations::{ActivationFormat, Scales as ActivationScales};
pub use block_formats::encode as encode_blocks;
pub use codes::Codes;
pub use decision::{Decision, Reason, blocks, part};
pub use groups::WITH_ZERO_POINTS;
pub use mixes::{Layers, Mix, Rule, Whole, for_rows};
pub use plan::{bits_per_weight, bits_per_weight_of, decide, left_alone, parts};

use crate::FormatError;
use crate::bytes::Float;
use crate::checkpoint::{Dtype, Scheme};
use crate::dequantize::{Layout, dequantize};
use crate::format::{Format, Grid, Group, Overhead};
use crate::gguf::{self, TensorType, k_quants};
use crate::microscaling::Element;

/// Every format, in the order of help texts and tables.
pub const ALL: [&Description; 24] = [
    &plain::NONE,
    &channels::W8A8,
    &channels::W8A16,
    &groups::W4A16,
    &groups::W4A16_ASYM,
    &groups::AWQ,
    &groups::GPTQ,
    &groups::GPTQ_3BIT,
    &channels::FP8,
    &channels::FP8_TENSOR,
    &channels::FP8_BLOCK,
    &microscaling::MXFP8,
    &microscaling::MXFP4,
    &microscaling::NVFP4,
    &bitsandbytes::NF4,
    &block_formats::Q8_0,
    &block_formats::Q4_0,
    &block_formats::Q4_1,
    &block_formats::MXFP4,
    &mixes::Q3_K_M,
    &mixes::Q4_K_S,
    &mixes::Q4_K_M,
    &mixes::Q5_K_M,
    &mixes::Q6_K,
];

/// The nearest codes of a matrix `[out_features, in_features]`.
type Round = fn(StorageFormat, &Array2<f32>) -> Result<Codes, FormatError>;
/// The bytes of each part.
type Store = fn(&Codes) -> Result<Vec<Vec<u8>>, FormatError>;
/// A tensor of a file: what follows the module's name, type, shape.
type Part = (&'static str, Dtype, Vec<u64>);

/// A storage format: everything that byte counts, plans, loaders, help texts and tables derive from.
#[derive(Debug)]
pub struct Description {
    /// The name on the command line.
    pub name: &'static str,
    /// A line of a help text.
    pub about: &'static str,
    /// The grid of the weights.
    pub weights: Grid,
    /// The grid of the activations, whose scales are found while the model runs; `None` leaves them in
    /// floats.
    pub activations: Option<Grid>,
    /// The weights that share a scale.
    pub granularity: Granularity,
    /// Bits of overhead for each scale: the scale, then a zero point or a minimum.
    pub overhead: &'static [u32],
    /// A number that the matrices of a fused layer share.
    pub shared: Option<Shared>,
    /// What `out_features` and `in_features` must be multiples of, besides whole groups.
    pub multiples: [u64; 2],
    /// The file, and what a matrix becomes in it.
    pub file: File,
    /// How the reader of checkpoints calls the layout of a matrix; `None` for floats.
    pub scheme: Option<Scheme>,
    /// Engines that read it.
    pub read_by: &'static [Reader],
    /// Whether a matrix that the inspector found in a checkpoint is stored so.
    round: Round,
    store: Store,
}

/// A number that is stored once for a matrix, and that the matrices of a fused layer have in common: an
/// engine multiplies q, k and v as one matrix, and gate and up.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Its bits.
    pub bits: u32,
    /// The nearest codes of a matrix `[out_features, in_features]`, where `absmax` is the largest
    /// magnitude of all matrices that share the number.
    pub round: fn(w: &Array2<f32>, absmax: f32) -> Result<Codes, FormatError>,
}

/// The weights that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// There is no scale.
    None,
    /// The matrix has one.
    Tensor,
    /// A row has one.
    Channel,
    /// A block of so many rows and columns has one; a block at the edge may be smaller.
    Block(u64, u64),
    /// A group of neighbours in a row has one; the size is an option of the command line.
    ChosenGroup,
    /// This many neighbours in a row have one.
    FixedGroup(u64),
}

/// The file that a format is stored in.
#[derive(Debug)]
pub enum File {
    /// A folder of safetensors with a `config.json`.
    Safetensors {
        /// The tensors that a matrix `[out_features, in_features]` in groups of a size becomes.
        parts: fn([u64; 2], u64) -> Vec<Part>,
        /// `quantization_config`, for a group size and the modules that stay floats.
        config: fn(u64, &[String]) -> Option<Value>,
    },
    /// A GGUF file: a matrix stays one tensor, in blocks of this type.
    Gguf(TensorType),
    /// A GGUF file whose tensors have different types.
    Mixed(Mix),
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// This course's own model.
    Course,
    /// vLLM.
    Vllm,
    /// llama.cpp.
    LlamaCpp,
}

impl Reader {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Course => "this course",
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
        }
    }
}

impl Description {
    /// Whether codes are int4 in groups of a chosen size, as lab 03 makes them.
    pub fn is_int4_in_chosen_groups(&self) -> bool {
        self.weights == Grid::Int(4) && self.granularity == Granularity::ChosenGroup
    }

    /// Whether codes are integers in groups of a chosen size, int4 or of fewer bits.
    pub fn is_int_in_chosen_groups(&self) -> bool {
        matches!(self.weights, Grid::Int(_)) && self.granularity == Granularity::ChosenGroup
    }

    /// Whether codes are int8 with a scale for each row, as lab 01 makes them.
    pub fn is_int8_per_channel(&self) -> bool {
        self.weights == Grid::Int(8) && self.granularity == Granularity::Channel
    }

    /// The floats that codes are, where scales are stored beside the codes.
    pub fn elements(&self) -> Option<Element> {
        match (self.weights, &self.file) {
            (Grid::E2M1, File::Safetensors { .. }) => Some(Element::E2M1),
            (Grid::E4M3, File::Safetensors { .. }) => Some(Element::E4M3),
            _ => None,
        }
    }

    /// Why codes cannot be chosen one after the other under scales that are there before, as GPTQ does;
    /// `None` where they can.
    pub fn refuses_feedback(&self) -> Option<&'static str> {
        if self.granularity == Granularity::None {
            return Some("nothing is rounded");
        }
        let has_even_steps = match self.file {
            File::Gguf(kind) => gguf::last_code(kind).is_some(),
            File::Mixed(_) => true,
            File::Safetensors { .. } => false,
        };
        let has_scales_first = self.is_int_in_chosen_groups()
            || self.is_int8_per_channel()
            || self.elements().is_some()
            || has_even_steps;
        (!has_scales_first).then_some("its codes are not even steps")
    }
}

/// A format with the size of its groups.
#[derive(Clone, Copy, Debug)]
pub struct StorageFormat {
    /// The format.
    pub description: &'static Description,
    /// Neighbours in a row that share a scale; 0 where a row has one scale or none.
    pub group_size: u64,
}

impl StorageFormat {
    /// The format that the command line calls `name`; `group_size` is for those whose group is chosen.
    ///
    /// # Errors
    /// If there is no such format, or the size is not a positive multiple of 8: eight codes share a
    /// word.
    pub fn named(name: &str, group_size: u64) -> Result<Self, FormatError> {
        if group_size == 0 || !group_size.is_multiple_of(8) {
            return Err(FormatError::GroupSize(group_size));
        }
        let found = ALL.into_iter().find(|description| description.name == name);
        let description = found.ok_or_else(|| FormatError::NoFormat {
            name: name.into(),
            known: ALL.map(|description| description.name).join(", "),
        })?;
        Ok(Self::new(description, group_size))
    }

    /// `description` in groups of `group_size`, where the size is chosen.
    pub(crate) fn new(description: &'static Description, group_size: u64) -> Self {
        let group_size = match description.granularity {
            Granularity::ChosenGroup => group_size,
            Granularity::FixedGroup(size) => size,
            _ => 0,
        };
        Self { description, group_size }
    }

    /// Whether a transform may change the tensors: its scales divide activations that are quantized. A
    /// GGUF file keeps its own order of rows, which the scales for Hugging Face's order do not fit.
    pub fn takes_a_transform(&self) -> bool {
        self.description.activations == Some(Grid::Int(8)) && !self.is_gguf()
    }

    /// Whether a file in this format is a GGUF file.
    pub fn is_gguf(self) -> bool {
        matches!(self.description.file, File::Gguf(_) | File::Mixed(_))
    }

    /// What `config.json` says under `quantization_config` when the modules `left_alone` stay floats;
    /// `None` where there is nothing to say.
    pub fn config(self, left_alone: &[String]) -> Option<Value> {
        match self.description.file {
            File::Safetensors { config, .. } => config(self.group_size, left_alone),
            File::Gguf(_) | File::Mixed(_) => None,
        }
    }

    /// Whether the config has a place for the scheme of a cache: compressed-tensors' has, and a config that is
    /// made for the scheme alone.
    pub fn takes_kv_scales(self) -> bool {
        self.has_compressed_config()
    }

    /// Whether the config has a place for rotations that an engine computes while the model runs: the same
    /// configs.
    pub fn takes_transform_config(self) -> bool {
        self.has_compressed_config()
    }

    fn has_compressed_config(self) -> bool {
        let is_theirs = |config: &Value| config["quant_method"] == "compressed-tensors";
        !self.is_gguf() && self.config(&[]).as_ref().is_none_or(is_theirs)
    }

    /// The three answers, in a form that arithmetic can use. Activations that are not quantized are
    /// `float`.
    pub fn answers(self, float: Grid) -> Format {
        let per = self.group();
        let overhead = self.description.overhead.iter().map(|&bits| Overhead { bits, per });
        let super_block = match self.description.file {
            File::Mixed(mix) => mix.super_block,
            _ => &[],
        };
        let super_block = super_block
            .iter()
            .map(|&bits| Overhead { bits, per: Group::Size(k_quants::layout::MOST as u64) });
        let shared = self.description.shared.iter();
        let shared = shared.map(|shared| Overhead { bits: shared.bits, per: Group::Tensor });
        let weights = match self.description.granularity {
            Granularity::None => float,
            _ => self.description.weights,
        };
        Format {
            name: self.to_string().into(),
            weights,
            activations: self.description.activations.unwrap_or(float),
            overhead: overhead.chain(super_block).chain(shared).collect(),
        }
    }

    /// The second stage: the codes of `w`, `[out_features, in_features]`, each the nearest to its
    /// weight.
    ///
    /// # Errors
    /// For NaN and infinity, a group that does not divide the rows, and a scale beyond its type.
    pub fn round(self, w: &Array2<f32>) -> Result<Codes, FormatError> {
        (self.description.round)(self, w)
    }

    /// As [`StorageFormat::round`], where `absmax` is the largest magnitude of all matrices that share a number
    /// with `w`, if the format has such a number.
    ///
    /// # Errors
    /// As [`StorageFormat::round`].
    pub fn round_among(self, w: &Array2<f32>, absmax: Option<f32>) -> Result<Codes, FormatError> {
        match (self.description.shared, absmax) {
            (Some(shared), Some(absmax)) => (shared.round)(w, absmax),
            _ => self.round(w),
        }
    }

    /// The third stage: the bytes of each part, in the order of [`parts`].
    ///
    /// # Errors
    /// If the codes are those of another grid, or the layout cannot store them.
    pub fn store(self, codes: &Codes) -> Result<Vec<Vec<u8>>, FormatError> {
        (self.description.store)(codes)
    }

    /// The way back: the matrix of `shape`, `[out_features, in_features]`, that `parts` stand for.
    ///
    /// # Errors
    /// If the parts are not those of such a matrix.
    pub fn decode(
        self,
        shape: [usize; 2],
        parts: &[StoredPart],
    ) -> Result<Array2<f32>, FormatError> {
        let scheme = self.description.scheme.ok_or(FormatError::NothingQuantized)?;
        let bits = self.description.weights.bits().into();
        dequantize(Layout { scheme, bits, group: self.group() }, shape, parts)
    }

    /// The numbers that `codes` of a matrix of `shape` stand for, read back from their bytes.
    ///
    /// # Errors
    /// As [`StorageFormat::store`] and [`StorageFormat::decode`].
    pub fn values(self, shape: [usize; 2], codes: &Codes) -> Result<Array2<f32>, FormatError> {
        if let Codes::Blocks { kind, bytes } = codes {
            // The types of a mix differ, so the blocks say which they are.
            let (scheme, bits) = (Scheme::Ggml(*kind), self.description.weights.bits().into());
            let tensor = blocks("m.weight", *kind, &shape.map(|axis| axis as u64));
            let part = StoredPart { tensor, bytes: bytes.clone() };
            return dequantize(Layout { scheme, bits, group: self.group() }, shape, &[part]);
        }
        let w = part("m", "weight", Dtype::F32, &shape.map(|axis| axis as u64));
        let stored = parts(&w, self, Float::F32).into_iter().zip(self.store(codes)?);
        let stored: Vec<_> = stored.map(|(tensor, bytes)| StoredPart { tensor, bytes }).collect();
        self.decode(shape, &stored)
    }

    /// The weights that share a scale.
    fn group(self) -> Group {
        match self.description.granularity {
            Granularity::None | Granularity::Tensor => Group::Tensor,
            Granularity::Block(rows, columns) => Group::Block(rows, columns),
            Granularity::Channel => Group::Channel,
            Granularity::ChosenGroup | Granularity::FixedGroup(_) => Group::Size(self.group_size),
        }
    }
}

impl PartialEq for StorageFormat {
    fn eq(&self, other: &Self) -> bool {
        self.description.name == other.description.name && self.group_size == other.group_size
    }
}

/// The name on the command line.
impl Display for StorageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.description.name)
    }
}
