//! The fields of each method, brought to one form.

use serde_json::Value;

use super::expected::ScaleTime::{Dynamic, Static};
use super::expected::{
    ActGranularity, Activations, Expected, KvCache, Numbers, ScaleTime, WeightGrid,
};
use super::json_fields::{block, group_size, number, text, texts, truth};
use super::module_patterns::Pattern;
use super::quant_config::QuantConfig;
use crate::checkpoint::names::printable;
use crate::checkpoint::scheme::GptqVersion;
use crate::format::Group;

/// Activations that are left in 16 bits: only the weights are quantized.
const SIXTEEN: Option<Activations> =
    Some(Activations { bits: 16, numbers: None, scale: None, granularity: None });

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
                // Mxfp4Config of transformers has no field for any of these: the format fixes them.
                self.everywhere(Expected {
                    bits: Some(4),
                    group: Some(Group::Size(32)),
                    symmetric: Some(true),
                    grid: Some(WeightGrid::Mxfp4),
                    activations: SIXTEEN,
                    ..Expected::default()
                });
                self.leave_pieces(json, "modules_to_not_convert");
            }
            Some("auto-round") => self.everywhere(Expected {
                bits: number(json, &["bits"]),
                group: group_size(json, &["group_size"]),
                symmetric: truth(json, "sym"),
                ..integers_alone()
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
            // AutoAWQ's own quant_config.json has `w_bit` and `q_group_size`, transformers writes the
            // same config into config.json with the other two names.
            bits: number(json, &["bits", "w_bit"]),
            group: group_size(json, &["group_size", "q_group_size"]),
            symmetric: truth(json, "zero_point").map(|stored| !stored),
            ..integers_alone()
        });
        self.leave_pieces(json, "modules_to_not_convert");
        self.mention(json, &["zero_point"]);
        match text(json, "version") {
            None => {}
            Some(version) if version.eq_ignore_ascii_case("gemm") => {}
            Some(version) => self.notes.push(format!(
                "AWQ's version is `{}`: only the shapes of gemm are known here",
                printable(version)
            )),
        }
    }

    fn read_gptq(&mut self, json: &Value) {
        self.desc_act = truth(json, "desc_act");
        self.everywhere(Expected {
            bits: number(json, &["bits"]),
            group: group_size(json, &["group_size"]),
            symmetric: truth(json, "sym"),
            act_order: self.desc_act,
            ..integers_alone()
        });
        // GPTQModel names the version. Older files have no such field, and loaders read them as v1.
        self.gptq_version = match text(json, "checkpoint_format") {
            Some("gptq") => GptqVersion::V1,
            Some("gptq_v2") => GptqVersion::V2,
            _ => GptqVersion::Unsaid,
        };
        self.leave_pieces(json, "modules_to_not_convert");
        self.mention(json, &["sym", "desc_act", "checkpoint_format"]);
        // GPTQModel's rules for single modules, which this reader does not apply.
        if json.get("dynamic").is_some_and(|dynamic| !dynamic.is_null()) {
            self.groups.clear();
            let note =
                "`dynamic` gives modules rules of their own: bits and groups were not checked";
            self.notes.push(note.into());
        }
    }

    fn read_compressed(&mut self, json: &Value) {
        let overall = text(json, "format");
        let groups = json.get("config_groups").and_then(Value::as_object);
        for group in groups.into_iter().flat_map(|groups| groups.values()) {
            // A group with `weights: null` quantizes activations or outputs only.
            let Some(weights) = group.get("weights").filter(|weights| weights.is_object()) else {
                continue;
            };
            let mut targets = Vec::new();
            for target in texts(group, "targets") {
                targets.extend(self.noted(Pattern::compressed(target)));
                self.names_classes |= is_class(target);
            }
            // With the overall format `mixed-precision`, each group has a format of its own.
            let format = text(group, "format").or(overall);
            self.groups.push((targets, compressed(weights, &group["input_activations"], format)));
        }
        if self.groups.is_empty() {
            self.notes.push("config_groups has no group with weights: nothing was checked".into());
        }
        for entry in texts(json, "ignore") {
            let pattern = self.noted(Pattern::compressed(entry));
            self.ignore.extend(pattern);
        }
        self.kv_cache = kv_cache(json);
    }

    fn read_fp8(&mut self, json: &Value) {
        let blocks = block(json, "weight_block_size");
        let is_fbgemm = self.method.as_deref() == Some("fbgemm_fp8");
        // Kernels for blocks find a scale for 128 activations at run time, whatever
        // `activation_scheme` says.
        let activations = match (is_fbgemm, blocks, text(json, "activation_scheme")) {
            (true, ..) => fp8(Dynamic, ActGranularity::Token),
            (_, Some(_), _) => fp8(Dynamic, ActGranularity::Group(Group::Size(128))),
            (_, None, Some("static")) => fp8(Static, ActGranularity::Group(Group::Tensor)),
            (_, None, Some("dynamic")) => fp8(Dynamic, ActGranularity::Token),
            _ => {
                let numbers = Some(Numbers::Float);
                Some(Activations { bits: 8, numbers, scale: None, granularity: None })
            }
        };
        let implied_group = match (is_fbgemm, blocks) {
            (true, _) => Some(Group::Channel),
            (false, None) => Some(Group::Tensor),
            (false, Some(_)) => None,
        };
        self.everywhere(Expected {
            bits: Some(8),
            group: blocks,
            symmetric: Some(true),
            grid: Some(WeightGrid::Plain(Numbers::Float)),
            implied_group,
            activations,
            ..Expected::default()
        });
        self.leave_pieces(json, "modules_to_not_convert");
        // vLLM's name for the same list.
        self.leave_pieces(json, "ignored_layers");
        self.mention(json, &["activation_scheme"]);
    }

    fn read_modelopt(&mut self, json: &Value) {
        let float = || WeightGrid::Plain(Numbers::Float);
        let (tensor, of_32) =
            (ActGranularity::Group(Group::Tensor), ActGranularity::Group(Group::Size(32)));
        let of_16 = group_size(json, &["group_size"]).unwrap_or(Group::Size(16));
        let fp4 = quantized(4, Numbers::Float, Dynamic, ActGranularity::Group(Group::Size(16)));
        let (bits, group, implied_group, grid, activations) = match text(json, "quant_algo") {
            Some("FP8") => (8, None, Some(Group::Tensor), float(), fp8(Static, tensor)),
            Some("FP8_PER_CHANNEL_PER_TOKEN") => {
                (8, None, Some(Group::Channel), float(), fp8(Dynamic, ActGranularity::Token))
            }
            // PB_WO: per block, weights only.
            Some("FP8_PB_WO") => (8, None, Some(Group::Block(128, 128)), float(), SIXTEEN),
            Some("MXFP8") => {
                (8, Some(Group::Size(32)), None, WeightGrid::Mxfp8, fp8(Dynamic, of_32))
            }
            Some("NVFP4") => (4, Some(of_16), None, WeightGrid::Nvfp4, fp4),
            Some("W4A16_NVFP4") => (4, Some(of_16), None, WeightGrid::Nvfp4, SIXTEEN),
            other => {
                let name = printable(other.unwrap_or("(none)"));
                self.notes
                    .push(format!("quant_algo {name} is not known here: nothing was checked"));
                return;
            }
        };
        self.everywhere(Expected {
            bits: Some(bits),
            group,
            symmetric: Some(true),
            grid: Some(grid),
            implied_group,
            activations,
            ..Expected::default()
        });
        self.kv_cache = kv_cache(json);
        // `exclude_modules` is in hf_quant_config.json, `ignore` in a config.json that transformers
        // can read.
        for entry in texts(json, "ignore").chain(texts(json, "exclude_modules")) {
            let pattern = self.noted(Pattern::wildcard(entry));
            self.ignore.extend(pattern);
        }
    }

    fn read_quark(&mut self, json: &Value) {
        let config = &json["global_quant_config"];
        let (weights, inputs) = (&config["weight"], &config["input_tensors"]);
        let Some((bits, numbers)) = quark_numbers(weights) else {
            let name = printable(text(weights, "dtype").unwrap_or("(none)"));
            let note = format!("the weights' dtype {name} is not known here: nothing was checked");
            self.notes.push(note);
            return;
        };
        let group = match text(weights, "qscheme") {
            Some("per_tensor") => Some(Group::Tensor),
            Some("per_channel") => Some(Group::Channel),
            _ => group_size(weights, &["group_size"]),
        };
        let activations = quark_numbers(inputs).map_or(SIXTEEN, |(bits, numbers)| {
            let scale = if inputs["is_dynamic"] == true { Dynamic } else { Static };
            let per_tensor = inputs["qscheme"] == "per_tensor";
            let granularity = if per_tensor {
                ActGranularity::Group(Group::Tensor)
            } else {
                ActGranularity::Token
            };
            quantized(bits, numbers, scale, granularity)
        });
        self.everywhere(Expected {
            bits: Some(bits),
            group,
            symmetric: truth(weights, "symmetric"),
            grid: Some(WeightGrid::Plain(numbers)),
            activations,
            ..Expected::default()
        });
        self.leave_pieces(json, "exclude");
    }

    fn read_bitsandbytes(&mut self, json: &Value) {
        // BitsAndBytesConfig.to_dict() writes the fields with an underscore as well.
        let four = truth(json, "load_in_4bit").or_else(|| truth(json, "_load_in_4bit"));
        let eight = truth(json, "load_in_8bit").or_else(|| truth(json, "_load_in_8bit"));
        let bits = match (four, eight) {
            (Some(true), _) => Some(4),
            (_, Some(true)) => Some(8),
            _ => None,
        };
        let (grid, activations) = if bits == Some(8) {
            (WeightGrid::BnbInt8, quantized(8, Numbers::Int, Dynamic, ActGranularity::Token))
        } else {
            // FP4 is the default of BitsAndBytesConfig, though most files have NF4.
            let nf4 = text(json, "bnb_4bit_quant_type") == Some("nf4");
            let double = truth(json, "bnb_4bit_use_double_quant") == Some(true);
            (WeightGrid::BnbTable { nf4, double }, SIXTEEN)
        };
        self.everywhere(Expected { bits, grid: Some(grid), activations, ..Expected::default() });
        self.leave_pieces(json, "llm_int8_skip_modules");
        self.mention(json, &["bnb_4bit_quant_type", "bnb_4bit_use_double_quant"]);
    }

    fn everywhere(&mut self, expected: Expected) {
        self.groups.push((vec![Pattern::all()], expected));
    }

    fn leave_pieces(&mut self, json: &Value, key: &str) {
        self.ignore.extend(texts(json, key).map(Pattern::piece));
    }

    /// Keeps fields that shapes cannot confirm, as they stand there.
    fn mention(&mut self, json: &Value, keys: &[&str]) {
        let fields = keys.iter().filter_map(|key| Some(format!("{key} {}", json.get(*key)?)));
        self.unverifiable.extend(fields.map(|field| printable(&field)));
    }

    /// The pattern, or a note about an expression that cannot be read: one entry must not fail the rest.
    fn noted(&mut self, pattern: Result<Pattern, String>) -> Option<Pattern> {
        pattern
            .map_err(|text| {
                let text = printable(&text);
                self.notes.push(format!("the expression `{text}` cannot be read here: left out"));
            })
            .ok()
    }
}

