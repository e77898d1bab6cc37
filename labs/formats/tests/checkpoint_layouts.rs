//! Layouts that are told by the names of their parts: the size where the shapes give it, and no claim where
//! they do not.

use formats::checkpoint::{Checkpoint, Inspection, Storage, Tensor, inspection_report};
use formats::gguf::TensorType;
use serde_json::{Value, json};

use crate::made_up_checkpoint::inspected;
use crate::text_table::{number, rows};

#[test]
fn where_shapes_give_the_size_the_bits_a_weight_are_exact_and_no_config_is_accused() {
    for row in rows(include_str!("checkpoint_layouts.txt")) {
        let [parts, config, name, bits, group, weights, a_weight] = row;
        let config: Value = serde_json::from_str(config).expect(config);
        let found = inspected(parts, &config);
        assert_eq!(found.problems, [], "{name}");
        assert_eq!(found.inventory.unknown, [], "{name}");
        let [matrix] = found.inventory.quantized.as_slice() else { panic!("{name}: {found:?}") };
        let read =
            (matrix.scheme.to_string(), matrix.bits, matrix.group.to_string(), matrix.weights);
        let bits = (bits != "?").then(|| number(bits));
        assert_eq!(read, (name.into(), bits, group.into(), Some(number(weights))), "{name}");
        assert_eq!(matrix.bits_per_weight(), Some(a_weight.parse().expect(a_weight)), "{name}");
    }
}

#[test]
fn a_layout_that_is_not_known_has_no_size_and_is_no_contradiction() {
    for (parts, name, because) in [
        ("m.weight U32 96x64, m.scales BF16 96x8, m.biases BF16 96x8", "MLX", "do not tell"),
        ("m.weight U8 32x256, m.weight_scale BF16 1", "not known here", "do not tell"),
        ("m.W_q U8 32x512, m.scale F16 1x512", "HQQ", "do not tell"),
        ("m._weight_qdata I32 8x4x32x4, m._weight_scale BF16 4x64", "torchao", "do not tell"),
        ("m.weight._data._data U8 64x64, m.weight._scale F16 128x1", "quanto", "do not tell"),
        ("m.Qidxs I16 64x64, m.SU F16 64", "QuIP#", "do not tell"),
        (
            "m.indices I32 1x64x8, m.centroids.weight F16 1x2048, m.res_centroids.weight F16 1x64",
            "VPTQ",
            "do not tell",
        ),
        ("m.qweight I32 64x64, m.lookup_table F16 64x16", "SqueezeLLM", "do not tell"),
        (
            "m.qweight I16 64x256, m.scales F16 2x256, m.qzeros F16 2x256",
            "not known here",
            "words of 32 bits",
        ),
        (
            "m.weight_packed U8 8x8, m.weight_scale F8_E4M3 8x1",
            "not known here",
            "no weight_global_scale",
        ),
        ("m.weight_scale F16 9x2", "not known here", "here without codes"),
        (
            "m.weight U8 64x16, m.weight_scale F8_E4M3 128x4, m.weight_scale_2 F32",
            "ModelOpt",
            "padded",
        ),
        (
            "m.secret_codes U8 64x64, m.secret_scale F16 64",
            "not known here",
            "no layout that is known",
        ),
        ("m.weight I8 64x64", "not known here", "without scales"),
        ("m.blocks U8 4x16, m.scales U8 5", "not known here", "gpt-oss"),
        ("m.weight F8_E4M3 64x64, m.other_scales F32", "not known here", "no layout"),
    ] {
        let config = json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 });
        let config = if name == "MLX" { Value::Null } else { config };
        let found = inspected(parts, &config);
        assert_eq!(found.problems, [], "{parts}");
        let [module] = found.inventory.unknown.as_slice() else { panic!("{parts}: {found:?}") };
        assert!(module.layout.contains(name) && module.because.contains(because), "{module:?}");
        let (_, _, total) = inspection_report::sums(&found);
        assert_eq!((total.bits_per_weight(), total.unknown), (None, 1));
        let table = inspection_report::summary(&found).to_string();
        assert!(
            table.lines().any(|line| line.contains("everything") && line.contains('?')),
            "{table}"
        );
        let reasons = inspection_report::unknown(&found, false).to_string();
        assert!(reasons.contains(because), "{reasons}");
    }
}

