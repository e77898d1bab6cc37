//! The errors of the card reader.

use super::word::Field;

/// The longest text that is read as a name, in characters.
pub const LONGEST: usize = 500;

/// Why a text is no card. Each error names the word, and known words.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CardError {
    #[error("there is no card to read: give one, such as `W4A16 group_size=128`")]
    Empty,
    #[error("longer than {} characters: no card is; a config starts with a brace", LONGEST)]
    TooLong,
    #[error("`{word}` is not known; {hint}")]
    Unknown { word: String, hint: String },
    #[error("no word of `{text}` states a scheme; {hint}")]
    NoScheme { text: String, hint: String },
    #[error(
        "`{first}` and `{second}` contradict each other: {label} {first_says} against {second_says}",
        label = .field.label()
    )]
    Contradiction {
        first: String,
        first_says: String,
        second: String,
        second_says: String,
        field: Field,
    },
    #[error("`{word}`: {problem}")]
    Number { word: String, problem: String },
    #[error("`{word}` needs {what}")]
    Needs { word: String, what: String },
    #[error("the config cannot be read: {0}")]
    Config(String),
}
