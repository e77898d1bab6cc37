//! What is calibrated on. Every text is in the public domain or free, and none shares a sentence with the
//! passage that is scored.

use std::path::Path;

use anyhow::{Context, Result};
use model::passage;

/// Verse of another author, as it travels with the course.
pub const PARADISE_LOST: &str = "Paradise Lost";
/// The licence that lab 04 calibrates on.
pub const LICENSE: &str = "Apache License 2.0";
/// The chapters of the scored book behind the scored ones: as near as a text can be.
pub const ALICE_LATER: &str = "Alice, chapters V to XII";
/// A play.
pub const AS_YOU_LIKE_IT: &str = "As You Like It";
/// Proceedings of a workshop on electronic texts.
pub const TECHNICAL: &str = "Workshop on Electronic Texts";

/// Files of the Canterbury corpus, with the SHA-256 of each.
const FILES: [(&str, &str, &str); 3] = [
    (
        ALICE_LATER,
        "alice29.txt",
        "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0",
    ),
    (AS_YOU_LIKE_IT, "asyoulik.txt", ASYOULIK),
    (TECHNICAL, "lcet10.txt", LCET10),
];
const ASYOULIK: &str = "eaa3526fe53859f34ecdf255712f9ecf0b2c903451d4755b2edaa2e2599cb0fc";
const LCET10: &str = "5314ba1dbb03f471df88bec6cd120a938ef60d0fd3511c5c1dce61bf7463245f";

/// The text of this name; `None` if the file is not in `folder`.
///
/// # Errors
/// If the file is another one than that of the corpus.
pub fn text(name: &str, folder: Option<&Path>) -> Result<Option<String>> {
    match name {
        PARADISE_LOST => return Ok(Some(passage::PARADISE_LOST.into())),
        LICENSE => return Ok(Some(passage::CALIBRATION.into())),
        _ => {}
    }
    let file = FILES.iter().find(|(known, ..)| *known == name);
    let (_, file, sha256) = file.with_context(|| format!("there is no text `{name}`"))?;
    let path = match folder.map(|folder| folder.join(file)) {
        Some(path) if path.exists() => path,
        _ => return Ok(None),
    };
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    anyhow::ensure!(
        crate::sha256::sha256(&bytes) == *sha256,
        "{} is another file than that of the Canterbury corpus: take it from tests/testdata of the source \
         archive of brotli 1.2.1",
        path.display()
    );
    let text = paragraphs(&String::from_utf8_lossy(&bytes));
    // The scored chapters are I to IV.
    if name == ALICE_LATER {
        let (_, later) = text.split_once("CHAPTER V\n\n").context("the book has no chapter V")?;
        return Ok(Some(later.into()));
    }
    Ok(Some(text))
}

/// Lines joined to paragraphs, as those of the passage are.
fn paragraphs(text: &str) -> String {
    let text = text.replace('\r', "");
    let joined =
        text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}
