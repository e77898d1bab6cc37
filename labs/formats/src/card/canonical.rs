//! A card again, in the words of the vocabulary. The printed text reads as the same card.

use super::arithmetic::{is_float, is_plain, unusual_scale, zero_bits};
use super::stated::Facts;
use super::word::Field;

/// The card in words that leave nothing to a default.
pub(super) fn canonical(facts: &Facts) -> String {
    let mut parts = Vec::new();
    let layout = facts.value(Field::Layout);
    let acts = facts.value(Field::ActBits);
    // The layout of a mix says nothing of the bits, the groups and the symmetry of a weight.
    let mix = facts.value(Field::WeightKind) == Some("mixed");
    match (layout, facts.value(Field::WeightBits), acts) {
        (Some(table @ ("NF4" | "bnb FP4")), ..) => {
            let plain = facts.value(Field::Overhead) == Some("32@64");
            parts.push(format!("{table} {}", if plain { "plain" } else { "double" }));
        }
        (Some(layout), bits, _) => {
            parts.push(layout.to_owned());
            parts.extend(bits.filter(|_| mix).map(|bits| format!("W{bits}")));
        }
        // `W4A16` in one word brings defaults with it, and in two words it does not. So one word is
        // printed only where no default could change the card.
        (None, Some(weights), Some(acts)) if says_all(facts) => {
            parts.push(format!("W{weights}A{acts}"));
        }
        (None, Some(weights), Some(acts)) => parts.push(format!("W{weights} A{acts}")),
        _ => parts.extend(acts.map(|bits| format!("A{bits}"))),
    }
    if layout.is_some() {
        parts.extend(acts.map(|bits| format!("A{bits}")));
    }
    if layout.is_none() || mix {
        parts.extend(grid_words(facts));
    }
    if acts.is_some_and(|bits| !is_plain(bits)) {
        parts.extend(facts.value(Field::ActKind).map(|kind| format!("act-{kind}")));
        parts.extend(facts.value(Field::ActWhen).map(str::to_owned));
        parts.extend(facts.value(Field::ActGroup).map(|group| match group {
            "token" => "per-token".into(),
            "tensor" => "act-per-tensor".into(),
            size => format!("act-group={size}"),
        }));
    }
    parts.extend(facts.value(Field::Kv).map(|kind| format!("kv={kind}")));
    parts.extend((facts.value(Field::Order) == Some("yes")).then(|| "act-order".to_owned()));
    let mixed = facts.value(Field::WeightBits).is_none();
    parts.extend(facts.value(Field::Mean).filter(|_| mixed).map(|mean| format!("{mean}bpw")));
    if parts.is_empty() {
        parts.extend(facts.value(Field::Method).map(str::to_owned));
    }
    parts.join(" ")
}

/// Whether no field is left that a default could fill in.
fn says_all(facts: &Facts) -> bool {
    let known = |fields: &[Field]| fields.iter().all(|&field| facts.value(field).is_some());
    let plain = |field| facts.value(field).is_some_and(is_plain);
    plain(Field::WeightBits)
        || known(&[Field::Group])
            && (is_float(facts.value(Field::WeightKind)) || known(&[Field::Symmetric]))
            && (plain(Field::ActBits) || known(&[Field::ActWhen, Field::ActGroup]))
}

/// Kind, group and symmetry of the weights.
fn grid_words(facts: &Facts) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let kind = facts.value(Field::WeightKind).filter(|kind| *kind != "mixed");
    words.extend(kind.map(str::to_owned));
    if facts.value(Field::WeightBits).is_some_and(is_plain) {
        return words;
    }
    words.extend(facts.value(Field::Group).map(|group| match group {
        "tensor" | "channel" => format!("per-{group}"),
        block if block.contains('x') => format!("block={block}"),
        size => format!("group_size={size}"),
    }));
    if !is_float(kind) {
        words.extend(
            facts
                .value(Field::Symmetric)
                .map(|yes| if yes == "yes" { "sym".into() } else { "asym".to_owned() }),
        );
    }
    words.extend(unusual_scale(facts).map(|bits| format!("scales={bits}")));
    if let Some(bits) = facts.number(Field::WeightBits) {
        let zero = zero_bits(facts, bits);
        let custom = if facts.value(Field::Symmetric) == Some("no") { bits } else { 0 };
        words.extend((zero != custom && !is_float(kind)).then(|| format!("zeros={zero}")));
    }
    words
}
