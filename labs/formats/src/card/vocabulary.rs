//! The vocabulary of cards as data: each word and its statements.
//!
//! Sources: the cards, configs and branches named in the table of the tests; the arguments of
//! compressed-tensors; `--quantization` and `--kv-cache-dtype` of vLLM 0.32.0.

use super::word::Field::{
    ActBits, ActGroup, ActKind, ActWhen, Group, Kv, Layout, Mean, Method, Order, Overhead, Rest,
    ScaleBits, Symmetric, WeightBits, WeightKind, ZeroBits,
};
use super::word::{Field, Word};

/// All of them but GGUF's, which [`gguf_names`](super::gguf_names) lists.
pub(super) fn words() -> Vec<Word> {
    let mut words = Vec::new();
    for part in [bits, integers, floats, microscaled, methods, tables, engines, caches, details] {
        words.extend(part());
    }
    words
}

/// Sentences that several words share.
const GROUP_OPEN: &str = "the group size: 128 is usual; the config decides";
const SYMMETRY_OPEN: &str =
    "whether zero points are stored: symmetric is usual; the config decides";

const MEAN: &str = "bits with a point are a mean: 1.58 is log2 of 3, and files store three values in 1.6 bits \
    or 2";

/// `W4A16` and its like: bits of weights and of activations.
fn bits() -> Vec<Word> {
    let both = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(WeightBits, "{w}"), (ActBits, "{a}")])
            .open(WeightKind, "the kind of grid: integers are usual, `FP8` would say floats")
    };
    let plain = |name: &str, bits: &str| {
        let word = Word::new(name, &name.to_ascii_lowercase()).computes();
        word.says(&[(WeightBits, bits), (WeightKind, "float"), (ActBits, bits)])
    };
    let eight = [(Group, "channel"), (Symmetric, "yes")];
    let token = [(ActWhen, "dynamic"), (ActGroup, "token")];
    vec![
        Word::new("W4A16", "w4a16")
            .says(&[(WeightBits, "4"), (ActBits, "16")])
            .usual(&[(WeightKind, "int"), (Group, "128"), (Symmetric, "yes")])
            .open(Group, GROUP_OPEN)
            .open(Symmetric, SYMMETRY_OPEN),
        Word::new("W8A8", "w8a8")
            .says(&[(WeightBits, "8"), (ActBits, "8")])
            .usual(&eight)
            .usual(&token)
            .open(
                WeightKind,
                "int8 or FP8: the cards that are called w8a8 mean int8; the config decides",
            )
            .open(Group, "who shares a scale: an output channel is usual; the config decides")
            .open(ActWhen, "static or dynamic: a scale for each token at run time is usual"),
        Word::new("W8A16", "w8a16")
            .says(&[(WeightBits, "8"), (ActBits, "16")])
            .usual(&eight)
            .open(
                WeightKind,
                "int8 or FP8: the cards that are called w8a16 mean int8; the config decides",
            )
            .open(Group, "who shares a scale: an output channel is usual; the config decides"),
        Word::new("W4A8-FP8", "w4afp8")
            .says(&[(WeightBits, "4"), (WeightKind, "int"), (ActBits, "8"), (ActKind, "float")])
            .usual(&[(Group, "128"), (Symmetric, "yes")])
            .usual(&token)
            .open(Group, GROUP_OPEN),
        // ModelOpt's scheme of that name: AWQ's int4 in groups, then FP8 activations.
        Word::new("W4A8_AWQ", "w4a8 awq")
            .says(&[(WeightBits, "4"), (WeightKind, "int"), (Method, "AWQ")])
            .says(&[(ActBits, "8"), (ActKind, "float")])
            .usual(&[(Group, "128"), (Symmetric, "yes")])
            .usual(&[(ActWhen, "static"), (ActGroup, "tensor")])
            .open(Group, GROUP_OPEN)
            .open(ActWhen, "static or dynamic: ModelOpt's W4A8_AWQ has one static scale a tensor"),
        both("W4A8", "w{w}a{a}"),
        both("W4A8KV4", "w{w}a{a}kv{k}").says(&[(Kv, "int{k}")]),
        Word::new("W4", "w{w}").says(&[(WeightBits, "{w}")]).card_only(),
        Word::new("A8", "a{a}").says(&[(ActBits, "{a}")]).card_only(),
        Word::new("KV8", "kv{k}").says(&[(Kv, "int{k}")]),
        four_bits("4bit", "{w}bit"),
        four_bits("4 bits", "{w}bits"),
        four_bits("4-bit", "{w} bit"),
        four_bits("4 bits", "{w} bits"),
        Word::new("bits=4", "bits {w}").says(&[(WeightBits, "{w}")]).card_only(),
        Word::new("weights only", "weight only").says(&[(ActBits, "16")]).card_only(),
        Word::new("weights only", "weights only").says(&[(ActBits, "16")]).card_only(),
        four_bits("4bitgs64", "{w}bitgs{g}").says(&[(Group, "{g}")]),
        Word::new("1.58bit", "{d}bit").says(&[(Mean, "{d}")]).note(MEAN),
        Word::new("1.58-bit", "{d} bit").says(&[(Mean, "{d}")]).note(MEAN),
        plain("BF16", "16"),
        plain("FP16", "16"),
        plain("F16", "16"),
        plain("float16", "16"),
        plain("bfloat16", "16"),
        plain("F32", "32"),
        plain("FP32", "32"),
        plain("float32", "32"),
    ]
}

