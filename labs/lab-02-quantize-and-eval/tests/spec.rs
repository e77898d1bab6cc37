//! The spec of lab 02. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-02-quantize-and-eval --test spec` grades `src/starter.rs`.
//!
//! Bytes, blocks and tokens are whole numbers, so they are compared exactly. What real engines
//! printed is read from the files that they wrote.

use std::borrow::Cow;

use formats::architecture::{
    Architecture, ArchitectureError, LLAMA31_8B, LLAMA31_70B, MISTRAL_7B, PUBLISHED, QWEN3_8B,
    QWEN25_05B, QWEN25_7B, SMOLLM2_135M,
};
use formats::device::{A100, B200, Device, H100, L40S, Rates};
use formats::format::{Format, Grid, Group, Overhead};
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, ModelFormat, Roofline, Served, UTILIZATION, bits_per_weight, bound_s,
    bytes_from_gb, bytes_from_gib, concurrency, crossover_batch, decode_roofline,
    decode_tokens_per_s, kv_available_bytes, kv_blocks, kv_bytes_per_token, kv_tokens,
    linear_bytes, matrix_bytes, model_bytes, operations_per_s, prefill_roofline,
    prefill_tokens_per_s, step_weight_bytes,
};
use serde_json::Value;

/// The log of llama.cpp for a GGUF in Q4_0 whose embedding is Q8_0.
const LLAMA_CPP_LOG: &str = include_str!("../../measure/tests/recorded/llama-perplexity-lv4.err");
/// The log of vLLM 0.32.0 for SmolLM2-135M in bf16 with one GiB for the cache.
const VLLM_LOG: &str = include_str!("../../measure/tests/recorded/vllm-w8a8.log");
/// The captures of both engines on the checkpoints of lab 05.
const LLAMA_CPP: &str =
    include_str!("../../measure/src/engines/captures/serve/llama-cpp-epyc-milan-2.json");
const VLLM: &str = include_str!("../../measure/src/engines/captures/serve/vllm-epyc-milan-2.json");

/// The value of a lab function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Asserts that `found` is `expected`. The message has the meaning of a value in `signatures`.
#[track_caller]
fn assert_count(what: &str, found: u64, expected: u64, signatures: &[(u64, &str)]) {
    let known = signatures.iter().find(|(value, _)| *value == found);
    let diagnosis = known.map_or("", |(_, meaning)| meaning);
    assert_eq!(found, expected, "\n{what}: {found}, and it is {expected}. {diagnosis}");
}

/// A chain of at most 32 operations in f64, each off by at most half an epsilon.
const ROUNDINGS: f64 = 16.0 * f64::EPSILON;

fn same(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= ROUNDINGS * expected.abs()
}

/// As [`assert_count`] for numbers that are rounded.
#[track_caller]
fn assert_number(what: &str, found: f64, expected: f64, signatures: &[(f64, &str)]) {
    let known = signatures.iter().find(|(value, _)| same(found, *value));
    let diagnosis = known.map_or("", |(_, meaning)| meaning);
    assert!(same(found, expected), "\n{what}: {found:e}, and it is {expected:e}. {diagnosis}");
}

/// Asserts that a count of 0 was refused, in whatever words.
#[track_caller]
fn assert_zero<T: std::fmt::Debug>(what: &str, found: Result<T, CostError>) {
    assert!(
        matches!(found, Err(CostError::Zero(_))),
        "{what} gave {found:?}, and Zero is wanted, with any text: check each count and divisor first"
    );
}

/// A format with `overhead`, in bits for each group.
fn format(weights: Grid, activations: Grid, overhead: &[(u32, Group)]) -> Format {
    let overhead = overhead.iter().map(|&(bits, per)| Overhead { bits, per }).collect();
    Format { name: Cow::Borrowed("of the spec"), weights, activations, overhead }
}

/// AWQ: an f16 scale and a 4-bit zero point for each group.
fn awq(group_size: u64) -> Format {
    let group = Group::Size(group_size);
    format(Grid::Int(4), Grid::Sixteen, &[(16, group), (4, group)])
}

/// A GGML block of 32 codes and an f16 scale.
fn ggml(bits: u32) -> Format {
    format(Grid::Int(bits), Grid::Sixteen, &[(16, Group::Size(32))])
}

fn f32_all_over() -> ModelFormat {
    let plain = format(Grid::F32, Grid::F32, &[]);
    ModelFormat { linear: plain.clone(), embedding: plain, vectors: Grid::F32 }
}

/// A device with a different number for every rate, so that a wrong unit is seen.
const ODD: Device = Device {
    memory_bytes: 1 << 30,
    bytes_per_s: 1e11,
    operations_per_s: Rates {
        f32: Some(1e12),
        sixteen: Some(2e12),
        fp8: Some(3e12),
        int8: Some(5e12),
        fp4: Some(7e12),
    },
};

/// The number after `marker`, with commas between thousands or without.
fn number_after(text: &str, marker: &str) -> f64 {
    let (_, rest) = text
        .split_once(marker)
        .unwrap_or_else(|| panic!("no {marker:?} in the file of the engine"));
    let digits: String = rest
        .trim_start_matches([' ', '='])
        .chars()
        .take_while(|c| c.is_ascii_digit() || [',', '.'].contains(c))
        .filter(|c| *c != ',')
        .collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {marker:?}"))
}

