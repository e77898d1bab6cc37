//! The spec of lab 05. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-05-quantize-a-real-model --test spec` grades
//! `src/starter.rs`, on top of your labs 01 and 03.

use std::path::Path;

use fake_quant_linear::solution::{dequantize, quantize_per_channel};
use formats::checkpoint::{QuantConfig, examine};
use formats::format::Group;
use formats::registry::{self, StorageFormat, StoredPart};
use formats::rules::{GGML_Q4_0, GGML_Q4_1, GGML_Q8_0};
use int4_groups::solution::{dequantize_groups, quantize_groups};
use kit::data::normal_matrix;
use kit::difference::assert_same;
use model::Weights;
use ndarray::{Array2, ArrayView1, array};
use quantize_model::{
    Decision, Dtype, Float, FormatError, Reason, Recipe, Scheme, Storage, Tensor, TensorType,
    bits_per_weight, blocks, decide, fp8, left_alone, part, parts, predicted_bytes,
    quantization_config, quantize,
};
use quantizer::loaded::Checkpoint;
use quantizer::{Job, Plan, write};
use serde_json::{Value, json};

const Q_PROJ: &str = "model.layers.0.self_attn.q_proj.weight";
const GGUF: [TensorType; 3] = [TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1];

/// The schemes that quantize into a folder, with this group size where there are groups.
fn folders(size: u64) -> [Scheme; 6] {
    use Scheme::{Awq, Fp8, Gptq, W4A16, W8A8, W8A16};
    [W8A8, W8A16, Fp8, W4A16(size), Awq(size), Gptq(size)]
}

fn all(size: u64) -> Vec<Scheme> {
    folders(size).into_iter().chain(GGUF.map(Scheme::Gguf)).collect()
}

fn half(scheme: Scheme) -> Recipe {
    Recipe { scheme, float: Float::F16 }
}

/// A tensor of the original, in bfloat16.
fn tensor(name: &str, shape: &[u64]) -> Tensor {
    Tensor { name: name.into(), ..part("", "", Dtype::BF16, shape) }
}

/// The description of a scheme in the registry, by which files are decoded.
fn format_of(scheme: Scheme) -> StorageFormat {
    must(StorageFormat::named(&scheme.to_string(), scheme.group_size().unwrap_or(8)))
}

