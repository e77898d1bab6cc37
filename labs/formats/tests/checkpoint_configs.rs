//! Configs against headers: what is compared, what is only believed, and what is not known.

use std::fs;
use std::path::Path;

use formats::checkpoint::{Inspection, QuantConfig, inspect, inspection_report};
use serde_json::{Value, json};

use crate::made_up_checkpoint::{inspected, safetensors};

fn plain(module: &str, shape: &str) -> String {
    format!("{module}.weight F16 {shape}")
}

/// GPTQ of 128 inputs and 64 outputs.
fn gptq(module: &str, bits: u64, group: u64) -> String {
    let (rows, words, groups) = (128 * bits / 32, 64 * bits / 32, 128 / group);
    let zeros = format!("{module}.qzeros I32 {groups}x{words}");
    format!("{module}.qweight I32 {rows}x64, {zeros}, {module}.scales F16 {groups}x64")
}

/// pack-quantized: 64 outputs, 128 inputs of so many bits.
fn packed(module: &str, bits: u64, groups: u64) -> String {
    let words = 128 * bits / 32;
    format!("{module}.weight_packed I32 64x{words}, {module}.weight_scale F16 64x{groups}")
}

/// FP8 `[256, 128]` with scales of this shape under this name.
fn fp8(module: &str, scale: &str, shape: &str) -> String {
    format!("{module}.weight F8_E4M3 256x128, {module}.{scale} F32 {shape}")
}

/// ModelOpt's NVFP4 `[64, 32]`.
fn nvfp4(module: &str) -> String {
    let scales = format!("{module}.weight_scale F8_E4M3 64x2, {module}.weight_scale_2 F32");
    format!("{module}.weight U8 64x16, {scales}")
}

/// bitsandbytes, of this table.
fn bnb(table: &str, double: bool) -> String {
    let nested = if double { ", a.q_proj.weight.nested_absmax F32 1" } else { "" };
    let state = format!("a.q_proj.weight.quant_state.bitsandbytes__{table} U8 80");
    format!("a.q_proj.weight U8 2048x1, a.q_proj.weight.absmax U8 64, {state}{nested}")
}

fn verdict(parts: &str, config: &Value) -> String {
    inspection_report::verdict(&inspected(parts, config)).join("\n")
}

#[track_caller]
fn agrees(parts: &[String], config: &Value) -> String {
    let verdict = verdict(&parts.join(", "), config);
    assert!(verdict.starts_with("config: agrees ("), "{config}\n{verdict}");
    verdict
}

#[track_caller]
fn contradicts(parts: &[String], config: &Value, words: &str) {
    let inspection = inspected(&parts.join(", "), config);
    let problems = inspection.problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(problems.iter().any(|problem| problem.contains(words)), "{config}\n{problems:?}");
}

