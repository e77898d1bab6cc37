//! Words and fields of cards that change the answer: read as their makers mean them, or said not to be.

use formats::card::{read, weight_bytes};
use formats::model_sizes::ModelSizes;
use serde_json::json;

/// A card, what it reads as, bits of a weight, and a part of a note.
const WORDS: [(&str, &str, &str, &str); 40] = [
    // A second number is a type to compute in, or that of the activations.
    (
        "nvidia/X-70B-W4A8_AWQ",
        "W4A8 int group_size=128 sym act-float static act-per-tensor",
        "4 + 16/128",
        "",
    ),
    ("someone/X-8B-nf4-fp16", "NF4 double A16", "4 + 8/64", "`fp16`: what layers compute in"),
    (
        "GPTQ 4bit g32 float32",
        "W4A16 int group_size=32 sym zeros=4",
        "4 + 16/32 + 4/32",
        "`float32`: what",
    ),
    ("bf16 Q5_K_M", "Q5_K_M A16", "5 + 6/32", "`bf16`: what layers compute in"),
    ("mlx-community/X-8B-bf16", "W16A16 float", "16", ""),
    ("W8A16 FP8 BF16", "W8A16 float per-channel", "8 + 32/in", "`BF16`"),
    ("X-4B-INT8-INT4", "W4A8 int group_size=32 sym act-int dynamic per-token", "4 + 16/32", ""),
    ("8da4w", "W4A8 int group_size=32 sym act-int dynamic per-token", "4 + 16/32", ""),
    ("AWQ 8bit", "W8A16 int group_size=128 asym", "8 + 16/128 + 8/128", ""),
    // Sizes glued to other words, and groups that are no power of two.
    ("x/y-7b_4bitgs32_hqq", "W4A16 int group_size=32 asym zeros=16", "4 + 16/32 + 16/32", ""),
    (
        "GPTQ 4bit g-1",
        "W4A16 int per-channel sym scales=16 zeros=4",
        "4 + 16/in + 4/in = 4.0049",
        "",
    ),
    ("W4A16 g8", "W4A16 int group_size=8 sym", "4 + 16/8", ""),
    ("W3A16 int g40 sym", "W3A16 int group_size=40 sym", "3 + 16/40", ""),
    ("W4A16 g48", "W4A16 int group_size=48 sym", "4 + 16/48", ""),
    ("W4A16 g96", "W4A16 int group_size=96 sym", "4 + 16/96", ""),
    // The rest of a model has a format of its own.
    ("x/y-20b-MXFP4-Q4", "MXFP4 A16", "4 + 8/32 = 4.2500", "head have 4.5 bits (MLX"),
    ("x/gpt-oss-120b-MXFP4-Q8", "MXFP4 A16", "4 + 8/32 = 4.2500", "head have 8.5 bits (MLX"),
    ("MXFP4_MOE", "MXFP4 A16", "4 + 8/32 = 4.2500", "head have 8.5 bits (Q8_0)"),
    ("openai/gpt-oss-120b", "MXFP4 A16", "4 + 8/32 = 4.2500", "head have 16 bits"),
    // FP8's own names, which are types of a cache as well.
    (
        "fp8_e4m3fn",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in)",
        "",
    ),
    ("fp8_e5m2", "W8 A16 e5m2", "not said", "the cache's is `--kv-cache-dtype"),
    ("E5M2 per-tensor", "W8A16 e5m2 per-tensor", "8 + 32/(out x in)", ""),
    (
        "fp8_scaled",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in)",
        "",
    ),
    ("W4A16 KVFP8", "W4A16 int group_size=128 sym kv=fp8_e4m3", "4 + 16/128", ""),
    // Types that are not quantized, and those of GGUF's forks.
    ("F16", "W16A16 float", "16", ""),
    ("F32", "W32A32 float", "32", ""),
    ("TQ1_0", "TQ1_0 A16", "1 + 160/256 + 16/256 = 1.6875", ""),
    ("UD-TQ1_0", "UD-TQ1_0 A16", "1 + 160/256 + 16/256 = 1.6875", "unsloth"),
    ("UD-Q4_K_M", "Q4_K_M A16", "4 + 6/32 + 6/32 + 32/256 = 4.5000", "unsloth"),
    ("Q4_K_P", "Q4_K_P A16", "4 + 6/32 + 6/32 + 32/256 = 4.5000", "a mix"),
    ("IQ4_K", "IQ4_K A16", "4 + 6/16 + 32/256 = 4.5000", ""),
    ("IQ4_KSS", "IQ4_KSS A16", "4 + 32/in = 4.0078", ""),
    // Words of other tools.
    ("q4f16_1", "W4A16 int group_size=32 sym", "4 + 16/32", ""),
    ("int4wo", "W4 A16 int", "not said", ""),
    ("EETQ", "W8A16 int per-channel sym scales=16", "8 + 16/in = 8.0039", ""),
    ("1.58bit", "1.58bpw", "1.58 in the mean", "log2 of 3"),
    ("NF4 double quant", "NF4 double A16", "4 + 8/64 + 32/16384 = 4.1270", ""),
    ("AWQ GEMM", "W4A16 int group_size=128 asym", "4 + 16/128 + 4/128", "an order of the codes"),
    // What is not read is said, the names of owners and models aside.
    (
        "mlx-tools/X-8B-4bit-frob",
        "W4A16 int group_size=64 asym zeros=16",
        "4 + 16/64",
        "not read: `frob`",
    ),
    (
        "x/y-8b-awq_new-style",
        "W4A16 int group_size=128 asym",
        "4 + 16/128",
        "not read: `new`, `style`",
    ),
];

