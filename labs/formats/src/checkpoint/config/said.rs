//! What a config says that no shape shows, in the words of [`card`](crate::card).

use serde_json::Value;

use super::methods::{block, group_size, number, truth};
use crate::card::Field::{
    ActBits, ActGroup, ActKind, ActWhen, Beside, Group, Layout, Method, Order, ScaleBits,
    Symmetric, WeightKind, ZeroBits,
};
use crate::card::{Fact, Field};

fn facts(facts: &[(Field, &str)]) -> Vec<Fact> {
    facts.iter().map(|&(field, value)| (field, value.to_owned())).collect()
}

pub(super) fn awq() -> Vec<Fact> {
    facts(&[(Method, "AWQ"), (WeightKind, "int"), (ActBits, "16"), (ZeroBits, "w")])
}

pub(super) fn gptq(desc_act: Option<bool>) -> Vec<Fact> {
    let mut said =
        facts(&[(Method, "GPTQ"), (WeightKind, "int"), (ActBits, "16"), (ZeroBits, "w")]);
    said.extend(desc_act.map(|yes| (Order, if yes { "yes" } else { "no" }.into())));
    said
}

pub(super) fn mxfp4() -> Vec<Fact> {
    facts(&[(WeightKind, "float"), (Layout, "MXFP4"), (ScaleBits, "8"), (ActBits, "16")])
}

fn nvfp4() -> Vec<Fact> {
    facts(&[(WeightKind, "float"), (Layout, "NVFP4"), (Beside, "8@16 32@tensor")])
}

fn mxfp8() -> Vec<Fact> {
    facts(&[(WeightKind, "float"), (Layout, "MXFP8"), (ScaleBits, "8")])
}

/// FP8 activations: when their scale is found, and who shares one.
fn fp8_inputs(when: &str, sharers: &str) -> Vec<Fact> {
    facts(&[(ActBits, "8"), (ActKind, "float"), (ActWhen, when), (ActGroup, sharers)])
}

/// `quant_method` fp8 and fbgemm_fp8.
pub(super) fn fp8(method: Option<&str>, json: &Value) -> Vec<Fact> {
    let mut said = facts(&[(WeightKind, "float")]);
    let blocks = block(json.get("weight_block_size")).is_some();
    let scheme = json.get("activation_scheme").and_then(Value::as_str);
    let (group, inputs) = match (method, blocks, scheme) {
        (Some("fbgemm_fp8"), ..) => (Some("channel"), fp8_inputs("dynamic", "token")),
        (_, true, _) => (None, fp8_inputs("dynamic", "128")),
        (_, false, Some("static")) => (Some("tensor"), fp8_inputs("static", "tensor")),
        (_, false, Some("dynamic")) => (Some("tensor"), fp8_inputs("dynamic", "token")),
        _ => (Some("tensor"), facts(&[(ActBits, "8"), (ActKind, "float")])),
    };
    said.extend(group.map(|group| (Group, group.into())));
    said.extend(inputs);
    said
}

/// `quant_algo` of ModelOpt.
pub(super) fn modelopt(algorithm: &str) -> Vec<Fact> {
    let (mut said, inputs) = match algorithm {
        "NVFP4" => (
            nvfp4(),
            facts(&[(ActBits, "4"), (ActKind, "float"), (ActWhen, "dynamic"), (ActGroup, "16")]),
        ),
        "W4A16_NVFP4" => (nvfp4(), facts(&[(ActBits, "16")])),
        "MXFP8" => (mxfp8(), fp8_inputs("dynamic", "32")),
        "FP8_PER_CHANNEL_PER_TOKEN" => {
            (facts(&[(WeightKind, "float"), (Group, "channel")]), fp8_inputs("dynamic", "token"))
        }
        "FP8_PB_WO" => {
            (facts(&[(WeightKind, "float"), (Group, "128x128")]), facts(&[(ActBits, "16")]))
        }
        _ => (facts(&[(WeightKind, "float"), (Group, "tensor")]), fp8_inputs("static", "tensor")),
    };
    said.extend(inputs);
    said
}

