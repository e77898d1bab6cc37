//! The mechanics of `mdbook-snippets`, which knows chapters and nothing of quantization.

use std::process::ExitCode;

use anyhow::Result;

/// What a chapter can embed, by name. The crate `snippets` implements it with figures, tables and
/// values computed by the labs.
pub trait Library {
    /// The names of this kind.
    fn names(&self, kind: Kind) -> Vec<&'static str>;

    /// Computes one of them: for a figure an HTML block without empty lines, for a table Markdown
    /// with its caption, for a value the text that goes into the sentence.
    ///
    /// # Errors
    /// If it cannot be computed, a data file is missing, say.
    fn render(&self, kind: Kind, name: &str) -> Result<String>;

    /// Files, besides the program itself, that what it renders depends on.
    fn data_files(&self) -> Vec<std::path::PathBuf>;
}

/// The three kinds of mark: `{{#figure name}}`, `{{#table name}}`, `{{#value name}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plot with its caption.
    Figure,
    /// A table with its title.
    Table,
    /// A number inside a sentence.
    Value,
}

/// The whole program: reads mdBook's request from standard input and answers on standard output.
pub fn main(_library: &dyn Library) -> ExitCode {
    ExitCode::FAILURE
}