fn four_bits(name: &str, pattern: &str) -> Word {
    Word::new(name, pattern)
        .says(&[(WeightBits, "{w}")])
        .open(WeightKind, "the kind of grid: integers are usual, bitsandbytes means a table")
        .open(Group, "who shares a scale; the config decides")
        .open(ActBits, "activations: left in 16 bits where only one number of bits is named")
}

const OF_32_OPEN: &str = "the group size: 32 is usual; the config decides";

/// `INT4`, `INT8`.
fn integers() -> Vec<Word> {
    let while_loading = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(WeightBits, "8"), (WeightKind, "int"), (Group, "channel"), (ActBits, "16")])
            .usual(&[(Symmetric, "yes")])
            .note("vLLM makes the codes while it loads a 16-bit checkpoint, of experts only")
    };
    let of_32 = [(Group, "32"), (Symmetric, "yes")];
    let token = [(ActWhen, "dynamic"), (ActGroup, "token")];
    let mlc = [(WeightBits, "4"), (WeightKind, "int"), (ActBits, "16"), (Method, "MLC")];
    vec![
        Word::new("INT4", "int{w}")
            .says(&[(WeightBits, "{w}"), (WeightKind, "int")])
            .open(Group, "who shares a scale; the config decides")
            .open(ActBits, "weights only, or activations too: weights only is usual"),
        Word::new("INT8-INT4", "int{a} int4")
            .says(&[(WeightBits, "4"), (WeightKind, "int"), (ActBits, "{a}"), (ActKind, "int")])
            .says(&token)
            .usual(&of_32)
            .open(Group, OF_32_OPEN),
        Word::new("8da4w", "{a}da{w}w")
            .says(&[(WeightBits, "{w}"), (WeightKind, "int"), (ActBits, "{a}"), (ActKind, "int")])
            .says(&token)
            .usual(&of_32)
            .open(Group, OF_32_OPEN),
        Word::new("int4wo", "int{w}wo")
            .says(&[(WeightBits, "{w}"), (WeightKind, "int"), (ActBits, "16")])
            .open(Group, "who shares a scale; the config decides"),
        Word::new("q4f16_1", "q4f{a} {z}").says(&mlc).usual(&of_32).open(Group, OF_32_OPEN),
        Word::new("q4f16_1", "q{w}f{a} {z}")
            .says(&[(WeightBits, "{w}"), (WeightKind, "int"), (ActBits, "16")])
            .open(Group, "who shares a scale; MLC's config decides"),
        Word::new("EETQ", "eetq")
            .says(&[(Method, "EETQ"), (WeightBits, "8"), (WeightKind, "int"), (ActBits, "16")])
            .says(&[(Group, "channel"), (Symmetric, "yes")])
            .usual(&[(ScaleBits, "16")]),
        Word::new("table", "table").says(&[(WeightKind, "table")]).card_only(),
        Word::new("INT", "int").says(&[(WeightKind, "int")]).card_only(),
        while_loading("int8_per_channel_weight_only", "int8 per channel weight only"),
        while_loading("experts_int8", "experts int8"),
    ]
}

