//! Sizes of models by their `model_type`: counts that are published, and what is refused.

use formats::architecture::PUBLISHED;
use formats::model_sizes::ModelSizes;
use serde_json::{Value, json};

/// A config of `model_type` with the sizes that nearly all have, and more.
fn config(kind: &str, sizes: [u64; 6], more: Value) -> Value {
    let [layers, hidden, intermediate, heads, kv_heads, vocabulary] = sizes;
    let mut config = json!({"model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden,
        "intermediate_size": intermediate, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocabulary});
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// A latent attention of DeepSeek's sizes.
fn latent(more: Value) -> Value {
    let mut config = json!({"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
        "v_head_dim": 128, "q_lora_rank": 1536});
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// A model, its billions of parameters and of those that a token passes, and numbers in the cache of a
/// sequence of 1 and of 10,000 tokens.
fn published() -> Vec<(Value, [f64; 2], [u64; 2])> {
    vec![
        // DeepSeek-V3.
        (
            config(
                "deepseek_v3",
                [61, 7168, 18_432, 128, 128, 129_280],
                latent(json!({
                "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
                "num_experts_per_tok": 8, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1})),
            ),
            [671.0, 37.6],
            [35_136, 351_360_000],
        ),
        // DeepSeek-V2-Lite: queries have no rank.
        (
            config(
                "deepseek_v2",
                [27, 2048, 10_944, 16, 16, 102_400],
                latent(json!({
                "q_lora_rank": null, "moe_intermediate_size": 1408, "n_routed_experts": 64,
                "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1})),
            ),
            [15.7, 2.66],
            [15_552, 155_520_000],
        ),
        // Kimi-K2.
        (
            config(
                "kimi_k2",
                [61, 7168, 18_432, 64, 64, 163_840],
                latent(json!({
                "moe_intermediate_size": 2048, "n_routed_experts": 384, "n_shared_experts": 1,
                "num_experts_per_tok": 8, "first_k_dense_replace": 1})),
            ),
            [1026.0, 32.9],
            [35_136, 351_360_000],
        ),
        // Mixtral-8x7B.
        (
            config(
                "mixtral",
                [32, 4096, 14_336, 32, 8, 32_000],
                json!({
                "num_local_experts": 8, "num_experts_per_tok": 2}),
            ),
            [46.7, 12.9],
            [65_536, 655_360_000],
        ),
        // Qwen3-30B-A3B.
        (
            config(
                "qwen3_moe",
                [48, 2048, 6144, 32, 4, 151_936],
                json!({"head_dim": 128,
                "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8}),
            ),
            [30.5, 3.35],
            [49_152, 491_520_000],
        ),
        // Qwen1.5-MoE-A2.7B: a shared expert with a gate.
        (
            config(
                "qwen2_moe",
                [24, 2048, 5632, 16, 16, 151_936],
                json!({
                "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
                "num_experts": 60, "num_experts_per_tok": 4}),
            ),
            [14.3, 2.69],
            [98_304, 983_040_000],
        ),
        // gpt-oss-20b: each second layer keeps 128 tokens.
        (
            config(
                "gpt_oss",
                [24, 2880, 2880, 64, 8, 201_088],
                json!({"head_dim": 64,
                "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128}),
            ),
            [20.9, 4.19],
            [24_576, 12_288 * 10_128],
        ),
        // Llama-4-Scout.
        (
            json!({"model_type": "llama4", "text_config": config("llama4_text",
                [48, 5120, 8192, 40, 8, 202_048], json!({"head_dim": 128, "num_local_experts": 16,
                "intermediate_size_mlp": 16_384, "interleave_moe_layer_step": 1}))}),
            [107.8, 17.2],
            [98_304, 24_576 * 10_000 + 73_728 * 8192],
        ),
        // GLM-4.5-Air.
        (
            config(
                "glm4_moe",
                [46, 4096, 10_944, 96, 8, 151_552],
                json!({"head_dim": 128,
                "attention_bias": true, "moe_intermediate_size": 1408, "n_routed_experts": 128,
                "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1}),
            ),
            [106.9, 13.4],
            [94_208, 942_080_000],
        ),
        // gemma-2-9b and gemma-3-4b: the head is the embedding where nothing is said.
        (
            config("gemma2", [42, 3584, 14_336, 16, 8, 256_000], json!({"head_dim": 256})),
            [9.24, 9.24],
            [172_032, 86_016 * 14_096],
        ),
        (
            json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text",
                "hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34,
                "sliding_window": 1024}}),
            [3.88, 3.88],
            [69_632, 10_240 * 10_000 + 59_392 * 1024],
        ),
        // pythia-6.9b and starcoder2-7b: an MLP of two matrices.
        (
            config("gpt_neox", [32, 4096, 16_384, 32, 32, 50_432], json!({})),
            [6.86, 6.86],
            [262_144, 2_621_440_000],
        ),
        (
            config(
                "starcoder2",
                [32, 4608, 18_432, 36, 4, 49_152],
                json!({"sliding_window": 4096}),
            ),
            [7.17, 7.17],
            [32_768, 32_768 * 4096],
        ),
    ]
}

#[test]
fn the_counts_are_those_that_makers_publish() {
    for (config, billions, cache) in published() {
        let sizes = ModelSizes::from_config(&config).unwrap_or_else(|it| panic!("{config}: {it}"));
        let kind = &config["model_type"];
        let [all, active] = sizes.linear_weights();
        let counted = [sizes.parameters(), sizes.parameters() - (all - active)];
        for (counted, billions) in counted.into_iter().zip(billions) {
            let off = counted as f64 / 1e9 / billions - 1.0;
            assert!(off.abs() < 0.005, "{kind}: {counted} for {billions} billion");
        }
        assert_eq!([1, 10_000].map(|tokens| sizes.cache_numbers(tokens)), cache, "{kind}");
    }
}

#[test]
fn a_dense_llama_is_lab_02s_architecture() {
    for (name, model) in PUBLISHED {
        let kind = match () {
            () if model.qk_norm => "qwen3",
            () if model.qkv_bias => "qwen2",
            () => "llama",
        };
        let sizes = [model.layers, model.hidden, model.intermediate, model.heads, model.kv_heads];
        let [a, b, c, d, e] = sizes;
        let more = json!({"head_dim": model.head_dim, "tie_word_embeddings": model.tied});
        let config = config(kind, [a, b, c, d, e, model.vocabulary], more);
        let sizes = ModelSizes::from_config(&config).expect(name);
        assert_eq!(sizes, ModelSizes::from(&model), "{name}");
    }
}

#[test]
fn what_is_no_size_or_no_known_model_is_named() {
    let llama =
        |key: &str, value: Value| config("llama", [2, 64, 128, 4, 2, 100], json!({key: value}));
    for (config, words) in [
        (json!({"hidden_size": 4096}), "no `model_type` in it"),
        (
            config("nemotron_h", [2, 64, 128, 4, 2, 100], json!({})),
            "sizes of `nemotron_h` are not known",
        ),
        (
            config("mamba2", [2, 64, 128, 4, 2, 100], json!({})),
            "sizes of `mamba2` are not known here",
        ),
        (json!({"model_type": "llava", "text_config": {"model_type": "frob"}}), "sizes of `frob`"),
        (json!({"model_type": "llama"}), "no `hidden_size` in it"),
        (llama("hidden_size", json!(4096.0)), "`hidden_size` is 4096.0: a size is a whole number"),
        (llama("hidden_size", json!(-4096)), "`hidden_size` is -4096: a size"),
        (llama("vocab_size", json!("100")), "`vocab_size` is \"100\": a size"),
        (llama("num_hidden_layers", json!(0)), "`num_hidden_layers` is 0"),
        (llama("num_hidden_layers", json!(1e300)), "`num_hidden_layers` is 1e+300"),
        (llama("num_key_value_heads", json!(3)), "4 query heads do not share 3"),
        (llama("n_routed_experts", json!(64)), "`n_routed_experts` in a model of this model_type"),
        (llama("kv_lora_rank", json!(64)), "`kv_lora_rank` in a model"),
        (llama("layer_types", json!(["linear_attention", "full_attention"])), "`linear_attention`"),
        (
            config("mixtral", [1 << 12, 1 << 20, 1 << 20, 64, 64, 1 << 20], json!({})),
            "more than any",
        ),
    ] {
        let error = ModelSizes::from_config(&config).expect_err(words).to_string();
        assert!(error.contains(words), "{config}: no `{words}` in «{error}»");
    }
}
