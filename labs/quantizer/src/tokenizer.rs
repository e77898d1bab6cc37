//! The files of the tokenizer, which an engine needs beside the weights.

use std::path::Path;

use formats::gguf::{Gguf, Value as Metadata};
use model::{Tokenizer, Weights};
use serde_json::{Map, Value, json};

use crate::WriteError;

/// The files that are copied from a Hugging Face folder, where they exist.
const COPIED: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// Writes the tokenizer's files into `folder`: copies, or, for a GGUF file, `tokenizer.json`,
/// `tokenizer_config.json` (with the chat template) and `generation_config.json` from its metadata.
pub(crate) fn write(weights: &Weights, folder: &Path) -> Result<(), WriteError> {
    if weights.is_gguf() { make(weights.path(), folder) } else { copy(weights.path(), folder) }
}

fn copy(from: &Path, to: &Path) -> Result<(), WriteError> {
    for name in COPIED {
        let source = from.join(name);
        if source.is_file() {
            std::fs::copy(&source, to.join(name)).map_err(WriteError::io(&source))?;
        }
    }
    Ok(())
}

fn make(file: &Path, folder: &Path) -> Result<(), WriteError> {
    let mut gguf = Gguf::open(file)?;
    // No error, because a model without a tokenizer can be served with token ids.
    if !gguf.metadata().contains_key("tokenizer.ggml.tokens") {
        return Ok(());
    }
    let tokenizer = Tokenizer::load(file)?.to_json()?;
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, tokenizer).map_err(WriteError::io(&path))?;
    json_file(&folder.join("tokenizer_config.json"), &tokenizer_config(&mut gguf)?)?;
    json_file(&folder.join("generation_config.json"), &generation_config(&gguf))
}

/// Writes JSON with a line for each entry.
pub(crate) fn json_file(path: &Path, value: &Value) -> Result<(), WriteError> {
    std::fs::write(path, format!("{value:#}\n")).map_err(WriteError::io(path))
}

type File = Gguf<std::io::BufReader<std::fs::File>>;

/// The name of a special token in transformers, and in GGUF.
const SPECIAL: [(&str, &str); 4] =
    [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")];

fn id(gguf: &File, name: &str) -> Option<u64> {
    gguf.metadata().get(&format!("tokenizer.ggml.{name}_token_id")).and_then(Metadata::as_u64)
}

fn tokenizer_config(gguf: &mut File) -> Result<Value, WriteError> {
    // This class uses tokenizer.json unchanged; a model's own class may build other rules.
    let mut config = Map::from_iter([
        ("tokenizer_class".into(), json!("PreTrainedTokenizerFast")),
        ("clean_up_tokenization_spaces".into(), json!(false)),
    ]);
    let tokens = gguf.texts("tokenizer.ggml.tokens")?;
    for (theirs, ours) in SPECIAL {
        let index = id(gguf, ours).and_then(|id| usize::try_from(id).ok());
        let token = index.and_then(|index| tokens.get(index));
        config.extend(token.map(|token| (format!("{theirs}_token"), token.as_str().into())));
    }
    if let Ok(length) = gguf.u64("llama.context_length") {
        config.insert("model_max_length".into(), length.into());
    }
    if let Ok(template) = gguf.text("tokenizer.chat_template") {
        config.insert("chat_template".into(), template.into());
    }
    Ok(Value::Object(config))
}

fn generation_config(gguf: &File) -> Value {
    // `unk` is no key of a generation config.
    let known = SPECIAL.into_iter().filter(|(name, _)| *name != "unk");
    let ids = known.filter_map(|(theirs, ours)| {
        Some((format!("{theirs}_token_id"), Value::from(id(gguf, ours)?)))
    });
    Value::Object(ids.collect())
}