/// The three answers of an FP8 scheme.
fn fp8(word: Word, group: &str, when: &str, act_group: &str) -> Word {
    word.says(&[(WeightBits, "8"), (WeightKind, "float"), (Symmetric, "yes"), (ActKind, "float")])
        .says(&[(Group, group), (ActWhen, when), (ActGroup, act_group), (ActBits, "8")])
}

const CACHE_TYPE: &str =
    "read as the weights' type; the cache's is `--kv-cache-dtype fp8_e4m3`, or `kv=fp8_e4m3`";

/// 8-bit floats with five bits of exponent.
fn e5m2(name: &str, pattern: &str) -> Word {
    Word::new(name, pattern)
        .says(&[(WeightBits, "8"), (WeightKind, "e5m2")])
        .open(Group, "who shares a scale, or whether there is one; the config decides")
}

/// `FP8` and its like.
fn floats() -> Vec<Word> {
    let kv = "the KV cache is FP8 too, with a scale in the file or 1.0";
    vec![
        plain_fp8("FP8", "fp8"),
        plain_fp8("FP8", "float8"),
        plain_fp8("fp8_e4m3", "fp8 e4m3").note(CACHE_TYPE),
        plain_fp8("fp8_e4m3fn", "fp8 e4m3fn"),
        plain_fp8("fp8_scaled", "fp8 scaled"),
        e5m2("fp8_e5m2", "fp8 e5m2").note(CACHE_TYPE),
        e5m2("E5M2", "e5m2"),
        plain_fp8("FP8A16", "fp8a16").says(&[(ActBits, "16")]),
        plain_fp8("float8wo", "float8wo").says(&[(ActBits, "16")]),
        fp8(Word::new("float8dq", "float8dq"), "channel", "dynamic", "token"),
        plain_fp8("FP8-KV", "fp8 kv").one_piece().says(&[(Kv, "fp8_e4m3")]).note(kv),
        fp8(Word::new("FP8-dynamic", "fp8 dynamic"), "channel", "dynamic", "token"),
        fp8(Word::new("FP8-block", "fp8 block"), "128x128", "dynamic", "128"),
        fp8(Word::new("fbgemm_fp8", "fbgemm fp8"), "channel", "dynamic", "token").note(
            "the scale of a token has an upper bound that is in the file; vLLM calls it deprecated",
        ),
        fp8(Word::new("deepseek_v4_fp8", "deepseek v4 fp8"), "128x128", "dynamic", "128"),
        Word::new("E4M3", "e4m3").says(&[(WeightBits, "8"), (WeightKind, "float")]).card_only(),
        Word::new("E4M3FN", "e4m3fn").says(&[(WeightBits, "8"), (WeightKind, "float")]),
        Word::new("float", "float").says(&[(WeightKind, "float")]).card_only(),
    ]
    .into_iter()
    .chain(["", "quantization "].into_iter().flat_map(online_fp8))
    .collect()
}

/// `--quantization fp8_per_tensor` and its like: the codes are made while a checkpoint loads.
fn online_fp8(before: &str) -> Vec<Word> {
    let note = "as an argument of vLLM: it makes the codes while it loads a 16-bit checkpoint";
    let word = |granularity: &str, group: &str, act_group: &str| {
        Word::new(&format!("fp8_per_{granularity}"), &format!("{before}fp8 per {granularity}"))
            .says(&[(WeightBits, "8"), (WeightKind, "float"), (Group, group)])
            .usual(&[(Symmetric, "yes"), (ActBits, "8"), (ActKind, "float")])
            .usual(&[(ActWhen, "dynamic"), (ActGroup, act_group)])
            .note(note)
    };
    vec![
        word("tensor", "tensor", "token"),
        word("channel", "channel", "token"),
        word("block", "128x128", "128"),
    ]
}

fn plain_fp8(name: &str, pattern: &str) -> Word {
    Word::new(name, pattern)
        .says(&[(WeightBits, "8"), (WeightKind, "float")])
        .usual(&[(Symmetric, "yes"), (ActBits, "8"), (Group, "tensor")])
        .usual(&[(ActWhen, "static"), (ActGroup, "tensor")])
        .open(
            Group,
            "who shares a scale: `-FP8` alone is one per tensor on RedHatAI's cards and 128x128 blocks \
             on Qwen3's; the config decides",
        )
        .open(ActWhen, "static or dynamic: `-FP8` alone is usually static per tensor, `-FP8-dynamic` per token")
        .open(ActBits, "whether activations are FP8 too: yes where the GPU multiplies FP8")
}