/// The checkpoint that a capture calls `name`.
fn captured(capture: &str, name: &str) -> Value {
    let capture: Value = must(serde_json::from_str(capture));
    let checkpoints = capture["checkpoints"].as_array().cloned().unwrap_or_default();
    let found = checkpoints.into_iter().find(|checkpoint| checkpoint["name"] == name);
    found.unwrap_or_else(|| panic!("the capture has no {name}"))
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

// ---- task 1: bytes of a matrix ---------------------------------------------------------------------

#[test]
fn a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty() {
    assert_count(
        "80 GB of a data sheet",
        must(bytes_from_gb(80.0)),
        80_000_000_000,
        &[(80 << 30, "That is 80 GiB: a data sheet counts in powers of ten.")],
    );
    assert_count(
        "1 GiB of an engine's flag",
        must(bytes_from_gib(1.0)),
        1_073_741_824,
        &[(1_000_000_000, "That is 1 GB: engines count in powers of two where they say GiB.")],
    );
    assert_count(
        "1.9999999999 GB",
        must(bytes_from_gb(1.999_999_999_9)),
        2_000_000_000,
        &[(1_999_999_999, "That is truncated: round to the nearest byte.")],
    );
    assert_count(
        "1.0000000001 GB",
        must(bytes_from_gb(1.000_000_000_1)),
        1_000_000_000,
        &[(1_000_000_001, "That is rounded up: round to the nearest byte.")],
    );
    assert_count(
        "0.7 GiB, which are 751,619,276.8 bytes",
        must(bytes_from_gib(0.7)),
        751_619_277,
        &[(751_619_276, "That is truncated: round to the nearest byte.")],
    );
    assert_eq!(bytes_from_gib(0.0), Ok(0), "0 is a size");
}

#[test]
fn what_is_no_size_is_refused() {
    for size in [-1.0, -1e-12, f64::NAN, f64::INFINITY, 1e30] {
        for (unit, found) in [("GB", bytes_from_gb(size)), ("GiB", bytes_from_gib(size))] {
            let named = match &found {
                Err(CostError::NotASize(named)) => named.to_string(),
                _ => String::new(),
            };
            assert!(
                named == size.to_string(),
                "{size} {unit} gave {found:?}: check first, because a cast to u64 saturates silently, \
                 and name the size as it was given"
            );
        }
    }
    let found = [bytes_from_gb(2f64.powi(64) / 1e9), bytes_from_gib(2f64.powi(34))];
    assert!(
        found.iter().all(|found| matches!(found, Err(CostError::NotASize(_)))),
        "2^64 bytes gave {found:?}: a u64 ends one byte before. `u64::MAX as f64` is 2^64, because \
         f64 does not have 2^64 - 1, so ask for less than 2^64"
    );
}

#[test]
fn codes_are_counted_in_bytes() {
    let (weights, bf16) = (4096 * 4096, must(matrix_bytes(4096, 4096, &Format::BF16)));
    assert_count(
        "a matrix of 4,096 x 4,096 in bf16",
        bf16,
        2 * weights,
        &[(16 * weights, "Those are bits: divide by 8.")],
    );
    let int4 = format(Grid::Int(4), Grid::Sixteen, &[]);
    let found = must(matrix_bytes(4096, 4096, &int4));
    assert_count(
        "its codes alone in int4",
        found,
        weights / 2,
        &[
            (4 * weights, "Those are bits: divide by 8."),
            (weights, "That is a byte for each code: two codes of 4 bits share one."),
        ],
    );
    let found = must(matrix_bytes(3, 5, &int4));
    assert_count(
        "15 codes of 4 bits",
        found,
        8,
        &[
            (7, "60 bits are seven bytes and a half: round up."),
            (9, "Each row is rounded up there, but a matrix is packed without gaps between rows."),
        ],
    );
}

#[test]
fn codes_scales_and_zero_points_are_rounded_up_each_by_itself() {
    let group = Group::Size(5);
    let found =
        matrix_bytes(3, 5, &format(Grid::Int(4), Grid::Sixteen, &[(16, group), (4, group)]));
    assert_count(
        "15 codes of 4 bits, 3 scales of 16 and 3 zero points of 4",
        must(found),
        8 + 6 + 2,
        &[
            (15, "All bits are added and rounded up once, but each tensor ends with a whole byte."),
            (14, "Each is rounded down: 60 bits need eight bytes, and 12 bits need two."),
        ],
    );
}

#[test]
fn the_scales_are_counted_as_overhead() {
    let found = must(matrix_bytes(4096, 2048, &Format::w4a16(128)));
    let codes = 4096 * 2048 / 2;
    let scales = 4096 * 16 * 2;
    assert_count(
        "a matrix of 4,096 x 2,048 in W4A16 g128",
        found,
        codes + scales,
        &[
            (codes, "The scales are not counted: each group of 128 has one, of 16 bits."),
            (codes + 8 * scales, "The scales are counted in bits."),
            (codes + 2 * scales, "The scales are counted as f32, and the format has 16 bits."),
            (codes + 16 * 2, "Those are the scales of one row, and every row has its own groups."),
        ],
    );
}

#[test]
fn a_scale_per_channel_is_one_for_each_row() {
    let found = must(matrix_bytes(1024, 4096, &Format::W8A8));
    let codes = 1024 * 4096;
    assert_count(
        "a matrix of 1,024 x 4,096 in W8A8",
        found,
        codes + 1024 * 4,
        &[
            (codes, "The scales are not counted."),
            (codes + 4096 * 4, "That is a scale for each column. A channel of a weight is a row."),
            (codes + 4, "That is one scale for the whole matrix."),
            (codes + 1024 * 2, "A scale has 32 bits here: the format says how many."),
        ],
    );
    let per_tensor = format(Grid::E4M3, Grid::E4M3, &[(32, Group::Tensor)]);
    assert_eq!(matrix_bytes(1024, 4096, &per_tensor), Ok(codes + 4), "one f32 for the matrix");
}

#[test]
fn the_zero_points_are_stored_too() {
    let found = must(matrix_bytes(4096, 4096, &awq(128)));
    let (codes, groups) = (4096 * 4096 / 2, 4096 * 32);
    assert_count(
        "a matrix of 4,096 x 4,096 in AWQ g128",
        found,
        codes + groups * 2 + groups / 2,
        &[
            (
                codes + groups * 2,
                "The zero points are missing: count every part of `format.overhead`.",
            ),
            (codes + groups / 2, "The scales are missing: count every part of `format.overhead`."),
            (codes + groups * 4, "A zero point has 4 bits here, and a scale has 16."),
        ],
    );
}

#[test]
fn each_part_of_the_overhead_has_its_own_granularity() {
    let nvfp4 = [(8, Group::Size(16)), (32, Group::Tensor)];
    let (codes, scales) = (4096 * 4096 / 2, 4096 * 256);
    assert_count(
        "a matrix of 4,096 x 4,096 in NVFP4, with an FP8 scale for each 16 and an f32 for all",
        must(matrix_bytes(4096, 4096, &format(Grid::E2M1, Grid::E2M1, &nvfp4))),
        codes + scales + 4,
        &[
            (codes + 5 * scales, "That is an f32 for each 16, and the second part is one for all."),
            (codes + scales, "The second part of `format.overhead` is missing."),
            (codes + 5, "That is one FP8 scale for all, and the first part is one for each 16."),
        ],
    );
}

#[test]
fn a_block_that_the_edge_cuts_off_has_a_scale_all_the_same() {
    let blocks = format(Grid::E4M3, Grid::E4M3, &[(32, Group::Block(128, 128))]);
    let found = must(matrix_bytes(576, 1500, &blocks));
    let codes = 576 * 1500;
    assert_count(
        "a matrix of 576 x 1,500 in blocks of 128 x 128",
        found,
        codes + 5 * 12 * 4,
        &[
            (
                codes + 4 * 11 * 4,
                "Only whole blocks have a scale there: round 4.5 rows of blocks up to 5.",
            ),
            (codes, "The scales are not counted."),
        ],
    );
    let rows = format(Grid::E4M3, Grid::E4M3, &[(32, Group::Block(1, 128))]);
    assert_count(
        "a matrix of 576 x 1,500 in blocks of 1 x 128",
        must(matrix_bytes(576, 1500, &rows)),
        codes + 576 * 12 * 4,
        &[
            (codes + 5 * 1500 * 4, "Rows and columns of the block have changed places there."),
            (codes + 576 * 11 * 4, "Only whole blocks have a scale there: round up to 12."),
        ],
    );
}

#[test]
fn groups_that_do_not_tile_a_row_are_refused_with_both_numbers() {
    assert_eq!(
        matrix_bytes(576, 576, &Format::w4a16(128)),
        Err(CostError::Indivisible { in_features: 576, group_size: 128 }),
        "refuse 576 features in groups of 128, because no format of int4 stores half a group"
    );
    assert_eq!(
        matrix_bytes(128, 576, &Format::w4a16(64)),
        Ok(128 * 576 / 2 + 128 * 9 * 2),
        "576 is nine groups of 64; out_features need not divide"
    );
}

#[test]
fn a_matrix_of_nothing_and_one_of_too_much_are_refused() {
    let w4a16 = Format::w4a16(128);
    for (out, inputs) in [(0, 128), (128, 0)] {
        assert_zero(&format!("{out} x {inputs} weights"), matrix_bytes(out, inputs, &w4a16));
    }
    for group in [Group::Size(0), Group::Block(0, 128), Group::Block(128, 0)] {
        let of_nothing = format(Grid::Int(4), Grid::Sixteen, &[(16, group)]);
        assert_zero(&format!("{group:?}"), matrix_bytes(128, 128, &of_nothing));
    }
    let unread = format(Grid::Int(4), Grid::Sixteen, &[(16, Group::Unread)]);
    assert_eq!(matrix_bytes(128, 128, &unread), Err(CostError::UnreadGroup));
    for (out, inputs) in [(1 << 62, 128), (u64::MAX, 1)] {
        let found = matrix_bytes(out, inputs, &Format::BF16);
        assert!(
            matches!(found, Err(CostError::TooLarge(_))),
            "{out} x {inputs} gave {found:?}: use checked_mul, because a product of u64 may wrap"
        );
    }
    let found =
        matrix_bytes(1 << 60, 1, &format(Grid::Int(4), Grid::Sixteen, &[(32, Group::Channel)]));
    assert!(
        matches!(found, Err(CostError::TooLarge(_))),
        "2^60 rows of one code gave {found:?}: the codes fit 64 bits and the scales do not, so check \
         both products"
    );
}

#[test]
fn bits_per_weight_count_all_that_is_stored() {
    let weights = 4096 * 4096;
    for (name, stored, bits) in [
        ("bf16", Format::BF16, 16.0),
        ("W4A16 g128", Format::w4a16(128), 4.125),
        ("AWQ g128", awq(128), 4.15625),
        ("Q8_0", ggml(8), 8.5),
        ("Q4_0", ggml(4), 4.5),
        ("NF4", format(Grid::Table(4), Grid::Sixteen, &[(32, Group::Size(64))]), 4.5),
    ] {
        let bytes = must(matrix_bytes(4096, 4096, &stored));
        let found = must(bits_per_weight(bytes, weights));
        assert_number(
            &format!("bits per weight of {name}"),
            found,
            bits,
            &[
                (bits / 8.0, "Those are bytes per weight."),
                (8.0 / bits, "Those are weights per byte."),
                (bits.floor(), "Those are the bits of a code: the scales are stored too."),
            ],
        );
    }
    assert_number(
        "bits per weight of 33,554,433 bytes for 33,554,432 weights",
        must(bits_per_weight((1 << 25) + 1, 1 << 25)),
        8.0 + f64::powi(2.0, -22),
        &[(8.0, "That is computed in f32, which has 24 bits: use f64.")],
    );
    assert_zero("bits per weight of no weights", bits_per_weight(16, 0));
}

// ---- task 2: bytes of a model ----------------------------------------------------------------------

#[test]
fn the_linear_layers_of_a_published_model_have_seven_matrices_each() {
    // 6,979,321,856 weights at 4.125 bits; 43,008 output channels in each of 32 layers.
    let model = LLAMA31_8B;
    let one_layer = 3_598_712_832 / 32;
    let without_gate = 3_598_712_832 - 32 * 14_336 * 4096 / 8 * 33 / 8;
    assert_count(
        "the linear layers of Llama-3.1-8B in W4A16 g128",
        must(linear_bytes(&model, &Format::w4a16(128))),
        3_598_712_832,
        &[
            (one_layer, "That is one layer of 32."),
            (4_013_948_928, "Key and value projections have `kv_heads * head_dim` outputs."),
            (without_gate, "The MLP has three matrices: gate, up and down."),
            (3_489_660_928, "Those are the codes alone: add the scales."),
        ],
    );
    assert_count(
        "the same in W8A8",
        must(linear_bytes(&model, &Format::W8A8)),
        6_979_321_856 + 32 * 43_008 * 4,
        &[
            (6_979_321_856, "Those are the codes alone: add an f32 for each output channel."),
            (
                6_979_321_856 + 32 * 38_912 * 4,
                "Those are scales for each input: a matrix is [out_features, in_features].",
            ),
            (
                6_979_321_856 + 32 * 43_008 * 2,
                "A scale has 32 bits here: the format says how many.",
            ),
        ],
    );
}

#[test]
fn the_embedding_the_head_and_the_norms_stay_in_16_bits() {
    let table = 128_256 * 4096;
    let norms = (32 * 2 + 1) * 4096;
    for (linear, bytes, code_bytes) in [
        (Format::BF16, 13_958_643_712, 2.0),
        (Format::W8A8, 6_984_826_880, 1.0),
        (Format::FP8, 6_984_826_880, 1.0),
        (Format::w4a16(128), 3_598_712_832, 33.0 / 64.0),
    ] {
        let what = format!("Llama-3.1-8B in {}", linear.name);
        let scales = if linear.overhead.iter().any(|s| s.per == Group::Channel) {
            2 * 128_256 * 4
        } else {
            0
        };
        let quantized = (2.0 * table as f64 * code_bytes) as u64 + scales;
        let expected = bytes + 2 * 2 * table + 2 * norms;
        assert_count(
            &what,
            must(model_bytes(&LLAMA31_8B, &ModelFormat::of(linear))),
            expected,
            &[
                (
                    bytes + quantized + 2 * norms,
                    "The embedding and the head are quantized too, and they have their own format.",
                ),
                (expected - 2 * table, "This model is not tied: count the embedding and the head."),
                (bytes, "Those are the linear layers alone."),
                (expected - 2 * norms, "The norms are missing."),
                (expected - norms, "The norms stay in 16 bits, whatever the format of the layers."),
                (
                    expected - 3 * norms / 2,
                    "The norms stay in 16 bits, whatever the format of the layers.",
                ),
            ],
        );
    }
}

#[test]
fn a_row_of_the_embedding_is_a_token() {
    let bf16 = ModelFormat::of(Format::BF16);
    let before = must(model_bytes(&LLAMA31_8B, &bf16));
    let quantized = ModelFormat { embedding: Format::W8A8, ..bf16 };
    let codes = before - 2 * 128_256 * 4096;
    assert_count(
        "Llama-3.1-8B with embedding and head in W8A8",
        must(model_bytes(&LLAMA31_8B, &quantized)),
        codes + 2 * 4 * 128_256,
        &[
            (before, "That is 16 bits, but embedding and head have a format of their own."),
            (codes, "Those are the codes alone: add an f32 for each row of both tables."),
            (
                codes + 2 * 4 * 4096,
                "The table is [vocabulary, hidden], with a scale for each token.",
            ),
        ],
    );
}

#[test]
fn the_norms_of_queries_and_keys_are_weights_too() {
    assert_count(
        "Qwen3-8B in bf16, which has 8,190,735,360 parameters",
        must(model_bytes(&QWEN3_8B, &ModelFormat::of(Format::BF16))),
        2 * 8_190_735_360,
        &[(
            2 * (8_190_735_360 - 36 * 2 * 128),
            "The norms of queries and keys are missing: `vector_weights` counts all vectors.",
        )],
    );
}

#[test]
fn a_tied_embedding_is_stored_once() {
    for (name, model, bytes) in
        [("SmolLM2-135M", SMOLLM2_135M, 269_030_016), ("Qwen2.5-0.5B", QWEN25_05B, 988_065_536)]
    {
        let table = 2 * model.vocabulary * model.hidden;
        assert_count(
            &format!("{name} in bf16"),
            must(model_bytes(&model, &ModelFormat::of(Format::BF16))),
            bytes,
            &[
                (bytes + table, "The head is the embedding here: count one matrix."),
                (bytes - table, "The embedding is missing."),
            ],
        );
    }
}

#[test]
fn the_bytes_are_those_that_llama_cpp_printed() {
    let of = |bits, table: Format| ModelFormat {
        linear: ggml(bits),
        embedding: table,
        vectors: Grid::F32,
    };
    let capture = |name| {
        let facts = captured(LLAMA_CPP, name)["facts"].to_string();
        number_after(&facts, "model buffer size")
    };
    for (what, format, printed) in [
        ("all F32", f32_all_over(), capture("original")),
        ("Q8_0, embedding F16", of(8, Format::BF16), capture("gguf-q8_0")),
        ("Q4_0, embedding F16", of(4, Format::BF16), capture("gguf-q4_0")),
        ("Q4_0, embedding Q8_0", of(4, ggml(8)), number_after(LLAMA_CPP_LOG, "file size")),
    ] {
        let bytes = must(model_bytes(&SMOLLM2_135M, &format));
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        // Two decimals were printed.
        assert!(
            (mebibytes - printed).abs() <= 0.005,
            "SmolLM2-135M, {what}: llama.cpp printed {printed} MiB, you have {mebibytes:.2}. \
             Norms are f32 in a GGUF, and a block of 32 codes has an f16 scale"
        );
    }
}

#[test]
fn the_bytes_are_those_of_lab_05s_files() {
    // A file also has a header with an entry for each tensor, which is the name, type, shape and
    // two offsets (60 bytes at least, 160 at most). Packed matrices of compressed-tensors also
    // store their shape, two i64.
    for (name, linear, tensors, shapes) in [
        ("none", Format::BF16, 272, 0),
        ("w8a8", Format::W8A8, 272 + 210, 0),
        ("fp8", Format::FP8, 272 + 210, 0),
        ("w4a16", Format::w4a16(64), 272 + 2 * 210, 210 * 16),
        ("awq", awq(64), 272 + 2 * 210, 0),
    ] {
        let file = whole(&captured(VLLM, name)["weight_bytes"]);
        let predicted = must(model_bytes(&SMOLLM2_135M, &ModelFormat::of(linear))) + shapes;
        let header = file as i64 - predicted as i64;
        assert!(
            (60 * tensors..=160 * tensors).contains(&header),
            "{name}: the file has {file} bytes and you predict {predicted}. A header of \
             {tensors} tensors cannot have {header} bytes: look for a part that is not counted or \
             counted twice"
        );
    }
}

#[test]
fn a_step_multiplies_with_the_head_and_only_looks_up_the_embedding() {
    let format = ModelFormat::of(Format::BF16);
    let table = 2 * 128_256 * 4096;
    let all = 16_060_522_496;
    assert_count(
        "the weights that a step of Llama-3.1-8B reads in bf16",
        must(step_weight_bytes(&LLAMA31_8B, &format)),
        all - table,
        &[
            (all, "A step reads only one row for each token of an embedding that is stored apart."),
            (all - 2 * table, "The head is a matrix product, so a step reads all of the head."),
        ],
    );
    // Codes and scales of the linear layers, and what a head in the same format would take.
    let rest = table + 2 * 65 * 4096;
    for (format, linear, head) in [
        (Format::W8A8, 6_984_826_880, 128_256 * (4096 + 4)),
        (Format::w4a16(128), 3_598_712_832, 128_256 * 4096 / 8 * 33 / 8),
    ] {
        assert_count(
            &format!("the same in {}", format.name),
            must(step_weight_bytes(&LLAMA31_8B, &ModelFormat::of(format))),
            linear + rest,
            &[
                (
                    linear + rest - table + head,
                    "The head is in the format of the linear layers there, and the head has its own.",
                ),
                (linear + rest + table, "A step only looks up rows of the embedding."),
                (linear + rest - table, "The head is missing, and a step reads all of the head."),
                (linear, "Those are the linear layers alone."),
            ],
        );
    }
    let quantized = ModelFormat { embedding: Format::W8A8, ..format.clone() };
    assert_count(
        "the weights that a step reads with a head in W8A8",
        must(step_weight_bytes(&LLAMA31_8B, &quantized)),
        all - 2 * table + 128_256 * (4096 + 4),
        &[(
            all - table,
            "That is a head in 16 bits, but the head has the format of the embedding.",
        )],
    );
    let tied = 269_030_016;
    assert_count(
        "the same of SmolLM2-135M, which is tied",
        must(step_weight_bytes(&SMOLLM2_135M, &format)),
        tied,
        &[(tied - 2 * 49_152 * 576, "A tied embedding is the head, and a step reads the head.")],
    );
}

#[test]
fn sizes_that_are_those_of_no_model_are_refused() {
    let format = ModelFormat::of(Format::BF16);
    let no_layers = Architecture { layers: 0, ..LLAMA31_8B };
    let five = Architecture { kv_heads: 5, ..LLAMA31_8B };
    let absurd = Architecture { hidden: u64::MAX, ..LLAMA31_8B };
    let zero = CostError::Architecture(ArchitectureError::Zero("layers"));
    let uneven = CostError::Architecture(ArchitectureError::Uneven { heads: 32, kv_heads: 5 });
    for (model, expected) in [(no_layers, Some(zero)), (five, Some(uneven)), (absurd, None)] {
        for (what, found) in [
            ("linear_bytes", linear_bytes(&model, &Format::BF16)),
            ("model_bytes", model_bytes(&model, &format)),
            ("step_weight_bytes", step_weight_bytes(&model, &format)),
            ("kv_bytes_per_token", kv_bytes_per_token(&model, Grid::Sixteen)),
        ] {
            let error = found.as_ref().err();
            let right = expected
                .as_ref()
                .map_or(matches!(error, Some(CostError::Architecture(_))), |expected| {
                    error == Some(expected)
                });
            assert!(right, "{what} of {model:?} gave {found:?}: `Architecture::check` says why");
        }
    }
    assert_eq!(
        model_bytes(&SMOLLM2_135M, &ModelFormat::of(Format::w4a16(128))),
        Err(CostError::Indivisible { in_features: 576, group_size: 128 }),
        "refuse W4A16 g128 of SmolLM2-135M, because its rows of 576 are no whole groups of 128"
    );
}

// ---- task 3: room for the KV cache -----------------------------------------------------------------

#[test]
fn a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer() {
    for (name, model, bytes) in [
        ("Llama-3.1-8B", LLAMA31_8B, 131_072),
        ("Llama-3.1-70B", LLAMA31_70B, 327_680),
        ("Qwen2.5-7B", QWEN25_7B, 57_344),
        ("Qwen2.5-0.5B", QWEN25_05B, 12_288),
        ("Qwen3-8B", QWEN3_8B, 147_456),
        ("Mistral-7B-v0.1", MISTRAL_7B, 131_072),
        ("SmolLM2-135M", SMOLLM2_135M, 23_040),
    ] {
        assert_count(
            &format!("KV bytes per token of {name} in 16 bits"),
            must(kv_bytes_per_token(&model, Grid::Sixteen)),
            bytes,
            &[
                (bytes / 2, "The factor 2 is missing: a key and a value."),
                (
                    bytes / model.kv_heads * model.heads,
                    "Those are the query heads, but a key-value head is cached once.",
                ),
                (
                    bytes / model.layers,
                    "That is one layer, and each layer keeps its own keys and values.",
                ),
                (8 * bytes, "Those are bits."),
            ],
        );
    }
    let wide = Architecture { hidden: 1536, ..LLAMA31_8B };
    assert_count(
        "KV bytes per token of 32 heads of 128 beside a stream of 1,536",
        must(kv_bytes_per_token(&wide, Grid::Sixteen)),
        131_072,
        &[(
            49_152,
            "That is `hidden / heads` for the width of a head, and `head_dim` is its own number.",
        )],
    );
    for (kv, bytes) in [(Grid::E4M3, 65_536), (Grid::Int(4), 32_768), (Grid::F32, 262_144)] {
        assert_count(
            &format!("KV bytes per token of Llama-3.1-8B in {kv:?}"),
            must(kv_bytes_per_token(&LLAMA31_8B, kv)),
            bytes,
            &[(131_072, "That is the cache in 16 bits, and the cache has its own grid.")],
        );
    }
}

#[test]
fn llama_cpps_kv_buffer_has_these_bytes() {
    let printed = number_after(LLAMA_CPP_LOG, "KV buffer size");
    // "512 cells, 30 layers, 4/4 seqs", f16.
    let bytes = 4 * 512 * must(kv_bytes_per_token(&SMOLLM2_135M, Grid::Sixteen));
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    assert!(
        (mebibytes - printed).abs() <= 0.005,
        "llama.cpp printed {printed} MiB for 4 sequences of 512 tokens, you have {mebibytes:.2}"
    );
}

#[test]
fn the_blocks_are_those_that_vllm_printed() {
    let gib = must(bytes_from_gib(1.0));
    let bf16 = must(kv_bytes_per_token(&SMOLLM2_135M, Grid::Sixteen));
    assert_count(
        "blocks of 128 tokens of SmolLM2-135M in bf16 in one GiB",
        must(kv_blocks(gib, 128, bf16)),
        364,
        &[
            (365, "Round down, because an engine allocates whole blocks."),
            (339, "That is one GB, and the flag is in GiB."),
            (728, "The factor 2 is missing: a key and a value."),
            (121, "Those are the query heads."),
            (46_603, "Those are tokens, and a block has 128."),
        ],
    );
    let tokens = number_after(VLLM_LOG, "CPU KV cache size:");
    assert_eq!(must(kv_tokens(364, 128)) as f64, tokens, "vLLM said how many tokens fit");
    let printed = number_after(VLLM_LOG, "Maximum concurrency for 1,024 tokens per request:");
    assert_eq!(must(concurrency(364, 128, 1024)), printed, "and how many requests of 1,024");
    assert_eq!(must(concurrency(364, 128, 2048)), 22.75, "of 2,048 it printed 22.75x");

    let capture = &captured(VLLM, "none")["kv_cache"];
    let f32 = must(kv_bytes_per_token(&SMOLLM2_135M, Grid::F32));
    let (memory, block) = (whole(&capture["memory_bytes"]), whole(&capture["block_size"]));
    let blocks = must(kv_blocks(memory, block, f32));
    assert_eq!(blocks, whole(&capture["num_blocks"]), "float32 has half the blocks");
    assert_eq!(must(kv_tokens(blocks, block)), whole(&capture["size_tokens"]));

    // A small Llama in float32 with 64 MiB, the same engine.
    let small = Architecture { layers: 4, heads: 8, kv_heads: 2, head_dim: 32, ..SMOLLM2_135M };
    let per_token = must(kv_bytes_per_token(&small, Grid::F32));
    assert_count(
        "blocks of 128 tokens of a small Llama in float32 in 64 MiB",
        must(kv_blocks(64 << 20, 128, per_token)),
        256,
        &[
            (113, "That is `hidden / heads` for the width of a head, which is `head_dim`, 32."),
            (64, "Those are the query heads, but a key-value head is cached once."),
            (512, "The factor 2 is missing, or a number of the cache has 16 bits."),
        ],
    );
}

#[test]
fn utilization_is_a_share_of_the_whole_memory() {
    let (memory, taken) = (80_000_000_000, 16_060_522_496);
    assert_count(
        "what Llama-3.1-8B in bf16 leaves to the cache of an H100",
        must(kv_available_bytes(memory, UTILIZATION, taken)),
        73_600_000_000 - taken,
        &[
            (
                58_824_319_304,
                "That is a share of the rest. vLLM takes a share of the total: \
                 `ceil(total * utilization) - taken`.",
            ),
            (58_824_319_303, "That is a share of the rest. vLLM takes a share of the total."),
            (
                memory - taken,
                "The utilization is missing: an engine requests only a share of the memory.",
            ),
        ],
    );
    assert_count(
        "0.92 of 101 bytes, 90 taken",
        must(kv_available_bytes(101, 0.92, 90)),
        3,
        &[(2, "vLLM rounds 92.92 bytes up to 93.")],
    );
    assert_count(
        "0.92 of 110 bytes, 90 taken",
        must(kv_available_bytes(110, 0.92, 90)),
        12,
        &[(11, "vLLM rounds 101.2 bytes up to 102, not to the nearest.")],
    );
    assert_count(
        "all of 80,000,000,001 bytes",
        must(kv_available_bytes(80_000_000_001, 1.0, 0)),
        80_000_000_001,
        &[(80_000_000_000, "That is computed in f32, which has 24 bits: use f64.")],
    );
    assert_eq!(kv_available_bytes(100, 1.0, 100), Ok(0), "a device that is full leaves 0 bytes");
}

#[test]
fn an_engine_that_would_not_start_is_an_error() {
    let seventy = must(model_bytes(&LLAMA31_70B, &ModelFormat::of(Format::BF16)));
    assert_eq!(
        kv_available_bytes(H100.memory_bytes, UTILIZATION, seventy),
        Err(CostError::NoRoom { requested_bytes: 73_600_000_000, taken_bytes: seventy }),
        "Llama-3.1-70B in bf16 does not fit on one H100, so the result is an error and not 0 bytes"
    );
    for utilization in [0.0, -0.5, 1.01, 92.0, f64::NAN] {
        let found = kv_available_bytes(1000, utilization, 0);
        let named = match &found {
            Err(CostError::Utilization(named)) => named.to_string(),
            _ => String::new(),
        };
        assert!(
            named == utilization.to_string(),
            "a utilization of {utilization} gave {found:?}: refuse a share that is not above 0 and at \
             most 1, and name the share as it was given"
        );
    }
    assert_zero("a device without memory", kv_available_bytes(0, 0.9, 0));
}

#[test]
fn a_sequence_takes_whole_blocks() {
    let found = must(concurrency(100, BLOCK_TOKENS, 17));
    assert_number(
        "sequences of 17 tokens in 100 blocks of 16",
        found,
        50.0,
        &[
            (
                1600.0 / 17.0,
                "Those are tokens over tokens. A sequence of 17 takes two blocks, and no other \
                 sequence uses the rest of the second.",
            ),
            (100.0, "That is one block for each sequence: round up, because 17 tokens need two."),
        ],
    );
    let found = must(concurrency(91, 16, 4096));
    assert_number(
        "sequences of 4,096 tokens in 91 blocks of 16",
        found,
        91.0 / 256.0,
        &[(0.0, "Do not round to whole sequences, because vLLM prints fractions such as 22.75x.")],
    );
    let many = (1 << 25) + 1;
    assert_number(
        "sequences of one block in 33,554,433 blocks",
        must(concurrency(many, 16, 16)),
        many as f64,
        &[(f64::from(1 << 25), "That is computed in f32, which has 24 bits: use f64.")],
    );
}

#[test]
fn room_for_nothing_is_refused() {
    for (what, found) in [
        ("kv_blocks of no tokens", kv_blocks(1000, 0, 10)),
        ("kv_blocks of tokens without bytes", kv_blocks(1000, 16, 0)),
        ("kv_tokens of empty blocks", kv_tokens(10, 0)),
        ("concurrency in empty blocks", concurrency(10, 0, 16).map(|n| n as u64)),
        ("concurrency of no context", concurrency(10, 16, 0).map(|n| n as u64)),
    ] {
        assert_zero(what, found);
    }
    for (what, found) in
        [("kv_blocks", kv_blocks(1000, 1 << 40, 1 << 40)), ("kv_tokens", kv_tokens(u64::MAX, 16))]
    {
        assert!(
            matches!(found, Err(CostError::TooLarge(_))),
            "{what} gave {found:?}, and TooLarge is wanted: a product of u64 may wrap, even to 0, so \
             use checked_mul"
        );
    }
    assert_eq!(kv_blocks(100, 16, 10), Ok(0), "0 blocks fit, which is not an error");
}

// ---- task 4: decode --------------------------------------------------------------------------------

#[test]
fn weights_alone_in_4_bits_multiply_at_the_16_bit_rate() {
    for (what, format) in [
        ("W4A16", Format::w4a16(128)),
        ("W8A16", format(Grid::Int(8), Grid::Sixteen, &[])),
        ("FP8 weights alone", format(Grid::E4M3, Grid::Sixteen, &[])),
        ("NF4", format(Grid::Table(4), Grid::Sixteen, &[])),
        ("bf16", Format::BF16),
    ] {
        assert_number(
            &format!("the rate of {what}"),
            must(operations_per_s(&ODD, &format)),
            2e12,
            &[
                (
                    5e12,
                    "That is the int8 unit. The activations are in 16 bits, so the weights are \
                     unpacked to 16 bits and multiply there.",
                ),
                (3e12, "That is the FP8 unit, but the activations are in 16 bits."),
                (7e12, "That is the FP4 unit, but the activations are in 16 bits."),
            ],
        );
    }
    for (weights, activations) in [
        (Grid::F32, Grid::F32),
        (Grid::Int(4), Grid::F32),
        (Grid::F32, Grid::E4M3),
        (Grid::Sixteen, Grid::F32),
    ] {
        assert_number(
            &format!("the rate of {weights:?} weights and {activations:?} activations"),
            must(operations_per_s(&ODD, &format(weights, activations, &[]))),
            1e12,
            &[
                (2e12, "That is the 16-bit unit, but an operand in f32 widens the other to f32."),
                (3e12, "That is the FP8 unit, but the weights are in f32."),
            ],
        );
    }
}

#[test]
fn two_quantized_operands_multiply_at_the_rate_of_the_activations() {
    let of = |weights, activations| format(weights, activations, &[]);
    for (what, format, rate) in [
        ("W8A8", Format::W8A8, 5e12),
        ("FP8", Format::FP8, 3e12),
        ("NVFP4", of(Grid::E2M1, Grid::E2M1), 7e12),
        ("W4A8", of(Grid::Int(4), Grid::Int(8)), 5e12),
        ("W4A8 in FP8", of(Grid::Int(4), Grid::E4M3), 3e12),
        ("W8A7", of(Grid::Int(8), Grid::Int(7)), 5e12),
        ("W4A4", of(Grid::Int(4), Grid::Int(4)), 5e12),
        ("activations alone", of(Grid::Sixteen, Grid::Int(8)), 2e12),
    ] {
        assert_number(
            &format!("the rate of {what}"),
            must(operations_per_s(&ODD, &format)),
            rate,
            &[
                (2e12, "That is the 16-bit unit: this format quantizes the activations too."),
                (5e12, "That is the int8 unit: look at the grids of weights and activations."),
                (3e12, "That is the FP8 unit: look at the grids of weights and activations."),
            ],
        );
    }
}

#[test]
fn a_device_without_the_unit_is_an_error_and_not_a_guess() {
    assert_eq!(
        operations_per_s(&A100, &Format::FP8),
        Err(CostError::NoRate(Grid::E4M3)),
        "refuse FP8 on an A100, because an engine there runs another format, with activations in \
         16 bits"
    );
    let nvfp4 = format(Grid::E2M1, Grid::E2M1, &[]);
    assert_eq!(operations_per_s(&L40S, &nvfp4), Err(CostError::NoRate(Grid::E2M1)));
    assert_eq!(operations_per_s(&B200, &nvfp4), Ok(9000e12));
    let wide = format(Grid::Int(16), Grid::Int(16), &[]);
    assert_eq!(
        operations_per_s(&ODD, &wide),
        Err(CostError::NoRate(Grid::Int(16))),
        "the int8 unit takes integers of up to 8 bits, and no rate is given for 16"
    );
    let none = Device {
        operations_per_s: Rates { sixteen: None, f32: None, ..H100.operations_per_s },
        ..H100
    };
    for (format, grid) in
        [(Format::w4a16(128), Grid::Sixteen), (format(Grid::Sixteen, Grid::F32, &[]), Grid::F32)]
    {
        assert_eq!(
            operations_per_s(&none, &format),
            Err(CostError::NoRate(grid)),
            "{:?} weights and {:?} activations on a device without rates for 16 bits and f32: name the \
             grid of the unit, and take no other unit",
            format.weights,
            format.activations
        );
    }
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let [f32, sixteen, fp8, int8, fp4] = [Some(rate); 5];
        let rates = Rates { f32, sixteen, fp8, int8, fp4 };
        let device = Device { operations_per_s: rates, ..ODD };
        for grid in [Grid::F32, Grid::Sixteen, Grid::E4M3, Grid::Int(8), Grid::E2M1] {
            let found = operations_per_s(&device, &format(grid, grid, &[]));
            assert_not_positive(&format!("a rate of {rate} for {grid:?}"), found.err(), rate);
        }
    }
}

