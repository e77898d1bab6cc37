//! The three answers in words.

use serde::Serialize;

use super::arithmetic::{is_plain, overhead};
use super::canonical::canonical;
use super::stated::{Facts, Found};
use super::word::Field;
use crate::format::{Group, Overhead};

/// The answers of a card in words. A page of the book computes the same from the same grammar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The card again, in words that leave nothing to a default.
    pub canonical: String,
    /// The grid of the weights.
    pub weights: String,
    /// The weights that share a scale.
    pub granularity: String,
    /// Weights only, or activations too.
    pub activations: String,
    /// The format of the KV cache.
    pub kv: String,
    /// Bits of a weight as a sum: codes, scales, zero points.
    pub bits: String,
    /// Questions that the card leaves open.
    pub open: Vec<String>,
    /// Notes.
    pub notes: Vec<String>,
}

/// The answer to a question that the card does not touch.
const SILENT: &str = "not said";

/// A side of the square matrix for which sums with a scale per row or per tensor are worked out.
const SIDE: u64 = 4096;

impl Answers {
    /// The answers in `facts`, with what the words found leave open.
    pub(super) fn new(facts: &Facts, found: &[Found]) -> Self {
        Self {
            canonical: canonical(facts),
            weights: weights(facts),
            granularity: granularity(facts),
            activations: activations(facts),
            kv: facts.value(Field::Kv).unwrap_or(SILENT).to_owned(),
            bits: bits(facts),
            open: open(facts, found),
            notes: notes(facts, found),
        }
    }
}

/// The notes of the words, and what only experts are.
fn notes(facts: &Facts, found: &[Found]) -> Vec<String> {
    let rest = facts.value(Field::Rest).map(|rest| {
        format!("only experts are quantized so: attention, router, embedding and head have {rest}")
    });
    let words = found.iter().filter_map(|word| word.word.note.as_deref());
    unique(words.chain(rest.as_deref()))
}

/// The texts that are not empty, each once.
fn unique<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if !unique.iter().any(|known| known == text) {
            unique.push(text.to_owned());
        }
    }
    unique
}

/// One sentence for each field that no word states: the sentence of the word whose default holds, or else
/// of the first word.
fn open(facts: &Facts, found: &[Found]) -> Vec<String> {
    let mut open: Vec<(Field, &str, bool)> = Vec::new();
    for word in found {
        for (field, sentence) in word.word.open.iter().filter(|(field, _)| !facts.is_stated(*field))
        {
            let followed = facts.get(*field).is_some_and(|custom| custom.by == word.spelled);
            match open.iter_mut().find(|(asked, ..)| asked == field) {
                None => open.push((*field, sentence, followed)),
                Some(known) if followed && !known.2 => *known = (*field, sentence, followed),
                Some(_) => {}
            }
        }
    }
    unique(open.into_iter().map(|(_, sentence, _)| sentence))
}

/// `text`, marked if one of its fields is a default and not stated.
fn marked(facts: &Facts, fields: &[Field], text: String) -> String {
    let custom = fields.iter().any(|field| facts.get(*field).is_some_and(|stated| stated.usual));
    if custom { format!("{text} (usual)") } else { text }
}

fn grid_name(kind: Option<&str>, bits: &str) -> String {
    match (kind, bits) {
        (_, "16" | "32") => format!("{bits}-bit floats"),
        (Some("ternary"), _) => "three values: -1, 0 and 1".into(),
        (Some("e5m2"), _) => "FP8 E5M2".into(),
        (Some("e2m3"), _) => "FP6 E2M3".into(),
        (Some("e3m2"), _) => "FP6 E3M2".into(),
        (Some("float"), "8") => "FP8 E4M3".into(),
        (Some("float"), "4") => "FP4 E2M1".into(),
        (Some("float"), _) => format!("floats of {bits} bits"),
        (Some("table"), _) => format!("indices of {bits} bits into a table"),
        _ => format!("int{bits}"),
    }
}

fn weights(facts: &Facts) -> String {
    let kind = facts.value(Field::WeightKind);
    let Some(bits) = facts.value(Field::WeightBits) else {
        return match kind {
            Some("mixed") => "a mix: other bits in other layers".into(),
            Some("int") => "integers".into(),
            Some("float") => "floats".into(),
            Some("table") => "indices into a table".into(),
            _ => SILENT.into(),
        };
    };
    let grid = marked(facts, &[Field::WeightBits, Field::WeightKind], grid_name(kind, bits));
    let symmetry = facts.value(Field::Symmetric).filter(|_| kind == Some("int") && !is_plain(bits));
    match symmetry {
        None => grid,
        Some(yes) => {
            let word = if yes == "yes" { "symmetric" } else { "asymmetric" };
            format!("{grid}, {}", marked(facts, &[Field::Symmetric], word.into()))
        }
    }
}

