//! A whole config as a card. The fields are read by [`checkpoint::config`].
//!
//! [`checkpoint::config`]: mod@crate::checkpoint::config

use serde_json::Value;

use super::answers::{Answers, sparse_bits};
use super::error::CardError;
use super::limits::complete;
use super::reading::Card;
use super::stated::Facts;
use super::word::Field::{
    ActBits, ActGroup, ActKind, ActWhen, Group, Kv, Layout, Method, Order, Overhead, Rest,
    ScaleBits, Symmetric, WeightBits, WeightKind, ZeroBits,
};
use super::word::{Fact, Field};
use crate::checkpoint::config::{
    ActGranularity, Activations, Expected, KvCache, Numbers, QuantConfig, ScaleTime, WeightGrid,
    parse_json,
};
use crate::printable::printable;

/// Modules left alone that are named; the others are counted.
const NAMED: usize = 4;

/// Reads the JSON of a config.json, of a quantize_config.json, or of the object inside.
///
/// # Errors
/// [`CardError::Config`] if it is not JSON or does not speak of quantization, and those of
/// [`read`](super::read).
pub(super) fn read(text: &str) -> Result<Card, CardError> {
    let json: Value = parse_json(text.as_bytes())
        .map_err(|error| CardError::Config(format!("not valid JSON: {error}")))?;
    let config = config(&json).ok_or_else(|| {
        CardError::Config(
            "nothing in it speaks of quantization: it has no quantization_config and no \
             quant_method, so nothing is quantized, or it is another file"
                .into(),
        )
    })?;
    let mut groups = config.groups();
    let first = groups.next().ok_or_else(|| {
        let reasons: Vec<&str> =
            config.notes.iter().chain(&config.unread).map(String::as_str).collect();
        CardError::Config(reasons.join("; "))
    })?;
    // Fields of a method that is not known here may be numbers of another kind.
    check_fields(&json)?;
    let facts = facts(first, &config)?;
    let mut card = Card::new(&facts, &[]);
    describe(&mut card, &config, &facts)?;
    add_sparsity(&mut card, &json, &facts);
    add_experts(&mut card, &json)?;
    Ok(card)
}

/// The quantization in `json`, wherever it stands.
fn config(json: &Value) -> Option<QuantConfig> {
    if json.get("quantization").is_some_and(Value::is_object) {
        return QuantConfig::parse("hf_quant_config.json", json);
    }
    if json.get("quant_method").is_some() {
        return QuantConfig::parse("quantization_config", json);
    }
    // Old GPTQ and AWQ checkpoints have the object in a file of its own, and it names no method.
    let is_awq = ["w_bit", "zero_point", "q_group_size"].iter().any(|key| json.get(*key).is_some());
    match QuantConfig::parse("config.json", json) {
        None if is_awq => QuantConfig::parse("quant_config.json", json),
        None if json.get("desc_act").is_some() => QuantConfig::parse("quantize_config.json", json),
        found => found,
    }
}

/// The object that speaks of quantization.
fn inner(json: &Value) -> &Value {
    json.get("quantization_config").or_else(|| json.get("quantization")).unwrap_or(json)
}

/// Checks fields as the config writes them, because [`QuantConfig`] reads those of a wrong type or range as
/// absent. A group of -1 is the whole row.
///
/// # Errors
/// [`CardError::Config`] for a wrong type, [`CardError::Number`] for a group of 0, and below -1.
fn check_fields(json: &Value) -> Result<(), CardError> {
    let sizes = ["group_size", "q_group_size"];
    let numbers = ["bits", "w_bit", "group_size", "q_group_size"];
    let truths = ["sym", "desc_act", "zero_point", "load_in_4bit", "load_in_8bit"];
    let wrong = |keys: &[&'static str], is_right: fn(&Value) -> bool| {
        let fields = keys.iter().filter_map(|key| Some((*key, inner(json).get(key)?)));
        fields.filter(|(_, value)| !value.is_null()).find(|(_, value)| !is_right(value))
    };
    let number = wrong(&numbers, Value::is_i64).map(|found| (found, "it is a whole number"));
    let truth = wrong(&truths, Value::is_boolean).map(|found| (found, "it is true or false"));
    if let Some(((key, value), what)) = number.or(truth) {
        let value = printable(&value.to_string());
        return Err(CardError::Config(format!("`{key}` is {value}: {what}")));
    }
    match wrong(&sizes, |size| size.as_i64().is_some_and(|size| size == -1 || size > 0)) {
        None => Ok(()),
        Some((key, size)) => Err(CardError::Number {
            word: format!("{key}: {size}"),
            problem: "a group has weights in it, or is -1: the whole row".into(),
        }),
    }
}