/// Asserts that `value` was refused because it is not above 0 and finite.
#[track_caller]
fn assert_not_positive(what: &str, error: Option<CostError>, value: f64) {
    let said = error.as_ref().map_or("no error".into(), |error| format!("{error:?}"));
    let named = match error {
        Some(CostError::NotPositive { value, .. }) => value.to_string(),
        _ => String::new(),
    };
    assert!(
        named == value.to_string(),
        "{what} gave {said}, and NotPositive with that value is wanted. Ask whether the value is above 0 \
         and finite, because every comparison with NaN is false"
    );
}

#[test]
fn a_step_takes_as_long_as_the_larger_bound() {
    for (memory_s, arithmetic_s) in [(0.003, 0.001), (0.001, 0.003)] {
        assert_number(
            &format!("{memory_s} s of memory traffic and {arithmetic_s} s of arithmetic"),
            must(bound_s(Roofline { memory_s, arithmetic_s })),
            0.003,
            &[
                (0.004, "That is the sum, but a device reads and multiplies at the same time."),
                (0.001, "That is the smaller one, but a step cannot be faster than either."),
            ],
        );
    }
    assert_eq!(bound_s(Roofline { memory_s: 0.0, arithmetic_s: 2.0 }), Ok(2.0));
    for value in [f64::NAN, -1.0, f64::INFINITY] {
        for (memory_s, arithmetic_s) in [(value, 1.0), (1.0, value)] {
            let found = bound_s(Roofline { memory_s, arithmetic_s });
            assert_not_positive(&format!("a time of {value} s"), found.err(), value);
        }
    }
    let found = bound_s(Roofline { memory_s: 0.0, arithmetic_s: 0.0 });
    assert!(matches!(found, Err(CostError::NotPositive { .. })), "a step of no time: {found:?}");
}

