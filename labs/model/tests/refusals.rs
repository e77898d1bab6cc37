//! What is refused, and that the message says what and why. Each case is the tiny model with one
//! thing changed.

use std::path::Path;

use crate::golden::{load, logits, path, relative, tiny};
use model::{Cache, Convention, Model, ModelError, Tokenizer, greedy, perplexity};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// A copy of the tiny folder with its config and its tensors changed.
fn changed(config: impl FnOnce(&mut Value), tensors: impl FnOnce(&mut Tensors)) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read(path("tiny/config.json")).expect("committed");
    let mut json: Value = serde_json::from_slice(&text).expect("JSON");
    config(&mut json);
    std::fs::write(folder.path().join("config.json"), json.to_string()).expect("a new file");
    let bytes = std::fs::read(path("tiny/model.safetensors")).expect("committed");
    let mut list = parsed(&bytes);
    tensors(&mut list);
    write(folder.path(), &list);
    folder
}

fn parsed(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).expect("the golden file is whole");
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, t)| (name, t.dtype(), t.shape().to_vec(), t.data().to_vec())).collect()
}

fn write(folder: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("a shape that fits"))
    });
    let file = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("a new file");
}

#[test]
fn pythons_words_for_numbers_in_fields_that_do_not_matter_refuse_no_model() {
    let folder = changed(|_| (), |_| ());
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("it was written");
    let python = r#"{"time_step_limit": [0.0, Infinity], "scores": [NaN, -Infinity], "#;
    std::fs::write(&config, text.replacen('{', python, 1)).expect("a file that is there");
    let read = Model::load(folder.path()).expect("Python reads the config");
    assert_eq!(logits(&read, &[1, 2]), logits(&load("tiny"), &[1, 2]));
}

fn error(folder: &TempDir) -> String {
    Model::load(folder.path()).err().expect("it is refused").to_string()
}

#[test]
fn a_config_of_another_computation_is_refused_by_the_name_of_its_key() {
    let cases = [
        ("model_type", json!("qwen2"), "architecture `qwen2`"),
        ("hidden_act", json!("gelu"), "activation `gelu`"),
        ("attention_bias", json!(true), "attention_bias is not supported"),
        ("mlp_bias", json!(true), "mlp_bias is not supported"),
        ("rope_scaling", json!({"rope_type": "llama3"}), "rope_scaling of the type \"llama3\""),
        ("rope_scaling", json!({"type": "linear"}), "rope_scaling of the type \"linear\""),
        ("rope_parameters", json!({"rope_type": "yarn"}), "rope_parameters of the type \"yarn\""),
        ("quantization_config", json!({"quant_method": "awq"}), "a quantized checkpoint"),
    ];
    for (key, value, wanted) in cases {
        let error = error(&changed(|config| config[key] = value, |_| ()));
        assert!(error.contains(wanted), "{key}: {error}");
    }
}

#[test]
fn a_size_that_makes_no_sense_is_refused_by_the_name_of_its_key() {
    let cases = [
        ("num_key_value_heads", json!(3), "does not divide 4 heads"),
        ("num_attention_heads", json!(0), "`num_attention_heads` is 0"),
        ("head_dim", json!(15), "needs an even width"),
        ("hidden_size", json!(1_u64 << 40), "`hidden_size` is 1099511627776"),
        ("rms_norm_eps", json!(0.0), "`rms_norm_eps` is 0"),
        ("rope_theta", json!(-1.0), "`rope_theta` is -1"),
        ("vocab_size", Value::Null, "cannot be read"),
    ];
    for (key, value, wanted) in cases {
        let error = error(&changed(|config| config[key] = value, |_| ()));
        assert!(error.contains(wanted), "{key}: {error}");
    }
}