/// Small groups whose scale has few bits: NVFP4, MX.
fn microscaled() -> Vec<Word> {
    let mx = [(Group, "32"), (Symmetric, "yes"), (WeightKind, "float"), (ScaleBits, "8")];
    let mxfp4 = |name: &str, pattern: &str| {
        Word::new(name, pattern).says(&mx).says(&[(WeightBits, "4"), (Layout, "MXFP4")])
    };
    let mxfp8 =
        |name: &str, pattern: &str| {
            Word::new(name, pattern).says(&mx).says(&[(WeightBits, "8"), (Layout, "MXFP8")]).usual(
                &[(ActBits, "8"), (ActKind, "float"), (ActWhen, "dynamic"), (ActGroup, "32")],
            )
        };
    let mixed = |name: &str, pattern: &str, bits: &str| {
        let open = format!(
            "which layers are NVFP4 (4.5 bits) and which FP8 ({bits} bits); the config decides"
        );
        Word::new(name, pattern)
            .says(&[(WeightKind, "mixed"), (Layout, name)])
            .open(WeightBits, &open)
    };
    let of_8 = |name: &str, pattern: &str| {
        bare_nvfp4(name, pattern).says(&[
            (ActBits, "8"),
            (ActKind, "float"),
            (ActWhen, "static"),
            (ActGroup, "tensor"),
        ])
    };
    let rest = [(Rest, "16 bits")];
    let q = |bits: &str| {
        let name = format!("MXFP4-Q{bits}");
        mxfp4(&name, &format!("mxfp4 q{bits}"))
            .says(&[(ActBits, "16")])
            .says(&[(Rest, &format!("{bits}.5 bits (MLX: {bits}-bit affine in groups of 64)"))])
    };
    vec![
        nvfp4("NVFP4", "nvfp4"),
        nvfp4("FP4", "fp4")
            .open(Layout, "which FP4: NVIDIA's cards mean NVFP4; the config decides"),
        nvfp4("modelopt_fp4", "modelopt fp4"),
        nvfp4("nvfp4_per_token", "nvfp4 per token")
            .note("vLLM makes the codes while it loads a 16-bit checkpoint, of experts only"),
        bare_nvfp4("NVFP4A16", "nvfp4a16").says(&[(ActBits, "16")]),
        mixed("NVFP4-FP8", "nvfp4 fp8", "8"),
        mixed("NVFP4-FP8-BLOCK", "nvfp4 fp8 block", "8.002"),
        mxfp4("MXFP4", "mxfp4").usual(&[(ActBits, "16")]).open(
            ActBits,
            "activations: 16 bits in gpt-oss, MXFP4 or FP8 elsewhere; the config decides",
        ),
        mxfp4("MXFP4A16", "mxfp4a16").says(&[(ActBits, "16")]),
        mxfp4("gpt_oss_mxfp4", "gpt oss mxfp4").says(&[(ActBits, "16")]).usual(&rest),
        mxfp4("gpt-oss", "gpt oss").says(&[(ActBits, "16")]).usual(&rest),
        q("4"),
        q("8"),
        mxfp4("MXFP4_MOE", "mxfp4 moe").says(&[
            (Method, "GGUF"),
            (ActBits, "16"),
            (Rest, "8.5 bits (Q8_0)"),
        ]),
        mxfp4("W4A8_MXFP4_FP8", "w4a8 mxfp4 fp8").says(&[(ActBits, "8"), (ActKind, "float")]),
        mxfp4("WMXFP4", "wmxfp4"),
        Word::new("AMXFP4", "amxfp4").says(&[(ActBits, "4"), (ActKind, "float"), (ActGroup, "32")]),
        of_8("W4A8_NVFP4_FP8", "w4a8 nvfp4 fp8"),
        mxfp8("MXFP8", "mxfp8"),
        mxfp8("modelopt_mxfp8", "modelopt mxfp8"),
    ]
}

