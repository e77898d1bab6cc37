//! The chapters of a request, each checked against its source.

use std::collections::BTreeMap;

use anyhow::Result;
use mdbook_preprocessor::PreprocessorContext;
use mdbook_preprocessor::book::{Book, Chapter};

use crate::includes::{self, Include};
use crate::marks::{self, Mark};
use crate::problem::Problems;
use crate::source::{Source, slashes};
use crate::{Library, fences};

/// A chapter without a mistake.
#[derive(Debug)]
pub struct Checked {
    /// What its author wrote.
    pub source: Source,
    /// Its marks, in order; `None` for one that is shown as it is.
    pub marks: Vec<Option<Mark>>,
    /// Its includes, in order.
    pub includes: Vec<Include>,
}

/// Reads and checks the source of every chapter. The key is [`Source::name`].
///
/// # Errors
/// If a source cannot be read, or all [`Problems`] of all chapters.
pub fn check(
    context: &PreprocessorContext,
    book: &Book,
    library: &dyn Library,
) -> Result<BTreeMap<String, Checked>> {
    let (mut chapters, mut problems) = (BTreeMap::new(), Vec::new());
    for chapter in book.chapters() {
        let Some(source) = Source::read(context, chapter)? else { continue };
        let marks = marks::find(&source, library, &mut problems);
        let includes = includes::check(&source, &mut problems);
        fences::lint(&source, &mut problems);
        chapters.insert(source.name.clone(), Checked { source, marks, includes });
    }
    Problems::none_or_fail(problems)?;
    Ok(chapters)
}

/// Calls `change` for every chapter that has a source, with its [`Source::name`], up to the first
/// error.
///
/// # Errors
/// That of `change`.
pub fn each(
    context: &PreprocessorContext,
    book: &mut Book,
    mut change: impl FnMut(&mut Chapter, &str) -> Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    book.for_each_chapter_mut(|chapter| {
        if let (Ok(()), Some(path)) = (&outcome, &chapter.source_path) {
            let name = slashes(&context.config.book.src.join(path));
            outcome = change(chapter, &name);
        }
    });
    outcome
}