#[test]
fn weights_are_read_once_and_the_kv_cache_for_each_sequence() {
    let served = Served::of(LLAMA31_8B, Format::BF16);
    // Bytes over bytes per second, so that a signature is a number of bytes.
    let bytes = |batch, context| {
        must(decode_roofline(&served, &H100, batch, context)).memory_s * H100.bytes_per_s
    };
    let weights = 15_009_849_344.0;
    let (kv, context) = (131_072.0, 4096.0);
    assert_number(
        "the bytes of a step of one sequence without a context",
        bytes(1, 0),
        weights,
        &[
            (
                16_060_522_496.0,
                "That is all of the file, but a step only looks up rows of the embedding.",
            ),
            (weights + kv, "There is no context yet, so no cache is read."),
        ],
    );
    assert_number(
        "the bytes of a step of 64 sequences of 4,096 tokens",
        bytes(64, 4096),
        weights + 64.0 * context * kv,
        &[
            (
                weights + context * kv,
                "The cache is read once, but each sequence has its own cache.",
            ),
            (64.0 * (weights + context * kv), "The weights are read once for all sequences."),
            (
                weights + 64.0 * kv,
                "That is one token of each cache, but a step reads the whole context.",
            ),
            (weights, "The KV cache is missing."),
        ],
    );
    let huge = std::panic::catch_unwind(|| decode_roofline(&served, &H100, 1 << 40, 1 << 20));
    let huge = huge.ok().and_then(Result::ok).map_or(f64::NAN, |roofline| roofline.memory_s);
    assert_number(
        "the bytes of 2^40 sequences of 2^20 tokens (NaN is a panic or an error)",
        huge * H100.bytes_per_s,
        weights + 2f64.powi(77),
        &[(weights, "The product wrapped to 0: multiply in f64, because the result is one.")],
    );
    let fp8_kv = Served { kv: Grid::E4M3, ..served.clone() };
    let roofline = must(decode_roofline(&fp8_kv, &H100, 64, 4096));
    assert_number(
        "the same with the cache in FP8",
        roofline.memory_s * H100.bytes_per_s,
        weights + 64.0 * context * kv / 2.0,
        &[(
            weights + 64.0 * context * kv,
            "That is a cache in 16 bits, and the cache has its own grid.",
        )],
    );
}

