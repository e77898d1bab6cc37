//! Figures, drawn by plotters from runs of the labs.
//!
//! A file per chapter. Axes and marks are in [`plot`], colours and sizes in [`style`], and [`svg`]
//! makes what plotters wrote fit for the page.

mod grid;
mod histogram;
mod lab_01;
mod mental_model;
mod plot;
mod rounding;
mod rows;
mod style;
mod svg;

use crate::Entry;
use svg::{Drawing, escape};

/// Every figure of the book.
pub const ALL: &[Entry<Figure>] = &[
    Entry { name: "grid_snap", make: mental_model::grid_snap },
    Entry { name: "weights_and_grids", make: mental_model::weights_and_grids },
    Entry { name: "row_ranges", make: mental_model::row_ranges },
    Entry { name: "granularity_codes", make: lab_01::granularity_codes },
    Entry { name: "outlier_row", make: lab_01::outlier_row },
    Entry { name: "real_row_errors", make: lab_01::real_row_errors },
    Entry { name: "real_tensor_errors", make: lab_01::real_tensor_errors },
    Entry { name: "rounding_stairs", make: rounding::rounding_stairs },
    Entry { name: "rounding_error_distribution", make: rounding::rounding_error_distribution },
    Entry { name: "clip_tradeoff", make: rounding::clip_tradeoff },
    Entry { name: "bits_sqnr", make: rounding::bits_sqnr },
];

/// A drawn figure.
pub struct Figure {
    /// What it is, in a few words: its name for those who cannot see it.
    pub title: String,
    /// What it shows, in a sentence or two under the figure. Markdown is not interpreted.
    pub caption: String,
    /// What a reader who cannot see it needs to know.
    pub alt: String,
    /// The drawing.
    pub drawing: Drawing,
}

impl Figure {
    /// An HTML block without empty lines, so that Markdown leaves it alone.
    pub fn to_html(&self, name: &str) -> String {
        let caption = escape(&self.caption);
        format!(
            "<figure class=\"plot\" id=\"figure-{name}\" data-snippet=\"figure {name}\">\n{}\n\
             <figcaption>{caption}</figcaption>\n</figure>\n",
            self.to_svg(name)
        )
    }

    /// The `<svg>` element: as wide as the page allows, named and described for screen readers.
    fn to_svg(&self, name: &str) -> String {
        let Drawing { width, height, body } = &self.drawing;
        let (title, alt) = (escape(&self.title), escape(&self.alt));
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"inherit\" \
             stroke-linejoin=\"round\" \
             aria-labelledby=\"figure-{name}-title figure-{name}-desc\">\n\
             <title id=\"figure-{name}-title\">{title}</title>\n\
             <desc id=\"figure-{name}-desc\">{alt}</desc>\n{body}</svg>"
        )
    }
}
