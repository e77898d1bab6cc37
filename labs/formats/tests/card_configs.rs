//! Whole configs as cards: shapes of JSON that tools write, each in the words of its own.

use formats::card::read;

use crate::text_table::rows;

#[test]
fn every_vocabulary_of_configs_comes_to_the_same_answers() {
    for [config, canonical, note] in rows(include_str!("card_configs.txt")) {
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
        (r#"{"quant_method":"exl3","bits":2.25}"#, "quant_method `exl3` is not known here"),
        (r#"{"quantization":{"bits":4,"group_size":8,"mode":"new"}}"#, "MLX's mode new is not"),
        (r#"{"quant_method":"hqq","quant_config":{}}"#, "no weight_quant_params for all layers"),
        (
            r#"{"quant_method":"hqq","quant_config":{"weight_quant_params":{"nbits":4,"axis":0}}}"#,
            "(axis 0) are not known here",
        ),
        (
            r#"{"quant_method":"quark","global_quant_config":{"weight":[{"dtype":"fp8_e4m3"}]}}"#,
            "dtype (of several, one after the other) is not known here",
        ),
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