#[test]
fn arithmetic_is_two_operations_for_each_weight_and_sequence() {
    let (linear, head) = (6_979_321_856.0, 525_336_576.0);
    for (format, rate) in [(Format::W8A8, 1979e12), (Format::w4a16(128), 989e12)] {
        let served = Served::of(LLAMA31_8B, format);
        let found = must(decode_roofline(&served, &H100, 64, 4096)).arithmetic_s;
        let expected = 64.0 * (2.0 * linear / rate + 2.0 * head / 989e12);
        assert_number(
            &format!("seconds of arithmetic of 64 sequences in {}", served.format.linear.name),
            found,
            expected,
            &[
                (expected / 2.0, "A multiply-add is two operations."),
                (
                    expected / 64.0,
                    "Multiply by the batch, because each sequence multiplies with every weight.",
                ),
                (128.0 * (linear + head) / 1979e12, "The head is in 16 bits, and so is its rate."),
                (
                    128.0 * linear / rate,
                    "The head is missing, and the head is a matrix product too.",
                ),
                (
                    expected + 128.0 * head / 989e12,
                    "The embedding is looked up and multiplies nothing.",
                ),
                (
                    128.0 * (linear / 1979e12 + head / 989e12),
                    "The activations of W4A16 are in 16 bits, so the arithmetic is at that rate.",
                ),
            ],
        );
    }
    let mut served = Served::of(LLAMA31_8B, Format::W8A8);
    served.format.embedding = Format::W8A8;
    assert_number(
        "seconds of arithmetic of one sequence with the head in W8A8 too",
        must(decode_roofline(&served, &H100, 1, 0)).arithmetic_s,
        2.0 * (linear + head) / 1979e12,
        &[(
            2.0 * linear / 1979e12 + 2.0 * head / 989e12,
            "That is a head in 16 bits, but the head has the format of the embedding.",
        )],
    );
}