/// Integer weights, activations in 16 bits.
fn integers_alone() -> Expected {
    let grid = Some(WeightGrid::Plain(Numbers::Int));
    Expected { grid, activations: SIXTEEN, ..Expected::default() }
}

/// FP8 activations.
fn fp8(scale: ScaleTime, granularity: ActGranularity) -> Option<Activations> {
    quantized(8, Numbers::Float, scale, granularity)
}

/// Activations of which everything is said.
fn quantized(
    bits: u64,
    numbers: Numbers,
    scale: ScaleTime,
    granularity: ActGranularity,
) -> Option<Activations> {
    let (numbers, scale, granularity) = (Some(numbers), Some(scale), Some(granularity));
    Some(Activations { bits, numbers, scale, granularity })
}

/// Quark's words for a number.
fn quark_numbers(tensor: &Value) -> Option<(u64, Numbers)> {
    Some(match text(tensor, "dtype")? {
        "int4" => (4, Numbers::Int),
        "int8" => (8, Numbers::Int),
        "fp8_e4m3" => (8, Numbers::Float),
        _ => return None,
    })
}

/// A class of modules, as Python writes its name; every packed matrix is a `Linear`.
fn is_class(text: &str) -> bool {
    text != "Linear" && text.starts_with(|c: char| c.is_ascii_uppercase()) && !text.contains('.')
}

