//! Asking the page what a reader would see.

use anyhow::{Context, Result};

use super::Tab;

/// Defines `audit`, an object with a function for each question.
const SCRIPT: &str = include_str!("audit.js");

/// The themes that mdBook's picker offers.
pub const THEMES: [&str; 5] = ["light", "rust", "coal", "navy", "ayu"];

/// What is wrong with the page whatever its colours: overflow, figures, mathematics, fonts,
/// images, copy buttons, focus. Unfolds every hint first.
///
/// # Errors
/// If the browser does not answer.
pub fn layout(tab: &mut Tab<'_>) -> Result<Vec<String>> {
    ask(tab, "audit.layout()")
}

/// Text that is hard to read on its ground: below 4.5:1, or 3:1 if it is large (WCAG AA).
///
/// # Errors
/// If the browser does not answer.
pub fn contrast(tab: &mut Tab<'_>) -> Result<Vec<String>> {
    ask(tab, "audit.contrast()")
}

/// Of these font families, the ones that the page has not loaded.
///
/// # Errors
/// If the browser does not answer.
pub fn fonts_not_loaded(tab: &mut Tab<'_>, families: &[&str]) -> Result<Vec<String>> {
    ask(tab, &format!("audit.fontsNotLoaded({})", serde_json::to_string(families)?))
}

/// Chooses a theme as a reader does, by mdBook's menu.
///
/// # Errors
/// If the page has no such theme.
pub fn choose_theme(tab: &mut Tab<'_>, theme: &str) -> Result<()> {
    tab.evaluate(&format!("document.getElementById('mdbook-theme-{theme}').click()"))
        .with_context(|| format!("the page does not offer the theme {theme}"))?;
    Ok(())
}

fn ask(tab: &mut Tab<'_>, question: &str) -> Result<Vec<String>> {
    let findings = tab.evaluate(&format!("{SCRIPT}\n{question}"))?;
    serde_json::from_value(findings).context("the audit did not answer with a list")
}
