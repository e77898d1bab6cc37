//! Layouts that are told by the names of their parts: the size where the shapes give it, and no claim where
//! they do not.

use formats::checkpoint::{
    Checkpoint, Dtype, Inspection, QuantConfig, Storage, Tensor, examine, inspection_report,
};
use formats::gguf::TensorType;
use serde_json::{Value, json};

use Dtype::{BF16, F8E4M3, F8E8M0, F16, F32, I8, I16, I32, I64, U8, U32};

type Parts = &'static [(&'static str, Dtype, &'static [u64])];

fn inspected(parts: Parts, config: Value) -> Inspection {
    let tensors: Vec<Tensor> = parts
        .iter()
        .map(|&(name, dtype, shape)| {
            let bytes = shape.iter().product::<u64>() * dtype.bits() / 8;
            let storage = Storage::Elements(dtype);
            Tensor { name: name.into(), storage, shape: shape.into(), bytes }
        })
        .collect();
    let config = QuantConfig::parse("config.json", &json!({ "quantization_config": config }));
    Inspection::of(Checkpoint { files: Vec::new(), tensors, config, problems: Vec::new() })
}

/// A layout's parts, what a config says of it, its name, the bits of a code, the weights that share a scale,
/// the number of weights and the bits a weight.
type Sized = (Parts, Value, &'static str, Option<u64>, &'static str, u64, f64);

