//! The errors of the card reader.

use super::word::Field;

/// The longest text that is read as a name, in characters.
pub const LONGEST: usize = 500;

/// Why a text is no card. Each error names the word, and known words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CardError {
    /// Nothing but separators.
    #[error("there is no card to read: give one, such as `W4A16 group_size=128`")]
    Empty,
    /// No name is that long.
    #[error("longer than {} characters: no card is; a config starts with a brace", LONGEST)]
    TooLong,
    /// A word that means nothing here.
    #[error("`{word}` is not known; {hint}")]
    Unknown {
        /// As it stands in the text.
        word: String,
        /// The nearest words, or examples.
        hint: String,
    },
    /// A model's name without a word about a scheme.
    #[error("no word of `{text}` states a scheme; {hint}")]
    NoScheme {
        /// The text.
        text: String,
        /// The nearest words, or some that are known.
        hint: String,
    },
    /// Two words that cannot both be true.
    #[error(
        "`{first}` and `{second}` contradict each other: {label} {first_says} against {second_says}",
        label = .field.label()
    )]
    Contradiction {
        /// The first word, as it stands in the text.
        first: String,
        /// What it says.
        first_says: String,
        /// The second word.
        second: String,
        /// What that says.
        second_says: String,
        /// What both are about.
        field: Field,
    },
    /// A number that no scheme has.
    #[error("`{word}`: {problem}")]
    Number {
        /// The word with the number.
        word: String,
        /// What is wrong, and what is possible.
        problem: String,
    },
    /// A word that says nothing alone.
    #[error("`{word}` needs {what}")]
    Needs {
        /// The word.
        word: String,
        /// What is missing.
        what: String,
    },
    /// A config that is not JSON, or does not speak of quantization.
    #[error("the config cannot be read: {0}")]
    Config(String),
}