pub(super) fn bitsandbytes(bits: Option<u64>, json: &Value) -> Vec<Fact> {
    let mut said = facts(&[(Method, "bitsandbytes")]);
    if bits == Some(8) {
        said.extend(facts(&[(WeightKind, "int"), (Group, "channel"), (Symmetric, "yes")]));
        said.push((ActBits, "8".into()));
        said.extend(facts(&[(ActKind, "int"), (ActWhen, "dynamic"), (ActGroup, "token")]));
        return said;
    }
    let table = json.get("bnb_4bit_quant_type").and_then(Value::as_str).unwrap_or("fp4");
    let double = truth(json, "bnb_4bit_use_double_quant") == Some(true);
    said.extend(facts(&[(WeightKind, "table"), (Group, "64"), (ActBits, "16")]));
    said.push((Layout, if table == "nf4" { "NF4" } else { "bnb FP4" }.into()));
    said.push((Beside, if double { "8@64 32@16384" } else { "32@64" }.into()));
    said
}

pub(super) fn auto_round() -> Vec<Fact> {
    facts(&[(WeightKind, "int"), (ActBits, "16"), (ZeroBits, "w")])
}

/// Quark's words for a tensor: bits and kind, then who shares a scale.
pub(super) fn quark_grid(tensor: &Value) -> Option<(u64, &'static str)> {
    Some(match tensor["dtype"].as_str()? {
        "int4" => (4, "int"),
        "int8" => (8, "int"),
        "fp8_e4m3" => (8, "float"),
        _ => return None,
    })
}

/// What Quark says of weights and of `input_tensors`.
pub(super) fn quark(weights: &Value, inputs: &Value) -> Vec<Fact> {
    let mut said = Vec::new();
    said.extend(quark_grid(weights).map(|(_, kind)| (WeightKind, kind.into())));
    let Some((bits, kind)) = quark_grid(inputs) else {
        said.push((ActBits, "16".into()));
        return said;
    };
    let when = if inputs["is_dynamic"] == true { "dynamic" } else { "static" };
    let sharers = if inputs["qscheme"] == "per_tensor" { "tensor" } else { "token" };
    said.extend([(ActBits, bits.to_string()), (ActKind, kind.into())]);
    said.extend(facts(&[(ActWhen, when), (ActGroup, sharers)]));
    said
}

/// A group of compressed-tensors: weights, input activations, format.
pub(super) fn compressed(group: &Value, format: Option<&str>) -> Vec<Fact> {
    let weights = &group["weights"];
    let mut said = match (format, weights["strategy"].as_str()) {
        (Some("nvfp4-pack-quantized"), _) | (_, Some("tensor_group")) => nvfp4(),
        (Some("mxfp4-pack-quantized"), _) => {
            facts(&[(WeightKind, "float"), (Layout, "MXFP4"), (ScaleBits, "8")])
        }
        (Some("mxfp8-quantized"), _) => mxfp8(),
        _ => vec![(WeightKind, weights["type"].as_str().unwrap_or("int").into())],
    };
    let order = weights["actorder"].as_str().filter(|order| *order != "static");
    said.extend(order.map(|_| (Order, "yes".into())));
    said.extend(inputs(&group["input_activations"]));
    said
}

/// compressed-tensors' words for activations; `null` leaves them in 16 bits.
fn inputs(json: &Value) -> Vec<Fact> {
    let Some(bits) = number(json, &["num_bits"]) else { return facts(&[(ActBits, "16")]) };
    let mut said = vec![(ActBits, bits.to_string())];
    said.push((ActKind, json["type"].as_str().unwrap_or("int").into()));
    let dynamic = json["dynamic"] == true || json["dynamic"] == "local";
    said.push((ActWhen, if dynamic { "dynamic" } else { "static" }.into()));
    let sharers = match json["strategy"].as_str() {
        Some("token") => Some("token".into()),
        Some("tensor") => Some("tensor".into()),
        _ => group_size(json, &["group_size"]).map(|group| group.to_string()),
    };
    said.extend(sharers.map(|sharers| (ActGroup, sharers)));
    said
}

/// `kv_cache_scheme`, or ModelOpt's `kv_cache_quant_algo`.
pub(super) fn kv_cache(json: &Value) -> Option<String> {
    if let Some(algorithm) = json.get("kv_cache_quant_algo").and_then(Value::as_str) {
        return match algorithm {
            "FP8" => Some("fp8_e4m3".into()),
            "NVFP4" => Some("nvfp4".into()),
            _ => None,
        };
    }
    let scheme = json.get("kv_cache_scheme")?;
    let bits = number(scheme, &["num_bits"])?;
    match scheme["type"].as_str() {
        Some("float") if bits == 8 => Some("fp8_e4m3".into()),
        Some("int") => Some(format!("int{bits}")),
        _ => None,
    }
}