/// A group of compressed-tensors: `weights`, `input_activations`, format.
fn compressed(weights: &Value, inputs: &Value, format: Option<&str>) -> Expected {
    let strategy = text(weights, "strategy");
    let group = match strategy {
        Some("tensor") => Some(Group::Tensor),
        Some("channel") => Some(Group::Channel),
        Some("block") => block(weights, "block_structure"),
        Some("group" | "tensor_group") | None => group_size(weights, &["group_size"]),
        Some(_) => None,
    };
    let grid = match (format, strategy) {
        (Some("nvfp4-pack-quantized"), _) | (_, Some("tensor_group")) => WeightGrid::Nvfp4,
        (Some("mxfp4-pack-quantized"), _) => WeightGrid::Mxfp4,
        (Some("mxfp8-quantized"), _) => WeightGrid::Mxfp8,
        _ => WeightGrid::Plain(Numbers::named(text(weights, "type").unwrap_or("int"))),
    };
    // `static` rounds in that order and stores the columns in their own order, without g_idx.
    let act_order = text(weights, "actorder").filter(|order| *order != "static").map(|_| true);
    Expected {
        bits: number(weights, &["num_bits"]),
        group,
        symmetric: truth(weights, "symmetric"),
        format: format.map(str::to_owned),
        grid: Some(grid),
        activations: compressed_inputs(inputs),
        act_order,
        ..Expected::default()
    }
}

