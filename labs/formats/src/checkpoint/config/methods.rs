//! The fields of each method, brought to one form.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expected::ScaleTime::{Dynamic, Static};
use super::expected::{
    ActGranularity, Activations, Expected, KvCache, Numbers, ScaleTime, WeightGrid,
};
use super::json_fields::Fields;
use super::module_patterns::{Listed, Reading, SPECIAL};
use super::quant_config::{Outcome, QuantConfig};
use crate::checkpoint::scheme::GptqVersion;
use crate::format::Group;
use crate::printable::printable;

/// Activations that are left in 16 bits: only the weights are quantized.
const SIXTEEN: Option<Activations> =
    Some(Activations { bits: 16, numbers: None, scale: None, granularity: None });

/// The lists of modules to leave alone, and how the loaders of the method read an entry.
const LEFT_ALONE: [(&str, &str, &[Reading]); 14] = {
    use Reading::{Component, Never, Piece, Start, Whole, Wildcard};
    [
        // transformers, vLLM.
        ("awq", "modules_to_not_convert", &[Start, Piece]),
        ("gptq", "modules_to_not_convert", &[Start, Piece]),
        ("fp8", "modules_to_not_convert", &[Start, Whole]),
        ("fp8", "ignored_layers", &[Start, Whole]),
        ("fbgemm_fp8", "modules_to_not_convert", &[Start, Whole]),
        ("fbgemm_fp8", "ignored_layers", &[Start, Whole]),
        ("bitsandbytes", "llm_int8_skip_modules", &[Start, Component]),
        ("hqq", "skip_modules", &[Start, Component]),
        ("eetq", "modules_to_not_convert", &[Start, Component]),
        // vLLM quantizes the experts of gpt-oss and nothing else, whatever the list says.
        ("mxfp4", "modules_to_not_convert", &[Start, Never]),
        // ModelOpt and the current vLLM, the older vLLM. `exclude_modules` is in hf_quant_config.json,
        // `ignore` in a config.json that transformers can read.
        ("modelopt", "ignore", &[Wildcard, Piece]),
        ("modelopt", "exclude_modules", &[Wildcard, Piece]),
        // Quark, vLLM.
        ("quark", "exclude", &[Wildcard, Whole]),
        ("compressed-tensors", "ignore", &[Whole]),
    ]
};

impl QuantConfig {
    /// Reads the fields that `self.method` has.
    pub(super) fn read_method(&mut self, json: Fields) {
        let method = self.method.clone();
        let Some(method) = method.as_deref() else {
            self.notes.push("there is no quant_method: nothing was checked".into());
            return;
        };
        for (_, key, readings) in LEFT_ALONE.iter().filter(|(of, ..)| *of == method) {
            let entries = json.texts(key).into_iter();
            self.tier(entries.map(|text| listed(text, readings, Outcome::LeaveAlone)));
        }
        match method {
            "awq" => self.read_awq(json),
            "gptq" => self.read_gptq(json),
            "compressed-tensors" => self.read_compressed(json),
            "fp8" | "fbgemm_fp8" => self.read_fp8(json),
            "modelopt" => self.read_modelopt(json),
            // Mxfp4Config of transformers has no field for any of these: the format fixes them.
            "mxfp4" => self.everywhere(Expected {
                bits: Some(4),
                group: Some(Group::Size(32)),
                symmetric: Some(true),
                grid: Some(WeightGrid::Mxfp4),
                activations: SIXTEEN,
                ..Expected::default()
            }),
            "auto-round" => self.read_auto_round(json),
            "quark" => self.read_quark(json),
            "bitsandbytes" => self.read_bitsandbytes(json),
            "mlx" => self.read_mlx(json),
            "hqq" => self.read_hqq(json),
            // EetqConfig has one value of `weights`, int8.
            "eetq" => self.everywhere(Expected {
                bits: Some(8),
                symmetric: Some(true),
                implied_group: Some(Group::Channel),
                ..integers_alone()
            }),
            other => self.notes.push(format!(
                "quant_method `{}` is not known here: its fields were not checked",
                printable(other)
            )),
        }
        let unread = self.unread_entries();
        self.notes.extend(unread);
    }

