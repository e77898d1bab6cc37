//! A chapter as its author wrote it, before mdBook's own preprocessors changed it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mdbook_preprocessor::PreprocessorContext;
use mdbook_preprocessor::book::Chapter;

use crate::markdown::Structure;
use crate::problem::Problem;

/// The source file of a chapter.
#[derive(Debug)]
pub struct Source {
    /// The file relative to the book's root, with forward slashes: `src/lab-01.md`.
    pub name: String,
    /// The folder that the chapter's includes are relative to.
    pub folder: PathBuf,
    /// What the file says.
    pub text: String,
    /// Where its code and tables are.
    pub structure: Structure,
}

impl Source {
    /// Reads the source of `chapter`. A draft has none, and gives `None`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(context: &PreprocessorContext, chapter: &Chapter) -> Result<Option<Self>> {
        let Some(path) = &chapter.source_path else { return Ok(None) };
        let relative = context.config.book.src.join(path);
        let file = context.root.join(&relative);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read the chapter {}", relative.display()))?;
        // mdBook drops a byte order mark, too.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let folder = file.parent().unwrap_or(&context.root).to_owned();
        Ok(Some(Self::new(slashes(&relative), folder, text)))
    }

    /// A chapter named `name` that says `text`, with includes relative to `folder`.
    pub fn new(name: String, folder: PathBuf, text: String) -> Self {
        let structure = Structure::of(&text);
        Self { name, folder, text, structure }
    }

    /// The line, counted from 1, that holds the byte.
    pub fn line(&self, byte: usize) -> usize {
        line_of(&self.text, byte)
    }

    /// A problem at the line that holds the byte.
    pub fn problem(&self, byte: usize, message: impl Into<String>) -> Problem {
        Problem { chapter: self.name.clone(), line: self.line(byte), message: message.into() }
    }

    /// Whether a backslash stands before the byte: mdBook's way to show a mark as it is.
    pub fn is_escaped(&self, byte: usize) -> bool {
        self.text[..byte].ends_with('\\')
    }

    /// Whether nothing but the indentation of a list or the `>` of a quote stands on the line or
    /// lines of `range` besides it.
    pub fn stands_alone(&self, range: &Range<usize>) -> bool {
        let before = self.text[..range.start].rsplit('\n').next().unwrap_or_default();
        let after = self.text[range.end..].split('\n').next().unwrap_or_default();
        before.chars().all(|c| matches!(c, ' ' | '\t' | '>')) && after.trim().is_empty()
    }
}

/// The line of `text`, counted from 1, that holds the byte.
pub fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()[..byte].iter().filter(|&&b| b == b'\n').count() + 1
}

/// A path as it is written in Markdown and in URLs, on every system.
pub fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