/// The formats of experts that a config names apart, and the words that read as each.
const EXPERTS: [(&str, &str); 4] = [
    ("fp4", "MXFP4A16"),
    ("mxfp4", "MXFP4A16"),
    ("nvfp4", "NVFP4A16"),
    ("w4a16_nvfp4", "NVFP4A16"),
];

/// Adds the format of experts, where the config has another for them than for the rest.
fn add_experts(card: &mut Card, json: &Value) -> Result<(), CardError> {
    let places = [("moe_quant_algo", inner(json)), ("expert_dtype", json)];
    let named = places.into_iter().find_map(|(key, json)| Some((key, json.get(key)?.as_str()?)));
    let Some((key, name)) = named else { return Ok(()) };
    let known = EXPERTS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    if known.is_none() && name.to_ascii_lowercase().starts_with("fp8") {
        return Ok(());
    }
    let experts = known.map(|(_, words)| super::read(words)).transpose()?;
    let unknown = || {
        let bits = "?".to_owned();
        Answers { weights: printable(name), granularity: bits.clone(), bits, ..Answers::default() }
    };
    let said = experts.as_ref().map_or_else(unknown, |card| card.answers.clone());
    for (text, of_experts) in [
        (&mut card.answers.weights, said.weights),
        (&mut card.answers.granularity, said.granularity),
        (&mut card.answers.bits, said.bits),
    ] {
        *text = format!("{text}; experts: {of_experts}");
    }
    card.answers.notes.push(format!("`{key}` gives experts a format of their own"));
    card.experts = experts.and_then(|card| card.format);
    if card.experts.is_none() {
        card.format = None;
    }
    Ok(())
}

/// Counts the codes that a sparse file leaves out.
fn add_sparsity(card: &mut Card, json: &Value, facts: &Facts) {
    let json = inner(json);
    let sparsity = json["sparsity_config"]["format"].as_str();
    let is_marlin = json["format"] == "marlin-24";
    let note = match sparsity {
        None | Some("dense") if !is_marlin => return,
        // Both spend one bit a weight: the mask, or two bits of place for each code that is kept.
        None | Some("dense" | "sparse-24-bitmask") => {
            card.answers.bits = sparse_bits(facts);
            card.format = None;
            "2:4: half of the codes are stored, and one bit a weight for their places".into()
        }
        Some(other) => format!(
            "sparsity_config `{}` is not read: the bits are those of a file with all codes",
            printable(other)
        ),
    };
    card.answers.notes.push(note);
}

/// What the config says of a group of modules, as the facts of a card.
fn facts(expected: &Expected, config: &QuantConfig) -> Result<Facts, CardError> {
    let mut facts = Facts::default();
    for (field, value) in said(expected, config) {
        facts.state(field, value, "the config")?;
    }
    complete(&mut facts)?;
    Ok(facts)
}

fn said(expected: &Expected, config: &QuantConfig) -> Vec<Fact> {
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let mut fixed: Vec<(Field, &str)> = expected.grid.iter().flat_map(of_grid).collect();
    // A grid with a layout of its own has that layout's scales, whatever the method.
    for fact in of_method(config.method.as_deref()) {
        if fixed.iter().all(|(field, _)| *field != fact.0) {
            fixed.push(fact);
        }
    }
    let mut said: Vec<Fact> =
        fixed.into_iter().map(|(field, value)| (field, value.to_owned())).collect();
    said.extend(expected.bits.map(|bits| (WeightBits, bits.to_string())));
    let groups = [expected.group, expected.implied_group].into_iter().flatten();
    said.extend(groups.map(|group| (Group, group.to_string())));
    said.extend(expected.symmetric.map(|symmetric| (Symmetric, yes(symmetric))));
    said.extend(expected.act_order.map(|ordered| (Order, yes(ordered))));
    said.extend(expected.activations.iter().flat_map(of_activations));
    said.extend(config.kv_cache.map(|cache| (Kv, kv(cache))));
    said
}

