//! The mixes of k-quants in a GGUF file: a type for each tensor, by its name and its layer, as `llama-quantize`
//! chooses types (`llama_tensor_get_type_impl` of llama.cpp build 11434).
//!
//! A tensor whose rows have no whole super-blocks gets a type with blocks of 32 instead, which is larger.
//! llama.cpp has exceptions for some models, which are not known here: those of eight experts, Falcon.

use super::block_formats::{encode, stored};
use super::{Codes, Description, File, Granularity, Reader};
use crate::FormatError;
use crate::checkpoint::{Scheme, Tensor};
use crate::format::Grid;
use crate::gguf::TensorType;

/// A type for each tensor.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// The type of every matrix without a rule of its own.
    pub base: TensorType,
    /// llama.cpp's number for such a file (`llama_ftype`).
    pub file_type: u32,
    /// The value projections.
    pub values: Rule,
    /// The down projections.
    pub down: Rule,
    /// The output projections of attention.
    pub outputs: TensorType,
    /// Bits that a super-block has beside its sub-blocks.
    pub super_block: &'static [u32],
}

/// One type in some layers, another in the rest.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The layers.
    pub layers: Layers,
    /// Their type.
    pub kind: TensorType,
    /// The type of the others.
    pub others: TensorType,
}

/// Some layers of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// None.
    None,
    /// The first so many.
    First(usize),
    /// The first of so many equal parts.
    FirstOf(usize),
    /// The first eighth, the last eighth and each third between (`use_more_bits`).
    MoreBits,
}

impl Layers {
    /// Whether layer `index` of `count` is one of them. Divisions are those of integers.
    pub fn include(self, index: usize, count: usize) -> bool {
        match self {
            Self::None => false,
            Self::First(first) => index < first,
            Self::FirstOf(parts) => index < count / parts,
            Self::MoreBits => {
                let eighth = count / 8;
                index < eighth || index >= 7 * count / 8 || (index - eighth) % 3 == 2
            }
        }
    }
}

/// The matrices of a model, as a mix sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Embedding,
    Head,
    Values,
    Down,
    Outputs,
    Other,
}

impl Role {
    fn of(name: &str) -> Option<Self> {
        let module = name.strip_suffix(".weight")?;
        Some(match module.rsplit('.').next()? {
            "embed_tokens" => Self::Embedding,
            "lm_head" => Self::Head,
            "v_proj" => Self::Values,
            "down_proj" => Self::Down,
            "o_proj" => Self::Outputs,
            _ => Self::Other,
        })
    }
}

/// The number of the decoder layer in a tensor's name.
fn layer(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once("layers.")?;
    rest.split('.').next()?.parse().ok()
}

/// What a mix looks at beside a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    layers: usize,
    is_tied: bool,
    /// Whether llama.cpp takes the model for a Llama of 70 billion weights, whose value projections are so small
    /// beside the others that more bits cost next to nothing.
    is_70b: bool,
}

impl Whole {
    /// The facts of a model with these tensors.
    pub fn of(tensors: &[Tensor]) -> Self {
        let last = tensors.iter().filter_map(|tensor| layer(&tensor.name)).max();
        let is_tied = !tensors.iter().any(|tensor| Role::of(&tensor.name) == Some(Role::Head));
        let outputs = |module: &str| {
            let of_module = |tensor: &&Tensor| tensor.name.ends_with(module);
            tensors.iter().find(of_module).and_then(|tensor| tensor.shape.first())
        };
        let layers = last.map_or(0, |last| last + 1);
        let shares_values = outputs(".v_proj.weight") < outputs(".q_proj.weight");
        Self { layers, is_tied, is_70b: layers == 80 && shares_values }
    }
}

