//! The chapters of the rendered book: marks replaced by what the labs computed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mdbook_preprocessor::PreprocessorContext;
use mdbook_preprocessor::book::Book;

use crate::cache::Cache;
use crate::chapters::{self, Checked};
use crate::embed::embed;
use crate::make::{Failures, make};
use crate::problem::{Problem, Problems};
use crate::{Library, Setup};

/// Replaces the marks of all chapters.
///
/// # Errors
/// If something that a chapter names cannot be made; all such marks are named at once.
pub fn replace_marks(
    context: &PreprocessorContext,
    book: &mut Book,
    checked: &BTreeMap<String, Checked>,
    library: &dyn Library,
    setup: &Setup,
) -> Result<()> {
    let wanted = checked.values().flat_map(|chapter| chapter.marks.iter().flatten());
    let mut wanted: Vec<_> = wanted.map(|mark| (mark.kind, mark.name.clone())).collect();
    wanted.sort();
    wanted.dedup();
    let mut cache = Cache::open(&setup.cache(), &setup.program)?;
    let (rendered, failures) = make(library, &mut cache, wanted);
    Problems::none_or_fail(unmade(checked, &failures))?;
    // Old files that cannot be removed are no reason for a good build to fail.
    if let Err(error) = cache.prune() {
        eprintln!("cannot prune {}: {error:#}", setup.cache().display());
    }
    chapters::each(context, book, |chapter, name| {
        let Some(source) = checked.get(name) else { return Ok(()) };
        chapter.content = embed(&chapter.content, &source.marks, &rendered)
            .with_context(|| format!("the chapter {name} cannot be put together"))?;
        Ok(())
    })
}

fn unmade(chapters: &BTreeMap<String, Checked>, failures: &Failures) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, chapter) in chapters {
        for mark in chapter.marks.iter().flatten() {
            if let Some(reason) = failures.get(&(mark.kind, mark.name.clone())) {
                let message = format!("the {} `{}`: {reason}", mark.kind.word(), mark.name);
                problems.push(Problem { chapter: name.clone(), line: mark.line, message });
            }
        }
    }
    problems
}
