//! A card that was read: its answers in words and in numbers.

use super::answers::Answers;
use super::arithmetic::{format, kv_bits};
use super::stated::{Facts, Found};
use super::word::Field;
use crate::format::Format;

/// A card that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The answers in words.
    pub answers: Answers,
    /// The answers as a format; `None` where grid or granularity stay open or layers differ.
    pub format: Option<Format>,
    /// Mean bits of a weight in a whole file, where layers differ.
    pub mean_bits: Option<f64>,
    /// Bits of a number in the KV cache; `None` if nothing is said.
    pub kv_bits: Option<f64>,
    /// Whether embedding and head are quantized as well: in a GGUF file.
    pub embedding_too: bool,
    /// Whether the config leaves linear layers inside the blocks in 16 bits, so that bytes are at least
    /// those of [`Self::format`].
    pub leaves_some: bool,
    /// Bits of a weight outside the experts, where only experts are in [`Self::format`].
    pub rest_bits: Option<f64>,
    /// The format of experts, where [`Self::format`] is that of everything else.
    pub experts: Option<Format>,
}

impl Card {
    /// The card that states `facts`, with what the words found leave open.
    pub(super) fn new(facts: &Facts, found: &[Found]) -> Self {
        let answers = Answers::new(facts, found);
        Self {
            format: format(facts, &answers.canonical),
            answers,
            mean_bits: facts.value(Field::Mean).and_then(|mean| mean.parse().ok()),
            kv_bits: facts.value(Field::Kv).and_then(kv_bits),
            embedding_too: facts.value(Field::Method) == Some("GGUF"),
            rest_bits: facts
                .value(Field::Rest)
                .and_then(|rest| rest.split(' ').next()?.parse().ok()),
            experts: None,
            leaves_some: false,
        }
    }
}