/// The matrix of the bytes of its parts, by the decoder of the registry.
fn decoded(
    scheme: Scheme,
    [out, inputs]: [usize; 2],
    data: Vec<Vec<u8>>,
) -> Result<Array2<f32>, FormatError> {
    let matrix = tensor(Q_PROJ, &[out as u64, inputs as u64]);
    let parts = registry::parts(&matrix, format_of(scheme), Float::F16).into_iter().zip(data);
    let parts: Vec<_> = parts.map(|(tensor, bytes)| StoredPart { tensor, bytes }).collect();
    format_of(scheme).decode([out, inputs], &parts)
}

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// The tiny Llama that travels with the repository: 2 layers, rows of 64 and of 80.
fn tiny() -> Weights {
    must(Weights::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/golden/tiny")))
}

/// The bytes of the file that `recipe` makes of `weights`, the checkpoint read from that file, and
/// the folder of the file.
fn written(weights: &Weights, recipe: Recipe) -> (u64, Checkpoint, tempfile::TempDir) {
    let folder = must(tempfile::tempdir());
    let out = folder.path().join("out");
    let job = Job {
        weights,
        plan: Plan::new(format_of(recipe.scheme), recipe.float),
        transform: None,
        rounding: None,
        importance: None,
        activations: None,
        kv_scales: None,
        out: &out,
        shard_bytes: u64::MAX,
        leave_out: true,
        requantize: false,
    };
    // Without the folder, whose name is another one in each run.
    let inside = |error: String| error.replace(&out.display().to_string(), "the checkpoint");
    write(&job, &()).unwrap_or_else(|error| {
        let error = inside(error.to_string());
        panic!("{}: your plan could not be written: {error}", recipe.scheme)
    });
    let bytes = must(out.join("model.safetensors").metadata()).len();
    put_good_config(&out.join("config.json"), weights, recipe.scheme);
    let checkpoint = Checkpoint::open(&out);
    let checkpoint = checkpoint.unwrap_or_else(|error| {
        let error = inside(error.to_string());
        panic!("{}: what you wrote cannot be read back: {error}", recipe.scheme)
    });
    (bytes, checkpoint, folder)
}

/// Puts the registry's `quantization_config` in the place of the one that task 4 made, so that a
/// mistake of task 4 fails the tests of task 4 only.
fn put_good_config(path: &Path, weights: &Weights, scheme: Scheme) {
    let format = format_of(scheme);
    let mut config: Value = must(serde_json::from_slice(&must(std::fs::read(path))));
    match format.config(&registry::left_alone(weights.tensors(), format)) {
        Some(good) => config["quantization_config"] = good,
        None => assert!(config.get("quantization_config").is_none(), "{scheme} needs no config"),
    }
    must(std::fs::write(path, config.to_string()));
}

// ---- task 1: which tensors -----------------------------------------------------------------------

#[test]
fn the_weights_of_linear_layers_are_quantized_by_every_scheme() {
    for scheme in all(64) {
        for name in ["self_attn.k_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"] {
            let tensor = tensor(&format!("model.layers.7.{name}.weight"), &[192, 576]);
            let decision = decide(&tensor, scheme);
            assert_eq!(
                decision,
                Decision::Quantize,
                "{scheme}: {} [192, 576] is the weight of a linear layer, and everything that has to \
                 divide divides",
                tensor.name
            );
        }
    }
}

#[test]
fn the_embedding_and_the_head_stay_floats_and_say_why() {
    for scheme in all(64) {
        for name in ["lm_head.weight", "model.language_model.lm_head.weight"] {
            assert_eq!(
                decide(&tensor(name, &[49152, 576]), scheme),
                Decision::Keep(Reason::Head),
                "{scheme}: {name} makes the logits, and engines expect it in floats. Look at the last \
                 word of the module's name"
            );
        }
        for name in ["model.embed_tokens.weight", "model.language_model.embed_tokens.weight"] {
            assert_eq!(
                decide(&tensor(name, &[49152, 576]), scheme),
                Decision::Keep(Reason::Embedding),
                "{scheme}: {name} has the shape of a weight, but it is looked up row by row: no \
                 product, no kernel for codes. Look at the last word of the module's name"
            );
        }
        for name in ["embed_tokens.proj", "lm_head_norm.proj", "layers.0.headwise", "embed_tokens2"]
        {
            assert_eq!(
                decide(&tensor(&format!("model.{name}.weight"), &[64, 64]), scheme),
                Decision::Quantize,
                "{scheme}: the last word of model.{name} is neither `embed_tokens` nor `lm_head`: \
                 compare the whole word, and only the last"
            );
        }
    }
    for (name, reason) in
        [("model.embed_tokens.weight", Reason::Embedding), ("lm_head.weight", Reason::Head)]
    {
        assert_eq!(
            decide(&tensor(name, &[49152, 576]), Scheme::W4A16(128)),
            Decision::Keep(reason),
            "{name} would not divide either, but it is kept for what it is: ask for the name first"
        );
    }
}

#[test]
fn a_norm_and_a_bias_are_no_matrices() {
    for (name, shape) in [
        ("model.layers.0.input_layernorm.weight", vec![576]),
        ("model.norm.weight", vec![576]),
        ("model.layers.0.self_attn.q_proj.bias", vec![576]),
        ("model.rotary_emb.inv_freq", vec![32]),
        ("model.conv.weight", vec![64, 64, 3]),
        ("model.rotary_emb.cos_cached", vec![64, 64]),
        ("model.layers.0.self_attn.q_proj.qweight", vec![64, 64]),
    ] {
        for scheme in all(64) {
            assert_eq!(
                decide(&tensor(name, &shape), scheme),
                Decision::Keep(Reason::NotAMatrix),
                "{scheme}: {name} {shape:?}: only a `weight` with two axes is the matrix of a linear \
                 layer. A name in `.weight` is not enough, because a norm has one too, and neither \
                 are two axes"
            );
        }
    }
}

#[test]
fn rows_are_whole_groups_and_layouts_whole_words() {
    let decision = |shape: &[u64], scheme| decide(&tensor(Q_PROJ, shape), scheme);
    let keep = |axis, size, by| Decision::Keep(Reason::Indivisible { axis, size, by });
    for scheme in [Scheme::W4A16(128), Scheme::Awq(128), Scheme::Gptq(128)] {
        assert_eq!(
            decision(&[576, 576], scheme),
            keep("in_features", 576, 128),
            "{scheme}: 576 is 4 groups of 128 and a half: SmolLM2 is why this check exists"
        );
        assert_eq!(
            decision(&[576, 1536], scheme),
            Decision::Quantize,
            "{scheme}: 1536 is 12 groups of 128. It is `in_features` that is cut into groups"
        );
    }
    assert_eq!(
        decision(&[80, 64], Scheme::Awq(32)),
        keep("out_features", 80, 32),
        "AutoAWQ's packer counts outputs in 32s and drops the rest"
    );
    assert_eq!(decision(&[80, 64], Scheme::Gptq(32)), Decision::Quantize, "80 is ten words of 8");
    assert_eq!(
        decision(&[84, 64], Scheme::Gptq(32)),
        keep("out_features", 84, 8),
        "GPTQ packs zero points along the outputs, eight to a word"
    );
    for (scheme, by) in [(Scheme::Gptq(32), 8), (Scheme::Awq(32), 32)] {
        assert_eq!(
            decision(&[84, 70], scheme),
            keep("out_features", 84, by),
            "{scheme}: both axes are indivisible: `out_features` is named first"
        );
    }
    assert_eq!(decision(&[9, 70], Scheme::W8A16), keep("in_features", 70, 4), "four codes a word");
    for (shape, scheme) in
        [([9, 70], Scheme::W8A8), ([9, 70], Scheme::Fp8), ([9, 72], Scheme::W8A16)]
    {
        assert_eq!(
            decision(&shape, scheme),
            Decision::Quantize,
            "{scheme}: {shape:?} needs no padding, because a code is a byte. What a kernel would like \
             to divide is not the format's business"
        );
    }
    assert_eq!(
        decision(&[9, 64], Scheme::W4A16(32)),
        Decision::Quantize,
        "w4a16: 9 outputs are 9 rows of words: nothing is packed along the outputs"
    );
    for kind in GGUF {
        assert_eq!(
            decision(&[64, 80], Scheme::Gguf(kind)),
            keep("in_features", 80, 32),
            "{kind}: a row of a GGUF tensor is whole blocks of 32"
        );
    }
}

#[test]
fn a_plain_export_quantizes_nothing() {
    assert_eq!(decide(&tensor(Q_PROJ, &[64, 64]), Scheme::Plain), Decision::Keep(Reason::Plain));
    let norm = decide(&tensor("model.norm.weight", &[64]), Scheme::Plain);
    assert_eq!(norm, Decision::Keep(Reason::NotAMatrix), "a norm is no matrix under any scheme");
}

// ---- task 2: what they become --------------------------------------------------------------------

#[test]
fn each_scheme_has_the_parts_of_its_format() {
    use Dtype::{F8E4M3, F16, F32, I8, I32, I64};
    type Part<'a> = (&'a str, Dtype, &'a [u64]);
    let expected: [(Scheme, Vec<Part>); 6] = [
        (Scheme::W8A8, vec![("weight", I8, &[64, 128]), ("weight_scale", F32, &[64, 1])]),
        (Scheme::Fp8, vec![("weight", F8E4M3, &[64, 128]), ("weight_scale", F32, &[64, 1])]),
        (
            Scheme::W8A16,
            vec![
                ("weight_packed", I32, &[64, 32]),
                ("weight_scale", F32, &[64, 1]),
                ("weight_shape", I64, &[2]),
            ],
        ),
        (
            Scheme::W4A16(32),
            vec![
                ("weight_packed", I32, &[64, 16]),
                ("weight_scale", F16, &[64, 4]),
                ("weight_shape", I64, &[2]),
            ],
        ),
        (
            Scheme::Awq(32),
            vec![("qweight", I32, &[128, 8]), ("qzeros", I32, &[4, 8]), ("scales", F16, &[4, 64])],
        ),
        (
            Scheme::Gptq(32),
            vec![
                ("qweight", I32, &[16, 64]),
                ("qzeros", I32, &[4, 8]),
                ("scales", F16, &[4, 64]),
                ("g_idx", I32, &[128]),
            ],
        ),
    ];
    for (scheme, expected) in expected {
        let module = Q_PROJ.trim_end_matches(".weight");
        let expected: Vec<Tensor> = expected
            .into_iter()
            .map(|(name, dtype, shape)| part(module, name, dtype, shape))
            .collect();
        assert_eq!(
            parts(&tensor(Q_PROJ, &[64, 128]), half(scheme)),
            expected,
            "{scheme}: what becomes of 64 rows of 128. The table in the doc comment has the shapes; \
             AWQ packs along the outputs, GPTQ along the inputs, and both lie transposed"
        );
    }
    for kind in GGUF {
        let found = parts(&tensor(Q_PROJ, &[64, 128]), half(Scheme::Gguf(kind)));
        let names: Vec<(&str, Storage, &[u64])> =
            found.iter().map(|t| (t.name.as_str(), t.storage, t.shape.as_slice())).collect();
        assert_eq!(
            names,
            [(Q_PROJ, Storage::Blocks(kind), [64, 128].as_slice())],
            "{kind}: scales lie inside the blocks, so the tensor stays one, under its name"
        );
    }
}

#[test]
fn what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for() {
    for float in [Float::F16, Float::Bf16, Float::F32] {
        for (name, shape) in [
            ("model.norm.weight", vec![64]),
            ("model.embed_tokens.weight", vec![320, 64]),
            ("inv_freq", vec![32]),
        ] {
            let found = parts(&tensor(name, &shape), Recipe { scheme: Scheme::W4A16(32), float });
            let expected = Tensor { name: name.into(), ..part("", "", float.dtype(), &shape) };
            assert_eq!(found, [expected], "{name} under {float:?}: one part, itself");
        }
    }
    for float in [Float::F16, Float::F32] {
        let gguf = Recipe { scheme: Scheme::Gguf(TensorType::Q4_0), float };
        for (name, shape, kind) in [
            ("model.norm.weight", &[64][..], TensorType::F32),
            ("model.logit_scale", &[], TensorType::F32),
            ("model.embed_tokens.weight", &[320, 64], TensorType::F16),
            ("model.conv.weight", &[64, 64, 3], TensorType::F16),
        ] {
            assert_eq!(
                parts(&tensor(name, shape), gguf),
                [blocks(name, kind, shape)],
                "{name} {shape:?} in a GGUF file, where {float:?} is asked for: llama.cpp multiplies by \
                 a norm in f32 and wants all with fewer than two axes stored so. All else is F16, \
                 whatever the recipe asks for"
            );
        }
    }
}

#[test]
fn an_indivisible_matrix_is_kept_whole() {
    let found = parts(&tensor(Q_PROJ, &[576, 576]), half(Scheme::W4A16(128)));
    assert_eq!(
        found,
        [Tensor { name: Q_PROJ.into(), ..part("", "", Dtype::F16, &[576, 576]) }],
        "what `decide` keeps, `parts` keeps: ask it first"
    );
}

// ---- task 3: the bytes ---------------------------------------------------------------------------

#[test]
fn the_bytes_fill_the_parts_exactly() {
    let w = normal_matrix(5, 64, 128);
    for scheme in all(32) {
        let data = must(quantize(&w, scheme));
        let lengths: Vec<u64> = data.iter().map(|data| data.len() as u64).collect();
        let parts = parts(&tensor(Q_PROJ, &[64, 128]), half(scheme));
        let planned: Vec<u64> = parts.iter().map(|part| part.bytes).collect();
        assert_eq!(lengths, planned, "{scheme}: bytes of each part, in the order of `parts`");
    }
}

#[test]
fn w8a8_stores_the_codes_and_scales_of_lab_01() {
    let data = must(quantize(&array![[1.0, -1.0, 0.5, 0.25], [2.0, -4.0, 0.0, 1.0]], Scheme::W8A8));
    let codes: Vec<i8> = data[0].iter().map(|byte| byte.cast_signed()).collect();
    assert_eq!(
        codes,
        [127, -127, 64, 32, 64, -127, 0, 32],
        "codes row by row; per channel: each row has its own scale"
    );
    let scales: Vec<u8> =
        [1.0f32 / 127.0, 4.0 / 127.0].into_iter().flat_map(f32::to_le_bytes).collect();
    assert_eq!(data[1], scales, "max|row| / 127 as little-endian f32, one a row");
}

#[test]
fn w8a16_words_hold_each_code_plus_128_the_first_in_the_lowest_byte() {
    let w = array![[-127.0, -1.0, 0.0, 127.0], [-254.0, -2.0, 0.0, 2.0]];
    let data = must(quantize(&w, Scheme::W8A16));
    let word = u32::from_le_bytes([data[0][0], data[0][1], data[0][2], data[0][3]]);
    let why = match word {
        0x7f00_ff81 => "your codes are in two's complement: compressed-tensors adds 128 to each",
        0x017f_80ff => "your first code is in the highest byte: a word is little-endian",
        0xc080_8040 => "both rows have one scale: per channel, each row has its own",
        _ => "each code plus 128, the first in the lowest byte",
    };
    assert_eq!(format!("{word:08x}"), "ff807f01", "codes -127, -1, 0, 127: {why}");
    assert_eq!(data[0][4..], [0x01, 0x7f, 0x80, 0x81], "the word of row 1: codes -127, -1, 0, 1");
    let scales: Vec<u8> = [1.0f32, 2.0].into_iter().flat_map(f32::to_le_bytes).collect();
    assert_eq!(data[1], scales, "max|row| / 127 as little-endian f32, one a row: 1 and 2");
    let shape: Vec<u8> = [2i64, 4].into_iter().flat_map(i64::to_le_bytes).collect();
    assert_eq!(data[2], shape, "weight_shape is [out_features, in_features] in i64");
}

#[test]
fn three_layouts_of_four_bits_hold_the_same_numbers() {
    let w = normal_matrix(6, 64, 128);
    let expected = dequantize_groups(&must(quantize_groups(&w, 32)));
    for scheme in [Scheme::W4A16(32), Scheme::Awq(32), Scheme::Gptq(32)] {
        let data = must(quantize(&w, scheme));
        let decoded = must(decoded(scheme, [64, 128], data));
        assert_same(
            decoded.view(),
            expected.view(),
            format_args!(
                "{scheme}: the file decodes to other numbers than lab 03's groups: the layouts differ \
                 in where a code lies, not in the code"
            ),
        );
    }
}

#[test]
fn fp8_puts_the_largest_magnitude_of_a_row_on_448() {
    let data = must(quantize(&array![[448.0, -1.0], [0.5, -224.0], [896.0, 0.0]], Scheme::Fp8));
    let scales: Vec<f32> =
        data[1].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let diagnosis = match scales.as_slice() {
        [first, ..] if *first == 448.0 / 240.0 => {
            "448 over 240, which ends e4m3fnuz. The grid of this scheme is e4m3fn, which ends at 448"
        }
        [first, ..] if *first == 448.0 / 127.0 => "448 over 127, which ends int8",
        [2.0, ..] => "one scale for all rows: per channel, each row has its own",
        _ => "the largest magnitude of each row over 448",
    };
    assert_eq!(scales, [1.0, 0.5, 2.0], "\nscales of rows up to 448, 224 and 896: {diagnosis}");
    assert_eq!(
        data[0],
        [0x7e, 0xb8, 0x38, 0xfe, 0x7e, 0x00],
        "448, -1, 1, -448, 448 and 0 in e4m3fn"
    );
}

#[test]
fn a_matrix_kept_column_by_column_gives_the_same_bytes() {
    let w = normal_matrix(10, 64, 64);
    let turned = w.t().as_standard_layout().into_owned().reversed_axes();
    for scheme in all(32) {
        let (found, expected) = (must(quantize(&turned, scheme)), must(quantize(&w, scheme)));
        assert!(
            found == expected,
            "{scheme}: the same matrix in another order in memory became other bytes: iterate over \
             the matrix, which goes row by row, and not over its memory"
        );
    }
}

#[test]
fn fp8_is_within_a_sixteenth_or_half_of_the_smallest_step() {
    let w = normal_matrix(7, 16, 64);
    let data = must(quantize(&w, Scheme::Fp8));
    let decoded = must(decoded(Scheme::Fp8, [16, 64], data));
    for ((row, column), &value) in w.indexed_iter() {
        let absmax = w.row(row).fold(0.0f32, |max, value| max.max(value.abs()));
        // With three bits of mantissa, half a step is 1/16 of the value at most. Below 2^-6 of the
        // grid steps are 2^-9. The division and the product add a few units of 2^-24.
        let bound = (value.abs() / 16.0).max(absmax / 448.0 / 1024.0) * (1.0 + 1e-6);
        let error = (decoded[(row, column)] - value).abs();
        assert!(error <= bound, "({row}, {column}): {value} came back {error} off, bound {bound}");
    }
}

#[test]
fn gguf_blocks_hold_what_llama_cpps_rule_gives() {
    let w = normal_matrix(8, 4, 64);
    for (kind, rule) in GGUF.into_iter().zip([&GGML_Q8_0, &GGML_Q4_0, &GGML_Q4_1]) {
        let data = must(quantize(&w, Scheme::Gguf(kind)));
        let decoded = must(decoded(Scheme::Gguf(kind), [4, 64], data));
        let by_rule = |values: Vec<f32>| -> Vec<f32> {
            values.chunks(32).flat_map(|block| must(rule.encode(block)).values).collect()
        };
        let expected = by_rule(w.iter().copied().collect());
        let decoded: Vec<f32> = decoded.iter().copied().collect();
        let why = if decoded == by_rule(w.t().iter().copied().collect()) {
            "your blocks run down the columns, and a block is 32 neighbours inside a row"
        } else {
            "a block is 32 neighbours inside a row, and `ggml::encode` or a rule rounds it"
        };
        assert_same(
            ArrayView1::from(&decoded),
            ArrayView1::from(&expected),
            format_args!("{kind} decodes to other numbers than {} gives: {why}", rule.function),
        );
    }
}

#[test]
fn nan_is_refused_by_every_scheme_and_a_plain_export_quantizes_nothing() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut w = normal_matrix(9, 32, 64);
        w[(3, 5)] = value;
        for scheme in all(32) {
            assert!(quantize(&w, scheme).is_err(), "{scheme}: a matrix with {value} was quantized");
        }
    }
    for scheme in [Scheme::W4A16(32), Scheme::Awq(32), Scheme::Gptq(32)] {
        assert!(
            quantize(&normal_matrix(9, 32, 80), scheme).is_err(),
            "{scheme}: rows of 80 were cut into groups of 32, and 16 weights have no scale"
        );
    }
    let plain = quantize(&Array2::zeros((2, 2)), Scheme::Plain);
    assert!(
        matches!(plain, Err(FormatError::NothingQuantized)),
        "Scheme::Plain quantizes nothing: FormatError::NothingQuantized"
    );
}