/// compressed-tensors' words for activations; `null` leaves them in 16 bits.
fn compressed_inputs(json: &Value) -> Option<Activations> {
    let Some(bits) = number(json, &["num_bits"]) else { return SIXTEEN };
    // NVFP4: `local` scales of groups are found at run time, the one of the tensor is in the file.
    let is_dynamic = json["dynamic"] == true || json["dynamic"] == "local";
    let granularity = match text(json, "strategy") {
        Some("token") => Some(ActGranularity::Token),
        Some("tensor") => Some(ActGranularity::Group(Group::Tensor)),
        _ => group_size(json, &["group_size"]).map(ActGranularity::Group),
    };
    Some(Activations {
        bits,
        numbers: Some(Numbers::named(text(json, "type").unwrap_or("int"))),
        scale: Some(if is_dynamic { Dynamic } else { Static }),
        granularity,
    })
}

/// `kv_cache_scheme`, or ModelOpt's `kv_cache_quant_algo`.
fn kv_cache(json: &Value) -> Option<KvCache> {
    if let Some(algorithm) = text(json, "kv_cache_quant_algo") {
        return match algorithm {
            "FP8" => Some(KvCache::Fp8E4m3),
            "NVFP4" => Some(KvCache::Nvfp4),
            _ => None,
        };
    }
    let scheme = json.get("kv_cache_scheme")?;
    let bits = number(scheme, &["num_bits"])?;
    match text(scheme, "type") {
        Some("float") if bits == 8 => Some(KvCache::Fp8E4m3),
        Some("int") => Some(KvCache::Int(bits)),
        _ => None,
    }
}