fn bare_nvfp4(name: &str, pattern: &str) -> Word {
    Word::new(name, pattern)
        .says(&[(WeightBits, "4"), (WeightKind, "float"), (Group, "16"), (Symmetric, "yes")])
        .says(&[(Layout, "NVFP4"), (Overhead, "8@16 32@tensor")])
}

fn nvfp4(name: &str, pattern: &str) -> Word {
    bare_nvfp4(name, pattern)
        .usual(&[(ActBits, "4"), (ActKind, "float"), (ActWhen, "dynamic"), (ActGroup, "16")])
        .open(ActBits, "activations: FP4 as well is usual, `NVFP4A16` leaves them in 16 bits")
}

/// Tools and rules: AWQ, GPTQ and the like.
fn methods() -> Vec<Word> {
    let awq = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(Method, "AWQ"), (WeightKind, "int"), (Order, "no")])
            // llm-compressor's AWQ is a rule for any bits.
            .usual(&[(WeightBits, "4"), (ActBits, "16"), (ScaleBits, "16")])
            .usual(&[(Group, "128"), (Symmetric, "no"), (ZeroBits, "w")])
            .open(Group, "AWQ says nothing of the group size: 128 is usual; the config decides")
            .open(Symmetric, "whether zero points are used: AWQ's usual config has them")
    };
    let gptq = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(Method, "GPTQ"), (WeightKind, "int")])
            .usual(&[(ActBits, "16"), (WeightBits, "4"), (Group, "128")])
            .usual(&[(Symmetric, "yes"), (ZeroBits, "w"), (ScaleBits, "16")])
            .open(WeightBits, "the bits: 4 is usual; the config decides")
            .open(Group, "GPTQ says nothing of the group size: 128 is usual; the config decides")
            .open(
                Order,
                "act-order: one gptq-4bit card has it, another has not; the name does not decide it, \
                 the config's desc_act does",
            )
    };
    let auto_round = |pattern: &str| {
        Word::new("AutoRound", pattern)
            .usual(&[(WeightBits, "4"), (WeightKind, "int"), (Group, "128"), (Symmetric, "yes")])
            .usual(&[(ActBits, "16")])
            .open(Group, GROUP_OPEN)
            .open(Symmetric, SYMMETRY_OPEN)
    };
    let rule = |name: &str, pattern: &str| Word::new(name, pattern).says(&[(Method, name)]);
    let noted = |name: &str, note: &str| Word::new(name, &name.to_ascii_lowercase()).note(note);
    let reader = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .open(WeightBits, "says who reads the file and nothing of the grid: the config decides")
    };
    let eo8 = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(WeightBits, "4"), (WeightKind, "int"), (Group, "32")])
            .says(&[(ActBits, "8"), (ActKind, "int"), (ActWhen, "dynamic"), (ActGroup, "token")])
            .usual(&[(Symmetric, "yes")])
            .note("EO8: embedding and output head in 8 bits, one scale a channel")
    };
    let qserve = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(Method, "QServe"), (WeightBits, "4"), (WeightKind, "int"), (ActBits, "8")])
            .says(&[(ActKind, "int"), (Kv, "int4"), (ActWhen, "dynamic"), (ActGroup, "token")])
            .says(&[(Symmetric, "no")])
    };
    vec![
        awq("AWQ", "awq"),
        awq("auto_awq", "auto awq"),
        awq("awq_marlin", "awq marlin"),
        gptq("GPTQ", "gptq"),
        gptq("auto_gptq", "auto gptq"),
        gptq("gptq_marlin", "gptq marlin"),
        auto_round("autoround"),
        auto_round("auto round"),
        rule("HQQ", "hqq")
            .says(&[(WeightKind, "int"), (ActBits, "16")])
            .usual(&[(WeightBits, "4"), (Group, "64"), (Symmetric, "no"), (ZeroBits, "16")])
            .open(Group, "HQQ says nothing of the group size: 64 is usual; the config decides"),
        rule("MLX", "mlx")
            .says(&[(ActBits, "16")])
            .usual(&[(WeightKind, "int"), (Group, "64"), (Symmetric, "no"), (ZeroBits, "16")])
            .open(Group, "MLX says nothing of the group size: 64 is usual; the config decides"),
        noted("calib", "calib: parameters were fitted on samples; the layout is the same"),
        noted("GEMM", "GEMM: an order of the codes in a word; the bits are the same"),
        noted("GEMV", "GEMV: an order of the codes in a word; the bits are the same"),
        noted(
            "2of4",
            "2of4: two of four weights are 0; a file that leaves them out is smaller than the bits here",
        ),
        noted("DWQ", "DWQ: scales and biases were tuned after rounding"),
        noted("QuaRot", "QuaRot: a rotation spreads outliers before rounding"),
        noted("SmoothQuant", "SmoothQuant: scales of channels moved from activations into weights"),
        qserve("QServe", "qserve")
            .usual(&[(Group, "channel")])
            .note("QServe is W4A8KV4; without a group, one scale and one zero point a channel"),
        qserve("QServe-g128", "qserve g128")
            .says(&[(Group, "128"), (Layout, "QServe-g128")])
            .says(&[(Overhead, "8@128 8@128 16@channel")])
            .note("QServe is W4A8KV4: the scales of groups are int8 themselves, one 16-bit scale a channel"),
        eo8("SpinQuant_INT4_EO8", "spinquant int4 eo8"),
        eo8("QLORA_INT4_EO8", "qlora int4 eo8"),
        noted("SpinQuant", "SpinQuant: learned rotations spread outliers before rounding"),
        Word::new("QAT", "qat").open(
            WeightBits,
            "QAT: trained with rounding in the loop; for which grid, the name does not say (gemma-3's is Q4_0)",
        ),
        reader("compressed-tensors", "compressed tensors"),
        reader("ModelOpt", "modelopt"),
        reader("ModelOpt", "modelopt mixed"),
        reader("Quark", "quark"),
        reader("torchao", "torchao"),
        reader("INC", "inc"),
        reader("Humming", "humming"),
        reader("quanto", "quanto"),
        reader("VPTQ", "vptq"),
        reader("QuIP", "quip"),
        reader("SpQR", "spqr"),
        reader("HIGGS", "higgs"),
        reader("BitNet", "bitnet"),
        Word::new("fp_quant", "fp quant")
            .says(&[(WeightKind, "float"), (WeightBits, "4")])
            .open(Group, "MXFP4 (32) or NVFP4 (16); the config decides"),
        reader("online", "online"),
        Word::new("moe_wna16", "moe wna16")
            .says(&[(WeightKind, "int"), (ActBits, "16")])
            .open(WeightBits, "the bits: those of the GPTQ or AWQ config beside the file"),
    ]
}

