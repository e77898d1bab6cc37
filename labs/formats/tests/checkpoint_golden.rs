//! Checkpoints that other people's tools wrote: what inspect says is the truth.

use formats::checkpoint::golden::{self, path as golden};
use formats::checkpoint::{
    GptqVersion, Inspection, QuantConfig, Scheme, Tensor, ZeroPoints, examine, inspect, open,
};
use formats::format::Group;
use formats::gguf::TensorType;
use serde_json::{Value, json};

fn inspected(name: &str) -> Inspection {
    inspect(golden(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// A fixture: bits, group, zero points, and bits a weight of the 96 x 64 up_proj, from the layout's own
/// formula.
type Truth = (&'static str, Scheme, u64, Group, ZeroPoints, f64);

/// The formulas: codes, scales of 16 bits, zero points of 4 bits where they are stored, and the parts
/// that only one tool adds. The matrix is [96, 64], a group has 32 weights.
fn truths() -> [Truth; 9] {
    use Scheme::{AwqGemm, Fp8, Ggml, Gptq, IntQuantized, Nvfp4, PackQuantized};
    use ZeroPoints::{Absent, Always, Stored};
    let group = Group::Size(32);
    let (w4, zeros) = (4.0 + 16.0 / 32.0, 4.0 / 32.0);
    let words = |count: f64| count * 32.0 / (96.0 * 64.0);
    let v1 = GptqVersion::V1;
    [
        ("autoawq", AwqGemm, 4, group, Always(8), w4 + zeros),
        // And g_idx: an int32 for each of the 64 inputs.
        ("autogptq", Gptq(v1), 4, group, Always(8), w4 + zeros + words(64.0)),
        // And weight_shape: two int64.
        ("ct-w4-symmetric", PackQuantized, 4, group, Absent, w4 + words(4.0)),
        ("ct-w4-asymmetric", PackQuantized, 4, group, Stored, w4 + zeros + words(4.0)),
        ("ct-w8a8", IntQuantized, 8, Group::Channel, Absent, 8.0 + 16.0 / 64.0),
        ("ct-fp8-channel", Fp8, 8, Group::Channel, Absent, 8.0 + 16.0 / 64.0),
        ("ct-fp8-block", Fp8, 8, Group::Block(32, 32), Absent, 8.0 + 16.0 / 1024.0),
        // And one f32 for the tensor.
        ("ct-nvfp4", Nvfp4, 4, Group::Size(16), Absent, 4.0 + 8.0 / 16.0 + words(1.0)),
        ("tiny.gguf", Ggml(TensorType::Q8_0), 8, group, Absent, 8.0 + 16.0 / 32.0),
    ]
}

#[test]
fn inspect_tells_the_truth_about_every_file() {
    let names = truths().map(|(name, ..)| name);
    assert_eq!(names, golden::ALL.map(|(name, _)| name), "a truth for every file");
    for (name, scheme, bits, group, zeros, cost) in truths() {
        let inspection = inspected(name);
        let is_up = |module: &str| module.ends_with("up_proj") || module.ends_with("ffn_up");
        let up: Vec<_> =
            inspection.inventory.quantized.iter().filter(|q| is_up(&q.module)).collect();
        assert_eq!(up.len(), 2, "{name}: a matrix in each of two layers");
        for matrix in up {
            assert_eq!(
                (matrix.scheme, matrix.bits, matrix.group, matrix.zeros),
                (scheme, Some(bits), group, zeros),
                "{name}"
            );
            assert_eq!(matrix.shape.as_deref(), Some(&[96, 64][..]), "{name}: [out, in]");
            // Sums of powers of two and of n/6144: f64 holds them to far more than this.
            let found = matrix.bits_per_weight().unwrap_or(f64::NAN);
            assert!((found - cost).abs() < 1e-12, "{name}: {found} bits a weight, not {cost}");
        }
    }
}

#[test]
fn no_file_contradicts_its_config_and_nothing_is_lost() {
    for (name, ..) in truths() {
        let inspection = inspected(name);
        assert_eq!(inspection.problems, [], "{name}");
        assert_eq!(inspection.config.is_some(), !name.ends_with("gguf"), "{name}");
        let quantized: u64 = inspection.inventory.quantized.iter().map(|q| q.bytes()).sum();
        let plain: u64 = inspection.inventory.plain.iter().map(|tensor| tensor.bytes).sum();
        let file = &inspection.files[0];
        // GGUF pads its header and each tensor to 32 bytes.
        let pads = if name.ends_with("gguf") { 32 * 6 } else { 0 };
        let rest = file.bytes - file.header_bytes - quantized - plain;
        assert!(rest <= pads, "{name}: {rest} bytes belong to no tensor");
    }
}

#[test]
fn what_the_shapes_cannot_show_is_said_to_be_the_configs_word() {
    let config = inspected("autogptq").config.expect("auto-gptq writes a config");
    let words = ["sym true", "desc_act false", "checkpoint_format \"gptq\""];
    assert_eq!(config.unverifiable, words);
}

/// The problems of a fixture with one field of its config changed.
fn with_config(name: &str, field: &str, value: Value) -> Vec<String> {
    let text = std::fs::read_to_string(golden(name).join("config.json")).expect("a config");
    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    let found = json.pointer_mut(&format!("/quantization_config/{field}"));
    *found.unwrap_or_else(|| panic!("{name}: no {field}")) = value;
    let config = QuantConfig::parse("config.json", &json).expect("a quantization config");
    let (_, problems) = examine(&tensors(name), Some(&config));
    problems.iter().map(ToString::to_string).collect()
}

fn tensors(name: &str) -> Vec<Tensor> {
    open(&golden(name)).expect("a fixture").tensors
}

#[track_caller]
fn assert_contradicts(name: &str, field: &str, value: Value, words: &[&str]) {
    let problems = with_config(name, field, value);
    assert!(!problems.is_empty(), "{name}: the contradiction was not noticed");
    for word in words {
        assert!(problems.iter().any(|p| p.contains(word)), "{name}: no `{word}` in {problems:?}");
    }
}

/// Where compressed-tensors says what the weights are.
const WEIGHTS: &str = "config_groups/group_0/weights";

#[test]
fn wrong_bits_in_the_config_are_a_contradiction() {
    let words = |bits| ["its codes have 4 bits".to_owned(), format!("says {bits} bits")];
    for (name, field, bits) in [
        ("autogptq", "bits".to_owned(), 8),
        ("autoawq", "bits".to_owned(), 3),
        ("ct-w4-asymmetric", format!("{WEIGHTS}/num_bits"), 8),
    ] {
        let [found, said] = words(bits);
        assert_contradicts(name, &field, json!(bits), &[&found, &said]);
    }
}

#[test]
fn a_wrong_group_size_is_a_contradiction_with_both_grids() {
    let words = ["[64, 64] has scales of [64, 2]: group 32", "group 64, which takes [64, 1]"];
    assert_contradicts("autoawq", "group_size", json!(64), &words);
    assert_contradicts("autogptq", "group_size", json!(64), &words);
    assert_contradicts("ct-w4-symmetric", &format!("{WEIGHTS}/group_size"), json!(64), &words);
    // A symmetric file of compressed-tensors does not show its bits: with 8 it would be half as wide.
    let half = ["[64, 32]", "group 16"];
    assert_contradicts("ct-w4-symmetric", &format!("{WEIGHTS}/num_bits"), json!(8), &half);
}

#[test]
fn symmetry_is_checked_where_the_format_shows_it_and_only_there() {
    let symmetric = format!("{WEIGHTS}/symmetric");
    let absent = ["no zero points are stored", "asymmetric"];
    assert_contradicts("ct-w4-symmetric", &symmetric, json!(false), &absent);
    let stored = ["zero points are stored", "symmetric"];
    assert_contradicts("ct-w4-asymmetric", &symmetric, json!(true), &stored);
    let silent = with_config("autogptq", "sym", json!(false));
    assert_eq!(silent, <[String; 0]>::default(), "GPTQ stores zero points either way");
}

#[test]
fn another_method_or_format_is_a_contradiction() {
    for (name, field, value, words) in [
        ("autoawq", "quant_method", "gptq", ["it is AWQ gemm", "quant_method gptq"]),
        ("autogptq", "quant_method", "awq", ["it is GPTQ", "quant_method awq"]),
        ("ct-w8a8", "format", "float-quantized", ["it is int-quantized", "format float-quantized"]),
    ] {
        assert_contradicts(name, field, json!(value), &words);
    }
}

#[test]
fn the_ignore_list_is_held_to_the_file_both_ways() {
    let words = ["layers.1.mlp.up_proj", "to leave `re:.*1.mlp`"];
    assert_contradicts("ct-w8a8", "ignore", json!(["lm_head", "re:.*1.mlp"]), &words);
    // Plain in one layer, quantized in another, and on no list.
    let mut tensors = tensors("ct-w8a8");
    tensors.retain(|t| !t.name.starts_with("model.layers.1.mlp"));
    let mut plain = tensors[0].clone();
    plain.name = "model.layers.1.mlp.up_proj.weight".into();
    tensors.push(plain);
    let config = inspected("ct-w8a8").config.expect("a config");
    let (_, problems) = examine(&tensors, Some(&config));
    let problem = problems.first().map(ToString::to_string).unwrap_or_default();
    assert!(problem.contains("quantized in another layer"), "{problems:?}");
}

#[test]
fn act_order_needs_g_idx() {
    let text = json!({ "quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": true });
    let config = QuantConfig::parse("quantize_config.json", &text).expect("a config");
    let mut tensors = tensors("autogptq");
    assert_eq!(examine(&tensors, Some(&config)).1, [], "with g_idx it may be either");
    tensors.retain(|tensor| !tensor.name.ends_with("g_idx"));
    let (_, problems) = examine(&tensors, Some(&config));
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[0].to_string().contains("no g_idx"), "{problems:?}");
}

#[test]
fn a_method_that_is_not_known_is_no_contradiction_and_no_agreement() {
    let json = json!({ "quantization_config": { "quant_method": "quarks\u{1b}", "bits": 3 } });
    let config = QuantConfig::parse("config.json", &json).expect("a config");
    let tensors = tensors("autoawq");
    assert_eq!(examine(&tensors, Some(&config)).1, []);
    assert!(!config.is_specific());
    assert!(config.notes[0].contains("is not known here") && !config.notes[0].contains('\u{1b}'));
}

#[test]
fn a_config_for_a_plain_file_is_a_contradiction() {
    let tensors = tensors("autoawq");
    let mut plain: Vec<_> = tensors.into_iter().filter(|t| t.name.contains("norm")).collect();
    let config = inspected("autoawq").config.expect("a config");
    assert_eq!(examine(&plain, Some(&config)).1, [], "a shard may hold nothing but norms");
    plain[0].name = "model.layers.0.mlp.up_proj.weight".into();
    plain[0].shape = vec![8, 4];
    let (_, problems) = examine(&plain, Some(&config));
    assert!(problems[0].to_string().contains("no tensor is quantized"), "{problems:?}");
}

#[test]
fn a_group_for_a_class_that_no_file_shows_is_not_held_against_it() {
    let targets = |targets: Value| with_config("ct-w8a8", "config_groups/group_0/targets", targets);
    assert_eq!(targets(json!(["MoeBlock"])), <[String; 0]>::default());
    let named = targets(json!(["re:.*q_proj"]));
    assert_eq!(named.len(), 2, "the up_proj of two layers: {named:?}");
    assert!(
        named[0].contains("up_proj") && named[0].contains("says nothing about it"),
        "{named:?}"
    );
}
