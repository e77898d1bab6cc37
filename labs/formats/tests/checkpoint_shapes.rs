//! Schemes of which no fixture is here, told from shapes alone, and shapes that fit nothing.

use formats::checkpoint::{
    Dtype, Inventory, QuantConfig, Quantized, Scheme, Storage, Tensor, ZeroPoints, classify,
};
use formats::format::Group;
use proptest::prelude::*;
use serde_json::json;

use crate::made_up_checkpoint::tensors;

fn classified(parts: &str) -> Inventory {
    classify(&tensors(parts), None)
}

#[track_caller]
fn only(parts: &str) -> Quantized {
    let Inventory { mut quantized, problems, .. } = classified(parts);
    assert_eq!(problems, [], "{parts}");
    assert_eq!(quantized.len(), 1, "{parts}");
    quantized.remove(0)
}

#[track_caller]
fn problem(parts: &str) -> String {
    let inventory = classified(parts);
    assert_eq!(inventory.quantized, [], "{parts}");
    inventory.problems.first().map(ToString::to_string).expect("a problem")
}

#[track_caller]
fn unknown(parts: &str) -> String {
    let inventory = classified(parts);
    assert_eq!((inventory.quantized.len(), inventory.problems.len()), (0, 0), "{parts}");
    let found = inventory.unknown.first().expect("a layout that is not known");
    format!("{}, {}: {}", found.module, found.layout, found.because)
}

#[test]
fn the_exercise_of_the_chapter_is_awq() {
    let found = only("m.qweight I32 1536x72, m.qzeros I32 24x72, m.scales F16 24x576");
    assert_eq!((found.scheme, found.group), (Scheme::AwqGemm, Group::Size(64)));
    assert_eq!(found.shape.as_deref(), Some(&[576, 1536][..]));
    assert_eq!(found.bits_per_weight(), Some(4.0 + 16.0 / 64.0 + 4.0 / 64.0));
}

#[test]
fn awq_and_gptq_of_the_same_square_matrix_are_told_apart_by_the_scales() {
    // [512, 64] is 512 inputs of AWQ, or 4096 of GPTQ: only the scales know.
    let awq = only("m.qweight I32 512x64, m.scales F16 4x512");
    assert_eq!((awq.scheme, awq.shape), (Scheme::AwqGemm, Some(vec![512, 512])));
    let gptq = only("m.qweight I32 512x64, m.scales F16 32x64, m.g_idx I32 4096");
    assert_eq!((gptq.bits, gptq.shape), (Some(4), Some(vec![64, 4096])));
    let neither = unknown("m.qweight I32 512x64");
    assert!(neither.contains("could be AWQ's [in, out/8] or GPTQ's [in/8, out]"), "{neither}");
}

#[test]
fn gptqs_bits_come_from_its_zero_points() {
    for (bits, rows, words) in [(2, 8, 6), (3, 12, 9), (4, 16, 12), (8, 32, 24)] {
        let found =
            only(&format!("m.qweight I32 {rows}x96, m.qzeros I32 2x{words}, m.scales F16 2x96"));
        assert_eq!((found.bits, found.group), (Some(bits), Group::Size(64)));
        assert_eq!(found.shape, Some(vec![96, 128]), "{bits} bits");
        assert_eq!(found.zeros, ZeroPoints::Always(1 << (bits - 1)));
    }
}

#[test]
fn without_zero_points_g_idx_or_config_gptqs_bits_are_not_guessed() {
    let found = only("m.qweight I32 16x96, m.scales F16 2x96");
    assert_eq!((found.bits, found.shape, found.weights), (None, None, None));
}

#[test]
fn a_short_last_group_leaves_its_size_to_the_config() {
    // Rounded up, as auto-gptq allocates: five groups of 576, the last of 64.
    let parts = "m.qweight I32 72x576, m.qzeros I32 5x72, m.scales F16 5x576";
    let found = only(parts);
    assert_eq!((found.bits, found.group, found.weights), (Some(4), Group::Unread, Some(576 * 576)));
    let with = |group: u64| {
        let json = json!({ "quant_method": "gptq", "bits": 4, "group_size": group });
        let config = QuantConfig::parse("quantize_config.json", &json);
        classify(&tensors(parts), config.as_ref())
    };
    assert_eq!(with(128).quantized[0].group, Group::Size(128));
    let refused = with(64).problems[0].to_string();
    assert!(refused.contains("5 groups of scales for 576 inputs"), "{refused}");
    assert!(refused.contains("8, 16, 24, 32, 48, 64, 72, 96, 144, 192, 288, 576"), "{refused}");
}

#[test]
fn parts_that_do_not_fit_each_other_are_named() {
    for (words, parts) in [
        ("qzeros is [3, 12]", "m.qweight I32 16x96, m.qzeros I32 3x12, m.scales F16 2x96"),
        (
            "g_idx names the group of 100 inputs",
            "m.qweight I32 16x96, m.qzeros I32 2x12, m.scales F16 2x96, m.g_idx I32 100",
        ),
        (
            "weight_packed has 8 rows and weight_scale 9",
            "m.weight_packed I32 8x8, m.weight_scale F16 9x2",
        ),
        ("and its scales [65, 5]", "m.weight F8_E4M3 64x64, m.weight_scale F32 65x5"),
    ] {
        let problem = problem(parts);
        assert!(problem.starts_with("m: ") && problem.contains(words), "{problem}");
    }
}