fn sized() -> Vec<Sized> {
    let ar = |bits: u64, group: u64| json!({ "quant_method": "auto-round", "bits": bits, "group_size": group });
    let none = Value::Null;
    vec![
        // 8 bits in groups of 32 and 2 in groups of 128 have the same shapes.
        (
            &[
                ("m.weight", U32, &[96, 64]),
                ("m.scales", BF16, &[96, 8]),
                ("m.biases", BF16, &[96, 8]),
            ],
            ar(4, 64),
            "MLX",
            Some(4),
            "64",
            96 * 512,
            4.5,
        ),
        (
            &[
                ("m.weight", U32, &[96, 40]),
                ("m.scales", F16, &[96, 4]),
                ("m.biases", F16, &[96, 4]),
            ],
            none.clone(),
            "MLX",
            Some(5),
            "64",
            96 * 256,
            5.5,
        ),
        (
            &[("m.weight", U32, &[8, 96, 64]), ("m.scales", U8, &[8, 96, 16])],
            none.clone(),
            "MLX",
            Some(4),
            "32",
            8 * 96 * 512,
            4.25,
        ),
        (
            &[("m.trellis", I16, &[8, 16, 64]), ("m.suh", F16, &[128]), ("m.svh", F16, &[256])],
            json!({ "quant_method": "exl3", "bits": 4.0 }),
            "EXL3",
            Some(4),
            "channel",
            128 * 256,
            4.1875,
        ),
        (
            &[
                ("m.q_weight", I32, &[40, 64]),
                ("m.q_scale", I32, &[4, 8]),
                ("m.q_scale_max", F16, &[4]),
                ("m.q_groups", I16, &[8]),
                ("m.q_invperm", I32, &[256]),
            ],
            json!({ "quant_method": "exl2" }),
            "EXL2",
            None,
            "64",
            256 * 64,
            5.574_218_75,
        ),
        (
            &[("m.W_q", U8, &[256, 64]), ("m.scale", F16, &[512, 1]), ("m.zero", F16, &[512, 1])],
            json!({ "quant_method": "hqq" }),
            "HQQ",
            Some(4),
            "64",
            512 * 64,
            4.5,
        ),
        (
            &[("m.W_q", U8, &[128, 64]), ("m.scale", F16, &[512, 1]), ("m.zero", F16, &[512, 1])],
            json!({ "quant_method": "hqq" }),
            "HQQ",
            Some(2),
            "64",
            512 * 64,
            2.5,
        ),
        (
            &[("m.W_q", I32, &[52, 64]), ("m.scale", F16, &[512, 1]), ("m.zero", F16, &[512, 1])],
            json!({ "quant_method": "hqq" }),
            "HQQ",
            Some(3),
            "64",
            512 * 64,
            3.75,
        ),
        (
            &[
                ("m.codes", I16, &[4096, 512, 1]),
                ("m.codebooks", F16, &[1, 65536, 1, 8]),
                ("m.scales", F16, &[4096, 1, 1, 1]),
            ],
            json!({ "quant_method": "aqlm" }),
            "AQLM",
            Some(2),
            "channel",
            4096 * 4096,
            2.503_906_25,
        ),
        (
            &[("m.weight", U8, &[32, 256]), ("m.weight_scale", BF16, &[1])],
            json!({ "quant_method": "bitnet" }),
            "BitNet",
            Some(2),
            "tensor",
            128 * 256,
            2.000_488_281_25,
        ),
        (
            &[("m.weight", U8, &[96, 64]), ("m.weight_scale", U8, &[96, 4])],
            json!({ "quant_method": "quark", "global_quant_config": { "weight": { "dtype": "fp4" } } }),
            "MXFP4, Quark names",
            Some(4),
            "32",
            96 * 128,
            4.25,
        ),
        (
            &[("m.weight", U8, &[96, 96]), ("m.weight_scale", U8, &[96, 4])],
            none.clone(),
            "MXFP6, Quark names",
            Some(6),
            "32",
            96 * 128,
            6.25,
        ),
        (
            &[
                ("m.weight", I32, &[256, 16]),
                ("m.weight_scale", F16, &[2, 128]),
                ("m.weight_zero_point", I32, &[2, 16]),
            ],
            none.clone(),
            "INT4, Quark names",
            Some(4),
            "128",
            256 * 128,
            4.156_25,
        ),
        (
            &[
                ("m.weight", U8, &[32, 256]),
                ("m.weight_scale", F32, &[64, 2]),
                ("m.input_scale", F32, &[]),
            ],
            json!({ "quant_method": "modelopt", "quant_algo": "W4A8_AWQ" }),
            "INT4, ModelOpt names",
            Some(4),
            "128",
            64 * 256,
            4.251_953_125,
        ),
        (
            &[("m.weight", I8, &[256, 96]), ("m.weight_scales", F16, &[96])],
            json!({ "quant_method": "eetq" }),
            "EETQ",
            Some(8),
            "channel",
            256 * 96,
            8.0625,
        ),
        (
            &[("m.qweight", I8, &[256, 96]), ("m.weight_scales", F16, &[96])],
            json!({ "quant_method": "eetq" }),
            "EETQ",
            Some(8),
            "channel",
            256 * 96,
            8.0625,
        ),
        (
            &[("m._weight_qdata", F8E4M3, &[96, 256]), ("m._weight_scale", F32, &[96, 1])],
            json!({ "quant_method": "torchao" }),
            "torchao",
            Some(8),
            "channel",
            96 * 256,
            8.125,
        ),
        (
            &[
                ("m.weight._data", I8, &[96, 256]),
                ("m.weight._scale", F32, &[96, 1]),
                ("m.input_scale", F32, &[]),
            ],
            json!({ "quant_method": "quanto" }),
            "quanto",
            Some(8),
            "channel",
            96 * 256,
            8.126_302_083_333_334,
        ),
        (
            &[("m.B", I32, &[8, 512]), ("m.s", F16, &[1, 256])],
            json!({ "quant_method": "gptq", "bits": 4, "group_size": -1 }),
            "Marlin",
            Some(4),
            "channel",
            128 * 256,
            4.125,
        ),
        (
            &[
                ("m.compressed", I8, &[96, 64]),
                ("m.bitmask", U8, &[96, 16]),
                ("m.shape", I64, &[2]),
                ("m.weight_scale", BF16, &[96, 1]),
            ],
            none.clone(),
            "2:4 sparse, bit mask",
            Some(8),
            "channel",
            96 * 128,
            5.135_416_666_666_667,
        ),
        (
            &[("m.weight", I8, &[96, 64]), ("m.scale", F8E8M0, &[96, 4])],
            json!({ "quant_method": "fp8", "weight_block_size": [128, 128] }),
            "MXFP4, DeepSeek-V4 names",
            Some(4),
            "32",
            96 * 128,
            4.25,
        ),
        (
            &[("m.weight", F8E4M3, &[256, 384]), ("m.scale", F8E8M0, &[2, 3])],
            json!({ "quant_method": "fp8", "weight_block_size": [128, 128] }),
            "FP8, DeepSeek-V4 names",
            Some(8),
            "128x128",
            256 * 384,
            8.000_488_281_25,
        ),
        (
            &[("m.weight", F8E4M3, &[64, 64]), ("m.scale_weight", F32, &[])],
            none.clone(),
            "FP8, ComfyUI names",
            Some(8),
            "tensor",
            4096,
            8.007_812_5,
        ),
        (
            &[
                ("m.weight", F8E4M3, &[64, 64]),
                ("m.qscale_weight", F32, &[]),
                ("m.qscale_act", F32, &[]),
            ],
            none.clone(),
            "FP8, Mistral names",
            Some(8),
            "tensor",
            4096,
            8.015_625,
        ),
        (
            &[("m.weight", F8E4M3, &[256, 384]), ("m.weight_scale", F32, &[2, 1, 3, 1])],
            json!({ "quant_method": "modelopt", "quant_algo": "FP8_PB_WO" }),
            "FP8, weight_scale",
            Some(8),
            "128x128",
            256 * 384,
            8.001_953_125,
        ),
        (
            &[("e.gate_up_proj", F8E4M3, &[4, 64, 96]), ("e.gate_up_proj_scale", F32, &[4, 1, 96])],
            json!({ "quant_method": "fbgemm_fp8" }),
            "FP8, weight_scale",
            Some(8),
            "channel",
            4 * 64 * 96,
            8.5,
        ),
        (
            &[
                ("e.down_proj", U8, &[4, 64, 32]),
                ("e.down_proj_weight_scale", F8E4M3, &[4, 64, 4]),
                ("e.down_proj_weight_scale_2", F32, &[4]),
            ],
            json!({ "quant_method": "modelopt", "quant_algo": "NVFP4" }),
            "NVFP4, ModelOpt names",
            Some(4),
            "16",
            4 * 64 * 64,
            4.507_812_5,
        ),
        (
            &[
                ("m.weight", BF16, &[2048, 1]),
                ("m.weight.absmax", F32, &[128]),
                ("m.weight.quant_map", F32, &[16]),
                ("m.weight.quant_state.bitsandbytes__nf4", U8, &[64]),
            ],
            json!({ "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4" }),
            "bitsandbytes nf4",
            Some(4),
            "64",
            8192,
            4.625,
        ),
    ]
}

