//! Numbers inside sentences, computed by the labs.

use crate::Entry;

/// Every value of the book.
pub const ALL: &[Entry<Value>] = &[];

/// A number in a sentence of a chapter.
pub struct Value {
    /// What the chapter shows: the number with its unit.
    pub text: String,
    /// What the number is, in words, for the snapshot: "the mean error of the quiet rows".
    pub meaning: &'static str,
}
