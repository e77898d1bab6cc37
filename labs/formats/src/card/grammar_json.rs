//! The grammar as JSON, for the reader in the browser. `theme/interactive/card.js` interprets it.

use serde_json::{Value, json};

use super::error::LONGEST;
use super::grammar::grammar;
use super::word::{Fact, Field, Word};

/// The grammar as JSON. A text that several words share is there once, and a fact is two numbers: its
/// field, and its text.
pub fn export() -> Value {
    let mut texts = Texts::default();
    let words: Vec<Value> = grammar().words.iter().map(|word| texts.word(word)).collect();
    json!({
        "labels": Field::ALL.map(Field::label),
        "words": words,
        "texts": texts.0,
        "families": grammar().families,
        "examples": grammar().examples,
        "longest": LONGEST,
    })
}

/// Every text once.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn index_of(&mut self, text: &str) -> usize {
        self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.into());
            self.0.len() - 1
        })
    }

    fn facts(&mut self, facts: &[Fact]) -> Vec<usize> {
        facts.iter().flat_map(|(field, text)| [*field as usize, self.index_of(text)]).collect()
    }

    /// Pattern and name, then three lists of facts, two texts, and whether it is read in cards only,
    /// in one piece only, and as a type to compute in.
    fn word(&mut self, word: &Word) -> Value {
        json!([
            word.pattern,
            word.name,
            self.facts(&word.says),
            self.facts(&word.usual),
            self.facts(&word.open),
            self.index_of(word.note.as_deref().unwrap_or_default()),
            self.index_of(word.needs.as_deref().unwrap_or_default()),
            u8::from(word.card_only) + 2 * u8::from(word.one_piece) + 4 * u8::from(word.computes),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_and_every_text_once() {
        let exported = export();
        let words = exported["words"].as_array().map(Vec::len);
        assert_eq!(words, Some(grammar().words.len()));
        let texts = exported["texts"].as_array().cloned().unwrap_or_default();
        for (index, text) in texts.iter().enumerate() {
            assert!(!texts[..index].contains(text), "{text} is there twice");
        }
    }
}