fn with(mut config: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// A group of compressed-tensors.
fn group(targets: &[&str], bits: u64, strategy: &str, size: Option<u64>) -> Value {
    json!({ "targets": targets, "weights": { "num_bits": bits, "type": "int", "symmetric": true,
        "strategy": strategy, "group_size": size } })
}

fn pack_quantized(ignore: &[&str], groups: &[Value]) -> Value {
    let groups = groups.iter().enumerate().map(|(at, group)| (format!("group_{at}"), group));
    let groups: serde_json::Map<_, _> = groups.map(|(name, group)| (name, group.clone())).collect();
    json!({ "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ignore,
        "config_groups": groups })
}

#[test]
fn a_field_of_a_wrong_type_or_range_is_no_absent_field() {
    let base = json!({ "quant_method": "gptq", "bits": 4, "group_size": 64, "sym": true });
    let file = gptq("m.q_proj", 4, 64);
    let good = agrees(std::slice::from_ref(&file), &base);
    assert!(good.contains("compared with the shapes: method, bits, group size"), "{good}");
    assert!(good.contains("sym true"), "{good}");
    for (key, wrong) in [
        ("group_size", json!(0)),
        ("group_size", json!(-7)),
        ("group_size", json!(64.5)),
        ("group_size", json!("64")),
        ("group_size", json!(1e30)),
        ("group_size", json!([64])),
        ("bits", json!("4")),
        ("bits", json!(0)),
        ("bits", json!(-8)),
        ("bits", json!(3.5)),
        ("bits", json!(true)),
        ("sym", json!("false")),
        ("sym", json!(1)),
        ("desc_act", json!("no")),
        ("checkpoint_format", json!(2)),
        ("dynamic", json!([])),
        ("modules_to_not_convert", json!("lm_head")),
        ("modules_to_not_convert", json!([7])),
    ] {
        let verdict = verdict(&file, &with(base.clone(), &json!({ key: wrong })));
        assert!(verdict.starts_with("config: not checked in full"), "{key} {wrong}\n{verdict}");
        assert!(verdict.contains(&format!("not checked: `{key}` is {wrong}")), "{verdict}");
    }
    for config in [json!("gptq"), json!(["gptq"]), json!({ "quant_method": 4 })] {
        assert!(verdict(&file, &config).starts_with("config: not checked ("), "{config}");
    }
    let null = json!({ "group_size": null, "dynamic": null, "modules_to_not_convert": null });
    agrees(&[file], &with(base, &null));
}

#[test]
fn a_field_of_a_group_that_cannot_be_read_is_named() {
    for (key, wrong) in [
        ("strategy", json!("rowwise")),
        ("num_bits", json!("4")),
        ("symmetric", json!("yes")),
        ("group_size", json!(0)),
    ] {
        let mut group = group(&["Linear"], 4, "group", Some(64));
        group["weights"][key] = wrong;
        let verdict = verdict(&packed("a.q_proj", 4, 2), &pack_quantized(&[], &[group]));
        assert!(verdict.contains(&format!("not checked: `{key}`")), "{key}\n{verdict}");
    }
    let blocks = json!({ "quant_method": "fp8", "weight_block_size": [128] });
    let verdict = verdict(&fp8("a.q_proj", "weight_scale_inv", "2x1"), &blocks);
    assert!(verdict.contains("not checked: `weight_block_size` is [128]"), "{verdict}");
}

#[test]
fn what_the_header_decides_is_compared() {
    let bnb_says = |table: &str, double: bool| {
        json!({ "quant_method": "bitsandbytes", "load_in_4bit": true,
            "bnb_4bit_quant_type": table, "bnb_4bit_use_double_quant": double })
    };
    agrees(&[bnb("nf4", true)], &bnb_says("nf4", true));
    contradicts(&[bnb("fp4", true)], &bnb_says("nf4", true), "its quant_state is of fp4");
    contradicts(&[bnb("nf4", false)], &bnb_says("nf4", true), "no nested_absmax");
    contradicts(&[bnb("nf4", true)], &bnb_says("nf4", false), "it has nested_absmax");

    let says = |method: &str| json!({ "quant_method": method, "activation_scheme": "dynamic" });
    let (inv, scale, module) = ("weight_scale_inv", "weight_scale", "a.up_proj");
    agrees(&[fp8(module, scale, "")], &says("fp8"));
    agrees(&[fp8(module, scale, "256x1")], &says("fbgemm_fp8"));
    contradicts(&[fp8(module, inv, "2x1")], &says("fp8"), "group tensor, which takes [1, 1]");
    contradicts(&[fp8(module, scale, "")], &says("fbgemm_fp8"), "which takes [256, 1]");
    let modelopt = |algorithm: &str| json!({ "quant_method": "modelopt", "quant_algo": algorithm });
    contradicts(&[fp8(module, scale, "256x1")], &modelopt("FP8"), "which takes [1, 1]");
    contradicts(&[fp8(module, scale, "")], &modelopt("NVFP4"), "it is FP8");
    agrees(&[fp8(module, scale, "2x1")], &modelopt("FP8_PB_WO"));

    let fixed = json!({ "quant_method": "fp8", "activation_scheme": "static" });
    contradicts(&[fp8(module, scale, "")], &fixed, "it has no input_scale");
    let scaled = "a.up_proj.input_scale F32".to_owned();
    let verdict = agrees(&[fp8(module, scale, ""), scaled], &fixed);
    assert!(verdict.contains("granularity, zero points, activations"), "{verdict}");

    for (packing, is_gptq) in [("auto_round:auto_gptq", true), ("auto_round:auto_awq", false)] {
        let config = json!({ "quant_method": "auto-round", "bits": 4, "group_size": 64,
            "packing_format": packing });
        let inspection = inspected(&gptq("a.q_proj", 4, 64), &config);
        assert_eq!(inspection.problems.is_empty(), is_gptq, "{packing}");
    }
}

#[test]
fn configs_of_hqq_and_of_each_mode_of_mlx_are_held_against_the_header() {
    let hqq = |bits: u64, size: u64| {
        json!({ "quant_method": "hqq", "quant_config": { "weight_quant_params":
            { "nbits": bits, "group_size": size, "axis": 1 } } })
    };
    // [64, 64] in 4 bits.
    let file = ["m.W_q U8 32x64, m.scale F16 64x1, m.zero F16 64x1".to_owned()];
    assert!(
        agrees(&file, &hqq(4, 64)).contains("compared with the shapes: bits, group size, zero")
    );
    contradicts(&file, &hqq(2, 64), "its codes have 4 bits");
    contradicts(&file, &hqq(4, 32), "its scales are of groups of 64");

    let mlx = |mode: &str, bits: u64, size: u64| {
        json!({ "bits": bits, "group_size": size, "mode": mode,
            "m.o_proj": { "bits": 8, "group_size": 64 } })
    };
    let affine = "m.o_proj.weight U32 64x32, m.o_proj.scales F16 64x2, m.o_proj.biases F16 64x2";
    let floats = |bits: u64, size: u64| {
        let (words, groups) = (128 * bits / 32, 128 / size);
        [format!("m.up.weight U32 64x{words}, m.up.scales U8 64x{groups}"), affine.to_owned()]
    };
    for (mode, bits, size) in [("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)] {
        agrees(&floats(bits, size), &mlx(mode, bits, size));
        contradicts(&floats(bits, size), &mlx("affine", bits, size), "says asymmetric");
    }
    contradicts(&floats(4, 16), &mlx("mxfp4", 4, 32), "says group 32");
}

#[test]
fn a_plain_neighbour_is_a_contradiction_unless_the_config_or_the_method_leaves_it() {
    let four = || group(&["Linear"], 4, "group", Some(64));
    let file = [packed("m.0.mlp.up_proj", 4, 2), plain("m.0.mlp.down_proj", "64x64")];
    contradicts(&file, &pack_quantized(&["lm_head"], &[four()]), "its neighbour is quantized");
    agrees(&file, &pack_quantized(&["m.0.mlp.down_proj"], &[four()]));
    agrees(&file, &pack_quantized(&["re:.*down_proj"], &[four()]));
    for module in ["m.0.mlp.gate", "m.0.mlp.router", "m.1.other.down_proj", "lm_head"] {
        let file = [packed("m.0.mlp.up_proj", 4, 2), plain(module, "64x64")];
        agrees(&file, &pack_quantized(&[], &[four()]));
    }
    let bits = json!({ "quant_method": "bitsandbytes", "load_in_4bit": true });
    agrees(&[bnb("fp4", false), plain("a.k_proj", "64x64")], &bits);
}

#[test]
fn the_bits_of_packed_words_are_the_configs_word() {
    // 16 words are 128 codes of 4 bits in two groups of 64, or 64 of 8 bits in two of 32.
    for (bits, size) in [(4, 64), (8, 32)] {
        let config = pack_quantized(&[], &[group(&["Linear"], bits, "group", Some(size))]);
        let verdict = agrees(&[packed("a.q_proj", 4, 2)], &config);
        let word = format!("on the config's word, no shape shows it: {bits} bits");
        assert!(verdict.contains(&word), "{verdict}");
        assert!(!verdict.contains("method, bits"), "{verdict}");
    }
}

#[test]
fn the_most_exact_target_counts() {
    let (linear, eight) =
        (group(&["Linear"], 4, "group", Some(64)), |t: &str| group(&[t], 8, "channel", None));
    let file = [packed("l.0.up_proj", 4, 2), packed("l.0.down_proj", 8, 1)];
    for target in ["re:.*down_proj$", "l.0.down_proj"] {
        agrees(&file, &pack_quantized(&[], &[linear.clone(), eight(target)]));
        agrees(&file, &pack_quantized(&[], &[eight(target), linear.clone()]));
    }
    // A name comes before an expression.
    let four = group(&["re:.*"], 4, "group", Some(64));
    agrees(&file, &pack_quantized(&[], &[four, eight("l.0.down_proj")]));
    // Loaders ask two expressions in orders of their own.
    let two = [group(&["re:.*proj"], 4, "group", Some(64)), eight("re:l.*")];
    let verdict = agrees_or_notes(&file, &pack_quantized(&[], &two));
    assert!(verdict.contains("loaders read"), "{verdict}");
}

#[track_caller]
fn agrees_or_notes(parts: &[String], config: &Value) -> String {
    let inspection = inspected(&parts.join(", "), config);
    assert_eq!(inspection.problems, [], "{config}");
    inspection_report::verdict(&inspection).join("\n")
}

#[test]
fn expressions_with_look_ahead_are_read_and_others_leave_a_doubt() {
    let four = |target: &str| group(&[target], 4, "group", Some(64));
    let file = [packed("l.0.mlp.up_proj", 4, 2), plain("l.1.mlp.up_proj", "64x128")];
    agrees(&file, &pack_quantized(&[r"re:l\.(?!0\.).*"], &[four("Linear")]));
    agrees(&file, &pack_quantized(&[], &[four(r"re:.*(?<!1\.mlp\.)up_proj")]));
    contradicts(&file, &pack_quantized(&[r"re:l\.(?!1\.).*"], &[four("Linear")]), "to leave");
    for unreadable in ["re:l.1.*(?", "re:(?P<l>", "re:[l"] {
        let verdict = agrees_or_notes(&file, &pack_quantized(&[unreadable], &[four("Linear")]));
        assert!(!verdict.starts_with("config: agrees"), "{verdict}");
        assert!(verdict.contains("not checked: `re:"), "{verdict}");
    }
}

#[test]
fn a_list_is_read_as_the_loaders_of_its_method_read_it() {
    let blocks = |list: Value| {
        json!({ "quant_method": "fp8", "activation_scheme": "dynamic",
            "weight_block_size": [128, 128], "modules_to_not_convert": list })
    };
    let quantized = |module: &str| fp8(module, "weight_scale_inv", "2x1");
    let router = [quantized("l.0.mlp.gate_proj"), plain("l.0.mlp.gate", "8x128")];
    agrees(&router, &blocks(json!(["mlp.gate", "gate"])));
    // transformers reads an expression, and vLLM a name that no module has.
    let layers = [quantized("l.1.mlp.up_proj"), plain("l.0.mlp.up_proj", "256x128")];
    let verdict = agrees_or_notes(&layers, &blocks(json!(["l.[0]."])));
    assert!(verdict.contains("note: loaders read `l.[0].` differently"), "{verdict}");
    contradicts(&layers, &blocks(json!(["l.1.mlp.up_proj"])), "leave `l.1.mlp.up_proj` alone");
    // A piece of a name is left alone by vLLM's AWQ, and quantized by transformers.
    let awq = [["qweight I32 128x8", "qzeros I32 2x8", "scales F16 2x64"]
        .map(|part| format!("l.0.mlp.up_proj.{part}"))
        .join(", ")];
    let says = |list: Value| {
        json!({ "quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": true,
            "modules_to_not_convert": list })
    };
    agrees_or_notes(&awq, &says(json!(["mlp.up"])));
    contradicts(&awq, &says(json!(["l.0.mlp.up_proj"])), "to leave `l.0.mlp.up_proj` alone");
    // ModelOpt's wildcards, and the whole names of compressed-tensors.
    let fp4 =
        |list: Value| json!({ "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": list });
    agrees(&[nvfp4("l.0.up_proj"), plain("l.1.up_proj", "64x32")], &fp4(json!(["l.1*"])));
    contradicts(&[nvfp4("l.0.up_proj")], &fp4(json!(["l.?.up*"])), "to leave");
    let four = group(&["Linear"], 4, "group", Some(64));
    agrees(&[packed("l.3.up_proj", 4, 2)], &pack_quantized(&["l.3"], &[four]));
}

#[test]
fn modules_have_rules_of_their_own() {
    let gptq_says = json!({ "quant_method": "gptq", "bits": 4, "group_size": 64, "sym": true });
    let dynamic = json!({ "dynamic": { "-:.*\\.k_proj": {}, "+:.*\\.1\\..*": { "bits": 8 },
        ".*\\.2\\..*": { "group_size": 32 } } });
    let file = [
        gptq("l.0.q_proj", 4, 64),
        plain("l.0.k_proj", "64x64"),
        gptq("l.1.q_proj", 8, 64),
        gptq("l.2.q_proj", 4, 32),
    ];
    agrees(&file, &with(gptq_says.clone(), &dynamic));
    contradicts(&file, &gptq_says, "8 bits");

    let auto_round = json!({ "quant_method": "auto-round", "bits": 4, "group_size": 64, "sym": true,
        "packing_format": "auto_round:auto_gptq", "extra_config": {
            "l.0.k_proj": { "bits": 16, "data_type": "float" }, "l.1.q_proj": { "bits": 8 },
            ".*\\.2\\.q.*": { "group_size": 32 } } });
    agrees(&file, &auto_round);

    let quark = json!({ "quant_method": "quark", "exclude": ["*k_proj", "re:.*lm_head"],
        "global_quant_config": { "weight": { "dtype": "fp8_e4m3", "qscheme": "per_tensor" } },
        "layer_quant_config": { "*.1.*": { "weight": { "dtype": "fp8_e4m3",
            "qscheme": "per_channel" } } } });
    let file = [
        fp8("l.0.q_proj", "weight_scale", ""),
        plain("l.0.k_proj", "64x64"),
        fp8("l.1.q_proj", "weight_scale", "256x1"),
    ];
    agrees_or_notes(&file, &quark);

    let mixed = json!({ "quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
        "kv_cache_quant_algo": "FP8", "quantized_layers": { "l.0.q_proj": { "quant_algo": "FP8" },
            "l.1.mlp": { "quant_algo": "W4A16_NVFP4", "group_size": 16 } } });
    let file = [
        fp8("l.0.q_proj", "weight_scale", ""),
        plain("l.0.k_proj", "64x64"),
        nvfp4("l.1.mlp.up_proj"),
    ];
    let verdict = agrees(&file, &mixed);
    assert!(verdict.contains("KV cache in FP8"), "{verdict}");
    contradicts(&[nvfp4("l.0.q_proj")], &mixed, "quant_method modelopt");
    contradicts(&[nvfp4("l.5.q_proj")], &mixed, "says nothing about it");
}

#[test]
fn methods_go_by_several_names_or_none() {
    for (config, method) in [
        (json!({ "load_in_4bit": true, "bnb_4bit_quant_type": "nf4" }), "bitsandbytes"),
        (json!({ "quant_algo": "FP8", "producer": { "name": "modelopt" } }), "modelopt"),
        (json!({ "quant_method": "intel/auto-round", "bits": 4 }), "auto-round"),
        (json!({ "quant_method": "modelopt_fp4", "quant_algo": "NVFP4" }), "modelopt"),
        (json!({ "quant_method": "sparseml", "config_groups": {} }), "compressed-tensors"),
        (json!({ "config_groups": {}, "format": "pack-quantized" }), "compressed-tensors"),
        (json!({ "group_size": 64, "bits": 4 }), "mlx"),
    ] {
        let nested = json!({ "text_config": { "quantization_config": config } });
        let found = QuantConfig::parse("config.json", &nested).expect("a config");
        assert_eq!(found.method.as_deref(), Some(method), "{config}");
        assert!(!found.notes.is_empty(), "the reader says how it knows: {config}");
    }
    let mlx = json!({ "quantization": { "bits": 4, "group_size": 64, "m.q": { "bits": 8 } } });
    let found = QuantConfig::parse("config.json", &mlx).expect("a config");
    assert_eq!(found.expected("m.q").and_then(|expected| expected.bits), Some(8));
    assert_eq!(found.expected("m.k").and_then(|expected| expected.bits), Some(4));
}

fn read(path: &Path) -> std::io::Result<(Inspection, String)> {
    let found = inspect(path).map_err(std::io::Error::other)?;
    let verdict = inspection_report::verdict(&found).join("\n");
    Ok((found, verdict))
}

#[test]
fn pythons_words_for_numbers_are_read_and_other_words_are_not() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("model.safetensors"), safetensors(&nvfp4("m.up_proj")))?;
    let config = |fields: &str| {
        let method = r#""quantization_config":{"quant_method":"modelopt","quant_algo":"NVFP4"}"#;
        fs::write(folder.path().join("config.json"), format!("{{{fields},{method}}}"))
    };
    for fields in [
        r#""limit":[0.0,Infinity]"#,
        r#""limit":-Infinity,"other":NaN"#,
        r#""text":"say \"NaN\" and Infinity","limit":NaN"#,
    ] {
        config(fields)?;
        let (_, verdict) = read(folder.path())?;
        assert!(verdict.starts_with("config: agrees"), "{fields}\n{verdict}");
    }
    config(r#""limit":Nan"#)?;
    let error = read(folder.path()).map(drop).expect_err("no JSON").to_string();
    assert!(error.contains("config.json: not valid JSON"), "{error}");
    Ok(())
}

#[test]
fn a_config_that_cannot_be_read_hides_none_and_two_that_differ_are_named() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    fs::write(file("model.safetensors"), safetensors(&gptq("m.q_proj", 4, 64)))?;
    let says =
        |bits: u64| json!({ "bits": bits, "group_size": 64, "desc_act": false, "sym": true });
    fs::write(file("config.json"), r#"{"quantization_config":{"quant_method":"novel"}}"#)?;
    fs::write(file("quantize_config.json"), says(4).to_string())?;
    let (_, verdict) = read(folder.path())?;
    assert!(verdict.starts_with("config: agrees (quantize_config.json"), "{verdict}");

    let config =
        json!({ "quantization_config": with(says(4), &json!({ "quant_method": "gptq" })) });
    fs::write(file("config.json"), config.to_string())?;
    fs::write(file("quantize_config.json"), says(8).to_string())?;
    let (_, verdict) = read(folder.path())?;
    assert!(verdict.contains("quantize_config.json beside it says otherwise (bits 8 against 4)"));
    Ok(())
}

#[test]
fn shards_lie_where_the_index_says_and_an_index_holds_no_data() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (index, shards) =
        (folder.path().join("diffusion_pytorch_model.safetensors.index.json"), ["a", "parts/b"]);
    fs::create_dir(folder.path().join("parts"))?;
    for name in shards {
        fs::write(
            folder.path().join(format!("{name}.safetensors")),
            safetensors(&plain(name, "2x2")),
        )?;
    }
    let map = |entries: Value| fs::write(&index, json!({ "weight_map": entries }).to_string());
    map(json!({ "a.weight": "a.safetensors", "parts/b.weight": "parts/b.safetensors" }))?;
    let (found, _) = read(folder.path())?;
    assert_eq!((found.files.len(), found.inventory.plain.len(), found.problems.len()), (2, 2, 0));

    // The same name in two shards is counted once.
    fs::write(folder.path().join("parts/b.safetensors"), safetensors(&plain("a", "2x2")))?;
    map(json!({ "a.weight": "a.safetensors", "other": "parts/b.safetensors" }))?;
    let (found, verdict) = read(folder.path())?;
    assert_eq!(found.inventory.plain.len(), 1);
    assert!(verdict.contains("contradiction: a.weight: it is in parts/b.safetensors"), "{verdict}");

    map(json!({ "a.weight": "diffusion_pytorch_model.safetensors.index.json" }))?;
    let error = read(folder.path()).map(drop).expect_err("no shard").to_string();
    assert!(error.contains("this index, which holds no data"), "{error}");
    Ok(())
}