#[test]
fn where_shapes_give_the_size_the_bits_a_weight_are_exact_and_no_config_is_accused() {
    for (parts, config, name, bits, group, weights, a_weight) in sized() {
        let found = inspected(parts, config);
        assert_eq!(found.problems, [], "{name}");
        assert_eq!(found.inventory.unknown, [], "{name}");
        let [matrix] = found.inventory.quantized.as_slice() else { panic!("{name}: {found:?}") };
        let read =
            (matrix.scheme.to_string(), matrix.bits, matrix.group.to_string(), matrix.weights);
        assert_eq!(read, (name.into(), bits, group.into(), Some(weights)), "{name}");
        assert_eq!(matrix.bits_per_weight(), Some(a_weight), "{name}");
    }
}

#[test]
fn a_layout_that_is_not_known_has_no_size_and_is_no_contradiction() {
    let cases: [(Parts, &str, &str); 15] = [
        (
            &[
                ("m.weight", U32, &[96, 64]),
                ("m.scales", BF16, &[96, 8]),
                ("m.biases", BF16, &[96, 8]),
            ],
            "MLX",
            "do not tell",
        ),
        (
            &[("m.weight", U8, &[32, 256]), ("m.weight_scale", BF16, &[1])],
            "not known here",
            "do not tell",
        ),
        (&[("m.W_q", U8, &[32, 512]), ("m.scale", F16, &[1, 512])], "HQQ", "do not tell"),
        (
            &[("m._weight_qdata", I32, &[8, 4, 32, 4]), ("m._weight_scale", BF16, &[4, 64])],
            "torchao",
            "do not tell",
        ),
        (
            &[("m.weight._data._data", U8, &[64, 64]), ("m.weight._scale", F16, &[128, 1])],
            "quanto",
            "do not tell",
        ),
        (&[("m.Qidxs", I16, &[64, 64]), ("m.SU", F16, &[64])], "QuIP#", "do not tell"),
        (
            &[("m.qweight", I32, &[64, 64]), ("m.lookup_table", F16, &[64, 16])],
            "SqueezeLLM",
            "do not tell",
        ),
        (
            &[
                ("m.qweight", I16, &[64, 256]),
                ("m.scales", F16, &[2, 256]),
                ("m.qzeros", F16, &[2, 256]),
            ],
            "not known here",
            "words of 32 bits",
        ),
        (
            &[("m.weight_packed", U8, &[8, 8]), ("m.weight_scale", F8E4M3, &[8, 1])],
            "not known here",
            "no weight_global_scale",
        ),
        (&[("m.weight_scale", F16, &[9, 2])], "not known here", "here without codes"),
        (
            &[
                ("m.weight", U8, &[64, 16]),
                ("m.weight_scale", F8E4M3, &[128, 4]),
                ("m.weight_scale_2", F32, &[]),
            ],
            "ModelOpt",
            "padded",
        ),
        (
            &[("m.secret_codes", U8, &[64, 64]), ("m.secret_scale", F16, &[64])],
            "not known here",
            "no layout that is known",
        ),
        (&[("m.weight", I8, &[64, 64])], "not known here", "without scales"),
        (&[("m.blocks", U8, &[4, 16]), ("m.scales", U8, &[5])], "not known here", "gpt-oss"),
        (
            &[("m.weight", F8E4M3, &[64, 64]), ("m.other_scales", F32, &[])],
            "not known here",
            "no layout",
        ),
    ];
    for (parts, name, because) in cases {
        let config = json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 });
        let config = if name == "MLX" { Value::Null } else { config };
        let found = inspected(parts, config);
        assert_eq!(found.problems, [], "{parts:?}");
        let [module] = found.inventory.unknown.as_slice() else { panic!("{parts:?}: {found:?}") };
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
fn plain_models_with_whole_numbers_stay_plain() {
    let found = inspected(
        &[
            ("embeddings.position_ids", I64, &[1, 512]),
            ("attn.relative_position_index", I32, &[49, 49]),
            ("attn.bias", U8, &[1, 1, 64, 64]),
            ("norm.scale", F32, &[64]),
            ("norm.num_batches_tracked", I64, &[]),
            ("cast.weight", F8E4M3, &[64, 64]),
            ("attn.k_scale", F32, &[]),
            ("logit_scale", F32, &[]),
        ],
        Value::Null,
    );
    assert_eq!((found.inventory.plain.len(), found.inventory.unknown.len()), (8, 0), "{found:?}");
}

