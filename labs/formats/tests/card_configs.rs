//! Whole configs as cards: shapes of JSON that tools write, each in the words of its own.

use formats::card::read;

/// A config, what it reads as, and a note that must be among the notes.
const CONFIGS: [(&str, &str, &str); 20] = [
    (
        r#"{"model_type":"llama","quantization_config":{"quant_method":"compressed-tensors",
            "format":"pack-quantized","ignore":["lm_head"],"quantization_status":"compressed",
            "config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":4,"type":"int",
            "symmetric":true,"strategy":"group","group_size":128,"actorder":"weight","dynamic":false},
            "input_activations":null,"output_activations":null}},"kv_cache_scheme":null}}"#,
        "W4A16 int group_size=128 sym act-order",
        "left in 16 bits: lm_head",
    ),
    (
        r#"{"quant_method":"compressed-tensors","format":"int-quantized","ignore":["lm_head"],
            "config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":8,"type":"int",
            "symmetric":true,"strategy":"channel","dynamic":false},"input_activations":{"num_bits":8,
            "type":"int","symmetric":true,"strategy":"token","dynamic":true}}}}"#,
        "W8A8 int per-channel sym act-int dynamic per-token",
        "left in 16 bits: lm_head",
    ),
    (
        r#"{"quant_method":"compressed-tensors","format":"float-quantized","ignore":[],
            "kv_cache_scheme":{"num_bits":8,"type":"float","symmetric":true,"strategy":"tensor",
            "dynamic":false},"config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":8,
            "type":"float","symmetric":true,"strategy":"tensor","dynamic":false},"input_activations":
            {"num_bits":8,"type":"float","symmetric":true,"strategy":"tensor","dynamic":false}}}}"#,
        "W8A8 float per-tensor act-float static act-per-tensor kv=fp8_e4m3",
        "",
    ),
    (
        r#"{"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"group_0":
            {"targets":["Linear"],"weights":{"num_bits":8,"type":"float","symmetric":true,"strategy":
            "block","block_structure":[128,128]},"input_activations":{"num_bits":8,"type":"float",
            "strategy":"group","group_size":128,"dynamic":true}}}}"#,
        "W8A8 float block=128x128 act-float dynamic act-group=128",
        "",
    ),
    (
        r#"{"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized","config_groups":
            {"group_0":{"targets":["Linear"],"weights":{"num_bits":4,"type":"float","symmetric":true,
            "strategy":"tensor_group","group_size":16},"input_activations":{"num_bits":4,"type":
            "float","symmetric":true,"strategy":"tensor_group","group_size":16,"dynamic":"local"}}}}"#,
        "NVFP4 A4 act-float dynamic act-group=16",
        "",
    ),
    (
        r#"{"quant_method":"compressed-tensors","format":"mixed-precision","config_groups":{"group_0":
            {"format":"nvfp4-pack-quantized","targets":["re:.*mlp.*"],"weights":{"num_bits":4,"type":
            "float","symmetric":true,"strategy":"tensor_group","group_size":16},"input_activations":
            null},"group_1":{"format":"float-quantized","targets":["re:.*self_attn.*"],"weights":
            {"num_bits":8,"type":"float","symmetric":true,"strategy":"channel"},"input_activations":
            {"num_bits":8,"type":"float","strategy":"token","dynamic":true}}}}"#,
        "NVFP4 A16",
        "another group of modules: W8A8 float per-channel act-float dynamic per-token",
    ),
    (
        r#"{"quant_method":"awq","bits":4,"group_size":128,"zero_point":true,"version":"gemm",
            "modules_to_not_convert":null}"#,
        "W4A16 int group_size=128 asym",
        "",
    ),
    (
        r#"{"w_bit":4,"q_group_size":64,"zero_point":true,"version":"GEMM"}"#,
        "W4A16 int group_size=64 asym",
        "",
    ),
    (
        r#"{"bits":4,"group_size":-1,"desc_act":false,"sym":true,"damp_percent":0.01}"#,
        "W4A16 int per-channel sym scales=16 zeros=4",
        "",
    ),
    (
        r#"{"quant_method":"gptq","bits":8,"group_size":32,"desc_act":true,"sym":true}"#,
        "W8A16 int group_size=32 sym zeros=8 act-order",
        "",
    ),
    (
        r#"{"quant_method":"fp8","activation_scheme":"dynamic","weight_block_size":[128,128],
            "fmt":"e4m3"}"#,
        "W8A8 float block=128x128 act-float dynamic act-group=128",
        "",
    ),
    (
        r#"{"quant_method":"fp8","activation_scheme":"static"}"#,
        "W8A8 float per-tensor act-float static act-per-tensor",
        "",
    ),
    (
        r#"{"quant_method":"fbgemm_fp8","activation_scale_ub":1200.0,"modules_to_not_convert":
            ["model.layers.0.mlp.down_proj","lm_head"]}"#,
        "W8A8 float per-channel act-float dynamic per-token",
        "left in 16 bits: model.layers.0.mlp.down_proj, lm_head",
    ),
    (
        r#"{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4",
            "bnb_4bit_use_double_quant":true,"bnb_4bit_compute_dtype":"bfloat16"}"#,
        "NF4 double A16",
        "",
    ),
    (
        r#"{"quant_method":"bitsandbytes","load_in_8bit":true,"llm_int8_threshold":6.0}"#,
        "W8A8 int per-channel sym act-int dynamic per-token",
        "",
    ),
    (
        r#"{"producer":{"name":"modelopt"},"quantization":{"quant_algo":"NVFP4","group_size":16,
            "kv_cache_quant_algo":"FP8","exclude_modules":["lm_head"]}}"#,
        "NVFP4 A4 act-float dynamic act-group=16 kv=fp8_e4m3",
        "left in 16 bits: lm_head",
    ),
    (r#"{"quant_method":"modelopt","quant_algo":"FP8_PB_WO"}"#, "W8A16 float block=128x128", ""),
    (
        r#"{"model_type":"gpt_oss","quantization_config":{"quant_method":"mxfp4",
            "modules_to_not_convert":["model.layers.*.self_attn","model.layers.*.mlp.router",
            "model.embed_tokens","lm_head"]}}"#,
        "MXFP4 A16",
        "only experts are quantized, whatever the list says",
    ),
    (
        r#"{"quant_method":"quark","global_quant_config":{"weight":{"dtype":"int4","qscheme":
            "per_group","group_size":128,"symmetric":false},"input_tensors":null},"exclude":
            ["lm_head"]}"#,
        "W4A16 int group_size=128 asym",
        "left in 16 bits: lm_head",
    ),
    (
        r#"{"quant_method":"auto-round","bits":4,"group_size":128,"sym":true,"data_type":"int",
            "packing_format":"auto_round:auto_gptq"}"#,
        "W4A16 int group_size=128 sym zeros=4",
        "",
    ),
];

