//! What is known of each `model_type`: where it differs from Llama.
//!
//! Source: the configuration and modelling files of transformers 4.57.3. `kimi_k2` is read as
//! DeepSeek-V3, whose keys its config has; the published number of weights agrees.

/// A family of models, by the `model_type` of its config.json.
#[derive(Clone, Copy)]
pub(super) struct Family {
    /// Its names, a space between two.
    pub(super) types: &'static str,
    /// Whether head and embedding are one where `tie_word_embeddings` is absent.
    pub(super) tied: bool,
    /// Matrices of an MLP: gate, up and down, or two.
    pub(super) mlp: u64,
    /// Vectors of the width of the stream that the norms of a layer have, and the last norm.
    pub(super) norms: [u64; 2],
    /// Norms of queries and keys.
    pub(super) qk_norm: QkNorm,
    /// Biases of query, key and value, of the output, of the MLP.
    pub(super) biases: [Bias; 3],
    /// Sizes where the config has no such key, as transformers' config class has them: `key size`, with commas.
    pub(super) defaults: &'static str,
    /// Layers whose keys and values are those of a window.
    pub(super) window: Window,
    /// How keys and values are made.
    pub(super) attention: Attention,
    /// The experts.
    pub(super) experts: Option<Experts>,
}

impl Family {
    /// The size under `key` where the config has none.
    pub(super) fn default(&self, key: &str) -> Option<u64> {
        let mut sizes = self.defaults.split(", ").filter_map(|size| size.split_once(' '));
        sizes.find(|(known, _)| *known == key)?.1.parse().ok()
    }
}