#[test]
fn tokens_per_second_are_those_of_all_sequences() {
    let served = Served::of(LLAMA31_8B, Format::FP8);
    for (batch, context) in [(1, 1024), (64, 1024), (64, 0), (4096, 0)] {
        let roofline = must(decode_roofline(&served, &H100, batch, context));
        let step_s = roofline.memory_s.max(roofline.arithmetic_s);
        assert_number(
            &format!("tokens per second of {batch} sequences of {context} tokens"),
            must(decode_tokens_per_s(&served, &H100, batch, context)),
            batch as f64 / step_s,
            &[
                (
                    1.0 / step_s,
                    "That is one sequence, but each sequence of the batch gets a token in a step.",
                ),
                (step_s, "Those are seconds per step."),
                (
                    batch as f64 / (roofline.memory_s + roofline.arithmetic_s),
                    "Memory traffic and arithmetic overlap: take the larger bound, not the sum.",
                ),
            ],
        );
    }
}

#[test]
fn decode_of_nothing_or_on_nothing_is_refused() {
    let served = Served::of(LLAMA31_8B, Format::BF16);
    assert_zero("decode_roofline without a sequence", decode_roofline(&served, &H100, 0, 1));
    assert_zero("decode_tokens_per_s without one", decode_tokens_per_s(&served, &H100, 0, 1));
    for bytes_per_s in [0.0, f64::NAN, -1.0] {
        let found = decode_roofline(&served, &Device { bytes_per_s, ..H100 }, 1, 1);
        let what = format!("decode on a bandwidth of {bytes_per_s}");
        assert_not_positive(&what, found.err(), bytes_per_s);
    }
    let on_a100 = decode_tokens_per_s(&Served::of(LLAMA31_8B, Format::FP8), &A100, 1, 1);
    assert_eq!(on_a100, Err(CostError::NoRate(Grid::E4M3)));
}

