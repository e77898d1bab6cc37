//! A whole config as a card. The fields are read by [`checkpoint::config`].
//!
//! [`checkpoint::config`]: mod@crate::checkpoint::config

use serde_json::Value;

use super::answers::Answers;
use super::error::CardError;
use super::limits::complete;
use super::reading::Card;
use super::stated::Facts;
use super::word::Field::{
    ActBits, ActGroup, ActKind, ActWhen, Group, Kv, Layout, Method, Order, Overhead, ScaleBits,
    Symmetric, WeightBits, WeightKind, ZeroBits,
};
use super::word::{Fact, Field};
use crate::checkpoint::config::{
    ActGranularity, Activations, Expected, KvCache, Numbers, QuantConfig, ScaleTime, WeightGrid,
    parse_json,
};
use crate::checkpoint::printable;

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
    group_size(&json)?;
    let mut groups = config.groups();
    let first = groups.next().ok_or_else(|| {
        let reasons: Vec<&str> =
            config.notes.iter().chain(&config.unread).map(String::as_str).collect();
        CardError::Config(reasons.join("; "))
    })?;
    let facts = facts(first, &config)?;
    let mut card = Card::new(&facts, &[]);
    describe(&mut card.answers, &config, &facts)?;
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

/// Checks the group size as the config writes it, because [`QuantConfig`] reads other sizes as absent. -1
/// is the whole row.
///
/// # Errors
/// [`CardError::Number`] for 0, and for what is below -1.
fn group_size(json: &Value) -> Result<(), CardError> {
    let inner =
        json.get("quantization_config").or_else(|| json.get("quantization")).unwrap_or(json);
    match inner.get("group_size").and_then(Value::as_i64) {
        Some(size) if size == 0 || size < -1 => Err(CardError::Number {
            word: format!("group_size: {size}"),
            problem: "a group has weights in it, or is -1: the whole row".into(),
        }),
        _ => Ok(()),
    }
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
    let fixed = expected.grid.iter().flat_map(of_grid).chain(of_method(config.method.as_deref()));
    let mut said: Vec<Fact> = fixed.map(|(field, value)| (field, value.to_owned())).collect();
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

/// The facts of a method. Files of AWQ and GPTQ have zero points even where the grid is symmetric.
fn of_method(method: Option<&str>) -> Vec<(Field, &'static str)> {
    match method {
        Some("awq") => vec![(Method, "AWQ"), (ZeroBits, "w")],
        Some("gptq") => vec![(Method, "GPTQ"), (ZeroBits, "w")],
        // auto-round packs as GPTQ or AWQ.
        Some("auto-round") => vec![(ZeroBits, "w")],
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

/// Adds what stays open and what is left alone.
fn describe(answers: &mut Answers, config: &QuantConfig, facts: &Facts) -> Result<(), CardError> {
    for (field, what) in [(WeightBits, "the bits"), (Group, "who shares a scale")] {
        if facts.value(field).is_none() {
            answers.open.push(format!("{what}: this config does not say"));
        }
    }
    answers.notes.extend(config.notes.iter().cloned());
    answers.notes.extend(config.unread.iter().map(|reason| format!("cannot be read: {reason}")));
    let alone: Vec<String> = config.left_alone().map(printable).collect();
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
        }
    }
    Ok(())
}
