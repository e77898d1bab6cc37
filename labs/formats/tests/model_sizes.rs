//! Sizes of models by their `model_type`: counts that are published, and what is refused.

use formats::architecture::{Architecture, PUBLISHED};
use formats::model_sizes::ModelSizes;
use serde_json::{Value, json};

use crate::text_table::{number, rows};

/// The keys of the sizes that nearly all configs have.
const SIZES: [&str; 6] = [
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
];

/// A config of `kind`, a `model_type` or those of a config and its `text_config`: with [`SIZES`], `-` for one
/// that is absent, and more keys as `key=value`.
fn config(kind: &str, sizes: &str, more: &str) -> Value {
    let sizes = SIZES.into_iter().zip(sizes.split_whitespace()).filter(|(_, size)| *size != "-");
    let (outer, inner) = kind.split_once('/').unwrap_or(("", kind));
    let mut config = json!({ "model_type": inner });
    for (key, value) in sizes.chain(more.split_whitespace().filter_map(|it| it.split_once('='))) {
        config[key] = serde_json::from_str(value).expect(value);
    }
    if outer.is_empty() { config } else { json!({ "model_type": outer, "text_config": config }) }
}

#[test]
fn the_counts_are_those_that_makers_publish() {
    for [kind, sizes, more, billions, cache] in rows(include_str!("model_sizes.txt")) {
        let config = config(kind, sizes, more);
        let sizes = ModelSizes::from_config(&config).unwrap_or_else(|it| panic!("{config}: {it}"));
        let [all, active] = sizes.linear_weights();
        let counted = [sizes.parameters(), sizes.parameters() - (all - active)];
        for (counted, billions) in counted.into_iter().zip(billions.split_whitespace()) {
            let billions: f64 = billions.parse().expect(billions);
            let off = counted as f64 / 1e9 / billions - 1.0;
            assert!(off.abs() < 0.005, "{kind}: {counted} for {billions} billion");
        }
        let counted = [1, 10_000].map(|tokens| sizes.cache_numbers(tokens));
        let cache: Vec<u64> = cache.split(',').map(number).collect();
        assert_eq!(cache, counted, "{kind}");
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
        let Architecture { layers, hidden, intermediate, heads, kv_heads, vocabulary, .. } = model;
        let sizes = format!("{layers} {hidden} {intermediate} {heads} {kv_heads} {vocabulary}");
        let more = format!("head_dim={} tie_word_embeddings={}", model.head_dim, model.tied);
        let config = config(kind, &sizes, &more);
        let sizes = ModelSizes::from_config(&config).expect(name);
        assert_eq!(sizes, ModelSizes::from(&model), "{name}");
    }
}

#[test]
fn what_is_no_size_or_no_known_model_is_named() {
    const SMALL: &str = "2 64 128 4 2 100";
    let llama = |more: &str| config("llama", SMALL, more);
    for (config, words) in [
        (json!({"hidden_size": 4096}), "no `model_type` in it"),
        (config("nemotron_h", SMALL, ""), "sizes of `nemotron_h` are not known"),
        (config("mamba2", SMALL, ""), "sizes of `mamba2` are not known here"),
        (config("llava/frob", "", ""), "sizes of `frob`"),
        (config("llama", "", ""), "no `hidden_size` in it"),
        (llama("hidden_size=4096.0"), "`hidden_size` is 4096.0: a size is a whole number"),
        (llama("hidden_size=-4096"), "`hidden_size` is -4096: a size"),
        (llama("vocab_size=\"100\""), "`vocab_size` is \"100\": a size"),
        (llama("num_hidden_layers=0"), "`num_hidden_layers` is 0"),
        (llama("num_hidden_layers=1e300"), "`num_hidden_layers` is 1e+300"),
        (llama("num_key_value_heads=3"), "4 query heads do not share 3"),
        (llama("n_routed_experts=64"), "`n_routed_experts` in a model of this model_type"),
        (llama("kv_lora_rank=64"), "`kv_lora_rank` in a model"),
        (llama(r#"layer_types=["linear_attention","full_attention"]"#), "`linear_attention`"),
        (config("mixtral", "4096 1048576 1048576 64 64 1048576", ""), "more than any"),
    ] {
        let error = ModelSizes::from_config(&config).expect_err(words).to_string();
        assert!(error.contains(words), "{config}: no `{words}` in «{error}»");
    }
}
