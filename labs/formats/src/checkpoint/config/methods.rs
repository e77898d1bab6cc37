//! The words of each method, brought to one form.

use serde_json::Value;

use super::patterns::Pattern;
use super::said;
use super::{Expected, QuantConfig};
use crate::checkpoint::GptqVersion;
use crate::checkpoint::names::printable;
use crate::format::Group;

impl QuantConfig {
    /// Reads the fields that `self.method` has.
    pub(super) fn read_method(&mut self, json: &Value) {
        match self.method.as_deref() {
            Some("awq") => self.read_awq(json),
            Some("gptq") => self.read_gptq(json),
            Some("compressed-tensors") => self.read_compressed(json),
            Some("fp8" | "fbgemm_fp8") => self.read_fp8(json),
            Some("modelopt") => self.read_modelopt(json),
            Some("mxfp4") => {
                self.everywhere(Expected {
                    bits: Some(4),
                    group: Some(Group::Size(32)),
                    symmetric: Some(true),
                    said: said::mxfp4(),
                    ..Expected::default()
                });
                self.leave_pieces(json, "modules_to_not_convert");
            }
            Some("auto-round") => self.everywhere(Expected {
                bits: number(json, &["bits"]),
                group: group_size(json, &["group_size"]),
                symmetric: truth(json, "sym"),
                said: said::auto_round(),
                ..Expected::default()
            }),
            Some("quark") => self.read_quark(json),
            Some("bitsandbytes") => self.read_bitsandbytes(json),
            Some(other) => self.notes.push(format!(
                "quant_method `{}` is not known here: its fields were not checked",
                printable(other)
            )),
            None => self.notes.push("there is no quant_method: nothing was checked".into()),
        }
    }

    fn read_awq(&mut self, json: &Value) {
        self.everywhere(Expected {
            bits: number(json, &["bits", "w_bit"]),
            group: group_size(json, &["group_size", "q_group_size"]),
            symmetric: truth(json, "zero_point").map(|stored| !stored),
            said: said::awq(),
            ..Expected::default()
        });
        self.leave_pieces(json, "modules_to_not_convert");
        self.mention(json, &["zero_point"]);
        match json.get("version").and_then(Value::as_str) {
            None => {}
            Some(version) if version.eq_ignore_ascii_case("gemm") => {}
            Some(version) => self.notes.push(format!(
                "AWQ's version is `{}`: only the shapes of gemm are known here",
                printable(version)
            )),
        }
    }

    fn read_gptq(&mut self, json: &Value) {
        self.everywhere(Expected {
            bits: number(json, &["bits"]),
            group: group_size(json, &["group_size"]),
            symmetric: truth(json, "sym"),
            said: said::gptq(truth(json, "desc_act")),
            ..Expected::default()
        });
        self.desc_act = truth(json, "desc_act");
        self.gptq_version = match json.get("checkpoint_format").and_then(Value::as_str) {
            Some("gptq") => GptqVersion::V1,
            Some("gptq_v2") => GptqVersion::V2,
            _ => GptqVersion::Unsaid,
        };
        self.leave_pieces(json, "modules_to_not_convert");
        self.mention(json, &["sym", "desc_act", "checkpoint_format"]);
        if json.get("dynamic").is_some_and(|dynamic| !dynamic.is_null()) {
            self.groups.clear();
            let note =
                "`dynamic` gives modules rules of their own: bits and groups were not checked";
            self.notes.push(note.into());
        }
    }

    fn read_compressed(&mut self, json: &Value) {
        let overall = json.get("format").and_then(Value::as_str);
        let groups = json.get("config_groups").and_then(Value::as_object);
        for group in groups.into_iter().flat_map(|groups| groups.values()) {
            let Some(weights) = group.get("weights").filter(|weights| weights.is_object()) else {
                continue;
            };
            let format = group.get("format").and_then(Value::as_str).or(overall);
            let mut targets = Vec::new();
            for text in texts(group.get("targets")) {
                targets.extend(self.noted(Pattern::compressed(text)));
                self.names_classes |= is_class(text);
            }
            let mut expected = compressed_weights(weights, format);
            expected.said = said::compressed(group, expected.format.as_deref());
            self.groups.push((targets, expected));
        }
        if self.groups.is_empty() {
            self.notes.push("config_groups has no group with weights: nothing was checked".into());
        }
        for text in texts(json.get("ignore")) {
            let pattern = self.noted(Pattern::compressed(text));
            self.ignore.extend(pattern);
        }
        self.kv_cache = said::kv_cache(json);
    }

    fn read_fp8(&mut self, json: &Value) {
        self.everywhere(Expected {
            bits: Some(8),
            group: block(json.get("weight_block_size")),
            symmetric: Some(true),
            said: said::fp8(self.method.as_deref(), json),
            ..Expected::default()
        });
        self.leave_pieces(json, "modules_to_not_convert");
        self.leave_pieces(json, "ignored_layers");
        self.mention(json, &["activation_scheme"]);
    }

