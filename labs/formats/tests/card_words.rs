//! Words and fields of cards that change the answer: read as their makers mean them, or said not to be.

use formats::card::{read, weight_bytes};
use formats::model_sizes::ModelSizes;
use serde_json::json;

use crate::text_table::rows;

#[test]
fn a_word_that_changes_the_answer_is_read_or_said_not_to_be() {
    for [card, canonical, bits, note] in rows(include_str!("card_words.txt")) {
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