// ---- task 5: prefill, and where they cross ---------------------------------------------------------

/// Operations of attention in Llama-3.1-8B for a prompt: 32 layers of 32 heads of 128, where each
/// token attends to itself and all tokens before it.
fn attention(tokens: f64) -> f64 {
    32.0 * 4.0 * 32.0 * 128.0 * tokens * (tokens + 1.0) / 2.0
}

#[test]
fn a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token() {
    let served = Served::of(LLAMA31_8B, Format::W8A8);
    let roofline = must(prefill_roofline(&served, &H100, 2048));
    let weights = 6_984_826_880.0;
    assert_number(
        "bytes that prefill of 2,048 tokens in W8A8 reads",
        roofline.memory_s * H100.bytes_per_s,
        weights,
        &[
            (2048.0 * weights, "Prefill reads the weights once for all tokens of the prompt."),
            (
                9_086_705_664.0,
                "Count the linear layers only, because the head runs for the last token alone.",
            ),
        ],
    );
    let linear = 2.0 * 6_979_321_856.0 * 2048.0;
    let expected = linear / 1979e12 + attention(2048.0) / 989e12;
    assert_number(
        "seconds of arithmetic of the same prompt",
        roofline.arithmetic_s,
        expected,
        &[
            (linear / 1979e12, "Attention is missing, which grows with the square of the prompt."),
            (expected / 2.0, "A multiply-add is two operations."),
            (linear / 2048.0 / 1979e12 + attention(2048.0) / 989e12, "Multiply by the tokens."),
            (
                (linear + attention(2048.0)) / 1979e12,
                "Attention is not quantized, so its rate is that of 16 bits.",
            ),
            (
                linear * 2048.0 / 1979e12 + attention(2048.0) / 989e12,
                "A weight multiplies once for each token: only attention grows with the square.",
            ),
        ],
    );
    let mut other = served.clone();
    other.format.embedding = Format::W8A8;
    assert_number(
        "seconds of arithmetic of the same prompt with embedding and head in W8A8",
        must(prefill_roofline(&other, &H100, 2048)).arithmetic_s,
        expected,
        &[(
            (linear + attention(2048.0)) / 1979e12,
            "Attention multiplies in 16 bits, whatever the format of the embedding.",
        )],
    );
}