    fn read_awq(&mut self, json: Fields) {
        self.everywhere(Expected {
            // AutoAWQ's own quant_config.json has `w_bit` and `q_group_size`, transformers writes the
            // same config into config.json with the other two names.
            bits: json.bits(&["bits", "w_bit"]),
            group: json.group_size(&["group_size", "q_group_size"]),
            symmetric: json.truth("zero_point").map(|stored| !stored),
            ..integers_alone()
        });
        self.mention(json, &["zero_point"]);
        match json.text("version") {
            None => {}
            Some(version) if version.eq_ignore_ascii_case("gemm") => {}
            Some(version) => self.notes.push(format!(
                "AWQ's version is `{}`: only the shapes of gemm are known here",
                printable(version)
            )),
        }
    }

    fn read_gptq(&mut self, json: Fields) {
        self.desc_act = json.truth("desc_act");
        let base = Expected {
            bits: json.bits(&["bits"]),
            group: json.group_size(&["group_size"]),
            symmetric: json.truth("sym"),
            act_order: self.desc_act,
            ..integers_alone()
        };
        // GPTQModel names the version. Older files have no such field, and loaders read them as v1.
        self.gptq_version = match json.text("checkpoint_format") {
            Some("gptq") => GptqVersion::V1,
            Some("gptq_v2") => GptqVersion::V2,
            Some("gptq_p") => GptqVersion::Planar,
            _ => GptqVersion::Unsaid,
        };
        self.mention(json, &["sym", "desc_act", "checkpoint_format"]);
        let outcome = self.group(base.clone());
        // GPTQModel's rules for single modules: an expression after `-:` leaves modules alone, and one
        // after `+:`, or without a sign, gives them fields of their own.
        let mut list = Vec::new();
        for (key, own) in json.entries("dynamic") {
            let (expression, outcome) = match key.strip_prefix("-:") {
                Some(expression) => (expression, Outcome::LeaveAlone),
                None => {
                    let expression = key.strip_prefix("+:").unwrap_or(key);
                    (expression, self.group(overridden(&base, own)))
                }
            };
            list.push((key.to_owned(), vec![(Reading::Match, expression.to_owned())], outcome));
        }
        self.tier(list);
        // Only those, and who is among them depends on the loader.
        let blocks = json.json["modules_in_block_to_quantize"].as_array();
        let names = blocks.into_iter().flatten().flat_map(|block| match block {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect::<Vec<_>>(),
        });
        self.only(names.collect(), Reading::Start, outcome);
    }

    fn read_compressed(&mut self, json: Fields) {
        let overall = json.text("format");
        // Whichever names the module most exactly counts: by name, by expression, by class.
        let mut ranks: [Vec<Listed<Outcome>>; 3] = Default::default();
        for (_, group) in json.entries("config_groups") {
            // A group with `weights: null` quantizes activations or outputs only.
            let Some(weights) = group.object("weights") else { continue };
            // With the overall format `mixed-precision`, each group has a format of its own.
            let format = group.text("format").or(overall);
            let outcome = self.group(compressed(weights, group, format));
            for target in group.texts("targets") {
                let entry = listed(target, &[Reading::Whole], outcome);
                let rank = match entry.1[0].0 {
                    Reading::Whole => 0,
                    Reading::Match => 1,
                    _ => 2,
                };
                self.names_classes |= entry.1[0].0 == Reading::Never;
                ranks[rank].push(entry);
            }
        }
        if !self.is_specific() {
            self.notes.push("config_groups has no group with weights: nothing was checked".into());
        }
        ranks.into_iter().for_each(|list| self.tier(list));
        self.kv_cache = kv_cache(json);
    }

    fn read_fp8(&mut self, json: Fields) {
        let blocks = json.block("weight_block_size");
        let is_fbgemm = self.method.as_deref() == Some("fbgemm_fp8");
        let scheme = json.word("activation_scheme", &["static", "dynamic"]);
        // Kernels for blocks find a scale for 128 activations at run time, whatever
        // `activation_scheme` says.
        let activations = match (is_fbgemm, blocks, scheme) {
            (true, ..) => fp8(Dynamic, ActGranularity::Token),
            (_, Some(_), _) => fp8(Dynamic, ActGranularity::Group(Group::Size(128))),
            (_, None, Some("static")) => fp8(Static, ActGranularity::Group(Group::Tensor)),
            (_, None, Some("dynamic")) => fp8(Dynamic, ActGranularity::Token),
            _ => fp8(Dynamic, ActGranularity::Token).map(|fp8| Activations {
                scale: None,
                granularity: None,
                ..fp8
            }),
        };
        let implied_group = match (is_fbgemm, blocks, json.has("weight_block_size")) {
            (true, ..) => Some(Group::Channel),
            (false, None, false) => Some(Group::Tensor),
            _ => None,
        };
        self.everywhere(Expected {
            bits: Some(8),
            group: blocks,
            symmetric: Some(true),
            grid: Some(WeightGrid::Plain(Numbers::Float)),
            implied_group,
            activations,
            input_scale: !is_fbgemm && scheme == Some("static"),
            ..Expected::default()
        });
    }

