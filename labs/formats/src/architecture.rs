//! The sizes of published models, and the matrices that follow from them.

/// The sizes of a dense Llama-like decoder, as its `config.json` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Decoder layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width inside the MLP.
    pub intermediate: u64,
    /// Query heads.
    pub heads: u64,
    /// Key-value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Tokens in the vocabulary.
    pub vocabulary: u64,
    /// Whether the head is the embedding, stored once.
    pub tied: bool,
    /// Whether the query, key and value projections have a bias (Qwen2).
    pub qkv_bias: bool,
    /// Whether queries and keys have a norm of `head_dim` weights each (Qwen3).
    pub qk_norm: bool,
}

/// Published models, smallest first: the name and the sizes.
pub const PUBLISHED: [(&str, Architecture); 7] = [
    ("SmolLM2-135M", SMOLLM2_135M),
    ("Qwen2.5-0.5B", QWEN25_05B),
    ("Mistral-7B-v0.1", MISTRAL_7B),
    ("Qwen2.5-7B", QWEN25_7B),
    ("Llama-3.1-8B", LLAMA31_8B),
    ("Qwen3-8B", QWEN3_8B),
    ("Llama-3.1-70B", LLAMA31_70B),
];

/// SmolLM2-135M.
pub const SMOLLM2_135M: Architecture =
    Architecture { tied: true, ..decoder([30, 576, 1536, 9, 3, 64, 49_152]) };
/// Qwen2.5-0.5B.
pub const QWEN25_05B: Architecture =
    Architecture { tied: true, qkv_bias: true, ..decoder([24, 896, 4864, 14, 2, 64, 151_936]) };
/// Mistral-7B-v0.1.
pub const MISTRAL_7B: Architecture = decoder([32, 4096, 14_336, 32, 8, 128, 32_000]);
/// Qwen2.5-7B.
pub const QWEN25_7B: Architecture =
    Architecture { qkv_bias: true, ..decoder([28, 3584, 18_944, 28, 4, 128, 152_064]) };
/// Llama-3.1-8B.
pub const LLAMA31_8B: Architecture = Architecture { vocabulary: 128_256, ..MISTRAL_7B };
/// Qwen3-8B.
pub const QWEN3_8B: Architecture =
    Architecture { qk_norm: true, ..decoder([36, 4096, 12_288, 32, 8, 128, 151_936]) };
/// Llama-3.1-70B.
pub const LLAMA31_70B: Architecture = decoder([80, 8192, 28_672, 64, 8, 128, 128_256]);

/// A model with a head of its own and no bias and no norm of queries, by its sizes in the order of
/// [`Architecture`].
const fn decoder(sizes: [u64; 7]) -> Architecture {
    let [layers, hidden, intermediate, heads, kv_heads, head_dim, vocabulary] = sizes;
    Architecture {
        layers,
        hidden,
        intermediate,
        heads,
        kv_heads,
        head_dim,
        vocabulary,
        tied: false,
        qkv_bias: false,
        qk_norm: false,
    }
}