impl Mix {
    /// The type of a tensor of a model; `None` for one that is no weight matrix.
    pub fn kind(&self, tensor: &Tensor, whole: Whole) -> Option<TensorType> {
        let &[_, inputs] = tensor.shape.as_slice() else { return None };
        let by = |rule: Rule| {
            let included = rule.layers.include(layer(&tensor.name).unwrap_or(0), whole.layers);
            if included { rule.kind } else { rule.others }
        };
        let kind = match Role::of(&tensor.name)? {
            // A tied embedding makes the logits as well.
            Role::Embedding if !whole.is_tied => self.base,
            Role::Head | Role::Embedding if fits(self.base, inputs) => TensorType::Q6_K,
            Role::Head | Role::Embedding => TensorType::Q8_0,
            Role::Values => match by(self.values) {
                TensorType::Q3_K | TensorType::Q4_K if whole.is_70b => TensorType::Q5_K,
                kind => kind,
            },
            Role::Down => by(self.down),
            Role::Outputs => self.outputs,
            Role::Other => self.base,
        };
        Some(for_rows(kind, inputs))
    }
}

/// Whether rows of so many weights are whole blocks.
fn fits(kind: TensorType, inputs: u64) -> bool {
    kind.block().is_some_and(|(weights, _)| inputs.is_multiple_of(weights as u64))
}

/// What replaces a type whose blocks do not fit the rows (`tensor_type_fallback`).
const INSTEAD: [(TensorType, TensorType); 5] = [
    (TensorType::Q2_K, TensorType::Q4_0),
    (TensorType::Q3_K, TensorType::Q4_0),
    (TensorType::Q4_K, TensorType::Q5_0),
    (TensorType::Q5_K, TensorType::Q5_1),
    (TensorType::Q6_K, TensorType::Q8_0),
];

/// `kind`, or the type that replaces it for rows of so many weights: F16 where blocks of 32 do not fit either.
pub fn for_rows(kind: TensorType, inputs: u64) -> TensorType {
    if fits(kind, inputs) {
        return kind;
    }
    let instead = INSTEAD.iter().find(|(of, _)| *of == kind).map(|(_, instead)| *instead);
    instead.filter(|&instead| fits(instead, inputs)).unwrap_or(TensorType::F16)
}

/// A mix as a format. A matrix by itself has the base type, or what replaces it.
const fn of(
    name: &'static str,
    about: &'static str,
    bits: u32,
    group: u64,
    overhead: &'static [u32],
    mix: Mix,
) -> Description {
    Description {
        name,
        about,
        weights: Grid::Int(bits),
        activations: Some(Grid::Int(8)),
        granularity: Granularity::FixedGroup(group),
        overhead,
        shared: None,
        multiples: [1, 32],
        file: File::Mixed(mix),
        scheme: Some(Scheme::Ggml(mix.base)),
        read_by: &[Reader::Course, Reader::LlamaCpp],
        round: |format, w| match format.description.file {
            File::Mixed(mix) => {
                let kind = for_rows(mix.base, w.ncols() as u64);
                Ok(Codes::Blocks { kind, bytes: encode(kind, w.view(), None)? })
            }
            _ => Err(FormatError::WrongCodes("GGUF")),
        },
        store: |codes: &Codes| stored(codes),
    }
}

const fn always(kind: TensorType) -> Rule {
    Rule { layers: Layers::None, kind, others: kind }
}

const fn more_bits(others: TensorType) -> Rule {
    Rule { layers: Layers::MoreBits, kind: TensorType::Q6_K, others }
}

