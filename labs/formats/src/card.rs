//! Any `quantization=` value, any card's name, as arithmetic.
//!
//! A name like `Meta-Llama-3.1-8B-Instruct-quantized.w4a16` is read as words, and each word as facts:
//! bits, kind of grid, who shares a scale. What no word states is filled in by custom and marked, or
//! left open and said. Two words that cannot both be true are an error, and so is an unknown word.
//!
//! * [`read`]: a text, or a whole config as JSON, to a [`Card`].
//! * [`grammar`]: the words as data. The book's own card reader interprets them in the browser, so
//!   there is one source for both; a test holds the two to each other.

mod answers;
mod atoms;
mod bytes;
mod cards;
mod check;
mod config;
mod error;
mod export;
mod facts;
mod find;
mod ggml;
mod word;
mod words;

use std::sync::LazyLock;

use crate::format::Format;
pub use answers::Answers;
pub use bytes::{WeightBytes, weight_bytes};
pub use cards::CARDS;
pub use error::CardError;
pub use export::export;
pub use word::{Fact, Field, Word};

/// The longest text that is read as a name, in characters.
pub const LONGEST: usize = 500;

/// A card that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// What it says, in words.
    pub answers: Answers,
    /// What it says as arithmetic; `None` where grid or granularity stay open or layers differ.
    pub format: Option<Format>,
    /// Mean bits of a weight in a whole file, where layers differ.
    pub mean_bits: Option<f64>,
    /// Bits of a number in the KV cache; `None` if nothing is said.
    pub kv_bits: Option<f64>,
    /// Whether embedding and head are quantized as well: in a GGUF file.
    pub embedding_too: bool,
}

/// Everything that is needed to read a card: what the browser gets, by [`export`].
#[derive(Clone, Debug)]
pub struct Grammar {
    /// The words. Of those that fit, the one with the most atoms counts, then the first.
    pub words: Vec<Word>,
    /// Beginnings of models' names. In a name, words that mean nothing here are the model's.
    pub families: Vec<&'static str>,
    /// Words that an error names if none is near.
    pub examples: &'static str,
}

/// The grammar.
pub fn grammar() -> &'static Grammar {
    static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar {
        words: words::words().into_iter().chain(ggml::words()).collect(),
        families: find::FAMILIES.to_vec(),
        examples: find::EXAMPLES,
    });
    &GRAMMAR
}

/// Reads a card: a name, words, or a config as JSON.
///
/// # Errors
/// [`CardError`], which names the word and what is known.
pub fn read(text: &str) -> Result<Card, CardError> {
    if text.trim_start().starts_with('{') {
        return config::read(text);
    }
    let found = find::find(text)?;
    let mut facts = facts::Facts::gather(&found)?;
    check::complete(&mut facts)?;
    Ok(card(&facts, &found))
}

fn card(facts: &facts::Facts, found: &[facts::Found]) -> Card {
    Card {
        answers: Answers::new(facts, found),
        format: answers::format(facts),
        mean_bits: facts.value(Field::Mean).and_then(|mean| mean.parse().ok()),
        kv_bits: facts.value(Field::Kv).and_then(kv_bits),
        embedding_too: facts.value(Field::Method) == Some("GGUF"),
    }
}

/// Bits of a number in a cache of this kind; scales are not counted.
fn kv_bits(kind: &str) -> Option<f64> {
    Some(match kind {
        "auto" | "float16" | "bfloat16" | "int16" => 16.0,
        "turboquant_k8v4" => 6.0,
        "turboquant_k3v4_nc" => 3.5,
        "turboquant_3bit_nc" => 3.0,
        four if four.contains("int4") || four.contains("4bit") || four.contains("nvfp4") => 4.0,
        eight if eight.contains("fp8") || eight.contains("int8") => 8.0,
        _ => return None,
    })
}
