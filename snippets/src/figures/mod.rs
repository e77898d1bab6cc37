//! Figures, drawn by plotters from runs of the labs.
//!
//! A file per chapter. Axes and marks are in [`plot`], colours and sizes in [`style`], and [`svg`]
//! makes what plotters wrote fit for the page.

mod choose;
mod cost_model;
mod decoder_layer;
mod dequantization;
pub mod gptq;
mod gpu;
mod histogram;
mod kv_cache;
mod lab_01;
mod lab_03;
mod lab_04;
mod lab_06;
mod lab_07;
mod lab_08;
mod lab_09;
mod lab_10;
mod landscape;
mod layouts;
pub mod measured;
mod mental_model;
mod outliers;
pub(crate) mod plot;
mod rounding;
mod rules;
pub(crate) mod style;
pub(crate) mod svg;
pub(crate) mod two_moves;

use std::sync::LazyLock;

use anyhow::Result;

use crate::inputs::{AWQ, CACHES, CPU, GPTQ, GPU, GRIDS, KV, LAYERS, METERS, MODEL, SLICE};
use crate::{Embed, Entry};
// What a figure is drawn with.
pub(crate) use plot::{Axis, Key, Layout, Plot, axis_percent, draw, plain};
pub(crate) use plotters::style::text_anchor::HPos;
pub(crate) use style::{Ink, MARKER, Mark, Pen, Shape, TEXT};
pub(crate) use svg::{Drawing, escape};

/// Every figure of the book.
pub static ALL: LazyLock<Vec<Entry<Figure>>> = LazyLock::new(|| {
    vec![
        Entry::of("grid_snap", &SLICE, mental_model::grid_snap),
        Entry::of("weights_and_grids", &SLICE, mental_model::weights_and_grids),
        Entry::of("row_ranges", &SLICE, mental_model::row_ranges),
        Entry::of("granularity_codes", &SLICE, lab_01::granularity_codes),
        Entry::computed("outlier_row", lab_01::outlier_row),
        Entry::of("real_row_errors", &SLICE, lab_01::real_row_errors),
        Entry::of("real_tensor_errors", &SLICE, lab_01::real_tensor_errors),
        Entry::computed("group_window", lab_03::group_window),
        Entry::computed("layout_words", layouts::words),
        Entry::computed("layout_blocks", layouts::blocks),
        Entry::computed("rounding_stairs", rounding::rounding_stairs),
        Entry::of("rounding_error_distribution", &SLICE, rounding::rounding_error_distribution),
        Entry::of("clip_tradeoff", &SLICE, rounding::clip_tradeoff),
        Entry::of("bits_sqnr", &SLICE, rounding::bits_sqnr),
        Entry::computed("rules_grids", rules::rules_grids),
        Entry::of("matvec_roofline", &CPU, dequantization::matvec_roofline),
        Entry::of("choose_format", (&METERS, &GPU), choose::decision),
        Entry::of("measured_ours", &METERS, |of| measured::of(&of.ours)),
        Entry::of("measured_vllm", &METERS, |of| measured::of(&of.vllm)),
        Entry::of("gpu_gains", &GPU, gpu::gains),
        Entry::computed("layer_matrices", decoder_layer::matrices),
        Entry::computed("cost_crossover", cost_model::crossover),
        Entry::computed("cost_context", cost_model::context),
        Entry::computed("alpha_sweep", lab_04::alpha_sweep),
        Entry::computed("number_lines", lab_08::number_lines),
        Entry::computed("e8m0_rounding", lab_08::e8m0_rounding),
        Entry::of("grid_perplexities", &GRIDS, lab_08::perplexities),
        Entry::of("kv_cost", &KV, kv_cache::cost),
        Entry::computed("shape_decides", lab_08::shape_decides),
        Entry::of("kv_keys", &CACHES, lab_09::keys),
        Entry::of("kv_values", &CACHES, lab_09::values),
        Entry::of("kv_sinks", &CACHES, lab_09::sinks),
        Entry::of("rotation_before", &LAYERS, lab_10::before),
        Entry::of("rotation_after", &LAYERS, lab_10::after),
        Entry::of("rotation_both_kinds", &LAYERS, lab_10::both_kinds),
        Entry::of("landscape_before", &LAYERS, landscape::before),
        Entry::of("landscape_after", &LAYERS, landscape::after),
        Entry::of("model_ratios_norm", &MODEL, outliers::model_ratios_norm),
        Entry::of("model_ratios_other", &MODEL, outliers::model_ratios_other),
        Entry::of("residual_peaks", &MODEL, outliers::residual_peaks),
        Entry::of("model_alpha", &MODEL, outliers::model_alpha),
        Entry::computed("two_weights", two_moves::two_weights),
        Entry::of("gptq_travel", &LAYERS, lab_06::travel),
        Entry::of("gptq_left", &LAYERS, lab_06::left),
        Entry::of("calibration_damping", &LAYERS, lab_06::damping),
        Entry::of("awq_salience", &LAYERS, lab_07::salience),
        Entry::of("awq_valley", &LAYERS, lab_07::valley),
        Entry::of("gptq_perplexity", &GPTQ, gptq::perplexity),
        Entry::of("gptq_layers", &GPTQ, gptq::layers),
        Entry::of("awq_ratios", &AWQ, lab_07::chosen),
    ]
});