pub(super) const Q3_K_M: Description = of(
    "gguf-q3_k_m",
    "3 to 6 bits by tensor, mostly Q3_K in super-blocks (GGUF Q3_K_M)",
    3,
    16,
    &[6],
    Mix {
        base: TensorType::Q3_K,
        file_type: 12,
        values: Rule { layers: Layers::First(2), kind: TensorType::Q5_K, others: TensorType::Q4_K },
        down: Rule {
            layers: Layers::FirstOf(16),
            kind: TensorType::Q5_K,
            others: TensorType::Q4_K,
        },
        outputs: TensorType::Q4_K,
        super_block: &[16],
    },
);
pub(super) const Q4_K_S: Description = of(
    "gguf-q4_k_s",
    "4 to 6 bits by tensor, mostly Q4_K in super-blocks (GGUF Q4_K_S)",
    4,
    32,
    &[6, 6],
    Mix {
        base: TensorType::Q4_K,
        file_type: 14,
        values: Rule { layers: Layers::First(4), kind: TensorType::Q5_K, others: TensorType::Q4_K },
        down: Rule { layers: Layers::FirstOf(8), kind: TensorType::Q5_K, others: TensorType::Q4_K },
        outputs: TensorType::Q4_K,
        super_block: &[16, 16],
    },
);
pub(super) const Q4_K_M: Description = of(
    "gguf-q4_k_m",
    "4 to 6 bits by tensor, half of values and down in Q6_K, the rest Q4_K (GGUF Q4_K_M)",
    4,
    32,
    &[6, 6],
    Mix {
        base: TensorType::Q4_K,
        file_type: 15,
        values: more_bits(TensorType::Q4_K),
        down: more_bits(TensorType::Q4_K),
        outputs: TensorType::Q4_K,
        super_block: &[16, 16],
    },
);
pub(super) const Q5_K_M: Description = of(
    "gguf-q5_k_m",
    "5 to 6 bits by tensor, half of values and down in Q6_K, the rest Q5_K (GGUF Q5_K_M)",
    5,
    32,
    &[6, 6],
    Mix {
        base: TensorType::Q5_K,
        file_type: 17,
        values: more_bits(TensorType::Q5_K),
        down: more_bits(TensorType::Q5_K),
        outputs: TensorType::Q5_K,
        super_block: &[16, 16],
    },
);
pub(super) const Q6_K: Description = of(
    "gguf-q6_k",
    "6 bits in super-blocks (GGUF Q6_K)",
    6,
    16,
    &[8],
    Mix {
        base: TensorType::Q6_K,
        file_type: 18,
        values: always(TensorType::Q6_K),
        down: always(TensorType::Q6_K),
        outputs: TensorType::Q6_K,
        super_block: &[16],
    },
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::blocks;

    fn included(layers: Layers, count: usize) -> Vec<usize> {
        (0..count).filter(|&index| layers.include(index, count)).collect()
    }

    #[test]
    fn half_of_the_layers_get_more_bits_and_the_divisions_are_those_of_integers() {
        let of_30 = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29];
        assert_eq!(included(Layers::MoreBits, 30), of_30);
        let count = |layers| included(Layers::MoreBits, layers).len();
        assert_eq!([32, 28, 24, 22, 16].map(count), [16, 14, 12, 10, 8]);
        assert_eq!(included(Layers::FirstOf(8), 30), [0, 1, 2]);
        assert_eq!(included(Layers::First(2), 1), [0]);
    }

    #[test]
    fn rows_without_super_blocks_get_a_larger_type_and_the_tied_embedding_is_the_head() {
        let tensor = |name: &str, shape: &[u64]| blocks(name, TensorType::F32, shape);
        let File::Mixed(mix) = Q4_K_M.file else { panic!("a mix") };
        let tensors = [
            tensor("model.embed_tokens.weight", &[49152, 576]),
            tensor("model.layers.0.self_attn.v_proj.weight", &[192, 576]),
            tensor("model.layers.0.self_attn.q_proj.weight", &[576, 576]),
            tensor("model.layers.0.mlp.down_proj.weight", &[576, 1536]),
            tensor("model.layers.3.mlp.down_proj.weight", &[576, 1536]),
            tensor("model.layers.29.mlp.down_proj.weight", &[576, 1540]),
            tensor("model.norm.weight", &[576]),
        ];
        let of = |tensors: &[Tensor]| -> Vec<String> {
            let whole = Whole::of(tensors);
            let kinds = tensors.iter().filter_map(|tensor| mix.kind(tensor, whole));
            kinds.map(|kind| kind.to_string()).collect()
        };
        assert_eq!(of(&tensors), ["Q8_0", "Q8_0", "Q5_0", "Q6_K", "Q4_K", "F16"]);
        let untied = [
            tensor("model.embed_tokens.weight", &[100, 512]),
            tensor("lm_head.weight", &[100, 512]),
        ];
        assert_eq!(of(&untied), ["Q4_K", "Q6_K"]);
    }
}
