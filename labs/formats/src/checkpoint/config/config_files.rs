//! Finds the file of a quantization config, its section in the file, and the method.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::json_fields::Fields;
use super::quant_config::QuantConfig;
use crate::checkpoint::error::CheckpointError;
use crate::printable::printable;

/// The longest config that is read, in bytes; real ones have some kilobytes.
const MAX_CONFIG: u64 = 16 << 20;

/// The files that may hold the config, in the order in which loaders ask.
pub const FILES: [&str; 4] =
    ["config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json"];

/// Where config.json speaks of quantization. `compression_config` is the old name of compressed-tensors, and
/// `quantization` is MLX's.
const SECTIONS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// The part of a multimodal model's config that holds the config of its language model.
const NESTED: [&str; 4] = ["text_config", "llm_config", "language_config", "thinker_config"];

/// Each method with its other names: of forks, of vLLM's registry, of older versions.
const ALIASES: [(&str, &str); 7] = [
    ("auto-round", "intel/auto-round auto_round inc"),
    ("awq", "auto_awq awq_marlin"),
    ("gptq", "auto_gptq gptq_marlin gptqmodel"),
    ("compressed-tensors", "compressed_tensors sparseml"),
    ("mxfp4", "gpt_oss_mxfp4"),
    ("modelopt", "modelopt_fp4 modelopt_fp8 modelopt_mixed modelopt_mxfp8"),
    ("bitsandbytes", "bnb"),
];

/// The methods of configs without `quant_method`, by the fields that only their tools write.
const TELLTALES: [(&str, &str); 8] = [
    ("bitsandbytes", "load_in_4bit _load_in_4bit load_in_8bit _load_in_8bit bnb_4bit_quant_type"),
    ("modelopt", "quant_algo"),
    ("compressed-tensors", "config_groups"),
    ("quark", "global_quant_config"),
    ("auto-round", "autoround_version packing_format"),
    ("fp8", "weight_block_size activation_scheme"),
    ("awq", "w_bit q_group_size zero_point"),
    ("gptq", "desc_act damp_percent"),
];

/// The first name in a table that `is_it`, and its method.
fn method_by(
    table: &[(&'static str, &'static str)],
    is_it: impl Fn(&str) -> bool,
) -> Option<(&'static str, &'static str)> {
    let names = table.iter().flat_map(|(method, names)| names.split(' ').map(|it| (it, *method)));
    names.into_iter().find(|(name, _)| is_it(name))
}

impl QuantConfig {
    /// The config in `folder`; `None` if no file there speaks of quantization.
    ///
    /// # Errors
    /// If a file is there and cannot be read, is absurdly long or is not JSON.
    pub fn find(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let mut found = Vec::new();
        for file in FILES {
            let json = read_json(&folder.join(file))?;
            found.extend(json.and_then(|json| Self::parse(file, &json)));
        }
        // A config that cannot be read must not hide one that can.
        let best = found.iter().position(Self::is_specific).unwrap_or(0);
        if found.is_empty() {
            return Ok(None);
        }
        let mut config = found.remove(best);
        let differ = found.iter().filter_map(|other| config.difference(other));
        let notes: Vec<String> = differ.collect();
        config.notes.extend(notes);
        Ok(Some(config))
    }

    /// The config in the JSON of a file with this name; `None` if it does not speak of quantization.
    pub fn parse(file: &str, json: &Value) -> Option<Self> {
        let quantization = section(file, json)?;
        let unread = RefCell::default();
        let fields = Fields::of(quantization, &unread);
        let mut config = Self { file: file.into(), ..Self::default() };
        if quantization.is_object() {
            config.find_method(file, json, fields);
            config.read_method(fields);
        } else {
            fields.refuse("the quantization config", quantization, "an object");
        }
        config.unread = unread.into_inner();
        Some(config)
    }

    /// Finds the method: by its name, by fields of its tool, by the name of the file.
    fn find_method(&mut self, file: &str, json: &Value, fields: Fields) {
        if let Some(name) = fields.text("quant_method") {
            let alias = method_by(&ALIASES, |alias| alias.eq_ignore_ascii_case(name));
            self.method = Some(alias.map_or(name, |(_, method)| method).to_owned());
            if let Some((alias, method)) = alias {
                self.notes.push(format!("quant_method {alias} is read as {method}"));
            }
            return;
        }
        let producer = |json: &Value| json["producer"]["name"] == "modelopt";
        let telltale = method_by(&TELLTALES, |key| fields.has(key));
        let by_field = match telltale {
            _ if producer(json) || producer(fields.json) => Some(("producer", "modelopt")),
            Some(found) => Some(found),
            // MLX writes these two and, for some modules, the same two again.
            None if fields.has("bits") && fields.has("group_size") => match file {
                "quantize_config.json" | "quant_config.json" => None,
                _ => Some(("bits and group_size alone", "mlx")),
            },
            None => None,
        };
        let by_name = match file {
            "quantize_config.json" => Some("gptq"),
            "quant_config.json" => Some("awq"),
            "hf_quant_config.json" => Some("modelopt"),
            _ => None,
        };
        if let Some((key, method)) = by_field.filter(|(_, method)| by_name != Some(*method)) {
            self.notes
                .push(format!("there is no quant_method: read as {method}, because of {key}"));
        }
        let method = by_field.map(|(_, method)| method).or(by_name);
        self.method = method.map(str::to_owned);
    }