/// Codes that are indices into a table.
fn tables() -> Vec<Word> {
    let bnb = [(Method, "bitsandbytes"), (WeightBits, "4"), (WeightKind, "table"), (ActBits, "16")];
    let double = "8@64 32@16384";
    let nf4 = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&bnb)
            .says(&[(Group, "64"), (Symmetric, "no")])
            .usual(&[(Layout, "NF4"), (Overhead, double)])
            .open(
                Overhead,
                "double quantization of the scales: unsloth's cards have it (4.127 bits), without it \
                 NF4 costs 4.5; the config decides",
            )
    };
    let bnb_fp4 = |name: &str, pattern: &str, overhead: &str| {
        Word::new(name, pattern).says(&bnb).says(&[
            (Group, "64"),
            (Symmetric, "no"),
            (Layout, "bnb FP4"),
            (Overhead, overhead),
        ])
    };
    let twice = |name: &str| nf4(name, name).says(&[(Overhead, double)]);
    let either = |name: &str| {
        Word::new(name, name)
            .says(&[(Method, "bitsandbytes")])
            .open(WeightBits, "4 bits (a table) or 8 (LLM.int8()); the config decides")
    };
    let aqlm = |name: &str, pattern: &str, overhead: &str| {
        Word::new(name, pattern)
            .says(&[(Method, "AQLM"), (Layout, name), (WeightBits, "2"), (WeightKind, "table")])
            .says(&[(Group, "channel"), (Symmetric, "no"), (ActBits, "16"), (Overhead, overhead)])
            .note("AQLM: an index stands for 8 weights; the codebooks of a matrix lie beside it")
    };
    let exl2 = |name: &str, pattern: &str| {
        Word::new(name, pattern)
            .says(&[(Method, name), (WeightKind, "mixed"), (ActBits, "16"), (Layout, name)])
            .open(Mean, "the mean bits: one branch for each")
    };
    vec![
        nf4("bnb-4bit", "bnb 4bit").open(Layout, "NF4 or FP4: NF4 is usual; the config decides"),
        nf4("bitsandbytes 4bit", "bitsandbytes 4bit")
            .open(Layout, "NF4 or FP4: NF4 is usual; the config decides"),
        nf4("NF4", "nf4").says(&[(Layout, "NF4")]),
        nf4("NF4 double", "nf4 double").says(&[(Layout, "NF4"), (Overhead, double)]),
        nf4("NF4 double", "nf4 double quant").says(&[(Layout, "NF4"), (Overhead, double)]),
        twice("double quant"),
        twice("double quantization"),
        nf4("NF4 plain", "nf4 plain").says(&[(Layout, "NF4"), (Overhead, "32@64")]),
        bnb_fp4("bnb FP4 double", "bnb fp4 double", double),
        bnb_fp4("bnb FP4 plain", "bnb fp4 plain", "32@64"),
        Word::new("bnb-8bit", "bnb 8bit")
            .says(&[(Method, "bitsandbytes"), (WeightBits, "8"), (WeightKind, "int")])
            .says(&[(Group, "channel"), (Symmetric, "yes"), (ActBits, "8"), (ActKind, "int")])
            .says(&[(ActWhen, "dynamic"), (ActGroup, "token")])
            .note("LLM.int8(): columns with an activation beyond a threshold are multiplied in 16 bits"),
        either("bitsandbytes"),
        either("bnb"),
        aqlm("AQLM 1x16", "aqlm pv 2bit 1x16", "16@channel 8388608@tensor"),
        aqlm("AQLM 1x16", "aqlm 2bit 1x16", "16@channel 8388608@tensor"),
        aqlm("AQLM 1x16", "aqlm 1x16", "16@channel 8388608@tensor"),
        aqlm("AQLM 2x8", "aqlm pv 2bit 2x8", "16@channel 65536@tensor"),
        aqlm("AQLM 2x8", "aqlm 2bit 2x8", "16@channel 65536@tensor"),
        aqlm("AQLM 2x8", "aqlm 2x8", "16@channel 65536@tensor"),
        Word::new("AQLM", "aqlm")
            .says(&[(Method, "AQLM"), (WeightKind, "table"), (ActBits, "16")])
            .open(WeightBits, "the codebooks: 1x16 and 2x8 are 2 bits; the name or the config decides"),
        exl2("EXL2", "exl2"),
        exl2("EXL3", "exl3"),
        Word::new("4.0bpw", "{d}bpw").says(&[(Mean, "{d}")]),
        Word::new("4.0 bpw", "{d} bpw").says(&[(Mean, "{d}")]),
    ]
}