    fn read_modelopt(&mut self, json: Fields) {
        self.kv_cache = kv_cache(json);
        if json.text("quant_algo") != Some("MIXED_PRECISION") {
            match modelopt(json) {
                Ok(expected) => self.everywhere(expected),
                Err(name) => self
                    .notes
                    .push(format!("quant_algo {name} is not known here: nothing was checked")),
            }
            return;
        }
        let mut list = Vec::new();
        for (name, own) in json.entries("quantized_layers") {
            let reading = if name.contains('*') { Reading::Wildcard } else { Reading::Inside };
            match modelopt(own) {
                Ok(expected) => list.push(listed(name, &[reading], self.group(expected))),
                Err(algorithm) => {
                    self.names_classes = true;
                    let name = printable(name);
                    json.lament(format!("`{name}` has quant_algo {algorithm}, not known here"));
                }
            }
        }
        if list.is_empty() {
            self.notes
                .push("MIXED_PRECISION names no quantized_layers: nothing was checked".into());
        }
        self.tier(list);
    }

    fn read_auto_round(&mut self, json: Fields) {
        let bits = json.bits(&["bits"]);
        let data_type = json.text("data_type").unwrap_or("int");
        let grid = match (data_type, bits) {
            (kind, Some(8)) if kind.starts_with("mx_fp") => WeightGrid::Mxfp8,
            (kind, Some(6)) if kind.starts_with("mx_fp") => WeightGrid::Mxfp6,
            (kind, _) if kind.starts_with("mx_fp") => WeightGrid::Mxfp4,
            (kind, _) if kind.starts_with("nv_fp") => WeightGrid::Nvfp4,
            (kind, _) if kind.starts_with("fp") => WeightGrid::Plain(Numbers::Float),
            _ => WeightGrid::Plain(Numbers::Int),
        };
        let activations = json.bits(&["act_bits"]).filter(|&bits| bits < 16).map(|bits| {
            let scale = json.truth("act_dynamic").unwrap_or(true);
            let is_int = json.text("act_data_type").unwrap_or(data_type).starts_with("int");
            let numbers = Some(if is_int { Numbers::Int } else { Numbers::Float });
            let scale = Some(if scale { Dynamic } else { Static });
            Activations { bits, numbers, scale, granularity: None }
        });
        let base = Expected {
            bits,
            group: json.group_size(&["group_size"]),
            symmetric: json.truth("sym"),
            format: json.text("packing_format").map(str::to_owned),
            grid: Some(grid),
            activations: activations.or(SIXTEEN),
            ..Expected::default()
        };
        let outcome = self.group(base.clone());
        // A whole name comes before an expression.
        let (mut names, mut expressions) = (Vec::new(), Vec::new());
        for (name, own) in json.entries("extra_config") {
            let expected = overridden(&base, own);
            let is_plain = expected.bits.is_some_and(|bits| bits >= 16);
            let outcome = if is_plain { Outcome::LeaveAlone } else { self.group(expected) };
            if name.contains(SPECIAL) {
                expressions.push(listed(name, &[Reading::Search], outcome));
            } else {
                names.push(listed(name, &[Reading::Whole], outcome));
            }
        }
        self.tier(names);
        self.tier(expressions);
        let blocks = &json.json["block_name_to_quantize"];
        let listed_blocks = blocks.as_array().into_iter().flatten().filter_map(Value::as_str);
        let blocks = blocks.as_str().into_iter().flat_map(|text| text.split(','));
        let blocks = blocks.chain(listed_blocks).map(str::trim);
        self.only(blocks.collect(), Reading::Inside, outcome);
    }