#[test]
fn prefill_of_nothing_or_on_nothing_is_refused() {
    let served = Served::of(LLAMA31_8B, Format::BF16);
    assert_zero("prefill of no prompt", prefill_roofline(&served, &H100, 0));
    for bytes_per_s in [0.0, f64::NAN, -1.0] {
        let found = prefill_roofline(&served, &Device { bytes_per_s, ..H100 }, 1);
        let what = format!("prefill on a bandwidth of {bytes_per_s}");
        assert_not_positive(&what, found.err(), bytes_per_s);
    }
    let on_a100 = prefill_tokens_per_s(&Served::of(LLAMA31_8B, Format::FP8), &A100, 1);
    assert_eq!(on_a100, Err(CostError::NoRate(Grid::E4M3)));
}

#[test]
fn attention_grows_with_the_square_of_the_prompt() {
    let served = Served::of(LLAMA31_8B, Format::BF16);
    let tokens = 131_072.0;
    let linear = 2.0 * 6_979_321_856.0 * tokens;
    let expected = (linear + attention(tokens)) / 989e12;
    let (twice, quarter) = (attention(tokens) * 2.0 * tokens / (tokens + 1.0), 0.25);
    assert_number(
        "seconds of arithmetic of a prompt of 131,072 tokens in bf16",
        must(prefill_roofline(&served, &H100, 131_072)).arithmetic_s,
        expected,
        &[
            (linear / 989e12, "Attention is missing, which is more than the linear layers here."),
            (
                (linear + twice) / 989e12,
                "A token attends to the tokens before, not to the tokens after: half of the square.",
            ),
            (
                (linear + quarter * attention(tokens)) / 989e12,
                "Those are the key-value heads, but every query head multiplies.",
            ),
            (
                (linear + attention(tokens) / 2.0) / 989e12,
                "Queries times keys and weights times values are two products of two operations.",
            ),
            (
                (linear + attention(tokens) / 32.0) / 989e12,
                "That is the attention of one layer, or of one head.",
            ),
            (
                (linear + twice / 2.0) / 989e12,
                "A token attends to itself too: n (n + 1) / 2 pairs, not n * n / 2.",
            ),
            ((linear * tokens + attention(tokens)) / 989e12, "A weight multiplies once a token."),
        ],
    );
}

#[test]
fn attention_multiplies_heads_that_need_not_be_as_wide_as_the_stream() {
    let model = Architecture { hidden: 1536, ..LLAMA31_8B };
    let served = Served::of(model, Format::BF16);
    let linear = 2.0 * model.linear_weights() as f64 * 2048.0;
    assert_number(
        "seconds of arithmetic of 2,048 tokens with 32 heads of 128 beside a stream of 1,536",
        must(prefill_roofline(&served, &H100, 2048)).arithmetic_s,
        (linear + attention(2048.0)) / 989e12,
        &[(
            (linear + attention(2048.0) * 3.0 / 8.0) / 989e12,
            "That is `hidden` for the width of all heads, which is `heads * head_dim`.",
        )],
    );
}

#[test]
fn prefill_runs_at_the_length_of_the_prompt_over_the_larger_bound() {
    let served = Served::of(LLAMA31_8B, Format::w4a16(128));
    for tokens in [1, 16, 2048] {
        let roofline = must(prefill_roofline(&served, &H100, tokens));
        let step_s = roofline.memory_s.max(roofline.arithmetic_s);
        assert_number(
            &format!("tokens per second of a prompt of {tokens}"),
            must(prefill_tokens_per_s(&served, &H100, tokens)),
            tokens as f64 / step_s,
            &[
                (1.0 / step_s, "Those are prompts per second, and a prompt has many tokens."),
                (
                    tokens as f64 / (roofline.memory_s + roofline.arithmetic_s),
                    "Memory traffic and arithmetic overlap: take the larger bound, not the sum.",
                ),
            ],
        );
    }
}

#[test]
fn at_the_crossover_both_bounds_are_the_same() {
    for (name, model) in PUBLISHED {
        for format in [Format::BF16, Format::W8A8, Format::FP8, Format::w4a16(32)] {
            for (context, kv) in [(0, Grid::Sixteen), (16, Grid::Sixteen), (16, Grid::E4M3)] {
                let served = Served { kv, ..Served::of(model, format.clone()) };
                let format = &served.format.linear.name;
                let what = format!("{name} in {format} at {context} tokens in {kv:?}");
                at_the_crossover(&served, context, &what);
            }
        }
    }
}

fn at_the_crossover(served: &Served, context: u64, what: &str) {
    let Some(batch) = must(crossover_batch(served, &H100, context)) else {
        panic!("{what}: there is a crossover, because the arithmetic grows faster")
    };
    let one = must(decode_roofline(served, &H100, 1, 0));
    let kv_s = |kv| {
        let bytes = must(kv_bytes_per_token(&served.architecture, kv)) as f64 * context as f64;
        bytes / H100.bytes_per_s
    };
    let cache_s = kv_s(served.kv);
    let [memory, arithmetic] = [one.memory_s + batch * cache_s, batch * one.arithmetic_s];
    // The difference of arithmetic and cache carries the roundings of both, and of the weights where the
    // cache is a difference of two steps.
    let bound = ROUNDINGS * (one.arithmetic_s + one.memory_s) / (one.arithmetic_s - cache_s);
    let meaning = if same(batch, one.memory_s / one.arithmetic_s) {
        "The cache of each sequence is missing: memory traffic grows with the batch too."
    } else if same(batch, one.memory_s / (one.arithmetic_s - kv_s(Grid::Sixteen))) {
        "That is the crossover of a cache in 16 bits, and the cache has its own grid."
    } else if batch.fract() == 0.0 {
        "Do not round, because the crossover need not be a whole batch."
    } else {
        "Both bounds grow with the batch, memory traffic by the cache of a sequence and arithmetic by \
         its operations: find the batch where they are equal."
    };
    assert!(
        (memory - arithmetic).abs() <= bound * memory,
        "{what}: at batch {batch} a step reads for {memory:e} s and computes for {arithmetic:e} s. \
         {meaning}"
    );
}

#[test]
fn a_long_context_keeps_decode_bound_by_memory_at_any_batch() {
    let served = Served::of(LLAMA31_8B, Format::BF16);
    for context in [512, 4096, 131_072] {
        let found = crossover_batch(&served, &H100, context);
        assert_eq!(
            found,
            Ok(None),
            "at {context} tokens reading the cache of a sequence takes longer than its \
             arithmetic, so there is no crossover at any batch"
        );
        let roofline = must(decode_roofline(&served, &H100, 1_000_000, context));
        assert!(roofline.memory_s > roofline.arithmetic_s, "{roofline:?}");
    }
    // A byte and an operation a second: 114,512 tokens of 131,072 bytes take exactly as long as two
    // operations for each of 7,504,658,432 weights.
    let rates = Rates { sixteen: Some(1.0), ..H100.operations_per_s };
    let slow = Device { bytes_per_s: 1.0, operations_per_s: rates, ..H100 };
    assert_eq!(
        crossover_batch(&served, &slow, 114_512),
        Ok(None),
        "the cache of a sequence takes exactly as long as its arithmetic, so the bounds never meet: a \
         quotient by 0 is no batch"
    );
}
