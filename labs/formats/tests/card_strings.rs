//! Cards that are out there, and what each means: the names of repositories state their schemes, as
//! their cards and configs do; where a name leaves something to the config, that is counted.

use formats::architecture::{Architecture, LLAMA31_8B, LLAMA31_70B};
use formats::card::{CARDS, CardError, WeightBytes, grammar, read, weight_bytes};
use proptest::prelude::*;

/// A card, what it reads as, bits of a weight, and how many questions it leaves open.
const ROWS: [(&str, &str, &str, usize); CARDS.len()] = [
    (
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
        "W4A16 int group_size=128 sym",
        "4 + 16/128 = 4.1250 (usual)",
        2,
    ),
    (
        "RedHatAI/Mixtral-8x22B-v0.1-quantized.w4a16",
        "W4A16 int group_size=128 sym",
        "4 + 16/128 = 4.1250 (usual)",
        2,
    ),
    (
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
        "W8A8 int per-channel sym act-int dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        3,
    ),
    (
        "neuralmagic/Llama-3.2-1B-Instruct-quantized.w8a8",
        "W8A8 int per-channel sym act-int dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        3,
    ),
    (
        "RedHatAI/Meta-Llama-3.1-8B-quantized.w8a16",
        "W8A16 int per-channel sym",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        2,
    ),
    (
        "neuralmagic/Qwen2-72B-Instruct-quantized.w8a16",
        "W8A16 int per-channel sym",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        2,
    ),
    (
        "neuralmagic/Meta-Llama-3-8B-Instruct-FP8",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "nvidia/Llama-3.1-8B-Instruct-FP8",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "neuralmagic/Meta-Llama-3.1-405B-FP8-dynamic",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    (
        "RedHatAI/phi-4-FP8-dynamic",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    (
        "RedHatAI/Llama-3.1-8B-Instruct-FP8-block",
        "W8A8 float block=128x128 act-float dynamic act-group=128",
        "8 + 32/(128 x 128) = 8.0020",
        0,
    ),
    (
        "Qwen/Qwen3-VL-235B-A22B-Thinking-FP8",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "RedHatAI/Kimi-K3-FP8-BLOCK",
        "W8A8 float block=128x128 act-float dynamic act-group=128",
        "8 + 32/(128 x 128) = 8.0020",
        0,
    ),
    (
        "RedHatAI/Kimi-K3-NVFP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    ("RedHatAI/GLM-5.2-NVFP4-FP8", "NVFP4-FP8", "not said", 1),
    ("RedHatAI/DeepSeek-R1-NVFP4-FP8-BLOCK", "NVFP4-FP8-BLOCK", "not said", 1),
    (
        "RedHatAI/Muse-Glimmer-30B-W4A16",
        "W4A16 int group_size=128 sym",
        "4 + 16/128 = 4.1250 (usual)",
        2,
    ),
    (
        "nvidia/DeepSeek-R1-FP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    (
        "nvidia/Llama-3.1-405B-Instruct-FP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    (
        "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    (
        "Firworks/NVIDIA-Nemotron-3-Nano-30B-A3B-nvfp4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    ("openai/gpt-oss-20b", "MXFP4 A16", "4 + 8/32 = 4.2500", 0),
    (
        "TheBloke/Llama-2-13B-chat-GPTQ",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-32g-actorder_True",
        "W4A16 int group_size=32 sym zeros=4 act-order",
        "4 + 16/32 + 4/32 = 4.6250",
        1,
    ),
    (
        "TheBloke/Llama-2-13B-chat-GPTQ:gptq-8bit--1g-actorder_True",
        "W8A16 int per-channel sym zeros=8 act-order",
        "8 + 32/in + 8/in = 8.0098 for 4096 inputs",
        1,
    ),
    (
        "TheBloke/zephyr-7B-beta-AWQ",
        "W4A16 int group_size=128 asym",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        2,
    ),
    (
        "Qwen/Qwen2.5-VL-72B-Instruct-AWQ",
        "W4A16 int group_size=128 asym",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        2,
    ),
    (
        "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8",
        "W8A16 int group_size=128 sym zeros=8",
        "8 + 16/128 + 8/128 = 8.1875 (usual)",
        3,
    ),
    (
        "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "ModelCloud/Meta-Llama-3.1-8B-Instruct-gptq-4bit",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    ("google/gemma-3-4b-it-qat-q4_0-gguf", "Q4_0 A16", "4 + 16/32 = 4.5000", 0),
    (
        "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit",
        "NF4 double A16",
        "4 + 8/64 + 32/16384 = 4.1270 (usual)",
        2,
    ),
    (
        "turboderp/Llama-3.1-8B-Instruct-exl2 @4.0bpw",
        "EXL2 A16 4.0bpw",
        "4.0 in the mean, as the name says",
        0,
    ),
    (
        "ISTA-DASLab/Meta-Llama-3.1-8B-Instruct-AQLM-PV-2Bit-1x16-hf",
        "AQLM 1x16 A16",
        "2 + 16/in + 8388608/(out x in) = 2.5039 for 4096 x 4096",
        0,
    ),
    (
        "mlx-community/Qwen2.5-72B-Instruct-4bit",
        "W4A16 int group_size=64 asym zeros=16",
        "4 + 16/64 + 16/64 = 4.5000 (usual)",
        2,
    ),
    (
        "mlx-community/Qwen3-8B-4bit-DWQ",
        "W4A16 int group_size=64 asym zeros=16",
        "4 + 16/64 + 16/64 = 4.5000 (usual)",
        2,
    ),
    (
        "Intel/Qwen3-8B-int4-AutoRound",
        "W4A16 int group_size=128 sym",
        "4 + 16/128 = 4.1250 (usual)",
        3,
    ),
    (
        "mit-han-lab/Llama-3-8B-QServe-g128",
        "QServe-g128 A8 act-int dynamic per-token kv=int4",
        "4 + 8/128 + 8/128 + 16/in = 4.1289 for 4096 inputs",
        0,
    ),
    (
        "meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8",
        "W4A8 int group_size=32 sym act-int dynamic per-token",
        "4 + 16/32 = 4.5000",
        0,
    ),
    (
        "amd/Llama-3.1-8B-Instruct-FP8-KV",
        "W8A8 float per-tensor act-float static act-per-tensor kv=fp8_e4m3",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-64g-actorder_True",
        "W4A16 int group_size=64 sym zeros=4 act-order",
        "4 + 16/64 + 4/64 = 4.3125",
        1,
    ),
    (
        "TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-128g-actorder_True",
        "W4A16 int group_size=128 sym zeros=4 act-order",
        "4 + 16/128 + 4/128 = 4.1563",
        1,
    ),
    (
        "TheBloke/Llama-2-70B-chat-GPTQ",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "TheBloke/Llama-2-7B-Chat-AWQ",
        "W4A16 int group_size=128 asym",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        2,
    ),
    (
        "Qwen/Qwen2.5-1.5B-Instruct-AWQ",
        "W4A16 int group_size=128 asym",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        2,
    ),
    (
        "Qwen/Qwen3.5-27B-GPTQ-Int4",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w4a16",
        "W4A16 int group_size=128 sym",
        "4 + 16/128 = 4.1250 (usual)",
        2,
    ),
    (
        "neuralmagic/Qwen2.5-0.5B-FP8-dynamic",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    (
        "ISTA-DASLab/Meta-Llama-3.1-8B-Instruct-AQLM-PV-2Bit-2x8-hf",
        "AQLM 2x8 A16",
        "2 + 16/in + 65536/(out x in) = 2.0078 for 4096 x 4096",
        0,
    ),
    (
        "tbhot3ww/Llama-3.2-3B-Instruct-NVFP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    (
        "RedHatAI/Meta-Llama-3.1-8B-FP8",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "GGUF", "not said", 1),
    (
        "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
        "Q4_K_M A16",
        "4 + 6/32 + 6/32 + 32/256 = 4.5000; 4.8944 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "gptq-8bit-128g-actorder_True",
        "W8A16 int group_size=128 sym zeros=8 act-order",
        "8 + 16/128 + 8/128 = 8.1875",
        1,
    ),
    (
        "gptq-4bit-32g-actorder_True",
        "W4A16 int group_size=32 sym zeros=4 act-order",
        "4 + 16/32 + 4/32 = 4.6250",
        1,
    ),
    (
        "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "Q4_K_M A16",
        "4 + 6/32 + 6/32 + 32/256 = 4.5000; 4.8944 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "Q4_K_M",
        "Q4_K_M A16",
        "4 + 6/32 + 6/32 + 32/256 = 4.5000; 4.8944 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    ("Q4_K_L", "Q4_K_L A16", "4 + 6/32 + 6/32 + 32/256 = 4.5000", 0),
    (
        "IQ4_XS",
        "IQ4_XS A16",
        "4 + 6/32 + 16/256 = 4.2500; 4.4597 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "IQ2_M",
        "IQ2_M A16",
        "2 + 2/8 + 4/16 + 16/256 = 2.5625; 2.9294 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "Q6_K",
        "Q6_K A16",
        "6 + 8/16 + 16/256 = 6.5625; 6.5633 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    ("Q8_0", "Q8_0 A16", "8 + 16/32 = 8.5000; 8.5008 in the mean of a whole Llama-3.1-8B file", 0),
    ("Q4_0", "Q4_0 A16", "4 + 16/32 = 4.5000", 0),
    (
        "i1-IQ2_M",
        "IQ2_M A16",
        "2 + 2/8 + 4/16 + 16/256 = 2.5625; 2.9294 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    ("UD-Q4_K_XL", "UD-Q4_K_XL A16", "4 + 6/32 + 6/32 + 32/256 = 4.5000", 0),
    ("UD-IQ2_XXS", "UD-IQ2_XXS A16", "2 + 16/256 = 2.0625", 0),
    ("gemma-3-4b-it-qat", "", "not said", 1),
    ("bnb-4bit", "NF4 double A16", "4 + 8/64 + 32/16384 = 4.1270 (usual)", 2),
    ("exl2 @4.0bpw", "EXL2 A16 4.0bpw", "4.0 in the mean, as the name says", 0),
    ("HQQ-4bit", "W4A16 int group_size=64 asym zeros=16", "4 + 16/64 + 16/64 = 4.5000 (usual)", 1),
    (
        "AQLM-PV-2Bit-1x16",
        "AQLM 1x16 A16",
        "2 + 16/in + 8388608/(out x in) = 2.5039 for 4096 x 4096",
        0,
    ),
    (
        "AQLM-PV-2Bit-2x8",
        "AQLM 2x8 A16",
        "2 + 16/in + 65536/(out x in) = 2.0078 for 4096 x 4096",
        0,
    ),
    ("W4A8KV4", "W4 A8 int act-int kv=int4", "not said", 1),
    ("W4A16 group_size=128 sym", "W4A16 int group_size=128 sym", "4 + 16/128 = 4.1250", 0),
    (
        "w8a8",
        "W8A8 int per-channel sym act-int dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        3,
    ),
    (
        "FP8-dynamic",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    ("AWQ", "W4A16 int group_size=128 asym", "4 + 16/128 + 4/128 = 4.1563 (usual)", 2),
    ("GPTQ-Int4", "W4A16 int group_size=128 sym zeros=4", "4 + 16/128 + 4/128 = 4.1563 (usual)", 3),
    (
        "NVFP4",
        "NVFP4 A4 act-float dynamic act-group=16",
        "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096",
        1,
    ),
    ("MXFP4", "MXFP4 A16", "4 + 8/32 = 4.2500", 1),
    (
        "quantization=fp8",
        "W8A8 float per-tensor act-float static act-per-tensor",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    ("--quantization compressed-tensors", "", "not said", 1),
    (
        "--quantization fp8_per_block",
        "W8A8 float block=128x128 act-float dynamic act-group=128",
        "8 + 32/(128 x 128) = 8.0020",
        0,
    ),
    (
        "gptq_marlin",
        "W4A16 int group_size=128 sym zeros=4",
        "4 + 16/128 + 4/128 = 4.1563 (usual)",
        3,
    ),
    (
        "int8_per_channel_weight_only",
        "W8A16 int per-channel sym",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    ("mxfp8", "MXFP8 A8 act-float dynamic act-group=32", "8 + 8/32 = 8.2500", 0),
    ("--kv-cache-dtype fp8_e4m3", "kv=fp8_e4m3", "not said", 0),
    (
        "FP8 --kv-cache-dtype fp8",
        "W8A8 float per-tensor act-float static act-per-tensor kv=fp8_e4m3",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "FP8 kv=fp8_e5m2",
        "W8A8 float per-tensor act-float static act-per-tensor kv=fp8_e5m2",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096 (usual)",
        3,
    ),
    (
        "FP8 per-tensor static",
        "W8A8 float per-tensor act-float static per-token",
        "8 + 32/(out x in) = 8.0000 for 4096 x 4096",
        0,
    ),
    ("bnb FP4 plain", "bnb FP4 plain A16", "4 + 32/64 = 4.5000", 0),
    ("turboquant_k8v4", "kv=turboquant_k8v4", "not said", 0),
    ("int4_per_token_head", "kv=int4_per_token_head", "not said", 0),
    (
        "W8A8 FP8",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        2,
    ),
    ("W4A16 asym group_size=32", "W4A16 int group_size=32 asym", "4 + 16/32 + 4/32 = 4.6250", 0),
    ("BF16", "W16A16 float", "16", 0),
    (
        "W8A8-FP8",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs (usual)",
        2,
    ),
    ("NVFP4A16", "NVFP4 A16", "4 + 8/16 + 32/(out x in) = 4.5000 for 4096 x 4096", 0),
    ("W4A16_ASYM", "W4A16 int group_size=128 asym", "4 + 16/128 + 4/128 = 4.1563 (usual)", 1),
    (
        "FP8_DYNAMIC",
        "W8A8 float per-channel act-float dynamic per-token",
        "8 + 32/in = 8.0078 for 4096 inputs",
        0,
    ),
    ("bitsandbytes", "bitsandbytes", "not said", 1),
    (
        "IQ4_NL",
        "IQ4_NL A16",
        "4 + 16/32 = 4.5000; 4.6818 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "Q2_K",
        "Q2_K A16",
        "2 + 4/16 + 4/16 + 32/256 = 2.6250; 3.1593 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
    (
        "Q5_K_M",
        "Q5_K_M A16",
        "5 + 6/32 + 6/32 + 32/256 = 5.5000; 5.7036 in the mean of a whole Llama-3.1-8B file",
        0,
    ),
];

#[test]
fn every_card_of_the_list_reads_as_its_makers_say() {
    let mut wrong = Vec::new();
    for ((card, canonical, bits, open), listed) in ROWS.iter().zip(CARDS) {
        assert_eq!(*card, listed, "this list and formats::card::CARDS have the same order");
        match read(card) {
            Err(error) => wrong.push(format!("{card}: {error}")),
            Ok(found) => {
                let found = found.answers;
                if (&*found.canonical, &*found.bits, found.open.len()) != (*canonical, *bits, *open)
                {
                    wrong.push(format!("{card}: {found:#?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// ---- the arithmetic, held to sizes that cards print

/// Llama-2-13B, as its config.json has it.
const LLAMA2_13B: Architecture = Architecture {
    layers: 40,
    hidden: 5120,
    intermediate: 13_824,
    heads: 40,
    kv_heads: 40,
    head_dim: 128,
    vocabulary: 32_000,
    tied: false,
    qkv_bias: false,
    qk_norm: false,
};

/// Llama-2-70B.
const LLAMA2_70B: Architecture = Architecture { vocabulary: 32_000, ..LLAMA31_70B };

fn bytes(card: &str, model: &Architecture) -> WeightBytes {
    let card = read(card).unwrap_or_else(|error| panic!("{card}: {error}"));
    weight_bytes(&card, model).expect("a card that says enough")
}

/// TheBloke's, ISTA-DASLab's and bartowski's cards print GB of the file, with two digits behind the
/// point; tokenizer, header and `g_idx` are in it and are not counted here.
#[test]
fn bits_of_a_card_times_weights_are_the_size_that_the_card_prints() {
    let branch =
        |group: &str| format!("TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-{group}-actorder_True");
    for (card, model, printed_gb) in [
        (branch("32g"), &LLAMA2_13B, 8.00),
        (branch("64g"), &LLAMA2_13B, 7.51),
        ("TheBloke/Llama-2-13B-chat-GPTQ".into(), &LLAMA2_13B, 7.26),
        // The main branch of the 70B has no groups: by its name it would have groups of 128.
        ("GPTQ 4bit group_size=-1".into(), &LLAMA2_70B, 35.33),
        ("AQLM-PV-2Bit-1x16".into(), &LLAMA31_8B, 4.08),
        ("Q4_K_M".into(), &LLAMA31_8B, 4.92),
        ("IQ2_M".into(), &LLAMA31_8B, 2.95),
    ] {
        let gb = bytes(&card, model).total() as f64 / 1e9;
        // g_idx of a 13B layer: 4 bytes for each of 6 x 5120 + 13824 inputs, 7 MB in 40 layers, and
        // 28 MB in the 70B. Tokenizer and header: up to 10 MB. The digits: 5 MB.
        let allowed = 0.001 * printed_gb + 0.015;
        let off = printed_gb - gb;
        assert!(off.abs() <= allowed, "{card}: {gb:.3} GB, its card says {printed_gb}");
    }
}

#[test]
fn what_is_not_quantized_stays_in_16_bits() {
    let w4a16 = bytes("W4A16 group_size=128 sym", &LLAMA31_8B);
    assert_eq!(w4a16.linear, LLAMA31_8B.linear_weights() / 2 + LLAMA31_8B.linear_weights() / 64);
    let rest = LLAMA31_8B.embedding_weights() + LLAMA31_8B.vector_weights();
    assert_eq!(w4a16.rest, 2 * rest);
    assert_eq!(bytes("BF16", &LLAMA31_8B).total(), 2 * LLAMA31_8B.parameters());
}

// ---- names that do not decide

#[test]
fn a_name_that_two_configs_share_says_what_the_config_decides() {
    for (card, words) in [
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4", "the name does not decide it"),
        ("ModelCloud/Meta-Llama-3.1-8B-Instruct-gptq-4bit", "the name does not decide it"),
        ("neuralmagic/Meta-Llama-3-8B-Instruct-FP8", "128x128 blocks on Qwen3's"),
        ("Qwen/Qwen3-VL-235B-A22B-Thinking-FP8", "one per tensor on RedHatAI's cards"),
        ("TheBloke/Llama-2-70B-chat-GPTQ", "nothing of the group size"),
        ("TheBloke/zephyr-7B-beta-AWQ", "AWQ says nothing of the group size: 128 is usual"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "NF4 or FP4"),
        ("gemma-3-4b-it-qat", "the name does not say"),
    ] {
        let open = read(card).expect(card).answers.open;
        assert!(open.iter().any(|open| open.contains(words)), "{card}: no `{words}` in {open:#?}");
    }
}

#[test]
fn what_a_config_says_closes_the_questions_that_a_name_leaves() {
    let with = |order: bool| {
        let (bits, group) = (4, 128);
        format!(
            r#"{{"quant_method":"gptq","bits":{bits},"group_size":{group},"sym":true,"desc_act":{order}}}"#
        )
    };
    let [ordered, plain] = [true, false].map(|order| read(&with(order)).expect("a config").answers);
    assert_eq!(ordered.canonical, "W4A16 int group_size=128 sym zeros=4 act-order");
    assert_eq!(plain.canonical, "W4A16 int group_size=128 sym zeros=4");
    assert!(ordered.open.is_empty() && plain.open.is_empty());
}

// ---- errors

#[test]
fn what_cannot_be_read_is_named_with_what_is_known() {
    for (card, words) in [
        ("", "there is no card to read"),
        (" -- ", "there is no card to read"),
        ("W4A16 FP8", "`W4A16` and `FP8` contradict each other: bits of a weight 4 against 8"),
        ("Q4_0 group_size=128", "weights that share a scale 32 against 128"),
        ("w8a8 4bit", "`w8a8` and `4bit` contradict each other: bits of a weight 8 against 4"),
        ("AWQ 8bit", "`AWQ` and `8bit` contradict each other"),
        ("GPTQ AWQ", "method GPTQ against AWQ"),
        ("Q4_K_M Q4_0", "layout Q4_K_M against Q4_0"),
        ("NVFP4 g128", "weights that share a scale 16 against 128"),
        ("W4A16 sym asym", "symmetric yes against no"),
        ("W4A16 dynamic", "scale of the activations none against dynamic"),
        (
            "fp8_per_tensor asym",
            "`fp8_per_tensor` and `asym` contradict each other: symmetric yes against no",
        ),
        ("MXFP4 int4", "kind of grid float against int"),
        ("group_size=0", "`group_size=0`: a group has 16, 32, 64, 128"),
        ("W4A16 g100", "`g100`: a group has 16, 32, 64, 128"),
        ("Q4_K group_size", "`group_size` needs a number: group_size=128"),
        ("--kv-cache-dtype", "needs a type"),
        ("KV3", "`KV3`: keys and values are kept in 4, 8 or 16 bits"),
        ("W4A61", "`W4A61`: bits of an activation are 4, 6, 8 or 16"),
        ("W9A16", "`W9A16`: bits of a weight are 1 to 8, or 16"),
        ("0bit", "`0bit`: bits of a weight are 1 to 8, or 16"),
        ("W5A16 float", "no float of 5 bits is known, only of 4, 8, 16"),
        ("exl2 99bpw", "`99bpw`: mean bits of a weight are between 1 and 16"),
        ("exl2 1.2.3bpw", "mean bits of a weight"),
        ("Q4_K_X", "`Q4_K_X` is not known; near it: Q4_K"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_X.gguf", "`Q4_K_X` is not known"),
        ("W4A16 symetric", "`symetric` is not known; near it: symmetric"),
        ("gtpq", "`gtpq` is not known; near it: GPTQ"),
        ("W4A16 frobnicate", "`frobnicate` is not known; known are, for example, W4A16"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "no word of `meta-llama/Llama-3.1-8B-Instruct` states",
        ),
        ("someone/Llama-3.1-8B-GTPQ", "near it: GPTQ"),
    ] {
        let error = read(card).map(|card| card.answers.canonical).expect_err(card).to_string();
        assert!(error.contains(words), "{card}: no `{words}` in «{error}»");
    }
    assert_eq!(read(&"a".repeat(501)), Err(CardError::TooLong));
}

#[test]
fn the_grammar_has_no_word_twice() {
    let words = &grammar().words;
    for (index, word) in words.iter().enumerate() {
        let twin = words[..index].iter().find(|other| other.pattern == word.pattern);
        assert_eq!(twin.map(|twin| &twin.name), None, "`{}` is there twice", word.pattern);
    }
}

// ---- any text

/// A word as people write it, from the grammar.
fn any_word() -> impl Strategy<Value = String> {
    let names: Vec<String> = grammar().words.iter().map(|word| word.name.clone()).collect();
    prop_oneof![
        4 => proptest::sample::select(names),
        1 => proptest::sample::select(CARDS.to_vec()).prop_map(str::to_owned),
        1 => (1u32..20, 1u32..20).prop_map(|(w, a)| format!("W{w}A{a}")),
        1 => (0u32..300).prop_map(|g| format!("group_size={g}")),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_json_makes_it_panic(text in "\\{[\"a-z_:,0-9{}\\[\\] -]{0,80}") {
        let _ = read(&text);
    }

    #[test]
    fn what_is_printed_reads_as_the_same_card(
        words in proptest::collection::vec(any_word(), 1..4),
        tie in proptest::sample::select(vec![" ", "-", ", "]),
    ) {
        let text = words.join(tie);
        let Ok(card) = read(&text) else { return Ok(()) };
        let canonical = &card.answers.canonical;
        prop_assume!(!canonical.is_empty());
        let again = read(canonical)
            .map_err(|error| TestCaseError::fail(format!("{text}: «{canonical}»: {error}")))?;
        prop_assert_eq!(&again.answers.canonical, canonical, "{}", &text);
        prop_assert_eq!(&again.format, &card.format, "{}", &text);
        prop_assert_eq!(again.kv_bits, card.kv_bits, "{}", &text);
        prop_assert_eq!(&again.answers.kv, &card.answers.kv, "{}", &text);
    }
}