/// Why sizes are those of no model.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchitectureError {
    #[error("{0} is 0: copy it from config.json")]
    Zero(&'static str),
    /// A size that no model has; products of such sizes would leave 64 bits.
    #[error("{what} is {found}: no model has more than {LARGEST}, so this is not its {what}")]
    TooLarge { what: &'static str, found: u64 },
    #[error("{0} parameters are more than any model has: look at the sizes")]
    TooMany(u128),
    #[error("{heads} query heads do not share {kv_heads} key-value heads evenly")]
    Uneven { heads: u64, kv_heads: u64 },
}

/// The largest size that [`Architecture::check`] lets through.
const LARGEST: u64 = 1 << 24;
/// The most parameters that it lets through: 32 bits of each are counted in 61.
const MOST: u128 = 1 << 56;

impl Architecture {
    /// Whether these can be the sizes of a model. After it no count below overflows, nor the bits of
    /// all parameters in any format of up to 64 bits a weight.
    ///
    /// # Errors
    /// If a size is 0 or absurd, or the query heads do not divide among the key-value heads.
    pub fn check(&self) -> Result<(), ArchitectureError> {
        let sizes = [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("intermediate", self.intermediate),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("vocabulary", self.vocabulary),
        ];
        for (what, found) in sizes {
            match found {
                0 => return Err(ArchitectureError::Zero(what)),
                1..=LARGEST => {}
                _ => return Err(ArchitectureError::TooLarge { what, found }),
            }
        }
        let &Self { heads, kv_heads, .. } = self;
        if heads % kv_heads != 0 {
            return Err(ArchitectureError::Uneven { heads, kv_heads });
        }
        // Two of attention's matrices are as large as the other two or larger.
        let [hidden, layers] = [self.hidden, self.layers].map(u128::from);
        let attention = u128::from(heads) * u128::from(self.head_dim);
        let layer = hidden * (4 * attention + 3 * u128::from(self.intermediate));
        let about = layers * layer + 2 * u128::from(self.vocabulary) * hidden;
        if about > MOST { Err(ArchitectureError::TooMany(about)) } else { Ok(()) }
    }

    /// The seven matrices of a layer, `[out_features, in_features]`, in the order in which they run:
    /// query, key, value, output, gate, up, down.
    pub fn layer_matrices(&self) -> [[u64; 2]; 7] {
        let (attention, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        [
            [attention, self.hidden],
            [kv, self.hidden],
            [kv, self.hidden],
            [self.hidden, attention],
            [self.intermediate, self.hidden],
            [self.intermediate, self.hidden],
            [self.hidden, self.intermediate],
        ]
    }

    /// Weights of all linear layers inside the blocks: what is usually quantized.
    pub fn linear_weights(&self) -> u64 {
        self.layers * self.layer_matrices().iter().map(|[out, inputs]| out * inputs).sum::<u64>()
    }

    /// Weights of the embedding and the head; a tied pair counts once.
    pub fn embedding_weights(&self) -> u64 {
        self.vocabulary * self.hidden * if self.tied { 1 } else { 2 }
    }

    /// Weights of norms and biases, which nobody quantizes.
    pub fn vector_weights(&self) -> u64 {
        let bias = (self.heads + 2 * self.kv_heads) * self.head_dim;
        let each = 2 * self.hidden
            + if self.qkv_bias { bias } else { 0 }
            + if self.qk_norm { 2 * self.head_dim } else { 0 };
        self.layers * each + self.hidden
    }

    /// All parameters.
    pub fn parameters(&self) -> u64 {
        self.linear_weights() + self.embedding_weights() + self.vector_weights()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_no_models_are_refused_before_a_product_overflows() {
        for (name, model) in PUBLISHED {
            assert_eq!(model.check(), Ok(()), "{name}");
        }
        let refused = |change: fn(&mut Architecture)| {
            let mut model = LLAMA31_8B;
            change(&mut model);
            model.check()
        };
        assert_eq!(refused(|model| model.layers = 0), Err(ArchitectureError::Zero("layers")));
        assert_eq!(
            refused(|model| model.kv_heads = 5),
            Err(ArchitectureError::Uneven { heads: 32, kv_heads: 5 })
        );
        assert_eq!(
            refused(|model| model.hidden = u64::MAX),
            Err(ArchitectureError::TooLarge { what: "hidden", found: u64::MAX })
        );
        let all = refused(|model| {
            (model.layers, model.hidden, model.heads) = (LARGEST, LARGEST, LARGEST);
        });
        assert!(matches!(all, Err(ArchitectureError::TooMany(_))), "{all:?}");
    }

    /// Parameters of the model, and those in linear layers inside the blocks.
    const COUNTS: [(u64, u64); 7] = [
        (134_515_008, 106_168_320),
        (494_032_768, 357_826_560),
        (7_241_732_096, 6_979_321_856),
        (7_615_616_512, 6_525_288_448),
        (8_030_261_248, 6_979_321_856),
        (8_190_735_360, 6_945_767_424),
        (70_553_706_496, 68_451_041_280),
    ];

    #[test]
    fn the_counts_are_those_of_the_published_checkpoints() {
        for ((name, model), (parameters, linear)) in PUBLISHED.iter().zip(COUNTS) {
            assert_eq!(
                (model.parameters(), model.linear_weights()),
                (parameters, linear),
                "{name}"
            );
        }
    }
}