#[test]
fn a_shape_that_the_config_contradicts_is_named_with_both_and_the_reason() {
    let error = error(&changed(|config| config["intermediate_size"] = json!(96), |_| ()));
    for wanted in ["layers.0.mlp.gate_proj", "[80, 64]", "[96, 64]", "intermediate_size"] {
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_missing_tensor_is_named_with_the_nearest_ones() {
    let rename = |tensors: &mut Tensors| {
        let found = tensors.iter_mut().find(|t| t.0 == "model.layers.1.mlp.up_proj.weight");
        found.expect("the tiny model has it").0 = "model.layers.1.mlp.up.weight".into();
    };
    let message = error(&changed(|_| (), rename));
    assert!(message.contains("no tensor `model.layers.1.mlp.up_proj.weight`"), "{message}");
    assert!(message.contains("nearest: `model.layers.1.mlp.up.weight`"), "{message}");
    let message = error(&changed(|config| config["num_hidden_layers"] = json!(3), |_| ()));
    assert!(message.contains("no tensor `model.layers.2."), "{message}");
}

#[test]
fn a_tensor_that_nothing_uses_is_refused_because_it_means_another_model() {
    let message = error(&changed(|config| config["num_hidden_layers"] = json!(1), |_| ()));
    assert!(message.contains("`model.layers.1.input_layernorm.weight`"), "{message}");
    assert!(message.contains("and 5 more"), "{message}");
    let bias = |tensors: &mut Tensors| {
        tensors.push((
            "model.layers.0.self_attn.q_proj.bias".into(),
            Dtype::F32,
            vec![1],
            vec![0; 4],
        ));
    };
    let message = error(&changed(|_| (), bias));
    assert!(message.contains("q_proj.bias"), "{message}");
}

#[test]
fn rotary_frequencies_and_a_copy_of_the_tied_head_are_let_pass() {
    let add = |tensors: &mut Tensors| {
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
        tensors.push((name.into(), Dtype::F32, vec![1], vec![0; 4]));
        let embedding = tensors.iter().find(|t| t.0.contains("embed_tokens")).cloned();
        let (_, dtype, shape, data) = embedding.expect("the tiny model has it");
        tensors.push(("lm_head.weight".into(), dtype, shape, data));
    };
    let folder = changed(|_| (), add);
    let model = Model::load(folder.path()).expect("it is the same model");
    let ids = tiny().tied.ids;
    assert!(model.is_tied());
    assert_eq!(logits(&model, &ids), logits(&load("tiny"), &ids));
}

#[test]
fn rope_theta_is_read_where_transformers_5_writes_it_too() {
    let nested = |theta: f64| {
        changed(
            |config| {
                config["rope_theta"] = Value::Null;
                config["rope_parameters"] = json!({"rope_type": "default", "rope_theta": theta});
            },
            |_| (),
        )
    };
    let ids = tiny().tied.ids;
    let plain = logits(&load("tiny"), &ids);
    let run = |folder: TempDir| logits(&Model::load(folder.path()).expect("it loads"), &ids);
    assert_eq!(run(nested(10_000.0)), plain);
    assert!(relative(&run(nested(500_000.0)), &plain) > 1e-2, "the value matters");
}

#[test]
fn float32_weights_give_the_same_model() {
    let widen = |tensors: &mut Tensors| {
        for (_, dtype, _, data) in tensors {
            let wide = data.chunks_exact(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
            (*dtype, *data) = (Dtype::F32, wide);
        }
    };
    let model = Model::load(changed(|_| (), widen).path()).expect("it is the same model");
    let ids = tiny().tied.ids;
    assert_eq!(logits(&model, &ids), logits(&load("tiny"), &ids));
}

#[test]
fn fp8_weights_without_scales_are_the_values_of_their_codes() {
    let retyped = |dtype: Dtype, value: fn(u8) -> f32| {
        changed(
            |_| (),
            move |tensors| {
                for (_, kind, _, data) in tensors {
                    // Codes from 0.25 to 1.75 in E4M3, and fewer values in E5M2.
                    let codes = data.chunks_exact(2).map(|b| 0x28 + b[1] % 0x17);
                    *data = match dtype {
                        Dtype::F32 => codes.flat_map(|code| value(code).to_le_bytes()).collect(),
                        _ => codes.collect(),
                    };
                    *kind = dtype;
                }
            },
        )
    };
    for (dtype, value) in [
        (Dtype::F8_E4M3, formats::float8::decode as fn(u8) -> f32),
        (Dtype::F8_E5M2, formats::float8::decode_e5m2),
    ] {
        let [codes, values] = [dtype, Dtype::F32].map(|dtype| {
            Model::load(retyped(dtype, value).path()).expect("floats of this type are read")
        });
        assert_eq!(logits(&codes, &[1, 2]), logits(&values, &[1, 2]), "{dtype:?}");
    }
}

#[test]
fn a_dtype_that_is_no_float_is_named() {
    let integers = |tensors: &mut Tensors| {
        tensors
            .iter_mut()
            .for_each(|t| t.1 = if t.0.contains("k_proj") { Dtype::I16 } else { t.1 });
    };
    let message = error(&changed(|_| (), integers));
    assert!(message.contains("dtype I16 of tensor `model.layers.0.self_attn.k_proj"), "{message}");
}

/// The tiny GGUF with `from` changed to `to` behind the metadata key `key`.
fn changed_gguf(key: &str, from: &str, to: &str) -> (TempDir, Vec<u8>) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(path("tiny.gguf")).expect("committed");
    let find = |text: &str, after: usize| {
        let found = bytes[after..].windows(text.len()).position(|window| window == text.as_bytes());
        after + found.expect("it is in the file")
    };
    let at = find(from, find(key, 0) + key.len());
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    (tempfile::tempdir().expect("a temporary folder"), bytes)
}

#[test]
fn a_gguf_of_another_architecture_or_tokenizer_is_named() {
    let cases = [
        ("general.architecture", "llama", "qwen2", "the architecture `qwen2`"),
        ("tokenizer.ggml.model", "gpt2", "bert", "the tokenizer `bert`"),
        ("tokenizer.ggml.pre", "smollm", "llama3", "the tokenizer `llama3`"),
    ];
    for (key, from, to, wanted) in cases {
        let (folder, bytes) = changed_gguf(key, from, to);
        let file = folder.path().join("changed.gguf");
        std::fs::write(&file, bytes).expect("a new file");
        let message = match key {
            "general.architecture" => Model::load(&file).err().map(|e| e.to_string()),
            _ => Tokenizer::load(&file).err().map(|e| e.to_string()),
        };
        assert!(message.as_ref().is_some_and(|m| m.contains(wanted)), "{key}: {message:?}");
    }
}

#[test]
fn a_gguf_cut_short_or_with_a_byte_changed_never_panics() {
    let whole = std::fs::read(path("tiny.gguf")).expect("committed");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("damaged.gguf");
    let load = |bytes: &[u8]| {
        std::fs::write(&file, bytes).expect("a new file");
        let tokenizer = Tokenizer::load(&file).map(|tokenizer| tokenizer.encode("a 12 b"));
        (Model::load(&file), tokenizer)
    };
    for length in (0..whole.len()).step_by(4099) {
        assert!(load(&whole[..length]).0.is_err(), "{length} bytes of it are a model");
    }
    let mut refused = 0;
    for at in (0..9000).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        refused += usize::from(load(&bytes).0.is_err());
    }
    assert!(refused > 20, "only {refused} damaged headers were refused");
}

#[test]
fn a_path_without_a_model_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nothing = folder.path().join("nothing");
    let message = Model::load(&nothing).err().expect("it is refused").to_string();
    assert!(message.contains("nothing"), "{message}");
    assert!(error(&folder).contains("no .safetensors, no .gguf"), "{}", error(&folder));
    std::fs::copy(path("tiny/model.safetensors"), folder.path().join("model.safetensors"))
        .expect("a new file");
    assert!(error(&folder).contains("no config.json"), "{}", error(&folder));
}