/// A sentence for the page: a number and its unit stay on one line.
pub(crate) fn prose(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%").replace(" dB", "\u{a0}dB")
}

/// The name of a real tensor as a sentence begins with it: `Layer 29 q_proj`.
fn subject(tensor: &str) -> String {
    kit::real_slice::label(tensor).replacen('l', "L", 1)
}

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

impl Embed for Figure {
    /// An HTML block without empty lines, so that Markdown leaves it alone.
    fn embed(&self, name: &str) -> Result<String> {
        let caption = prose(&self.caption);
        Ok(format!(
            "<figure class=\"plot\" id=\"figure-{name}\" data-snippet=\"figure {name}\">\n{}\n\
             <figcaption>{caption}</figcaption>\n</figure>\n",
            svg_element(&format!("figure-{name}"), &self.title, &self.alt, &self.drawing)
        ))
    }
}

impl Figure {
    /// A file of its own, in the colours that the book's light theme gives its figures.
    pub fn to_file(&self) -> String {
        const PALETTE: &str = include_str!("../../../theme/palette.css");
        let light = PALETTE.split('}').find(|block| block.contains("--plot-1")).unwrap_or_default();
        let colours: Vec<&str> =
            light.lines().map(str::trim).filter(|line| line.starts_with("--plot-")).collect();
        let style = format!(
            "<style>svg {{ {} background: var(--plot-bg); font-family: sans-serif; }}</style>",
            colours.join(" ")
        );
        let svg = svg_element("measured", &self.title, &self.alt, &self.drawing);
        let (open, rest) = svg.split_once('>').unwrap_or((&svg, ""));
        format!("{open} xmlns=\"http://www.w3.org/2000/svg\">{style}{rest}\n")
    }
}

