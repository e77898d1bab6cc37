//! The metadata of a GGUF file that is made from a Hugging Face folder: sizes and tokenizer, under the keys that
//! llama.cpp's `convert_hf_to_gguf.py` writes.

use std::collections::BTreeMap;
use std::path::Path;

use formats::gguf::RawValue;
use model::{Config, Tokenizer};
use serde_json::{Value, json};

use crate::WriteError;

/// The metadata of a file with the model of `folder`.
///
/// # Errors
/// If `config.json` is not that of a Llama, or `tokenizer.json` is missing or has rules that GGUF's names
/// here do not cover.
pub(crate) fn of_folder(folder: &Path) -> Result<BTreeMap<String, RawValue>, WriteError> {
    let mut metadata = sizes(&Config::load(folder)?);
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    metadata.extend(name.map(|name| ("general.name".to_string(), name.as_str().into())));
    metadata.extend(tokenizer(folder)?);
    metadata.extend(
        chat_template(folder)?
            .map(|text| ("tokenizer.chat_template".to_string(), text.as_str().into())),
    );
    Ok(metadata)
}

fn sizes(config: &Config) -> BTreeMap<String, RawValue> {
    let size = |size: usize| RawValue::from(u32::try_from(size).unwrap_or(u32::MAX));
    let mut metadata: Vec<(&str, RawValue)> = vec![
        ("general.architecture", "llama".into()),
        ("general.quantization_version", 2.into()),
        ("llama.block_count", size(config.layers)),
        ("llama.context_length", size(config.max_positions)),
        ("llama.embedding_length", size(config.hidden_size)),
        ("llama.feed_forward_length", size(config.intermediate_size)),
        ("llama.attention.head_count", size(config.heads)),
        ("llama.attention.head_count_kv", size(config.kv_heads)),
        ("llama.rope.dimension_count", size(config.head_dim)),
        ("llama.rope.freq_base", (config.rope_theta as f32).into()),
        ("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps.into()),
        ("llama.vocab_size", size(config.vocab_size)),
    ];
    // llama.cpp takes the hidden width over the heads for granted.
    if config.heads * config.head_dim != config.hidden_size {
        for key in ["llama.attention.key_length", "llama.attention.value_length"] {
            metadata.push((key, size(config.head_dim)));
        }
    }
    let ids = [("bos", config.bos), ("eos", config.eos.first().copied())];
    let ids = ids.into_iter().filter_map(|(name, id)| {
        Some((format!("tokenizer.ggml.{name}_token_id"), RawValue::from(id?)))
    });
    metadata.into_iter().map(|(key, value)| (key.to_string(), value)).chain(ids).collect()
}

/// GGML's numbers for the kinds of tokens.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

fn tokenizer(folder: &Path) -> Result<Vec<(String, RawValue)>, WriteError> {
    let path = folder.join("tokenizer.json");
    let refused =
        |problem: String| WriteError::Unsupported(format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(WriteError::io(&path))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    if json["model"]["type"] != "BPE" {
        let problem =
            format!("the model is {}, and byte-level BPE is supported", json["model"]["type"]);
        return Err(refused(problem));
    }
    let pre = rules(&json["pre_tokenizer"]).ok_or_else(|| {
        refused(
            "llama.cpp knows the rules of a pre-tokenizer by a name, and for these no name is known here: \
             convert the folder with llama.cpp's convert_hf_to_gguf.py, and quantize the file"
                .into(),
        )
    })?;
    let vocabulary = Config::load(folder)?.vocab_size;
    let (tokens, kinds) = tokens(&json, vocabulary).map_err(&refused)?;
    let merges = merges(&json["model"]["merges"]).map_err(&refused)?;
    let texts = |texts: &[String]| {
        RawValue::from(texts.iter().map(String::as_str).collect::<Vec<_>>().as_slice())
    };
    let has_bos = Tokenizer::load(folder)?.bos_in_front().is_some();
    let metadata = [
        ("model", RawValue::from("gpt2")),
        ("pre", pre.into()),
        ("tokens", texts(&tokens)),
        ("token_type", RawValue::from(kinds.as_slice())),
        ("merges", texts(&merges)),
        ("add_bos_token", has_bos.into()),
    ];
    Ok(metadata.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).into())
}

/// llama.cpp's name for the rules of a pre-tokenizer; `None` for rules without a name here.
fn rules(pre_tokenizer: &Value) -> Option<&'static str> {
    let digits = json!({"type": "Digits", "individual_digits": true});
    let byte_level = |of: &Value| {
        of["type"] == "ByteLevel" && of["add_prefix_space"] == false && of["use_regex"] != false
    };
    let steps = pre_tokenizer["pretokenizers"].as_array()?;
    match steps.as_slice() {
        [first, second] if *first == digits && byte_level(second) => Some("smollm"),
        _ => None,
    }
}

/// The tokens by their numbers, and the kind of each. Numbers without a token, which some models have at the
/// end, get a name that no text has.
fn tokens(json: &Value, count: usize) -> Result<(Vec<String>, Vec<i32>), String> {
    let mut tokens: Vec<String> = (0..count).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![UNUSED; count];
    let mut set = |id: Option<u64>, token: &str, kind: i32| {
        let place = id.and_then(|id| usize::try_from(id).ok()).filter(|&id| id < count);
        let id = place.ok_or_else(|| format!("token `{token}` has no number below {count}"))?;
        (tokens[id], kinds[id]) = (token.to_string(), kind);
        Ok::<(), String>(())
    };
    let vocabulary = json["model"]["vocab"].as_object().ok_or("it has no vocabulary")?;
    for (token, id) in vocabulary {
        set(id.as_u64(), token, NORMAL)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        set(added["id"].as_u64(), added["content"].as_str().unwrap_or_default(), kind)?;
    }
    Ok((tokens, kinds))
}

/// Merges as pairs, or as the older text with a space between.
fn merges(json: &Value) -> Result<Vec<String>, String> {
    let merges = json.as_array().ok_or("it has no merges")?;
    let merge = |merge: &Value| match (merge.as_str(), merge.as_array().map(Vec::as_slice)) {
        (Some(text), _) => Some(text.to_string()),
        (None, Some([left, right])) => Some(format!("{} {}", left.as_str()?, right.as_str()?)),
        _ => None,
    };
    merges.iter().map(|of| merge(of).ok_or(format!("the merge {of} is not two tokens"))).collect()
}

/// The template of the folder's own file, or that of `tokenizer_config.json`.
fn chat_template(folder: &Path) -> Result<Option<String>, WriteError> {
    let own = folder.join("chat_template.jinja");
    if own.is_file() {
        return Ok(Some(std::fs::read_to_string(&own).map_err(WriteError::io(&own))?));
    }
    let path = folder.join("tokenizer_config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(WriteError::io(&path))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| WriteError::Unsupported(format!("{}: {error}", path.display())))?;
    Ok(json["chat_template"].as_str().map(str::to_string))
}