/// The facts of a grid, and of a grid with a layout of its own.
fn of_grid(grid: &WeightGrid) -> Vec<(Field, &str)> {
    match grid {
        WeightGrid::Plain(numbers) => vec![(WeightKind, kind(numbers))],
        WeightGrid::Nvfp4 => {
            vec![(WeightKind, "float"), (Layout, "NVFP4"), (Overhead, "8@16 32@tensor")]
        }
        WeightGrid::Mxfp4 => vec![(WeightKind, "float"), (Layout, "MXFP4"), (ScaleBits, "8")],
        WeightGrid::Mxfp6E2m3 => {
            vec![(WeightKind, "e2m3"), (Layout, "MXFP6_E2M3"), (ScaleBits, "8")]
        }
        WeightGrid::Mxfp6E3m2 => {
            vec![(WeightKind, "e3m2"), (Layout, "MXFP6_E3M2"), (ScaleBits, "8")]
        }
        WeightGrid::Mxfp6 => vec![(WeightKind, "float"), (Layout, "MXFP6"), (ScaleBits, "8")],
        WeightGrid::Mxfp8 => vec![(WeightKind, "float"), (Layout, "MXFP8"), (ScaleBits, "8")],
        WeightGrid::BnbInt8 => vec![(WeightKind, "int"), (Group, "channel"), (Symmetric, "yes")],
        WeightGrid::BnbTable { nf4, double } => vec![
            (WeightKind, "table"),
            (Group, "64"),
            (Layout, if *nf4 { "NF4" } else { "bnb FP4" }),
            (Overhead, if *double { "8@64 32@16384" } else { "32@64" }),
        ],
    }
}

/// The facts of a method. Files of AWQ and GPTQ have zero points even where the grid is symmetric, and
/// scales of 16 bits even where a row has one.
fn of_method(method: Option<&str>) -> Vec<(Field, &'static str)> {
    match method {
        Some("awq") => vec![(Method, "AWQ"), (ZeroBits, "w"), (ScaleBits, "16")],
        Some("gptq") => vec![(Method, "GPTQ"), (ZeroBits, "w"), (ScaleBits, "16")],
        // auto-round packs as GPTQ or AWQ.
        Some("auto-round") => vec![(ZeroBits, "w"), (ScaleBits, "16")],
        Some("mlx" | "hqq") => vec![(ZeroBits, "16"), (ScaleBits, "16")],
        Some("eetq") => vec![(ScaleBits, "16")],
        Some("mxfp4") => vec![(Rest, "16 bits")],
        Some("bitsandbytes") => vec![(Method, "bitsandbytes")],
        _ => Vec::new(),
    }
}

fn of_activations(activations: &Activations) -> Vec<Fact> {
    let mut said = vec![(ActBits, activations.bits.to_string())];
    said.extend(activations.numbers.iter().map(|numbers| (ActKind, kind(numbers).into())));
    said.extend(activations.scale.map(|scale| match scale {
        ScaleTime::Static => (ActWhen, "static".into()),
        ScaleTime::Dynamic => (ActWhen, "dynamic".into()),
    }));
    said.extend(activations.granularity.map(|granularity| match granularity {
        ActGranularity::Token => (ActGroup, "token".into()),
        ActGranularity::Group(group) => (ActGroup, group.to_string()),
    }));
    said
}

fn kind(numbers: &Numbers) -> &str {
    match numbers {
        Numbers::Int => "int",
        Numbers::Float => "float",
        Numbers::Other(name) => name,
    }
}

fn kv(cache: KvCache) -> String {
    match cache {
        KvCache::Fp8E4m3 => "fp8_e4m3".into(),
        KvCache::Nvfp4 => "nvfp4".into(),
        KvCache::Int(bits) => format!("int{bits}"),
    }
}

/// Whether modules of this name are counted in 16 bits anyway, or not at all.
fn is_small(name: &str) -> bool {
    let parts = ["lm_head", "embed", "gate", "router", "norm", "vision", "visual", "projector"];
    parts.iter().any(|part| name.contains(part)) && !name.contains("gate_")
}

/// Adds what stays open and what is left alone.
fn describe(card: &mut Card, config: &QuantConfig, facts: &Facts) -> Result<(), CardError> {
    let answers = &mut card.answers;
    for (field, what) in [(WeightBits, "the bits"), (Group, "who shares a scale")] {
        if facts.value(field).is_none() {
            answers.open.push(format!("{what}: this config does not say"));
        }
    }
    answers.notes.extend(config.notes.iter().cloned());
    answers.notes.extend(config.unread.iter().map(|reason| format!("cannot be read: {reason}")));
    let alone: Vec<String> = config.left_alone().map(printable).collect();
    card.leaves_some = alone.iter().any(|name| !is_small(name));
    if !alone.is_empty() {
        let more = alone.len().saturating_sub(NAMED);
        let named = alone[..alone.len() - more].join(", ");
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        answers.notes.push(format!("left in 16 bits: {named}{more}"));
    }
    if config.method.as_deref() == Some("mxfp4") {
        answers.notes.push("only experts are quantized, whatever the list says".into());
    }
    for other in config.groups().skip(1) {
        let other = Card::new(&self::facts(other, config)?, &[]).answers.canonical;
        if other != answers.canonical {
            answers.notes.push(format!("another group of modules: {other}"));
            card.format = None;
        }
    }
    Ok(())
}