#[test]
fn a_word_that_changes_the_answer_is_read_or_said_not_to_be() {
    for (card, canonical, bits, note) in WORDS {
        let answers = read(card).unwrap_or_else(|error| panic!("{card}: {error}")).answers;
        assert_eq!(answers.canonical, canonical, "{card}");
        assert!(answers.bits.starts_with(bits), "{card}: {}", answers.bits);
        let notes = answers.notes.join("; ");
        assert!(
            notes.contains(note) && (!note.is_empty() || notes.is_empty()),
            "{card}: «{notes}»"
        );
    }
}

/// A config with these fields beside a method, and parts of its answers: bits and notes.
#[test]
fn a_field_that_changes_the_answer_is_read_or_said_not_to_be() {
    let blocks = json!({"quant_method": "fp8", "weight_block_size": [64, 64]});
    let channel = json!({"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float",
        "symmetric": true, "strategy": "channel"}});
    let sparse = |format: &str| {
        json!({"quant_method": "compressed-tensors", "format": "float-quantized",
            "sparsity_config": {"format": format}, "config_groups": {"all": channel.clone()}})
    };
    let with = |key: &str, value: &str| json!({key: value, "quantization_config": blocks.clone()});
    let mut moe = blocks.clone();
    moe["moe_quant_algo"] = "NVFP4".into();
    for (config, bits, note) in [
        (
            with("expert_dtype", "fp4"),
            "8 + 32/(64 x 64) = 8.0078; experts: 4 + 8/32 = 4.2500",
            "own",
        ),
        (with("expert_dtype", "int3"), "8 + 32/(64 x 64) = 8.0078; experts: ?", "`expert_dtype`"),
        (with("expert_dtype", "fp8"), "8 + 32/(64 x 64) = 8.0078", ""),
        (
            moe,
            "8 + 32/(64 x 64) = 8.0078; experts: 4 + 8/16 + 32/(out x in) = 4.5000",
            "`moe_quant",
        ),
        (json!({"quantization": {"group_size": 32, "bits": 8}}), "8 + 16/32 + 16/32 = 9.0000", ""),
        (
            json!({"quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": true,
                "data_type": "mx_fp"}),
            "4 + 8/32 = 4.2500",
            "",
        ),
        (sparse("sparse-24-bitmask"), "8/2 + 1 + 32/in = 5.0078 for 4096 inputs", "2:4"),
        (sparse("marlin-24"), "8 + 32/in = 8.0078 for 4096", "`marlin-24` is not read"),
        (sparse("dense"), "8 + 32/in = 8.0078 for 4096", ""),
        (
            json!({"quant_method": "awq", "bits": 4, "group_size": -1, "zero_point": true}),
            "4 + 16/in + 4/in = 4.0049",
            "",
        ),
    ] {
        let answers =
            read(&config.to_string()).unwrap_or_else(|it| panic!("{config}: {it}")).answers;
        assert!(answers.bits.starts_with(bits), "{config}: {}", answers.bits);
        assert!(answers.notes.join("; ").contains(note), "{config}: {:?}", answers.notes);
    }
}

#[test]
fn experts_and_the_rest_are_counted_in_their_own_formats() {
    let sizes = json!({"model_type": "mixtral", "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_local_experts": 4, "num_experts_per_tok": 2, "vocab_size": 1000});
    let sizes = ModelSizes::from_config(&sizes).expect("sizes");
    let experts = 2 * 4 * 3 * 256 * 512_u64;
    let attention = 2 * (2 * 256 * 256 + 2 * 128 * 256_u64);
    let linear =
        |card: &str| weight_bytes(&read(card).expect(card), &sizes).expect("bytes").linear * 8;
    let mxfp4 = experts / 4 * 17;
    assert_eq!(linear("MXFP4_MOE"), mxfp4 + attention / 2 * 17);
    assert_eq!(linear("gpt-oss"), mxfp4 + 16 * attention);
    assert_eq!(linear("MXFP4"), mxfp4 + attention / 4 * 17);
    let config = r#"{"expert_dtype": "fp4", "quantization_config": {"quant_method": "fp8",
        "weight_block_size": [128, 128]}}"#;
    assert_eq!(linear(config), mxfp4 + 8 * attention + 32 * attention / 128 / 128);
}