/// Values of `quantization=` that are no words of their own.
fn engines() -> Vec<Word> {
    let rest = "FP8, from a 16-bit checkpoint: vLLM makes one scale a tensor while it loads; from an FP8 \
                checkpoint: what its config says";
    vec![
        plain_fp8("quantization=fp8", "quantization fp8").note(rest),
        Word::new("quantization=", "quantization").card_only(),
    ]
}

/// `--kv-cache-dtype` of vLLM.
fn caches() -> Vec<Word> {
    const TYPES: &str = "auto float16 bfloat16 fp8 fp8_e4m3 fp8_e5m2 fp8_inc fp8_ds_mla nvfp4_ds_mla \
        turboquant_k8v4 turboquant_4bit_nc turboquant_k3v4_nc turboquant_3bit_nc ultraquant_4bit \
        int4_per_token_head int8_per_token_head fp8_per_token_head nvfp4 nvfp4_4over6";
    // Alone, these words could be about weights.
    const AMBIGUOUS: [&str; 7] =
        ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"];
    let mut words = Vec::new();
    for kind in TYPES.split_whitespace() {
        let atoms = kind.replace('_', " ");
        let mut add = |name: &str, pattern: String| {
            words.push(Word::new(name, &pattern).says(&[(Kv, canonical_kv(kind))]));
        };
        add(&format!("kv-cache-dtype {kind}"), format!("kv cache dtype {atoms}"));
        add(&format!("kv={kind}"), format!("kv {atoms}"));
        if !AMBIGUOUS.contains(&kind) {
            add(kind, atoms);
        }
    }
    words.push(
        Word::new("kv-cache-dtype", "kv cache dtype").needs("a type: kv-cache-dtype fp8_e4m3"),
    );
    words.push(Word::new("KVFP8", "kvfp8").says(&[(Kv, "fp8_e4m3")]));
    words.push(Word::new("KV", "kv").needs("a type: kv=fp8_e4m3, KV8").card_only());
    for bits in ["8", "4", "16"] {
        let kind = format!("int{bits}");
        words.push(Word::new(&format!("kv=int{bits}"), &format!("kv {kind}")).says(&[(Kv, &kind)]));
    }
    words
}