#[test]
fn tokens_and_caches_that_do_not_fit_are_refused() -> Result<(), ModelError> {
    let model = load("tiny");
    let mut cache = Cache::new(model.config(), 4)?;
    let message = model.forward(&[320], &mut cache).unwrap_err().to_string();
    assert!(message.contains("token 320 is not in the vocabulary of 320"), "{message}");
    let message = model.forward(&[], &mut cache).unwrap_err().to_string();
    assert!(message.contains("no token to run"), "{message}");
    let message = model.forward(&[1; 5], &mut cache).unwrap_err().to_string();
    assert!(message.contains("5 positions do not fit 4"), "{message}");
    let message = Cache::new(model.config(), 257).unwrap_err().to_string();
    assert!(message.contains("257 positions do not fit 256"), "{message}");
    let message = greedy(&model, &[1; 250], 7).unwrap_err().to_string();
    assert!(message.contains("257 positions"), "{message}");
    let mut config = model.config().clone();
    config.kv_heads = 4;
    let message = model.forward(&[1], &mut Cache::new(&config, 4)?).unwrap_err().to_string();
    assert!(message.contains("made for another model"), "{message}");
    Ok(())
}

#[test]
fn a_text_too_short_or_a_chunk_without_a_scored_token_is_refused() {
    let model = load("tiny");
    for (chunk, wanted) in
        [(2, "none to score"), (64, "no whole chunk of 64"), (0, "none to score")]
    {
        let convention = Convention { chunk, bos: None };
        let found = perplexity(&model, &[1; 63], convention, &mut |_, _| ());
        let message = found.unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
}