    /// Where the config of another file beside this one says something else.
    fn difference(&self, other: &Self) -> Option<String> {
        let of = |config: &Self| {
            let group = config.groups().next().cloned().unwrap_or_default();
            let text = |value: Option<String>| value.unwrap_or_else(|| "?".into());
            [
                ("method", text(config.method.clone())),
                ("bits", text(group.bits.map(|bits| bits.to_string()))),
                ("group", text(group.group.map(|group| group.to_string()))),
                ("symmetric", text(group.symmetric.map(|symmetric| symmetric.to_string()))),
                ("desc_act", text(config.desc_act.map(|order| order.to_string()))),
            ]
        };
        let differ = of(self)
            .into_iter()
            .zip(of(other))
            .filter(|((_, a), (_, b))| a != b && a != "?" && b != "?");
        let words: Vec<String> = differ
            .map(|((what, ours), (_, theirs))| {
                format!("{what} {} against {}", printable(&theirs), printable(&ours))
            })
            .collect();
        let (file, ours) = (&other.file, &self.file);
        (!words.is_empty()).then(|| {
            format!("{file} beside it says otherwise ({}); {ours} was checked", words.join(", "))
        })
    }
}

/// The JSON in the file at `path`; `None` if there is no such file.
pub(in crate::checkpoint) fn read_json(path: &Path) -> Result<Option<Value>, CheckpointError> {
    let Some(bytes) = read_bytes(path, MAX_CONFIG, "config")? else { return Ok(None) };
    parse_json(&bytes).map(Some).map_err(|error| CheckpointError::NoCheckpoint {
        path: path.into(),
        problem: format!("not valid JSON: {error}"),
    })
}

/// The bytes of a file that must not be longer than `max`; `None` if there is no such file.
pub(in crate::checkpoint) fn read_bytes(
    path: &Path,
    max: u64,
    what: &str,
) -> Result<Option<Vec<u8>>, CheckpointError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file that is too long from a file that just fits.
    file.take(max + 1).read_to_end(&mut bytes).map_err(CheckpointError::io(path))?;
    if bytes.len() as u64 > max {
        let problem = format!("longer than {max} bytes: this is no {what}");
        return Err(CheckpointError::NoCheckpoint { path: path.into(), problem });
    }
    Ok(Some(bytes))
}

/// JSON as Python writes it: with the words `NaN`, `Infinity` and `-Infinity` for numbers, which become
/// `null`.
///
/// # Errors
/// If the text is no JSON even so.
pub fn parse_json(bytes: &[u8]) -> serde_json::Result<Value> {
    let error = match serde_json::from_slice(bytes) {
        Ok(json) => return Ok(json),
        Err(error) => error,
    };
    match without_python_words(bytes) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(bytes) => serde_json::from_slice(&bytes),
    }
}

/// The text with Python's words for numbers replaced, outside strings.
fn without_python_words(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut at, mut in_string) = (Vec::new(), 0, false);
    let mut changed = false;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word = [&b"-Infinity"[..], b"Infinity", b"NaN"].into_iter();
        let word = word.filter(|_| !in_string).find(|word| rest.starts_with(word));
        if let Some(word) = word {
            out.extend_from_slice(b"null");
            (at, changed) = (at + word.len(), true);
            continue;
        }
        let taken = if in_string && rest[0] == b'\\' { rest.len().min(2) } else { 1 };
        in_string ^= taken == 1 && rest[0] == b'"';
        out.extend_from_slice(&rest[..taken]);
        at += taken;
    }
    if changed { Cow::Owned(out) } else { Cow::Borrowed(bytes) }
}

/// The part of the file that speaks of quantization.
fn section<'a>(file: &str, json: &'a Value) -> Option<&'a Value> {
    let found = match file {
        "config.json" => SECTIONS.into_iter().find_map(|key| {
            let nested = || NESTED.iter().find_map(|part| json.get(part)?.get(key));
            json.get(key).filter(|value| !value.is_null()).or_else(nested)
        }),
        "hf_quant_config.json" => json.get("quantization"),
        _ => Some(json),
    };
    found.filter(|value| !value.is_null())
}