    fn read_modelopt(&mut self, json: &Value) {
        let algorithm = json.get("quant_algo").and_then(Value::as_str);
        let (bits, group) = match algorithm {
            Some("FP8" | "FP8_PER_CHANNEL_PER_TOKEN" | "FP8_PB_WO") => (8, None),
            Some("MXFP8") => (8, Some(Group::Size(32))),
            Some("NVFP4" | "W4A16_NVFP4") => {
                (4, Some(group_size(json, &["group_size"]).unwrap_or(Group::Size(16))))
            }
            other => {
                let name = printable(other.unwrap_or("(none)"));
                self.notes
                    .push(format!("quant_algo {name} is not known here: nothing was checked"));
                return;
            }
        };
        let (symmetric, said) = (Some(true), said::modelopt(algorithm.unwrap_or_default()));
        self.everywhere(Expected { bits: Some(bits), group, symmetric, format: None, said });
        self.kv_cache = said::kv_cache(json);
        for text in texts(json.get("ignore")).chain(texts(json.get("exclude_modules"))) {
            let pattern = self.noted(Pattern::wildcard(text));
            self.ignore.extend(pattern);
        }
    }

    fn read_quark(&mut self, json: &Value) {
        let config = &json["global_quant_config"];
        let (weights, inputs) = (&config["weight"], &config["input_tensors"]);
        let Some((bits, _)) = said::quark_grid(weights) else {
            let name = printable(weights["dtype"].as_str().unwrap_or("(none)"));
            let note = format!("the weights' dtype {name} is not known here: nothing was checked");
            self.notes.push(note);
            return;
        };
        let group = match weights["qscheme"].as_str() {
            Some("per_tensor") => Some(Group::Tensor),
            Some("per_channel") => Some(Group::Channel),
            _ => group_size(weights, &["group_size"]),
        };
        self.everywhere(Expected {
            bits: Some(bits),
            group,
            symmetric: truth(weights, "symmetric"),
            said: said::quark(weights, inputs),
            ..Expected::default()
        });
        self.leave_pieces(json, "exclude");
    }

    fn read_bitsandbytes(&mut self, json: &Value) {
        let four = truth(json, "load_in_4bit").or_else(|| truth(json, "_load_in_4bit"));
        let eight = truth(json, "load_in_8bit").or_else(|| truth(json, "_load_in_8bit"));
        let bits = match (four, eight) {
            (Some(true), _) => Some(4),
            (_, Some(true)) => Some(8),
            _ => None,
        };
        let said = said::bitsandbytes(bits, json);
        self.everywhere(Expected { bits, said, ..Expected::default() });
        self.leave_pieces(json, "llm_int8_skip_modules");
        self.mention(json, &["bnb_4bit_quant_type", "bnb_4bit_use_double_quant"]);
    }

    fn everywhere(&mut self, expected: Expected) {
        self.groups.push((vec![Pattern::all()], expected));
    }

    fn leave_pieces(&mut self, json: &Value, key: &str) {
        self.ignore.extend(texts(json.get(key)).map(Pattern::piece));
    }

    /// Keeps fields that shapes cannot confirm, as they stand there.
    fn mention(&mut self, json: &Value, keys: &[&str]) {
        let fields = keys.iter().filter_map(|key| Some(format!("{key} {}", json.get(*key)?)));
        self.unverifiable.extend(fields.map(|field| printable(&field)));
    }

    fn noted(&mut self, pattern: Result<Pattern, String>) -> Option<Pattern> {
        pattern
            .map_err(|text| {
                let text = printable(&text);
                self.notes.push(format!("the expression `{text}` cannot be read here: left out"));
            })
            .ok()
    }
}

/// A class of modules, as Python writes its name; every packed matrix is a `Linear`.
fn is_class(text: &str) -> bool {
    text != "Linear" && text.starts_with(|c: char| c.is_ascii_uppercase()) && !text.contains('.')
}

/// What compressed-tensors writes under `weights`.
fn compressed_weights(json: &Value, format: Option<&str>) -> Expected {
    let size = json.get("group_size").and_then(Value::as_i64);
    let group = match (json.get("strategy").and_then(Value::as_str), size) {
        (Some("tensor"), _) => Some(Group::Tensor),
        (Some("channel"), _) => Some(Group::Channel),
        (Some("block"), _) => block(json.get("block_structure")),
        (Some("group" | "tensor_group") | None, _) => group_size(json, &["group_size"]),
        _ => None,
    };
    Expected {
        bits: number(json, &["num_bits"]),
        group,
        symmetric: truth(json, "symmetric"),
        format: format.map(str::to_owned),
        said: Vec::new(),
    }
}

pub(super) fn number(json: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| json.get(*key)).and_then(Value::as_u64)
}

pub(super) fn truth(json: &Value, key: &str) -> Option<bool> {
    json.get(key).and_then(Value::as_bool)
}

/// A group size; -1 is one group for the whole row.
pub(super) fn group_size(json: &Value, keys: &[&str]) -> Option<Group> {
    match keys.iter().find_map(|key| json.get(*key)).and_then(Value::as_i64)? {
        -1 => Some(Group::Channel),
        size => u64::try_from(size).ok().filter(|&size| size > 0).map(Group::Size),
    }
}

pub(super) fn block(json: Option<&Value>) -> Option<Group> {
    let sides: Vec<u64> = json?.as_array()?.iter().filter_map(Value::as_u64).collect();
    match *sides.as_slice() {
        [rows, columns] if rows > 0 && columns > 0 => Some(Group::Block(rows, columns)),
        _ => None,
    }
}

fn texts(json: Option<&Value>) -> impl Iterator<Item = &str> {
    json.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