    fn read_quark(&mut self, json: Fields) {
        self.kv_cache = kv_cache(json);
        let Some(base) = json.object("global_quant_config") else { return };
        let outcome = match quark(base) {
            Ok(expected) => expected.map(|expected| self.group(expected)),
            Err(name) => {
                let note =
                    format!("the weights' dtype {name} is not known here: nothing was checked");
                self.notes.push(note);
                return;
            }
        };
        let mut list = Vec::new();
        for (name, own) in json.entries("layer_quant_config") {
            match quark(own) {
                Ok(expected) => {
                    let outcome = expected.map_or(Outcome::LeaveAlone, |e| self.group(e));
                    list.push(listed(name, &[Reading::Wildcard], outcome));
                }
                Err(dtype) => {
                    let name = printable(name);
                    json.lament(format!("`{name}` has the dtype {dtype}, not known here"));
                }
            }
        }
        self.tier(list);
        // Rules for classes of layers, which no file shows.
        self.names_classes |= !json.entries("layer_type_quant_config").is_empty();
        outcome.into_iter().for_each(|outcome| self.all(outcome));
    }

    fn read_bitsandbytes(&mut self, json: Fields) {
        // BitsAndBytesConfig.to_dict() writes the fields with an underscore as well.
        let four = json.truth("load_in_4bit").or_else(|| json.truth("_load_in_4bit"));
        let eight = json.truth("load_in_8bit").or_else(|| json.truth("_load_in_8bit"));
        let bits = match (four, eight) {
            (Some(true), _) => Some(4),
            (_, Some(true)) => Some(8),
            _ => None,
        };
        let table = json.word("bnb_4bit_quant_type", &["nf4", "fp4"]);
        let double = json.truth("bnb_4bit_use_double_quant");
        let is_eight = bits == Some(8);
        let (grid, activations) = if is_eight {
            (WeightGrid::BnbInt8, quantized(8, Numbers::Int, Dynamic, ActGranularity::Token))
        } else {
            // FP4 is the default of BitsAndBytesConfig, though most files have NF4.
            let (nf4, double) = (table == Some("nf4"), double == Some(true));
            (WeightGrid::BnbTable { nf4, double }, SIXTEEN)
        };
        self.everywhere(Expected {
            bits,
            grid: Some(grid),
            activations,
            table: table.filter(|_| !is_eight).map(str::to_owned),
            double: double.filter(|_| !is_eight),
            ..Expected::default()
        });
    }

    fn read_mlx(&mut self, json: Fields) {
        let outcome = match mlx(json) {
            Ok(expected) => self.group(expected),
            Err(mode) => {
                let note = format!("MLX's mode {mode} is not known here: nothing was checked");
                return self.notes.push(note);
            }
        };
        let modules = json.json.as_object().into_iter().flatten();
        let modules: BTreeMap<&String, &Value> = modules.collect();
        let mut list = Vec::new();
        for (name, own) in modules {
            let outcome = match (own, mlx(json.at(own))) {
                (Value::Bool(false), _) => Outcome::LeaveAlone,
                // The mode of the others is not inherited: without one of its own, a module is affine.
                (Value::Object(_), Ok(expected)) => self.group(expected),
                (Value::Object(_), Err(mode)) => {
                    let name = printable(name);
                    json.lament(format!("`{name}` has MLX's mode {mode}, not known here"));
                    continue;
                }
                _ => continue,
            };
            list.push(listed(name, &[Reading::Whole], outcome));
        }
        self.tier(list);
        self.all(outcome);
    }

    fn read_hqq(&mut self, json: Fields) {
        let weights = json.object("quant_config").and_then(|own| own.object("weight_quant_params"));
        let Some(weights) = weights else {
            let note =
                "quant_config has no weight_quant_params for all layers: nothing was checked";
            return self.notes.push(note.into());
        };
        if weights.json["axis"] != 1 {
            let note =
                "HQQ's groups along the outputs (axis 0) are not known here: nothing was checked";
            return self.notes.push(note.into());
        }
        let whole_row = (!weights.has("group_size")).then_some(Group::Channel);
        self.everywhere(Expected {
            bits: weights.bits(&["nbits"]),
            group: weights.group_size(&["group_size"]).or(whole_row),
            symmetric: Some(false),
            ..integers_alone()
        });
    }

    fn everywhere(&mut self, expected: Expected) {
        let outcome = self.group(expected);
        self.all(outcome);
    }

    fn all(&mut self, outcome: Outcome) {
        self.tier([("*".to_owned(), vec![(Reading::All, String::new())], outcome)]);
    }