fn granularity(facts: &Facts) -> String {
    if facts.value(Field::WeightBits).is_some_and(is_plain) {
        return "no scale".into();
    }
    let Some(group) = facts.value(Field::Group) else { return SILENT.into() };
    marked(facts, &[Field::Group], scale_for(group))
}

/// The granularity in words.
fn scale_for(group: &str) -> String {
    match group {
        "tensor" => "a scale for the whole tensor".into(),
        "channel" => "a scale for each output channel".into(),
        "token" => "a scale for each token".into(),
        block if block.contains('x') => format!("a scale for each block of {block} weights"),
        size => format!("a scale for {size} neighbours along the inputs"),
    }
}

fn activations(facts: &Facts) -> String {
    let Some(bits) = facts.value(Field::ActBits) else { return SILENT.into() };
    if is_plain(bits) {
        let plain = facts.value(Field::WeightBits).is_some_and(is_plain);
        let only = if plain { "" } else { ": weights only" };
        return marked(facts, &[Field::ActBits], format!("{bits}-bit floats{only}"));
    }
    let fields = [Field::ActBits, Field::ActKind];
    let mut text = marked(facts, &fields, grid_name(facts.value(Field::ActKind), bits));
    if let Some(when) = facts.value(Field::ActWhen) {
        text = format!("{text}, {}", marked(facts, &[Field::ActWhen], when.into()));
    }
    if let Some(group) = facts.value(Field::ActGroup) {
        text = format!("{text}, {}", marked(facts, &[Field::ActGroup], scale_for(group)));
    }
    text
}

fn bits(facts: &Facts) -> String {
    let mean = facts.value(Field::Mean);
    let sum = facts
        .number(Field::WeightBits)
        .zip(overhead(facts))
        .map(|(bits, parts)| sum(bits.to_string(), f64::from(bits), &parts));
    let rests_on =
        if facts.value(Field::Overhead).is_some() { Field::Overhead } else { Field::Group };
    let sum = sum.map(|sum| marked(facts, &[Field::WeightBits, rests_on], sum));
    match (sum, mean) {
        (Some(sum), Some(mean)) => {
            format!("{sum}; {mean} in the mean of a whole Llama-3.1-8B file")
        }
        (Some(sum), None) => sum,
        (None, Some(mean)) => format!("{mean} in the mean, as the name says"),
        (None, None) => SILENT.into(),
    }
}

/// The bits of a weight where two codes of four are stored, and a mask that says which.
pub(super) fn sparse_bits(facts: &Facts) -> String {
    let known = facts.number(Field::WeightBits).zip(overhead(facts));
    known.map_or(SILENT.into(), |(bits, parts)| {
        sum(format!("{bits}/2 + 1"), f64::from(bits) / 2.0 + 1.0, &parts)
    })
}

/// The sum of the bits of a code and of the overhead, spelled out and worked out.
fn sum(mut text: String, mut total: f64, overhead: &[Overhead]) -> String {
    let (mut of_inputs, mut of_outputs) = (false, false);
    for Overhead { bits, per } in overhead {
        let (divisor, weights) = match *per {
            Group::Size(size) => (size.to_string(), size),
            Group::Block(rows, columns) => (format!("({rows} x {columns})"), rows * columns),
            Group::Channel => ("in".into(), SIDE),
            Group::Tensor | Group::Unread => ("(out x in)".into(), SIDE * SIDE),
        };
        of_inputs |= matches!(per, Group::Channel);
        of_outputs |= matches!(per, Group::Tensor | Group::Unread);
        text = format!("{text} + {bits}/{divisor}");
        total += f64::from(*bits) / weights as f64;
    }
    if overhead.is_empty() {
        return text;
    }
    // Rounded by hand, half up, so that every language prints the same four digits.
    let rounded = (total * 1e4 + 0.5).floor() / 1e4;
    let of_size = match (of_inputs, of_outputs) {
        (_, true) => " for 4096 x 4096",
        (true, false) => " for 4096 inputs",
        (false, false) => "",
    };
    format!("{text} = {rounded:.4}{of_size}")
}