/// `fp8` is E4M3 on the GPUs that the book speaks of.
fn canonical_kv(kind: &str) -> &str {
    if kind == "fp8" { "fp8_e4m3" } else { kind }
}

/// Groups, symmetry, order: the details of a scheme.
fn details() -> Vec<Word> {
    let of = |field: Field, value: &'static str| {
        move |name: &str, pattern: &str| Word::new(name, pattern).says(&[(field, value)])
    };
    let group = of(Group, "{g}");
    let block = of(Group, "{r}x{c}");
    let (sym, asym) = (of(Symmetric, "yes"), of(Symmetric, "no"));
    let (order, no_order) = (of(Order, "yes"), of(Order, "no"));
    let size = "a number: group_size=128, or -1 for one group in a row";
    vec![
        group("group_size=128", "group size {g}"),
        group("groupsize 128", "groupsize {g}"),
        group("group 128", "group {g}"),
        group("g128", "g{g}"),
        of(Group, "channel")("g-1", "g 1").one_piece(),
        group("128g", "{g}g"),
        group("gs128", "gs{g}"),
        Word::new("group_size=128", "group size").needs(size),
        Word::new("groupsize", "groupsize").needs(size).card_only(),
        Word::new("group", "group").needs(size).card_only(),
        of(Group, "channel")("per-channel", "per channel"),
        of(Group, "channel")("channelwise", "channelwise"),
        of(Group, "tensor")("per-tensor", "per tensor"),
        of(Group, "128x128")("per-block", "per block"),
        of(Group, "128x128")("block", "block").card_only(),
        block("block=128x128", "block {r}x{c}"),
        of(ActGroup, "token")("per-token", "per token"),
        of(ActGroup, "{g}")("act-group=128", "act group {g}"),
        of(ActGroup, "tensor")("act-per-tensor", "act per tensor"),
        of(ActWhen, "dynamic")("dynamic", "dynamic").card_only(),
        of(ActWhen, "static")("static", "static").card_only(),
        sym("sym", "sym"),
        sym("symmetric", "symmetric").card_only(),
        sym("sym=true", "sym true"),
        asym("asym", "asym"),
        asym("asymmetric", "asymmetric").card_only(),
        asym("sym=false", "sym false"),
        asym("zero_point=true", "zero point true"),
        sym("zero_point=false", "zero point false"),
        asym("zero_point", "zero point"),
        order("actorder_True", "actorder true"),
        no_order("actorder_False", "actorder false"),
        order("actorder", "actorder"),
        order("act-order", "act order"),
        no_order("no act-order", "no act order").card_only(),
        order("desc_act=true", "desc act true"),
        no_order("desc_act=false", "desc act false"),
        order("desc_act", "desc act"),
        of(ActKind, "float")("A-FP8", "a fp8").says(&[(ActBits, "8")]).card_only(),
        of(ActKind, "int")("A-INT8", "a int{a}").says(&[(ActBits, "{a}")]).card_only(),
        of(ActKind, "float")("act-float", "act float").card_only(),
        of(ActKind, "int")("act-int", "act int").card_only(),
        of(ZeroBits, "{z}")("zeros=4", "zeros {z}").card_only(),
        of(ScaleBits, "{z}")("scales=16", "scales {z}").card_only(),
        Word::new("8B", "{p}b"),
        Word::new("quantized", "quantized").card_only(),
        Word::new("quantize", "quantize").card_only(),
        Word::new("weights", "weights").card_only(),
        Word::new("activations", "activations").card_only(),
        Word::new("model", "model").card_only(),
        Word::new("and", "and").card_only(),
        Word::new("with", "with").card_only(),
    ]
}