    /// Only the modules with these `names`, or all where there are none. Loaders rename the modules around them,
    /// so that no other module has to stay plain.
    fn only(&mut self, names: Vec<&str>, reading: Reading, outcome: Outcome) {
        if names.is_empty() {
            return self.all(outcome);
        }
        self.names_classes = true;
        self.tier(names.into_iter().map(|name| listed(name, &[reading], outcome)));
    }

    /// Keeps fields that shapes cannot confirm, as they stand there.
    fn mention(&mut self, json: Fields, keys: &[&str]) {
        let fields = keys.iter().filter_map(|key| Some(format!("{key} {}", json.json.get(*key)?)));
        self.unverifiable.extend(fields.map(|field| printable(&field)));
    }
}

/// An entry of a list with its readings. `re:` marks an expression in lists that otherwise hold whole names,
/// and a class in such a list is all modules or none, because no file shows classes.
fn listed(text: &str, readings: &[Reading], outcome: Outcome) -> Listed<Outcome> {
    let is_whole = readings.contains(&Reading::Whole);
    let one = |reading, text: &str| vec![(reading, text.to_owned())];
    let readings = match text.strip_prefix("re:") {
        Some(expression) if is_whole => one(Reading::Match, expression),
        _ if readings == [Reading::Whole] && text == "Linear" => one(Reading::All, ""),
        _ if readings == [Reading::Whole] && is_class(text) => one(Reading::Never, ""),
        // Loaders agree about a name with a star.
        _ if readings.contains(&Reading::Piece) && text.contains('*') => one(readings[0], text),
        _ => readings.iter().map(|reading| (*reading, text.to_owned())).collect(),
    };
    (text.to_owned(), readings, outcome)
}

/// The fields of a group, with those that a rule for single modules replaces.
fn overridden(base: &Expected, own: Fields) -> Expected {
    let mut expected = base.clone();
    expected.bits = own.bits(&["bits"]).or(expected.bits);
    expected.group = own.group_size(&["group_size"]).or(expected.group);
    expected.symmetric = own.truth("sym").or(expected.symmetric);
    expected.act_order = own.truth("desc_act").or(expected.act_order);
    expected
}

/// The fields of MLX for a module, or the name of a mode that is not known here. Only the affine mode has a
/// choice of bits and sizes.
fn mlx(json: Fields) -> Result<Expected, String> {
    let (symmetric, grid) = match json.text("mode").unwrap_or("affine") {
        "affine" => (false, WeightGrid::Plain(Numbers::Int)),
        "mxfp4" => (true, WeightGrid::Mxfp4),
        "mxfp8" => (true, WeightGrid::Mxfp8),
        "nvfp4" => (true, WeightGrid::Nvfp4),
        other => return Err(printable(other)),
    };
    Ok(Expected {
        bits: json.bits(&["bits"]),
        group: json.group_size(&["group_size"]),
        symmetric: Some(symmetric),
        grid: Some(grid),
        ..integers_alone()
    })
}

/// ModelOpt's `quant_algo`, or the name of one that is not known here.
fn modelopt(json: Fields) -> Result<Expected, String> {
    let float = || WeightGrid::Plain(Numbers::Float);
    let int = || WeightGrid::Plain(Numbers::Int);
    let (tensor, of_32) =
        (ActGranularity::Group(Group::Tensor), ActGranularity::Group(Group::Size(32)));
    let size =
        |usual| json.group_size(&["group_size", "awq_block_size"]).unwrap_or(Group::Size(usual));
    let fp4 = quantized(4, Numbers::Float, Dynamic, ActGranularity::Group(Group::Size(16)));
    let int8 = quantized(8, Numbers::Int, Dynamic, ActGranularity::Token);
    let name = json.text("quant_algo").unwrap_or("(none)");
    let (bits, group, implied_group, grid, activations) = match name {
        "FP8" => (8, None, Some(Group::Tensor), float(), fp8(Static, tensor)),
        "FP8_PER_CHANNEL_PER_TOKEN" => {
            (8, None, Some(Group::Channel), float(), fp8(Dynamic, ActGranularity::Token))
        }
        // PB_WO: per block, weights only.
        "FP8_PB_WO" => (8, None, Some(Group::Block(128, 128)), float(), SIXTEEN),
        "MXFP8" => (8, Some(Group::Size(32)), None, WeightGrid::Mxfp8, fp8(Dynamic, of_32)),
        "NVFP4" | "NVFP4_AWQ" => (4, Some(size(16)), None, WeightGrid::Nvfp4, fp4),
        "W4A16_NVFP4" => (4, Some(size(16)), None, WeightGrid::Nvfp4, SIXTEEN),
        "INT4_AWQ" | "W4A16_AWQ" => (4, Some(size(128)), None, int(), SIXTEEN),
        "W4A8_AWQ" => (4, Some(size(128)), None, int(), fp8(Static, tensor)),
        "W8A8_SQ_PER_CHANNEL" => (8, None, Some(Group::Channel), int(), int8),
        other => return Err(printable(other)),
    };
    Ok(Expected {
        bits: Some(bits),
        group,
        symmetric: Some(true),
        grid: Some(grid),
        implied_group,
        activations,
        ..Expected::default()
    })
}