// ---- task 4: what the config says ----------------------------------------------------------------

#[test]
fn the_head_is_named_even_where_no_tensor_has_its_name() {
    for scheme in all(64) {
        let tied = [tensor("model.embed_tokens.weight", &[320, 64]), tensor(Q_PROJ, &[64, 64])];
        assert_eq!(
            left_alone(&tied, scheme),
            ["lm_head"],
            "{scheme}: a tied head has no tensor and is a linear layer all the same: an engine that \
             is not told looks for its codes"
        );
        let untied = [tied.to_vec(), vec![tensor("lm_head.weight", &[320, 64])]].concat();
        assert_eq!(left_alone(&untied, scheme), ["lm_head"], "{scheme}: named once");
    }
    // 576 does not divide by 128.
    let wide = ["model.embed_tokens.weight", "lm_head.weight"];
    let wide = wide.map(|name| tensor(name, &[49152, 576]));
    assert_eq!(
        left_alone(&wide, Scheme::W4A16(128)),
        ["lm_head"],
        "the embedding is no linear layer and the head is named already: ask `decide` for the reason, \
         not the shape"
    );
}

#[test]
fn what_cannot_be_divided_is_named_by_its_module() {
    let tensors = [
        tensor("model.layers.0.mlp.up_proj.weight", &[80, 64]),
        tensor("model.layers.0.mlp.down_proj.weight", &[64, 80]),
        tensor("model.norm.weight", &[64]),
    ];
    let left = |scheme| left_alone(&tensors, scheme);
    assert_eq!(left(Scheme::W4A16(32)), ["lm_head", "model.layers.0.mlp.down_proj"]);
    assert_eq!(left(Scheme::Awq(16)), ["lm_head", "model.layers.0.mlp.up_proj"]);
    assert_eq!(left(Scheme::W8A8), ["lm_head"], "norms are no linear layers: no engine asks");
    assert_eq!(
        left(Scheme::Awq(128)),
        ["lm_head", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"],
        "both are left alone, in the order of `tensors`: not sorted"
    );
}

#[test]
fn config_and_shapes_agree_says_the_inspector() {
    let weights = tiny();
    for scheme in folders(16) {
        let left = left_alone(weights.tensors(), scheme);
        let config = quantization_config(scheme, &left)
            .unwrap_or_else(|| panic!("{scheme} needs a quantization_config"));
        if config["quant_method"] == "compressed-tensors" {
            group_of(scheme, &config);
        }
        let parsed = QuantConfig::parse("config.json", &json!({"quantization_config": config}))
            .unwrap_or_else(|| panic!("{scheme}: the inspector sees no config in {config:#}"));
        let parts: Vec<Tensor> =
            weights.tensors().iter().flat_map(|tensor| parts(tensor, half(scheme))).collect();
        let (inventory, problems) = examine(&parts, Some(&parsed));
        if let Some(problem) = problems.first() {
            let count = problems.len();
            panic!("{scheme}: {count} problems, the first: {problem:?}\nthe config is {config}");
        }
        let quantized =
            weights.tensors().iter().filter(|t| decide(t, scheme) == Decision::Quantize).count();
        assert_eq!(inventory.quantized.len(), quantized, "{scheme}: matrices that it recognizes");
        for matrix in &inventory.quantized {
            let expected = scheme.group_size().map_or(Group::Channel, Group::Size);
            assert_eq!(matrix.group, expected, "{scheme}: the granularity of {}", matrix.module);
            let said = parsed.expected(&matrix.module);
            let said = said.unwrap_or_else(|| panic!("{scheme}: no word on {}", matrix.module));
            let bits = if scheme.group_size().is_some() { 4 } else { 8 };
            assert_eq!(
                (said.bits, said.group),
                (Some(bits), Some(expected)),
                "{scheme}: bits and granularity of {} in the config, {config}",
                matrix.module
            );
        }
    }
}

/// The group of a config of compressed-tensors, which may have any name.
fn group_of(scheme: Scheme, config: &Value) -> Value {
    let groups = config["config_groups"].as_object();
    let Some(group) = groups.and_then(|groups| groups.values().next()) else {
        panic!(
            "{scheme}: config_groups has no group: the inspector finds no weights for `Linear`. \
             `targets`, `weights` and `input_activations` belong into config_groups.group_0, not beside \
             `format`. The doc comment of `quantization_config` has the skeleton.\nThe config is {config}"
        )
    };
    for key in ["targets", "weights"] {
        assert!(
            group.get(key).is_some(),
            "{scheme}: the group of config_groups has no `{key}`: the inspector does not learn how the \
             layers are stored.\nThe config is {config}"
        );
    }
    group.clone()
}

/// The config of compressed-tensors, and its group.
fn config_and_group(scheme: Scheme) -> (Value, Value) {
    let config = quantization_config(scheme, &["lm_head".into()]).unwrap_or(Value::Null);
    let group = group_of(scheme, &config);
    (config, group)
}

#[test]
fn weights_are_static_and_of_the_type_that_is_stored() {
    for (scheme, kind, bits, strategy) in [
        (Scheme::W8A8, "int", 8, "channel"),
        (Scheme::Fp8, "float", 8, "channel"),
        (Scheme::W8A16, "int", 8, "channel"),
        (Scheme::W4A16(32), "int", 4, "group"),
    ] {
        let (config, group) = config_and_group(scheme);
        assert_eq!(group["targets"], json!(["Linear"]), "{scheme}: the class of the layers");
        let weights = &group["weights"];
        for (key, value, why) in [
            ("num_bits", json!(bits), "the width of a stored code"),
            ("type", json!(kind), "FP8 codes are floats, and all other codes are integers"),
            ("symmetric", json!(true), "no zero points are stored"),
            ("strategy", json!(strategy), "who shares a scale"),
            ("group_size", json!(scheme.group_size()), "nothing where a scale is a channel's"),
        ] {
            assert_eq!(weights[key], value, "{scheme}: weights.{key}, {why}");
        }
        assert!(
            matches!(weights.get("dynamic"), None | Some(Value::Bool(false))),
            "{scheme}: weights.dynamic is {}: the scales of weights are in the file, and vLLM refuses \
             dynamic weights. Only activations are dynamic",
            weights["dynamic"]
        );
        assert_eq!(
            config["quantization_status"], "compressed",
            "{scheme}: quantization_status says that the file holds codes and not floats that are to \
             be quantized"
        );
    }
}

#[test]
fn activations_are_quantized_per_token_where_the_scheme_says_so_and_nowhere_else() {
    for (scheme, format, kind) in
        [(Scheme::W8A8, "int-quantized", "int"), (Scheme::Fp8, "float-quantized", "float")]
    {
        let (config, group) = config_and_group(scheme);
        assert_eq!(config["format"], format, "{scheme}: format");
        let activations = &group["input_activations"];
        for (key, value, why) in [
            (
                "dynamic",
                json!(true),
                "without dynamic activations an engine looks for an input_scale in the file, and \
                 finds none",
            ),
            ("num_bits", json!(8), "A8 are 8 bits"),
            ("type", json!(kind), "activations multiply with weights of the same type"),
            ("symmetric", json!(true), "no zero points of activations"),
            ("strategy", json!("token"), "each token has a scale of its own"),
        ] {
            assert_eq!(activations[key], value, "{scheme}: input_activations.{key}, {why}");
        }
        assert!(
            group["output_activations"].is_null(),
            "{scheme}: only the input of a layer is quantized, and the output stays in floats"
        );
    }
    for scheme in [Scheme::W8A16, Scheme::W4A16(32)] {
        let (config, group) = config_and_group(scheme);
        assert_eq!(config["format"], "pack-quantized", "{scheme}: format");
        for key in ["input_activations", "output_activations"] {
            assert!(group[key].is_null(), "{scheme}: A16 means that {key} stay floats");
        }
    }
}

#[test]
fn compressed_tensors_ignores_what_was_left_alone() {
    let left: Vec<String> = vec!["lm_head".into(), "model.layers.0.mlp.down_proj".into()];
    for scheme in [Scheme::W8A8, Scheme::W8A16, Scheme::Fp8, Scheme::W4A16(32)] {
        let config = quantization_config(scheme, &left).unwrap_or(Value::Null);
        assert_eq!(config["quant_method"], "compressed-tensors", "{scheme}");
        assert_eq!(config["ignore"], json!(left), "{scheme}: `ignore` has every module left alone");
    }
}

#[test]
fn awq_and_gptq_say_what_their_loaders_ask_for() {
    let left: Vec<String> = vec!["lm_head".into(), "model.layers.0.mlp.down_proj".into()];
    let awq = quantization_config(Scheme::Awq(64), &left).unwrap_or(Value::Null);
    for (key, value) in [
        ("quant_method", json!("awq")),
        ("bits", json!(4)),
        ("group_size", json!(64)),
        ("zero_point", json!(true)),
        ("version", json!("gemm")),
        ("modules_to_not_convert", json!(left)),
    ] {
        assert_eq!(awq[key], value, "awq: {key}. qzeros are in the file, so zero_point is true");
    }
    let gptq = quantization_config(Scheme::Gptq(64), &left).unwrap_or(Value::Null);
    for (key, value) in [
        ("quant_method", json!("gptq")),
        ("bits", json!(4)),
        ("group_size", json!(64)),
        ("sym", json!(true)),
        ("desc_act", json!(false)),
        ("checkpoint_format", json!("gptq")),
        ("modules_to_not_convert", json!(left)),
    ] {
        assert_eq!(
            gptq[key], value,
            "gptq: {key}. Zero points are stored minus one, which is checkpoint_format `gptq`, \
             version 1; and no tensor can say so"
        );
    }
}

#[test]
fn plain_floats_and_gguf_need_no_quantization_config() {
    for scheme in GGUF.map(Scheme::Gguf).into_iter().chain([Scheme::Plain]) {
        assert_eq!(
            quantization_config(scheme, &["lm_head".into()]),
            None,
            "{scheme}: a GGUF file says itself what its tensors are, and floats need no word"
        );
    }
}

// ---- task 5: how large it will be ----------------------------------------------------------------

#[test]
fn the_prediction_is_the_size_of_the_file_to_the_byte() {
    let weights = tiny();
    for scheme in folders(16).into_iter().chain([Scheme::Plain]) {
        for float in [Float::F16, Float::F32] {
            let recipe = Recipe { scheme, float };
            let predicted = predicted_bytes(weights.tensors(), recipe);
            let (bytes, ..) = written(&weights, recipe);
            let off = bytes.abs_diff(predicted);
            let why = match off {
                0 => "",
                8 => ": the length in front of the header takes 8 bytes",
                _ => ": 8 bytes, `file::header` of all parts, and the data of all parts",
            };
            assert_eq!(predicted, bytes, "{scheme}, {float:?}: {off} bytes off{why}");
        }
    }
}

#[test]
fn bits_per_weight_count_every_part_and_quantized_matrices_only() {
    // Two matrices of different widths, so that a mean over matrices is not one over weights.
    let matrices = [[64, 128], [64, 1024]];
    let tensors = [
        tensor(Q_PROJ, &matrices[0]),
        tensor("model.layers.0.mlp.down_proj.weight", &matrices[1]),
        tensor("model.norm.weight", &[64]),
        tensor("model.embed_tokens.weight", &[320, 64]),
    ];
    // Bits of a matrix beside its codes, for outputs and inputs.
    type Overhead = fn(u64, u64) -> u64;
    let cases: [(Scheme, u64, Overhead); 9] = [
        (Scheme::W8A8, 8, |out, _| 32 * out),
        (Scheme::Fp8, 8, |out, _| 32 * out),
        (Scheme::W8A16, 8, |out, _| 32 * out + 128),
        (Scheme::W4A16(32), 4, |out, inputs| 16 * out * inputs / 32 + 128),
        (Scheme::Awq(32), 4, |out, inputs| (16 + 4) * out * inputs / 32),
        (Scheme::Gptq(32), 4, |out, inputs| (16 + 4) * out * inputs / 32 + 32 * inputs),
        (Scheme::Gguf(TensorType::Q8_0), 8, |out, inputs| 16 * out * inputs / 32),
        (Scheme::Gguf(TensorType::Q4_0), 4, |out, inputs| 16 * out * inputs / 32),
        (Scheme::Gguf(TensorType::Q4_1), 4, |out, inputs| 32 * out * inputs / 32),
    ];
    for (scheme, code_bits, overhead) in cases {
        let share = |matrices: &[[u64; 2]]| {
            let bits = matrices.iter().map(|[out, i]| code_bits * out * i + overhead(*out, *i));
            bits.sum::<u64>() as f64 / matrices.iter().map(|[out, i]| out * i).sum::<u64>() as f64
        };
        let [first, last] = [share(&matrices[..1]), share(&matrices[1..])];
        let found = bits_per_weight(&tensors, half(scheme));
        let why = match found {
            Some(found) if found == code_bits as f64 => "those are the codes alone",
            Some(found) if found == f64::midpoint(first, last) => {
                "that is the mean over the matrices: divide all bits by all weights"
            }
            Some(found) if found == first => "that is the first matrix alone",
            Some(found) if found == last => "that is the last matrix alone",
            _ => {
                "codes, scales, zero points and all else that the matrices need; the embedding and \
                 the norm are not quantized and do not count"
            }
        };
        assert_eq!(found, Some(share(&matrices)), "{scheme}: {why}");
    }
    let kept = [tensors[0].clone(), tensor("model.layers.0.mlp.up_proj.weight", &[64, 80])];
    assert_eq!(
        bits_per_weight(&kept, half(Scheme::Gguf(TensorType::Q4_0))),
        Some(4.5),
        "rows of 80 are no whole blocks, so the second matrix is kept and does not count"
    );
    assert_eq!(bits_per_weight(&tensors, half(Scheme::Plain)), None, "nothing is quantized");
}

/// The matrix after the labs have quantized and dequantized it, without a file.
fn by_the_labs(w: &Array2<f32>, scheme: Scheme) -> Array2<f32> {
    match (scheme, scheme.group_size()) {
        (Scheme::Fp8, _) => {
            let (codes, scales) = must(fp8::quantize_per_channel(w));
            codes.mapv(fp8::decode) * scales
        }
        (_, Some(size)) => dequantize_groups(&must(quantize_groups(w, size as usize))),
        _ => dequantize(&must(quantize_per_channel(w))),
    }
}

#[test]
fn what_is_written_reads_back_as_what_the_labs_made() {
    let weights = tiny();
    for scheme in folders(16) {
        let (_, checkpoint, _folder) = written(&weights, half(scheme));
        for tensor in weights.tensors() {
            let original = must(weights.read(&tensor.name));
            let found = checkpoint.read(&tensor.name);
            let found = found.unwrap_or_else(|error| {
                panic!("{scheme}: what you wrote cannot be read back: {error}")
            });
            let expected = match decide(tensor, scheme) {
                Decision::Quantize => by_the_labs(&original, scheme),
                Decision::Keep(_) => original.mapv(|value| half::f16::from_f32(value).to_f32()),
            };
            assert_same(
                found.view(),
                expected.view(),
                format_args!(
                    "{scheme}: {} reads back as something else. It is decoded by the shapes of your \
                     parts and by a config that is given, so look at `parts` if the bytes of task 3 are \
                     right",
                    tensor.name
                ),
            );
        }
    }
}
