//! `book-tables [CHAPTER]`: how the tables and values of the book, or of a chapter, read with this
//! build's labs, beside their snapshots. `cargo book tables` builds it with the reader's starters.

// The snapshots are nothing that an entry is made of.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use snippets::moved::{Moved, moved};
use snippets::pinned;

fn main() -> ExitCode {
    // Quiet, because a `todo!` is expected here and a panic is reported with its table.
    std::panic::set_hook(Box::new(|_| ()));
    run(std::env::args_os().nth(1).as_deref().map(Path::new)).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints each comparison; the exit code is 0 if no text differs.
fn run(chapter: Option<&Path>) -> Result<ExitCode> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let source = chapter.map(read).transpose()?;
    let is_asked = |pinned: &pinned::Pinned| {
        source.as_ref().is_none_or(|source| pinned.is_embedded_in(source))
    };
    let mut counts = [0; 3];
    for pinned in pinned::all().into_iter().filter(is_asked) {
        let name = pinned.name();
        let snapshot = pinned::snapshots().join(format!("{name}.snap"));
        let moved = moved(&pinned, &read(&snapshot)?);
        counts[match moved {
            Moved::Unchanged => 0,
            Moved::NotWritten => 1,
            Moved::Rows(_) | Moved::Failed(_) => 2,
        }] += 1;
        println!("{name}: {moved}");
    }
    let [unchanged, unwritten, differ] = counts;
    println!("\n{unchanged} unchanged, {differ} moved, {unwritten} not written yet");
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
