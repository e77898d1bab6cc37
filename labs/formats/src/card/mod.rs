//! Any `quantization=` value, any card's name, as arithmetic.
//!
//! A name like `Meta-Llama-3.1-8B-Instruct-quantized.w4a16` is read as words, and each word as facts:
//! bits, kind of grid, who shares a scale. What no word states is filled in by custom and marked, or
//! left open and said. Two words that cannot both be true are an error, and so is an unknown word.
//!
//! * [`read`]: a text, or a whole config as JSON, to a [`Card`].
//! * [`grammar`](grammar()): the words as data. The book's own card reader interprets them in the
//!   browser, so there is one source for both; a test holds the two to each other.

mod answers;
mod arithmetic;
mod canonical;
mod cards;
mod error;
mod from_config;
mod gguf_names;
mod grammar;
mod grammar_json;
mod lexer;
mod limits;
mod parser;
mod reading;
mod stated;
mod vocabulary;
mod weight_bytes;
mod word;

pub use answers::Answers;
pub use cards::CARDS;
pub use error::{CardError, LONGEST};
pub use grammar::{Grammar, grammar};
pub use grammar_json::export;
pub use reading::Card;
pub use weight_bytes::{WeightBytes, step_bytes, weight_bytes};
pub use word::{Fact, Field, Word};

/// Reads a card: a name, words, or a config as JSON.
///
/// # Errors
/// [`CardError`], which names the word and what is known.
pub fn read(text: &str) -> Result<Card, CardError> {
    if text.trim_start().starts_with('{') {
        return from_config::read(text);
    }
    let (mut found, unread) = parser::parse(text)?;
    let apart = stated::set_apart(&mut found);
    let mut facts = stated::Facts::gather(&found)?;
    limits::complete(&mut facts)?;
    let mut card = Card::new(&facts, &found);
    card.answers.notes.extend(apart.into_iter().chain(unread));
    Ok(card)
}
