//! axe-core, the accessibility checker, run in a page.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Tab;

/// The version that the tests bring along (`tests/vendor`).
pub const VERSION: &str = "4.14.1";
const AXE: &str = include_str!("../../vendor/axe-core-4.14.1/axe.min.js");

/// A function of axe's options that answers with sentences.
const SCRIPT: &str = include_str!("axe.js");

/// Which of axe's rules are asked.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// All that axe asks by itself: WCAG 2.0 to 2.2, A and AA, and good practice.
    All,
    /// Those about colours: what another theme can change.
    Colours,
    /// Those about places and sizes: what another width can change.
    Sizes,
}

impl Rules {
    /// The options that mean them.
    fn options(self) -> Value {
        // The size of targets is WCAG 2.2, which axe does not ask unless it is told to.
        let only = |rules: &[&str]| json!({"runOnly": {"type": "rule", "values": rules}});
        match self {
            Self::All => json!({"rules": {"target-size": {"enabled": true}}}),
            Self::Colours => only(&["color-contrast", "link-in-text-block"]),
            Self::Sizes => only(&["scrollable-region-focusable", "target-size"]),
        }
    }
}

/// Brings axe into the page that is open.
///
/// # Errors
/// If the browser does not answer, or axe is not the version that the tests mean.
pub fn load(tab: &mut Tab<'_>) -> Result<()> {
    let version = tab.evaluate(&format!("{AXE}\naxe.version"))?;
    anyhow::ensure!(version == VERSION, "tests/vendor holds axe-core {version}, not {VERSION}");
    Ok(())
}

/// The serious and critical violations of these rules: the rule, what it wants, and the elements
/// that break it. Unfolds every hint first. The page must have axe: [`load`].
///
/// # Errors
/// If the browser or axe does not answer.
pub fn violations(tab: &mut Tab<'_>, rules: Rules) -> Result<Vec<String>> {
    let found = tab.evaluate(&format!("({})({})", SCRIPT.trim_end(), rules.options()))?;
    serde_json::from_value(found).context("axe did not answer with a list")
}
