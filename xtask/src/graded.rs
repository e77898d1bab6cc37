//! Functions for grading one lab and for the summary of all labs.

use std::path::Path;

use anyhow::{Context, Result};
use xtask::labs::Lab;
use xtask::spec::{Outcome, Spec};
use xtask::workspace;

use crate::progress;

/// The spec of a lab, compiled with the reader's `starter` or with the known answers that are `wrong`.
///
/// # Errors
/// If it does not compile; the cause is what the compiler says.
pub fn compile(lab: &Lab, implementation: &str) -> Result<Spec> {
    let (with, file) = match implementation {
        "starter" => ("your starter", lab.starter()),
        _ => ("known wrong answers", lab.wrong_answers()),
    };
    let label = format!("compiling {} with {with}", lab.short_name());
    Spec::compile(lab, implementation, |command| {
        let colour = if console::colors_enabled_stderr() { "always" } else { "never" };
        progress::run(&label, command.env("CARGO_TERM_COLOR", colour))
    })
    .with_context(|| format!("{} does not compile yet", relative(&file)))
}

/// The failure to look at first. A body that is still `todo!` comes last, because a wrong answer teaches
/// more than a missing one.
pub fn look_first<N>(failures: &[(N, Outcome)]) -> Option<&(N, Outcome)> {
    failures.iter().find(|failure| !is_todo(failure)).or(failures.first())
}

/// Whether a test failed because a body is not written yet.
pub fn is_todo<N>((_, outcome): &(N, Outcome)) -> bool {
    outcome.is_todo()
}

/// A path as the reader sees it from the root of the repository.
pub fn relative(path: &Path) -> String {
    let root = workspace::root();
    path.strip_prefix(&root).unwrap_or(path).display().to_string()
}