#[derive(Clone, Copy)]
pub(super) enum Bias {
    No,
    Yes,
    /// By a key of the config, which has this value where it is absent.
    Key(&'static str, bool),
}

#[derive(Clone, Copy)]
pub(super) enum QkNorm {
    /// None.
    No,
    /// `head_dim` weights each.
    Head,
    /// As many as queries and keys are wide.
    Full,
    /// [`Self::Head`] where this key is true.
    HeadIf(&'static str),
    /// [`Self::Full`] where this key is true.
    FullIf(&'static str),
}

#[derive(Clone, Copy)]
pub(super) enum Window {
    Never,
    /// Every layer, of the `sliding_window` that is not null.
    All,
    /// Where `use_sliding_window` is true, the layers from `max_window_layers` on.
    Flag,
    /// All but each so-manieth layer, of the window in this key.
    Pattern(u64, &'static str),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Attention {
    /// Heads of queries share heads of keys and values.
    Grouped,
    /// Multi-head latent attention: a token keeps `kv_lora_rank + qk_rope_head_dim` numbers.
    Latent,
}

#[derive(Clone, Copy)]
pub(super) struct Experts {
    /// Keys of their number and of the width of one.
    pub(super) count: &'static str,
    pub(super) width: &'static str,
    /// The key of the width of an MLP in a layer without experts.
    pub(super) dense: &'static str,
    pub(super) shared: Shared,
    /// Whether the router has a number for each expert besides its matrix.
    pub(super) router_bias: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Shared {
    No,
    /// One expert that every token passes.
    One,
    /// The key of how many.
    Count(&'static str),
    /// The key of the width of one, which has a gate.
    Gated(&'static str),
}

const LLAMA: Family = Family {
    types: "llama granite",
    tied: false,
    mlp: 3,
    norms: [2, 1],
    qk_norm: QkNorm::No,
    biases: [ATTENTION, ATTENTION, Bias::Key("mlp_bias", false)],
    defaults: "",
    window: Window::Never,
    attention: Attention::Grouped,
    experts: None,
};
const ATTENTION: Bias = Bias::Key("attention_bias", false);
/// The same key, which is true where it is absent.
const BIASED: Bias = Bias::Key("attention_bias", true);
const NO_MLP: [Bias; 3] = [ATTENTION, ATTENTION, Bias::No];
const NO_BIAS: [Bias; 3] = [Bias::No; 3];
const QKV: [Bias; 3] = [ATTENTION, Bias::No, Bias::No];

/// Experts of which each has the width of the MLP of a dense model.
const MIXTRAL: Experts = Experts {
    count: "num_local_experts",
    width: "intermediate_size",
    dense: "intermediate_size",
    shared: Shared::No,
    router_bias: false,
};
/// Experts of a width of their own.
const FINE: Experts = Experts { count: "num_experts", width: "moe_intermediate_size", ..MIXTRAL };
const DEEPSEEK: Experts = Experts {
    count: "n_routed_experts",
    shared: Shared::Count("n_shared_experts"),
    router_bias: true,
    ..FINE
};
const LATENT: Family =
    Family { attention: Attention::Latent, biases: NO_BIAS, experts: Some(DEEPSEEK), ..LLAMA };
const GEMMA: Family =
    Family { types: "gemma", tied: true, biases: NO_MLP, defaults: "head_dim 256", ..LLAMA };
const QWEN2: Family = Family {
    types: "qwen2",
    biases: [Bias::Yes, Bias::No, Bias::No],
    window: Window::Flag,
    ..LLAMA
};
const QWEN3: Family = Family {
    types: "qwen3",
    qk_norm: QkNorm::Head,
    biases: NO_MLP,
    defaults: "head_dim 128",
    ..QWEN2
};

/// Every family.
pub(super) const FAMILIES: &[Family] = &[
    LLAMA,
    Family { types: "smollm3", tied: true, ..LLAMA },
    Family {
        types: "mistral",
        biases: NO_BIAS,
        defaults: "sliding_window 4096, num_key_value_heads 8",
        window: Window::All,
        ..LLAMA
    },
    Family { types: "phi3", biases: NO_BIAS, window: Window::All, ..LLAMA },
    Family {
        types: "mixtral",
        biases: NO_BIAS,
        defaults: "num_key_value_heads 8, num_local_experts 8, num_experts_per_tok 2",
        window: Window::All,
        experts: Some(MIXTRAL),
        ..LLAMA
    },
    Family {
        types: "granitemoe",
        biases: NO_MLP,
        defaults: "num_local_experts 8, num_experts_per_tok 2",
        experts: Some(MIXTRAL),
        ..LLAMA
    },
    QWEN2,
    Family {
        types: "qwen2_moe",
        biases: [Bias::Key("qkv_bias", true), Bias::No, Bias::No],
        defaults: "num_experts 60, num_experts_per_tok 4, moe_intermediate_size 1408, \
            shared_expert_intermediate_size 5632",
        experts: Some(Experts { shared: Shared::Gated("shared_expert_intermediate_size"), ..FINE }),
        ..QWEN2
    },
    QWEN3,
    Family {
        types: "qwen3_moe",
        defaults: "num_experts 128, num_experts_per_tok 8, moe_intermediate_size 768",
        experts: Some(FINE),
        ..QWEN3
    },
    GEMMA,
    Family {
        types: "gemma2",
        norms: [4, 1],
        defaults: "head_dim 256, sliding_window 4096",
        window: Window::Pattern(2, "sliding_window"),
        ..GEMMA
    },
    Family {
        types: "gemma3_text",
        norms: [4, 1],
        qk_norm: QkNorm::Head,
        // Published configs of gemma 3 leave out what the class has by default.
        defaults: "num_attention_heads 8, num_key_value_heads 4, head_dim 256, vocab_size 262208, \
            sliding_window 4096",
        window: Window::Pattern(6, "sliding_window"),
        ..GEMMA
    },
    Family {
        types: "gpt_neox",
        mlp: 2,
        // A layer norm has a bias as well.
        norms: [4, 2],
        biases: [BIASED, BIASED, Bias::Yes],
        ..LLAMA
    },
    Family {
        types: "starcoder2",
        tied: true,
        mlp: 2,
        norms: [4, 2],
        biases: [Bias::Key("use_bias", true); 3],
        window: Window::All,
        ..LLAMA
    },
    Family { types: "olmo", norms: [0, 0], biases: NO_MLP, ..LLAMA },
    Family { types: "olmo2", qk_norm: QkNorm::Full, biases: NO_MLP, ..LLAMA },
    Family {
        types: "olmoe",
        qk_norm: QkNorm::Full,
        biases: NO_MLP,
        defaults: "num_experts 64, num_experts_per_tok 8",
        experts: Some(Experts { count: "num_experts", ..MIXTRAL }),
        ..LLAMA
    },
    Family {
        types: "cohere",
        tied: true,
        norms: [1, 1],
        qk_norm: QkNorm::FullIf("use_qk_norm"),
        biases: NO_MLP,
        ..LLAMA
    },
    Family { types: "glm", biases: [BIASED, Bias::No, Bias::No], ..GLM4 },
    Family { norms: [4, 1], ..GLM4 },
    Family {
        types: "glm4_moe",
        biases: QKV,
        qk_norm: QkNorm::HeadIf("use_qk_norm"),
        defaults: "n_shared_experts 1, first_k_dense_replace 1",
        experts: Some(DEEPSEEK),
        ..LLAMA
    },
    Family {
        types: "gpt_oss",
        biases: [BIASED, BIASED, Bias::Yes],
        defaults: "head_dim 64, num_key_value_heads 8, num_local_experts 128, \
            num_experts_per_tok 4, sliding_window 128",
        window: Window::Pattern(2, "sliding_window"),
        experts: Some(Experts { router_bias: true, ..MIXTRAL }),
        ..LLAMA
    },
    Family {
        types: "llama4_text",
        biases: NO_MLP,
        defaults: "head_dim 128, num_key_value_heads 8, num_local_experts 16, \
            num_experts_per_tok 1, intermediate_size_mlp 16384, attention_chunk_size 8192",
        // Three of four layers see the chunk of a token only.
        window: Window::Pattern(4, "attention_chunk_size"),
        experts: Some(Experts { dense: "intermediate_size_mlp", shared: Shared::One, ..MIXTRAL }),
        ..LLAMA
    },
    Family {
        types: "deepseek_v2",
        experts: Some(Experts { router_bias: false, ..DEEPSEEK }),
        ..LATENT
    },
    Family {
        types: "deepseek_v3 kimi_k2",
        defaults: "first_k_dense_replace 3, num_experts_per_tok 8",
        ..LATENT
    },
];

const GLM4: Family = Family {
    types: "glm4",
    biases: [BIASED, Bias::No, Bias::No],
    defaults: "head_dim 128, num_key_value_heads 2",
    ..LLAMA
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_key_and_a_number() {
        let defaults = FAMILIES.iter().flat_map(|family| family.defaults.split(", "));
        for default in defaults.filter(|default| !default.is_empty()) {
            let number = default.split_once(' ').map(|(_, size)| size.parse::<u64>());
            assert!(matches!(number, Some(Ok(_))), "{default}");
        }
    }
}