/// A config of Quark for layers: `None` if it leaves the weights alone, or the dtype that is not known.
fn quark(json: Fields) -> Result<Option<Expected>, String> {
    if json.json["weight"].is_array() {
        return Err("(of several, one after the other)".into());
    }
    let Some(weights) = json.object("weight") else { return Ok(None) };
    let (bits, grid) = quark_grid(weights)?;
    let group = match weights.text("qscheme") {
        Some("per_tensor") => Some(Group::Tensor),
        Some("per_channel") => Some(Group::Channel),
        _ => weights.group_size(&["group_size"]),
    };
    let inputs = json.object("input_tensors");
    let activations = match inputs.map(|inputs| (inputs, quark_grid(inputs))) {
        Some((inputs, Ok((bits, grid)))) => {
            let scale = if inputs.truth("is_dynamic") == Some(true) { Dynamic } else { Static };
            let granularity = match inputs.text("qscheme") {
                Some("per_tensor") => ActGranularity::Group(Group::Tensor),
                Some("per_group") => inputs
                    .group_size(&["group_size"])
                    .map_or(ActGranularity::Token, ActGranularity::Group),
                _ => ActGranularity::Token,
            };
            let numbers = match grid {
                WeightGrid::Plain(numbers) => numbers,
                _ => Numbers::Float,
            };
            quantized(bits, numbers, scale, granularity)
        }
        Some((_, Err(name))) => return Err(name),
        None => SIXTEEN,
    };
    let says_static = inputs.is_some_and(|inputs| inputs.truth("is_dynamic") == Some(false));
    Ok(Some(Expected {
        bits: Some(bits),
        group,
        symmetric: weights.truth("symmetric"),
        grid: Some(grid),
        input_scale: says_static,
        activations,
        ..Expected::default()
    }))
}

