//! What plotters wrote, made fit for the page: CSS variables for colours, the page's font, no size
//! of its own, nothing said twice.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::style::Pen;

/// A drawing: the inside of an `<svg>` element and the size of its canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Width of the canvas in units.
    pub width: u32,
    /// Height of the canvas in units.
    pub height: u32,
    /// The elements.
    pub body: String,
}

/// An element. Its place is its own; neighbours with the same paint are written as one group.
struct Element {
    tag: String,
    place: String,
    paint: String,
    text: Option<String>,
}

impl Drawing {
    /// Rewrites the SVG document that plotters drew.
    ///
    /// # Errors
    /// If it holds a line or a colour that is not one of ours.
    pub fn from_plotters(document: &str, width: u32, height: u32) -> Result<Self> {
        let elements = elements(document)?;
        let mut body = String::new();
        for group in elements.chunk_by(|a, b| a.paint == b.paint) {
            write_group(&mut body, group);
        }
        Ok(Self { width, height, body })
    }
}

/// Text for the inside of an element or an attribute. KaTeX runs later and takes dollars for
/// formulas.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('$', "&#36;")
}

/// Elements that are painted alike say so once.
fn write_group(body: &mut String, group: &[Element]) {
    let shared = group.len() > 1;
    if shared {
        let _ = write!(body, "<g{}>", group[0].paint);
    }
    for element in group {
        let paint = if shared { "" } else { element.paint.as_str() };
        let _ = write!(body, "<{}{}{paint}", element.tag, element.place);
        let _ = match &element.text {
            Some(text) => write!(body, ">{text}</{}>", element.tag),
            None => write!(body, "/>"),
        };
    }
    body.push_str(if shared { "</g>\n" } else { "\n" });
}

/// plotters writes an element a line, and a text in three: opening, content, closing.
fn elements(document: &str) -> Result<Vec<Element>> {
    let mut lines = document.lines();
    let mut elements = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("<svg ") || line == "</svg>" {
            continue;
        }
        let mut element = element(line).with_context(|| format!("plotters wrote {line}"))?;
        if element.tag == "text" {
            element.text = Some(lines.next().unwrap_or_default().replace('$', "&#36;"));
            lines.next();
        }
        elements.push(element);
    }
    Ok(elements)
}

fn element(line: &str) -> Result<Element> {
    let inside = line.strip_prefix('<').context("not an element")?;
    let inside = inside.trim_end_matches(['>', '/']);
    let (tag, mut rest) = inside.split_once(' ').context("no attributes")?;
    let (mut place, mut paint) = (String::new(), String::new());
    while let Some((name, after)) = rest.trim_start().split_once("=\"") {
        let (value, after) = after.split_once('"').context("an open quotation mark")?;
        match name {
            "fill" | "stroke" => paint.push_str(&colour(name, value)?),
            // Defaults of SVG, of which a figure has hundreds.
            "opacity" | "stroke-width" if value == "1" => {}
            "opacity" | "stroke-width" => write!(paint, " {name}=\"{value}\"")?,
            "font-size" => write!(paint, " {name}=\"{:.0}\"", value.parse::<f64>()?)?,
            "text-anchor" if value == "start" => {}
            // The page chooses the font: `svg_element` says `inherit`.
            "font-family" => {}
            _ => write!(place, " {name}=\"{}\"", value.trim_end())?,
        }
        rest = after;
    }
    Ok(Element { tag: tag.into(), place, paint, text: None })
}

fn colour(name: &str, value: &str) -> Result<String> {
    if value == "none" {
        // Nothing is stroked unless asked; everything is filled unless told not to.
        return Ok(if name == "fill" { " fill=\"none\"".into() } else { String::new() });
    }
    let Some(pen) = Pen::from_hex(value) else { bail!("the colour {value} is no pen's") };
    let mut attributes = format!(" {name}=\"var({})\"", pen.ink.variable());
    if let Some(array) = pen.dash.array() {
        write!(attributes, " stroke-dasharray=\"{array}\"")?;
    }
    if pen.halo {
        attributes
            .push_str(" stroke=\"var(--plot-bg)\" stroke-width=\"40\" paint-order=\"stroke\"");
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_painted_alike_share_a_group() -> Result<()> {
        let document = "<svg width=\"10\" height=\"5\">\n\
            <circle cx=\"1\" cy=\"2\" r=\"3\" opacity=\"1\" fill=\"#010000\" stroke=\"none\" stroke-width=\"1\"/>\n\
            <circle cx=\"4\" cy=\"2\" r=\"3\" opacity=\"1\" fill=\"#010000\" stroke=\"none\" stroke-width=\"1\"/>\n\
            <polyline fill=\"none\" opacity=\"0.5\" stroke=\"#020100\" stroke-width=\"9\" points=\"1,2 3,4 \"/>\n\
            </svg>\n";
        let drawing = Drawing::from_plotters(document, 10, 5)?;
        let expected = "<g fill=\"var(--plot-1)\">\
            <circle cx=\"1\" cy=\"2\" r=\"3\"/><circle cx=\"4\" cy=\"2\" r=\"3\"/></g>\n\
            <polyline points=\"1,2 3,4\" fill=\"none\" opacity=\"0.5\" \
            stroke=\"var(--plot-2)\" stroke-dasharray=\"110 60\" stroke-width=\"9\"/>\n";
        assert_eq!(drawing.body, expected);
        Ok(())
    }

    #[test]
    fn text_takes_the_pages_font_and_hides_its_dollars() -> Result<()> {
        let document = "<text x=\"1\" y=\"2\" dy=\"0.5ex\" text-anchor=\"end\" \
            font-family=\"sans-serif\" font-size=\"16.129\" opacity=\"1\" fill=\"#060000\">\n\
            5 $ a &lt; b\n</text>\n";
        let body = Drawing::from_plotters(document, 10, 5)?.body;
        let expected = "<text x=\"1\" y=\"2\" dy=\"0.5ex\" text-anchor=\"end\" font-size=\"16\" \
            fill=\"var(--plot-ink)\">5 &#36; a &lt; b</text>\n";
        assert_eq!(body, expected);
        Ok(())
    }

    #[test]
    fn a_foreign_colour_is_refused() {
        let document = "<circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"#FF0000\"/>\n";
        let error = Drawing::from_plotters(document, 10, 5).unwrap_err();
        assert!(format!("{error:#}").contains("#FF0000"), "{error:#}");
    }

    #[test]
    fn escaped_text_is_safe_in_markup() {
        assert_eq!(escape("a < b & \"c\" > $d"), "a &lt; b &amp; &quot;c&quot; &gt; &#36;d");
    }
}