#[test]
fn three_bits_are_read_in_the_packing_of_either_age() {
    // [96, 4096] in groups of 128: dense rows have 384 words, those of ten codes a word 410.
    let words: [(u64, u64); 8] =
        [(3, 384), (3, 410), (5, 640), (5, 683), (6, 768), (6, 820), (7, 896), (7, 1024)];
    for (bits, words) in words {
        let found = packed(bits, words, 128);
        let [matrix] = found.0.quantized.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (matrix.bits, &matrix.shape, found.1.len()),
            (Some(bits), &Some(vec![96, 4096]), 0)
        );
    }
    let (inventory, problems) = packed(3, 300, 128);
    assert_eq!((inventory.quantized.len(), problems.len()), (0, 1), "{problems:?}");
    // Without groups nothing tells the ages apart.
    let channel = packed(3, 384, -1).0.quantized;
    assert_eq!((channel[0].bits, channel[0].weights), (Some(3), None));
}

fn packed(
    bits: u64,
    words: u64,
    group: i64,
) -> (formats::checkpoint::Inventory, Vec<formats::checkpoint::Problem>) {
    let groups = if group > 0 { 32 } else { 1 };
    let tensors = [("m.weight_packed", I32, [96, words]), ("m.weight_scale", BF16, [96, groups])]
        .map(|(name, dtype, shape)| Tensor {
            name: name.into(),
            storage: Storage::Elements(dtype),
            shape: shape.into(),
            bytes: 1,
        });
    let json = json!({ "quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": { "group_0": { "targets": ["Linear"], "weights": {
            "num_bits": bits, "type": "int", "symmetric": true,
            "strategy": if group > 0 { "group" } else { "channel" }, "group_size": group,
        } } },
    } });
    examine(&tensors, QuantConfig::parse("config.json", &json).as_ref())
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