/// Quark's words for a number.
fn quark_grid(tensor: Fields) -> Result<(u64, WeightGrid), String> {
    let is_mx = tensor.json["scale_format"] == "e8m0";
    Ok(match tensor.text("dtype") {
        Some("int4" | "uint4") => (4, WeightGrid::Plain(Numbers::Int)),
        Some("int8" | "uint8") => (8, WeightGrid::Plain(Numbers::Int)),
        Some("fp8_e4m3") => (8, WeightGrid::Plain(Numbers::Float)),
        Some("fp6_e2m3") if is_mx => (6, WeightGrid::Mxfp6E2m3),
        Some("fp6_e3m2") if is_mx => (6, WeightGrid::Mxfp6E3m2),
        Some("fp4") if is_mx => (4, WeightGrid::Mxfp4),
        other => return Err(printable(other.unwrap_or("(none)"))),
    })
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

/// A class of modules, as Python writes its name; every packed matrix is a `Linear`.
fn is_class(text: &str) -> bool {
    text != "Linear" && text.starts_with(|c: char| c.is_ascii_uppercase()) && !text.contains('.')
}

/// A group of compressed-tensors: `weights`, `input_activations`, format. What is absent has the default of
/// compressed-tensors' `QuantizationArgs`.
fn compressed(weights: Fields, group: Fields, format: Option<&str>) -> Expected {
    let strategy = weights.word(
        "strategy",
        &["tensor", "channel", "group", "block", "token", "tensor_group", "attn_head"],
    );
    let size = weights.group_size(&["group_size"]);
    let by_size = || if weights.has("group_size") { size } else { Some(Group::Tensor) };
    let shared = match strategy {
        None if weights.has("strategy") => None,
        None => by_size(),
        Some("tensor") => Some(Group::Tensor),
        Some("channel") => Some(Group::Channel),
        Some("block") => weights.block("block_structure"),
        Some(_) => size,
    };
    if let Some(name @ ("group" | "tensor_group" | "block")) = strategy
        && !weights.has("group_size")
        && !weights.has("block_structure")
    {
        weights.lament(format!("strategy {name} has no group_size and no block_structure"));
    }
    let numbers = Numbers::named(weights.text("type").unwrap_or("int"));
    let grid = match (format, strategy) {
        (Some("nvfp4-pack-quantized"), _) | (_, Some("tensor_group")) => WeightGrid::Nvfp4,
        (Some("mxfp4-pack-quantized"), _) => WeightGrid::Mxfp4,
        // Its codes are E2M3.
        (Some("mxfp6-pack-quantized"), _) => WeightGrid::Mxfp6E2m3,
        (Some("mxfp8-quantized"), _) => WeightGrid::Mxfp8,
        _ => WeightGrid::Plain(numbers),
    };
    // `static` rounds in that order and stores the columns in their own order, without g_idx.
    let order = weights.json["actorder"].as_str();
    let act_order = order.filter(|order| *order != "static").map(|_| true);
    let activations = compressed_inputs(group);
    let says_static = activations.as_ref().is_some_and(|inputs| {
        let whole = inputs.granularity == Some(ActGranularity::Group(Group::Tensor));
        whole && inputs.scale == Some(Static)
    });
    Expected {
        bits: weights.bits(&["num_bits"]).or(unless(weights, "num_bits", 8)),
        group: shared,
        symmetric: weights.truth("symmetric").or(unless(weights, "symmetric", true)),
        format: format.map(str::to_owned),
        grid: Some(grid),
        activations,
        act_order,
        input_scale: says_static,
        ..Expected::default()
    }
}

/// The default of a field, unless it is there and could not be read.
fn unless<T>(json: Fields, key: &'static str, default: T) -> Option<T> {
    (!json.has(key)).then_some(default)
}

/// compressed-tensors' words for activations; `null` leaves them in 16 bits.
fn compressed_inputs(group: Fields) -> Option<Activations> {
    let Some(json) = group.object("input_activations") else { return SIXTEEN };
    let bits = json.bits(&["num_bits"]).or(unless(json, "num_bits", 8))?;
    // NVFP4: `local` scales of groups are found at run time, the one of the tensor is in the file.
    let is_dynamic = match &json.json["dynamic"] {
        Value::Null => false,
        Value::Bool(dynamic) => *dynamic,
        Value::String(text) if text == "local" => true,
        other => {
            json.refuse("dynamic", other, "true, false or \"local\"");
            return None;
        }
    };
    let granularity = match json.text("strategy") {
        Some("token") => Some(ActGranularity::Token),
        Some("tensor") => Some(ActGranularity::Group(Group::Tensor)),
        None if !json.has("group_size") => Some(ActGranularity::Group(Group::Tensor)),
        _ => json.group_size(&["group_size"]).map(ActGranularity::Group),
    };
    Some(Activations {
        bits,
        numbers: Some(Numbers::named(json.text("type").unwrap_or("int"))),
        scale: Some(if is_dynamic { Dynamic } else { Static }),
        granularity,
    })
}

/// `kv_cache_scheme`, or ModelOpt's `kv_cache_quant_algo`: a name, or the fields of compressed-tensors.
fn kv_cache(json: Fields) -> Option<KvCache> {
    const WANTED: &str = "FP8, NVFP4, or num_bits and type";
    let (key, value) = ["kv_cache_quant_algo", "kv_cache_scheme"]
        .into_iter()
        .find_map(|key| Some((key, json.json.get(key).filter(|value| !value.is_null())?)))?;
    let found = match value {
        Value::String(name) => match name.to_ascii_uppercase().as_str() {
            "NONE" => return None,
            "FP8" => Some(KvCache::Fp8E4m3),
            "NVFP4" => Some(KvCache::Nvfp4),
            _ => None,
        },
        Value::Object(_) => {
            let scheme = json.object(key)?;
            let bits = scheme.bits(&["num_bits"]).or(unless(scheme, "num_bits", 8))?;
            match scheme.text("type").unwrap_or("int") {
                "float" if bits == 8 => Some(KvCache::Fp8E4m3),
                "int" => Some(KvCache::Int(bits)),
                _ => None,
            }
        }
        _ => None,
    };
    if found.is_none() {
        json.refuse(key, value, WANTED);
    }
    found
}