#[test]
fn whole_numbers_under_a_method_that_is_not_known_are_not_shown_as_plain() {
    let parts = "m.parcel I32 64x64, m.strength F16 64, m.rel_index I32 9x9, norm.weight F16 64";
    let found = inspected(parts, &json!({ "quant_method": "of_tomorrow" }));
    let unknown: Vec<&str> = found.inventory.unknown.iter().map(|it| it.module.as_str()).collect();
    assert_eq!((unknown, found.inventory.plain.len()), (vec!["m"], 1), "{found:?}");
    assert!(inspected(parts, &Value::Null).inventory.unknown.is_empty());
}

#[test]
fn plain_models_with_whole_numbers_stay_plain() {
    let parts = "embeddings.position_ids I64 1x512, attn.relative_position_index I32 49x49, \
        attn.bias U8 1x1x64x64, norm.scale F32 64, norm.num_batches_tracked I64, \
        cast.weight F8_E4M3 64x64, attn.k_scale F32, logit_scale F32";
    let found = inspected(parts, &Value::Null);
    assert_eq!((found.inventory.plain.len(), found.inventory.unknown.len()), (8, 0), "{found:?}");
}

#[test]
fn three_bits_are_read_in_the_packing_of_either_age() {
    // [96, 4096] in groups of 128: dense rows have 384 words, those of ten codes a word 410.
    let words: [(u64, u64); 8] =
        [(3, 384), (3, 410), (5, 640), (5, 683), (6, 768), (6, 820), (7, 896), (7, 1024)];
    for (bits, words) in words {
        let found = packed(bits, words, 128);
        let [matrix] = found.inventory.quantized.as_slice() else { panic!("{found:?}") };
        let shape = Some(vec![96, 4096]);
        assert_eq!((matrix.bits, &matrix.shape, found.problems.len()), (Some(bits), &shape, 0));
    }
    let Inspection { inventory, problems, .. } = packed(3, 300, 128);
    assert_eq!((inventory.quantized.len(), problems.len()), (0, 1), "{problems:?}");
    // Without groups nothing tells the ages apart.
    let channel = packed(3, 384, -1).inventory.quantized;
    assert_eq!((channel[0].bits, channel[0].weights), (Some(3), None));
}

/// pack-quantized with so many words a row; without a `group` of -1 there are 32 groups in a row.
fn packed(bits: u64, words: u64, group: i64) -> Inspection {
    let (groups, strategy) = if group > 0 { (32, "group") } else { (1, "channel") };
    let weights = json!({ "num_bits": bits, "type": "int", "symmetric": true,
        "strategy": strategy, "group_size": group });
    let config = json!({ "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": { "group_0": { "targets": ["Linear"], "weights": weights } } });
    let parts = format!("m.weight_packed I32 96x{words}, m.weight_scale BF16 96x{groups}");
    inspected(&parts, &config)
}

fn ggml(id: u32) -> Inspection {
    let storage = Storage::Blocks(TensorType::from_id(id));
    let shape = vec![4, 256];
    let tensors = vec![
        Tensor { name: "a.weight".into(), storage, shape, bytes: 576 },
        Tensor {
            name: "norm.weight".into(),
            storage: Storage::Blocks(TensorType::F32),
            shape: vec![256],
            bytes: 1024,
        },
    ];
    Inspection::of(Checkpoint { files: Vec::new(), tensors, config: None, problems: Vec::new() })
}

#[test]
fn the_group_of_a_ggml_type_is_what_shares_a_scale_and_not_its_block() {
    for (id, bits, group) in [
        (2, "4", "32"),
        (10, "2", "16"),
        (11, "3", "16"),
        (12, "4", "32"),
        (13, "5", "32"),
        (14, "6", "16"),
        (17, "2", "16"),
        (23, "4", "32"),
        (34, "1.6", "256"),
        (35, "2", "256"),
        (39, "4", "32"),
        (40, "4", "16"),
        (41, "1", "128"),
        (42, "2", "64"),
        (31, "4", "32"),
    ] {
        let found = ggml(id);
        assert_eq!(found.inventory.quantized[0].group.to_string(), group, "type {id}");
        let row = inspection_report::quantized(&found, false).to_string();
        let cells: Vec<&str> =
            row.lines().last().unwrap_or_default().split('|').map(str::trim).collect();
        assert_eq!((cells[4], cells[5]), (bits, group), "{row}");
    }
}

#[test]
fn a_ggml_type_that_is_not_known_is_open_in_every_sum() {
    for id in [36, 139, 144, 4_000_000_000] {
        let found = ggml(id);
        assert_eq!(found.inventory.unknown[0].layout, format!("GGML type {id}"));
        let (quantized, _, total) = inspection_report::sums(&found);
        assert_eq!((total.bytes, total.unknown, total.bits_per_weight()), (1600, 1, None));
        assert_eq!(quantized[&format!("GGML type {id}")].bytes, 576);
    }
}