#[test]
fn a_folder_whose_checkpoints_lie_deeper_says_where() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("transformer"))?;
    fs::write(
        folder.path().join("transformer/model.safetensors"),
        safetensors(&plain("a", "2x2")),
    )?;
    let error = read(folder.path()).map(drop).expect_err("no checkpoint").to_string();
    assert!(error.contains("transformer: give that folder"), "{error}");
    Ok(())
}

#[test]
fn an_index_may_be_longer_than_any_config() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("a.safetensors"), safetensors(&plain("a", "2x2")))?;
    let long = json!({ "metadata": { "filler": " ".repeat(17 << 20) },
        "weight_map": { "a.weight": "a.safetensors" } });
    fs::write(folder.path().join("model.safetensors.index.json"), long.to_string())?;
    assert_eq!(read(folder.path())?.0.files.len(), 1);
    Ok(())
}

#[test]
fn many_modules_and_many_rules_cost_no_minutes() {
    let modules = (0..30_000).map(|at| format!("m.layers.{}.experts.{at}.up_proj", at % 60));
    let parts: Vec<String> = modules.map(|module| nvfp4(&module)).collect();
    let layers = 0..62;
    let stars: Vec<_> = layers.clone().map(|at| format!("m.layers.{at}.self_attn*")).collect();
    let config = json!({ "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": stars });
    let begin = std::time::Instant::now();
    assert_eq!(inspected(&parts.join(", "), &config).problems, []);
    // A second or two without other programs, as each module is asked once. Other programs may be busy.
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}
