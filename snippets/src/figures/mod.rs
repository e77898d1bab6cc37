//! Figures, drawn by plotters from runs of the labs.

use crate::Entry;

/// Every figure of the book.
pub const ALL: &[Entry<Figure>] = &[];

/// A drawn figure.
pub struct Figure {
    /// What it shows, in a sentence or two under the figure. Markdown is not interpreted.
    pub caption: String,
    /// What a reader who cannot see it needs to know.
    pub alt: String,
    /// The drawing: an `<svg>` element.
    pub svg: String,
}

impl Figure {
    /// An HTML block without empty lines, so that Markdown leaves it alone.
    pub fn to_html(&self, _name: &str) -> String {
        String::new()
    }
}