/// The `<svg>` element: as wide as the page allows, named and described for screen readers. `id` is
/// what the ids of name and description begin with.
pub(crate) fn svg_element(id: &str, title: &str, alt: &str, drawing: &Drawing) -> String {
    let Drawing { width, height, body } = drawing;
    let (title, alt) = (escape(title), escape(alt));
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" font-family=\"inherit\" \
         stroke-linejoin=\"round\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{title}</title>\n\
         <desc id=\"{id}-desc\">{alt}</desc>\n{body}</svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every figure as HTML, drawn anew.
    fn drawn() -> Result<Vec<(&'static str, String)>> {
        let html = |entry: &Entry<Figure>| Ok((entry.name, entry.make()?.embed(entry.name)?));
        ALL.iter().map(html).collect()
    }

    /// The same, drawn once for all tests.
    static HTML: LazyLock<Vec<(&'static str, String)>> =
        LazyLock::new(|| drawn().expect("every figure can be drawn"));

    /// The values of the attribute `name`, in order.
    fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
        let start = format!(" {name}=\"");
        html.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn a_second_run_draws_the_same_bytes() -> Result<()> {
        assert_eq!(*HTML, drawn()?);
        Ok(())
    }

    #[test]
    fn every_figure_is_named_described_and_captioned() -> Result<()> {
        for entry in ALL.iter() {
            let figure = entry.make()?;
            assert!(figure.caption.ends_with('.') && figure.alt.ends_with('.'), "{}", entry.name);
            assert!(!figure.title.is_empty(), "{}", entry.name);
            let html = figure.embed(entry.name)?;
            let [labels] = attributes(&html, "aria-labelledby")[..] else {
                panic!("{} needs one aria-labelledby", entry.name)
            };
            let ids = attributes(&html, "id");
            assert!(labels.split(' ').all(|id| ids.contains(&id)), "{}: {labels}", entry.name);
        }
        Ok(())
    }

    #[test]
    fn names_and_ids_are_used_once() {
        let ids: Vec<&str> = HTML.iter().flat_map(|(_, html)| attributes(html, "id")).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        assert_eq!(ids.len(), 3 * ALL.len());
    }

    #[test]
    fn colours_are_variables_of_the_theme() {
        for (name, html) in HTML.iter() {
            for attribute in ["fill", "stroke"] {
                for colour in attributes(html, attribute) {
                    let known = colour.starts_with("var(--plot-") || colour == "none";
                    assert!(known, "{name}: {attribute}={colour}");
                }
            }
            assert!(!html.replace("&#36;", "").contains('#'), "{name}");
        }
    }

    #[test]
    fn markdown_and_katex_leave_a_figure_alone() {
        for (name, html) in HTML.iter() {
            assert!(html.lines().all(|line| !line.trim().is_empty()), "{name}: an empty line");
            assert!(!html.contains('$'), "{name}: KaTeX would read a formula");
        }
    }

    #[test]
    fn a_figure_stays_small_and_scales_with_the_page() {
        for (name, html) in HTML.iter() {
            assert!(html.len() < 60_000, "{name}: {} bytes", html.len());
            let svg = html.split('>').find(|tag| tag.contains("<svg")).unwrap_or_default();
            assert!(svg.contains(" viewBox=\"0 0 5600 "), "{name}: {svg}");
            assert!(!svg.contains(" width=") && !svg.contains(" height="), "{name}: {svg}");
        }
    }

    #[test]
    fn every_coordinate_is_a_number_on_the_canvas() -> Result<()> {
        for (name, html) in HTML.iter() {
            let points =
                attributes(html, "points").into_iter().flat_map(|list| list.split([' ', ',']));
            let others = ["x", "y", "cx", "cy"].into_iter().flat_map(|axis| attributes(html, axis));
            for number in points.chain(others) {
                let value: i32 = number.parse()?;
                assert!((0..=style::WIDTH as i32).contains(&value), "{name}: {number}");
            }
        }
        Ok(())
    }

    #[test]
    fn no_text_runs_off_the_canvas() -> Result<()> {
        for (name, html) in HTML.iter() {
            for text in html.split("<text").skip(1) {
                let (tag, rest) = text.split_once('>').unwrap_or_default();
                let content = rest.split('<').next().unwrap_or_default();
                let x: f64 = attributes(tag, "x")[0].parse()?;
                // Just over half an em a character: wider than the fonts of most pages.
                let width = content.chars().count() as f64 * style::TEXT * 0.56;
                let start = match attributes(tag, "text-anchor").first() {
                    Some(&"middle") => x - width / 2.0,
                    Some(&"end") => x - width,
                    _ => x,
                };
                let end = start + width;
                let inside = start >= 0.0 && end <= f64::from(style::WIDTH);
                assert!(inside, "{name}: «{content}» spans {start:.0} to {end:.0}");
            }
        }
        Ok(())
    }
}
