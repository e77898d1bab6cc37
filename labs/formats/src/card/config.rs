//! A whole config as a card: what its fields say, read by [`checkpoint::config`].
//!
//! [`checkpoint::config`]: crate::checkpoint::config

use serde_json::Value;

use super::answers::Answers;
use super::facts::Facts;
use super::word::Field;
use super::{Card, CardError};
use crate::checkpoint::{Expected, QuantConfig, printable};

/// Modules left alone that are named; the others are counted.
const NAMED: usize = 4;

/// Reads the JSON of a config.json, of a quantize_config.json, or of the object inside.
///
/// # Errors
/// [`CardError::Config`] if it is not JSON or does not speak of quantization, and those of
/// [`read`](super::read).
pub(super) fn read(text: &str) -> Result<Card, CardError> {
    let json: Value = serde_json::from_str(text)
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
    let first = groups.next().ok_or_else(|| CardError::Config(config.notes.join("; ")))?;
    let facts = facts(first, &config)?;
    let mut card = super::card(&facts, &[]);
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
    // Beside old GPTQ and AWQ checkpoints lies the object alone, without a method.
    let is_awq = ["w_bit", "zero_point", "q_group_size"].iter().any(|key| json.get(*key).is_some());
    match QuantConfig::parse("config.json", json) {
        None if is_awq => QuantConfig::parse("quant_config.json", json),
        None if json.get("desc_act").is_some() => QuantConfig::parse("quantize_config.json", json),
        found => found,
    }
}

/// A group of no weights is read by nobody; -1 is the whole row.
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

fn facts(expected: &Expected, config: &QuantConfig) -> Result<Facts, CardError> {
    let mut facts = Facts::default();
    let mut state = |field: Field, value: String| facts.state(field, value, "the config");
    if let Some(bits) = expected.bits {
        state(Field::WeightBits, bits.to_string())?;
    }
    if let Some(group) = expected.group {
        state(Field::Group, group.to_string())?;
    }
    if let Some(symmetric) = expected.symmetric {
        state(Field::Symmetric, if symmetric { "yes" } else { "no" }.into())?;
    }
    for (field, value) in &expected.said {
        state(*field, value.clone())?;
    }
    if let Some(kind) = &config.kv_cache {
        state(Field::Kv, kind.clone())?;
    }
    super::check::complete(&mut facts)?;
    Ok(facts)
}

/// Adds what stays open and what is left alone.
fn describe(answers: &mut Answers, config: &QuantConfig, facts: &Facts) -> Result<(), CardError> {
    for (field, what) in [(Field::WeightBits, "the bits"), (Field::Group, "who shares a scale")] {
        if facts.value(field).is_none() {
            answers.open.push(format!("{what}: this config does not say"));
        }
    }
    answers.notes.extend(config.notes.iter().cloned());
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
        let other = super::card(&self::facts(other, config)?, &[]).answers.canonical;
        if other != answers.canonical {
            answers.notes.push(format!("another group of modules: {other}"));
        }
    }
    Ok(())
}
