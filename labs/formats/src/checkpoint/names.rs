//! Names of tensors, shown so that thirty layers take one line.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::printable::printable;

/// The names with their numbers collapsed: `model.layers.{0..29}.mlp.up_proj`.
///
/// Names that differ in nothing but numbers between dots become one. Where the numbers are not every
/// combination of the ranges shown, the count follows: `blk.{0..29}.attn_q (15 of 30)`.
pub fn collapse<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut patterns: BTreeMap<Vec<Part>, Numbers> = BTreeMap::new();
    for name in names {
        let (pattern, numbers) = split(name);
        let known = patterns.entry(pattern).or_default();
        known.count += 1;
        known.seen.resize(numbers.len(), BTreeSet::new());
        for (seen, number) in known.seen.iter_mut().zip(numbers) {
            seen.insert(number);
        }
    }
    patterns.iter().map(|(pattern, numbers)| show(pattern, numbers)).collect()
}

/// The name with every number between dots replaced: the same for the same tensor of every layer.
pub(super) fn pattern(name: &str) -> String {
    join(&split(name).0, || "{}".into())
}

/// A piece of a name between two dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number,
}

/// The numbers in the names of a pattern, by position.
#[derive(Default)]
struct Numbers {
    count: u64,
    seen: Vec<BTreeSet<u32>>,
}

fn split(name: &str) -> (Vec<Part>, Vec<u32>) {
    let mut numbers = Vec::new();
    let parts = name.split('.').map(|part| match part.parse() {
        // `+7` and `07` parse too, and are other names than `7`.
        Ok(number) if u32::to_string(&number) == part => {
            numbers.push(number);
            Part::Number
        }
        _ => Part::Text(printable(part)),
    });
    (parts.collect(), numbers)
}

/// The name of a pattern, with a text for each number.
fn join(pattern: &[Part], mut number: impl FnMut() -> String) -> String {
    let parts = pattern.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Number => number(),
    });
    parts.collect::<Vec<_>>().join(".")
}

fn show(pattern: &[Part], numbers: &Numbers) -> String {
    let mut seen = numbers.seen.iter();
    let name = join(pattern, || seen.next().map(range).unwrap_or_default());
    let full = numbers.seen.iter().map(width).fold(1, u64::saturating_mul);
    if full == numbers.count { name } else { format!("{name} ({} of {full})", numbers.count) }
}

fn range(numbers: &BTreeSet<u32>) -> String {
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if first != last => format!("{{{first}..{last}}}"),
        (Some(only), _) => only.to_string(),
        _ => String::new(),
    }
}

/// How many numbers the range shows.
fn width(numbers: &BTreeSet<u32>) -> u64 {
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) => u64::from(last - first) + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_become_a_range_and_a_gap_is_counted() {
        let names = ["m.0.q", "m.1.q", "m.2.q", "m.0.k", "m.2.k", "head"];
        assert_eq!(collapse(names), ["head", "m.{0..2}.k (2 of 3)", "m.{0..2}.q"]);
    }

    #[test]
    fn experts_of_layers_are_two_ranges() {
        let names = ["l.3.e.0.up", "l.3.e.1.up", "l.4.e.0.up", "l.4.e.1.up"];
        assert_eq!(collapse(names), ["l.{3..4}.e.{0..1}.up"]);
    }

    #[test]
    fn a_number_inside_a_word_or_with_a_leading_zero_is_part_of_the_name() {
        assert_eq!(collapse(["w1.a", "w2.a", "07.a"]), ["07.a", "w1.a", "w2.a"]);
        assert_eq!(collapse(["a.\u{1b}[2J"]), ["a.\u{fffd}[2J"]);
    }
}