#[test]
fn every_vocabulary_of_configs_comes_to_the_same_answers() {
    for (config, canonical, note) in CONFIGS {
        let answers = read(config).unwrap_or_else(|error| panic!("{config}: {error}")).answers;
        assert_eq!(answers.canonical, canonical, "{config}");
        assert_eq!(answers.open, Vec::<String>::new(), "a config decides: {config}");
        let noted = note.is_empty() || answers.notes.iter().any(|known| known == note);
        assert!(noted, "no «{note}» in {:?}", answers.notes);
    }
}

#[test]
fn a_config_that_says_too_little_says_what_is_missing() {
    let open = |config: &str| read(config).expect(config).answers.open;
    assert_eq!(
        open(r#"{"quant_method":"gptq","bits":4,"sym":true,"desc_act":false}"#),
        ["who shares a scale: this config does not say"]
    );
    assert_eq!(
        open(r#"{"quant_method":"awq","zero_point":true}"#),
        ["the bits: this config does not say", "who shares a scale: this config does not say"]
    );
}

#[test]
fn a_config_that_cannot_be_read_is_refused_with_the_reason() {
    for (config, words) in [
        (r#"{"quant_method":"#, "not valid JSON"),
        (r#"{"model_type":"llama"}"#, "nothing in it speaks of quantization"),
        (r#"{"quant_method":"vptq"}"#, "quant_method `vptq` is not known here"),
        (r#"{"quant_method":"modelopt","quant_algo":"W9"}"#, "quant_algo W9 is not known"),
        (r#"{"quant_method":"compressed-tensors","config_groups":{}}"#, "no group with weights"),
        (r#"{"quant_method":"awq","bits":4,"group_size":0}"#, "group_size: 0"),
        (r#"{"quant_method":"awq","bits":4,"group_size":100}"#, "another multiple of 8 weights"),
        (r#"{"quant_method":"awq","bits":"4","group_size":128}"#, "`bits` is \"4\": it is a whole"),
        (r#"{"quant_method":"gptq","bits":4,"sym":"false"}"#, "`sym` is \"false\": it is true or"),
        (r#"{"quant_method":"gptq","bits":4,"group_size":1.5}"#, "`group_size` is 1.5"),
        (r#"{"w_bit":4,"q_group_size":-2,"zero_point":true}"#, "q_group_size: -2"),
        (r#"{"quant_method":"gptq","bits":9,"group_size":128}"#, "bits of a weight are 1 to 8"),
        (
            r#"{"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized","config_groups":
                {"group_0":{"targets":["Linear"],"weights":{"num_bits":5,"type":"float","symmetric":
                true,"strategy":"tensor_group","group_size":16}}}}"#,
            "no float of 5 bits is known",
        ),
        (
            r#"{"quant_method":"modelopt","quant_algo":"NVFP4","kv_cache_scheme":
                {"num_bits":3,"type":"int"}}"#,
            "keys and values are kept in 4, 8 or 16 bits",
        ),
    ] {
        let error = read(config).map(|card| card.answers).expect_err(config).to_string();
        assert!(error.contains(words), "{config}: no `{words}` in «{error}»");
    }
}
