//! The card reader: any card's string, read in the page by the grammar of `formats::card`.
//!
//! It is a list of answers and no drawing, so it is a figure of its own kind. Without its script it
//! shows the answers to one card.

use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use formats::card::{Answers, CARDS, export, read};
use serde_json::json;

use super::script;
use crate::figures::escape;
use crate::figures::prose;
use crate::{Embed, Entry};

/// The one figure of this kind.
pub static ALL: LazyLock<Vec<Entry<CardReader>>> =
    LazyLock::new(|| vec![Entry::computed("card_reader", CardReader::new)]);

/// The card that is read without a script.
const FIRST: &str = "TheBloke/Llama-2-13B-chat-GPTQ";

/// The answers to the first card.
pub struct CardReader(Answers);

impl CardReader {
    fn new() -> Result<Self> {
        Ok(Self(read(FIRST).map_err(|error| anyhow!("{FIRST}: {error}"))?.answers))
    }
}

impl Embed for CardReader {
    /// An HTML block without empty lines, so that Markdown leaves it alone.
    fn embed(&self, name: &str) -> Result<String> {
        let data =
            script(&json!({ "grammar": export(), "cards": CARDS.as_slice(), "first": FIRST }));
        Ok(format!(
            "<figure class=\"reader\" id=\"interactive-{name}\" data-snippet=\"interactive {name}\" \
             data-widget=\"card\">\n<p class=\"predict\"><strong>Predict.</strong> {}</p>\n\
             <dl class=\"answers\" aria-label=\"What the card says\">{}</dl>\n<figcaption>{}</figcaption>\n\
             <script type=\"application/json\">{data}</script>\n</figure>\n",
            prose(
                "Which of these answers does the name itself state, and which are only usual with its words?"
            ),
            rows(&self.0),
            prose(
                "A card read as the three answers. What is marked as usual is custom, not stated."
            ),
        ))
    }
}

/// The answers as terms and descriptions, as the script writes them.
fn rows(answers: &Answers) -> String {
    let mut rows = vec![("card", FIRST)];
    rows.extend([
        ("reads as", answers.canonical.as_str()),
        ("weights", &answers.weights),
        ("granularity", &answers.granularity),
        ("activations", &answers.activations),
        ("KV cache", &answers.kv),
        ("bits a weight", &answers.bits),
    ]);
    rows.extend(answers.open.iter().map(|text| ("open", text.as_str())));
    rows.extend(answers.notes.iter().map(|text| ("note", text.as_str())));
    let row = |(what, said): &(&str, &str)| {
        // Backticks stay out of the page: KaTeX and Markdown have plans for them.
        format!("<dt>{what}</dt><dd>{}</dd>", escape(&said.replace('`', "\"")))
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_safe_in_a_page_and_not_too_large() -> Result<()> {
        let html = CardReader::new()?.embed("card_reader")?;
        assert!(html.lines().all(|line| !line.trim().is_empty()), "an empty line ends the block");
        assert!(
            !html.contains(['$', '`']) && !html.contains("{{#"),
            "something would be read in it"
        );
        assert!(html.len() < 60_000, "{} bytes", html.len());
        Ok(())
    }
}
