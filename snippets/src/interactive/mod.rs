//! Interactive figures: a drawing as in [`crate::figures`], and the data that a script of
//! `theme/interactive` brings it to life with.
//!
//! Without JavaScript, and on paper, the drawing is all there is, and it is enough. With it, the
//! script named by [`Interactive::widget`] adds inputs and a sentence about what they are set to.
//! Whatever number it says was computed here, by the labs, or by a function of the script that
//! `tests/tests/interactive.rs` holds to the labs'. `theme/README.md` says how one is added.

pub mod calculator;
pub mod card;
mod codes;
mod curves;
pub mod grid;
mod groups;
mod migration;
mod outlier;
pub mod outlook;
mod replay;
mod two_inputs;
mod zoo;

use std::sync::LazyLock;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::figures::svg::Drawing;
use crate::figures::{Figure, prose, svg_element};
use crate::inputs::{LAYERS, SLICE, ZOO};
use crate::{Embed, Entry};

/// Every interactive figure of the book that has a drawing.
pub static ALL: LazyLock<Vec<Entry<Interactive>>> = LazyLock::new(|| {
    vec![
        Entry::of("grid_and_scale", &SLICE, grid::grid_and_scale),
        Entry::computed("one_outlier_row", outlier::one_outlier_row),
        Entry::of("group_sizes", &SLICE, groups::group_sizes),
        Entry::of("migration_sides", &LAYERS, migration::migration_sides),
        Entry::computed("two_inputs", two_inputs::two_inputs),
        Entry::computed("codes_in_use", codes::codes_in_use),
        Entry::computed("calculator", calculator::calculator),
        Entry::of("zoo", &ZOO, zoo::zoo),
    ]
});

/// The data of one figure is no larger than this, in bytes.
const LARGEST: usize = 15_000;

/// A figure that a script brings to life.
pub struct Interactive {
    /// What is there without the script.
    pub figure: Figure,
    /// A question to answer before anything is moved.
    pub predict: String,
    /// What to do then, which is said only where a script can do it.
    pub then: String,
    /// Drawings that take the place of the first when the reader chooses so.
    pub others: Vec<Picture>,
    /// The script that brings it to life.
    pub widget: &'static str,
    /// What the script is given.
    pub data: Value,
}

/// A drawing, named and described.
pub struct Picture {
    /// What it is, in a few words.
    pub title: String,
    /// What a reader who cannot see it needs to know.
    pub alt: String,
    /// The drawing.
    pub drawing: Drawing,
}

impl Embed for Interactive {
    /// An HTML block without empty lines, so that Markdown leaves it alone.
    fn embed(&self, name: &str) -> Result<String> {
        let (id, data) = (format!("interactive-{name}"), script(&self.data));
        ensure!(data.len() <= LARGEST, "its data has {} bytes, more than {LARGEST}", data.len());
        let Figure { title, alt, drawing, caption } = &self.figure;
        let mut pictures = picture(&id, "", title, alt, drawing);
        for (index, other) in self.others.iter().enumerate() {
            let id = format!("{id}-{}", index + 1);
            pictures.push_str(&picture(&id, " hidden", &other.title, &other.alt, &other.drawing));
        }
        Ok(format!(
            "<figure class=\"plot interactive\" id=\"{id}\" data-snippet=\"interactive {name}\" \
             data-widget=\"{}\">\n<p class=\"predict\"><strong>Predict.</strong> {} \
             <span class=\"then\" hidden>{}</span></p>\n{pictures}<figcaption>{}</figcaption>\n\
             <script type=\"application/json\">{data}</script>\n</figure>\n",
            self.widget,
            prose(&self.predict),
            prose(&self.then),
            prose(caption),
        ))
    }
}

fn picture(id: &str, hidden: &str, title: &str, alt: &str, drawing: &Drawing) -> String {
    format!("<div class=\"picture\"{hidden}>\n{}\n</div>\n", svg_element(id, title, alt, drawing))
}

/// JSON that nothing between here and the page can take for markup, mathematics or code.
fn script(data: &Value) -> String {
    let mut text = String::new();
    for character in data.to_string().chars() {
        match character {
            '<' | '>' | '&' | '$' | '`' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_safe_in_a_page_and_still_the_same() -> Result<()> {
        let data = json!({"a": "</script> & $x$ `c` \"q\""});
        let text = script(&data);
        assert!(!text.contains(['<', '>', '&', '$', '`']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text)?, data);
        Ok(())
    }

    #[test]
    fn every_figure_asks_shows_explains_and_is_the_same_when_made_again() -> Result<()> {
        for entry in ALL.iter() {
            let (made, name) = (entry.make()?, entry.name);
            let html = made.embed(name)?;
            assert_eq!(html, entry.make()?.embed(name)?, "{name}: a second run differs");
            assert!(made.predict.contains('?'), "{name} asks nothing: {}", made.predict);
            assert!(made.then.ends_with('.'), "{name}: {}", made.then);
            assert!(made.figure.caption.ends_with('.') && made.figure.alt.ends_with('.'), "{name}");
            assert!(html.lines().all(|line| !line.trim().is_empty()), "{name}: an empty line");
            assert!(!html.contains(['$', '`']), "{name}: KaTeX would read a formula");
            assert!(!html.contains("{{#"), "{name}: it would look like a mark");
            assert!(html.len() < 90_000, "{name}: {} bytes", html.len());
            let pictures = html.matches("<svg ").count();
            assert_eq!(pictures, 1 + made.others.len(), "{name}");
            assert_eq!(html.matches("<div class=\"picture\" hidden>").count(), pictures - 1);
        }
        Ok(())
    }

    #[test]
    fn names_are_used_once() {
        let mut names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