#[test]
fn fp8_with_one_scale_a_row_of_scales_or_a_grid_of_blocks() {
    let with = |scales: &str| {
        let found = only(&format!("m.weight F8_E4M3 576x1536, {scales}"));
        (found.scheme, found.group)
    };
    assert_eq!(with("m.weight_scale F32"), (Scheme::Fp8, Group::Tensor));
    assert_eq!(with("m.weight_scale F32 576x1"), (Scheme::Fp8, Group::Channel));
    // 576 rows are four and a half blocks of 128: five.
    let deepseek = (Scheme::Fp8ScaleInv, Group::Block(128, 128));
    assert_eq!(with("m.weight_scale_inv F32 5x12"), deepseek);
    let mx = only("m.weight F8_E4M3 64x96, m.weight_scale U8 64x3");
    assert_eq!((mx.scheme, mx.group), (Scheme::Mxfp8, Group::Size(32)));
}

#[test]
fn four_bit_floats_by_their_scales() {
    let mx = only("m.weight_packed U8 64x48, m.weight_scale U8 64x3");
    assert_eq!((mx.scheme, mx.group), (Scheme::Mxfp4, Group::Size(32)));
    assert_eq!(mx.bits_per_weight(), Some(4.25));
    let gpt_oss = only("e.up_proj_blocks U8 4x64x3x16, e.up_proj_scales U8 4x64x3");
    assert_eq!((gpt_oss.scheme, gpt_oss.module.as_str()), (Scheme::Mxfp4GptOss, "e.up_proj"));
    assert_eq!(
        (gpt_oss.shape.clone(), gpt_oss.bits_per_weight()),
        (Some(vec![4, 64, 96]), Some(4.25))
    );
    let modelopt = only("m.weight U8 64x48, m.weight_scale F8_E4M3 64x6, m.weight_scale_2 F32");
    assert_eq!((modelopt.scheme, modelopt.group), (Scheme::Nvfp4ModelOpt, Group::Size(16)));
}

#[test]
fn bitsandbytes_hides_the_shape_and_not_the_number_of_weights() {
    let nf4 = only(
        "m.weight U8 2048x1, m.weight.absmax F32 64, m.weight.quant_map F32 16, \
         m.weight.quant_state.bitsandbytes__nf4 U8 80",
    );
    assert_eq!(nf4.scheme, Scheme::BnbTable { table: "nf4", double: false });
    assert_eq!((nf4.shape, nf4.weights, nf4.group), (None, Some(4096), Group::Size(64)));
    let int8 = only("m.weight I8 64x96, m.SCB F32 64");
    assert_eq!((int8.scheme, int8.group), (Scheme::BnbInt8, Group::Channel));
}

#[test]
fn a_plain_model_is_plain_and_a_bias_is_no_part() {
    let inventory = classified("m.weight F16 8x8, m.bias F16 8, steps I64, table.weight U8 3");
    assert_eq!((inventory.quantized.len(), inventory.plain.len()), (0, 4));
    let biased = "m.qweight I32 64x12, m.scales F16 2x96, m.qzeros I32 2x12, m.bias F16 96";
    let inventory = classified(biased);
    assert_eq!(inventory.quantized[0].bits_per_weight(), Some(4.625));
    assert_eq!(inventory.plain.len(), 1);
}

/// A part of a module that some scheme has, with a shape that need not fit.
fn any_tensor() -> impl Strategy<Value = Tensor> {
    const PARTS: &str = "qweight qzeros scales g_idx weight weight_packed weight_scale \
        weight_scale_inv weight_zero_point weight_scale_2 weight_global_scale SCB weight.absmax \
        weight.quant_state.bitsandbytes__nf4 x_blocks x_scales blocks trellis suh svh q_weight q_scale \
        q_groups q_invperm W_q scale zero codes codebooks compressed bitmask B s _weight_qdata \
        _weight_scale weight._data weight._scale weight_scales biases x x_scale x_weight_scale_2 meta";
    let parts = prop::sample::select(PARTS.split_whitespace().collect::<Vec<_>>());
    let dtypes = "I32 U8 I8 F16 F32 F8_E4M3 F8_E8M0 U32 I16".split_whitespace();
    let dtype = prop::sample::select(dtypes.filter_map(Dtype::named).collect::<Vec<_>>());
    let length = prop_oneof![0u64..9, Just(32), Just(64), Just(576), any::<u64>()];
    let shape = prop::collection::vec(length, 0..5);
    (parts, dtype, shape).prop_map(|(part, dtype, shape)| Tensor {
        name: format!("m.{part}"),
        storage: Storage::Elements(dtype),
        shape,
        bytes: 1,
    })
}

proptest! {
    #[test]
    fn any_parts_of_any_shape_get_a_verdict_and_none_is_lost(
        tensors in prop::collection::vec(any_tensor(), 0..8),
        bits in any::<i64>(),
        group in any::<i64>(),
        method in prop::sample::select(vec!["awq", "gptq", "fp8", "modelopt", "mxfp4", "bitnet", "auto-round"]),
    ) {
        let mut names = std::collections::HashSet::new();
        let tensors: Vec<Tensor> =
            tensors.into_iter().filter(|tensor| names.insert(tensor.name.clone())).collect();
        let json = json!({ "quantization_config": {
            "quant_method": method, "bits": bits, "group_size": group, "weight_block_size": [bits, group],
            "quant_algo": "NVFP4",
        }});
        let config = QuantConfig::parse("config.json", &json);
        let (inventory, _) = formats::checkpoint::examine(&tensors, config.as_ref());
        let parts: usize = inventory.quantized.iter().map(|q| q.parts.len()).sum();
        let unknown: usize = inventory.unknown.iter().map(|module| module.parts).sum();
        prop_assert_eq!(parts + unknown + inventory.plain.len(), tensors.len());
    }
}
