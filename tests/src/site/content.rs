//! What the pages say: nothing unfinished, nothing unrendered, nothing without its words.

use regex::Regex;
use scraper::ElementRef;

use super::{Page, Site, excerpt, selector, words};

/// Marks of the preprocessors that reached the page: `{{#figure …}}`, `{{#include …}}`.
pub fn leftover_marks(site: &Site) -> Vec<String> {
    site.pages()
        .iter()
        .filter_map(|page| {
            let source = page.html.html();
            let at = source.find("{{#")?;
            Some(page.finding(format!("a mark is left over: {}", excerpt(&source[at..]))))
        })
        .collect()
}

/// Mathematics that KaTeX did not turn into signs, or could not.
pub fn unrendered_math(site: &Site) -> Vec<String> {
    let tex = Regex::new(r"\$\$|\\[(\[]|\\[a-zA-Z]{3,}|\$[^$\s][^$]*[_^\\][^$]*\$");
    let tex = tex.unwrap_or_else(|error| panic!("{error}"));
    let mut findings = Vec::new();
    for page in site.pages() {
        for error in page.select("main .katex-error") {
            findings.push(page.finding(format!("KaTeX refused {}", excerpt(&words(error)))));
        }
        for text in prose(page) {
            if let Some(found) = tex.find(&text) {
                let rest = excerpt(&text[found.start()..]);
                findings.push(page.finding(format!("TeX is left as it was typed: {rest}")));
            }
        }
    }
    findings
}

/// The text nodes of a page that are neither code nor mathematics.
fn prose(page: &Page) -> Vec<String> {
    let other = ["code", "pre", "kbd", "math", "annotation", "script", "style"];
    let mut texts = Vec::new();
    for main in page.select("main") {
        for node in main.descendants() {
            let Some(text) = node.value().as_text() else { continue };
            let mut around = node.ancestors().filter_map(ElementRef::wrap);
            if !around.any(|element| other.contains(&element.value().name())) {
                texts.push(text.to_string());
            }
        }
    }
    texts
}

/// Chapters without a title, or with none or several first-level headings.
pub fn headings_and_titles(site: &Site) -> Vec<String> {
    let mut findings = Vec::new();
    for page in site.chapters() {
        // mdBook's menu bar has an `h1` of its own, outside of `main`.
        let headings = page.select("main h1");
        if headings.len() != 1 {
            findings.push(page.finding(format!("{} first-level headings, not 1", headings.len())));
        }
        if headings.iter().any(|heading| words(*heading).is_empty()) {
            findings.push(page.finding("the first-level heading is empty"));
        }
        if page.select("head > title").first().is_none_or(|title| words(*title).is_empty()) {
            findings.push(page.finding("it has no title"));
        }
    }
    findings
}

/// Figures without a drawing, without a name for those who cannot see it, or without a caption.
pub fn incomplete_figures(site: &Site) -> Vec<String> {
    let mut findings = Vec::new();
    for page in site.chapters() {
        for figure in page.select("figure.plot") {
            let caption = figure.select(&selector("figcaption")).map(words).next();
            let name = caption.clone().or(figure.attr("id").map(str::to_owned));
            let name = excerpt(&name.unwrap_or_default());
            let Some(svg) = figure.select(&selector("svg")).next() else {
                findings.push(page.finding(format!("figure «{name}» has no drawing")));
                continue;
            };
            if !is_named(page, svg) {
                findings.push(page.finding(format!("the drawing of figure «{name}» has no name")));
            }
            if caption.is_none_or(|caption| caption.is_empty()) {
                findings.push(page.finding(format!("figure «{name}» has no caption")));
            }
        }
    }
    findings
}

/// Interactive figures that ask nothing, whose data is not JSON, or that show more than one drawing
/// before a script has run.
pub fn broken_interactives(site: &Site) -> Vec<String> {
    let mut findings = Vec::new();
    for page in site.chapters() {
        for figure in page.select("figure.interactive") {
            let name = figure.attr("id").unwrap_or_default();
            let mut finding = |what: &str| {
                findings.push(page.finding(format!("interactive figure «{name}» {what}")));
            };
            let data = figure.select(&selector("script[type='application/json']")).next();
            let data = data.map(|script| script.text().collect::<String>()).unwrap_or_default();
            if serde_json::from_str::<serde_json::Value>(&data).is_err() {
                finding("has no data that a script could read");
            }
            if figure.attr("data-widget").is_none_or(str::is_empty) {
                finding("names no script");
            }
            if figure.select(&selector(".predict")).next().is_none_or(|p| !words(p).contains('?')) {
                finding("asks nothing");
            }
            if figure.select(&selector(".picture:not([hidden])")).count() != 1 {
                finding("does not show one drawing without its script");
            }
        }
    }
    findings
}

/// Whether a screen reader has something to say: a label, or a title that is not empty.
fn is_named(page: &Page, svg: ElementRef<'_>) -> bool {
    let label = svg.attr("aria-label").is_some_and(|label| !label.trim().is_empty());
    let titles = selector("title");
    let title = svg.select(&titles).any(|title| !words(title).is_empty());
    let referred = svg.attr("aria-labelledby").is_none_or(|ids| {
        let known = page.fragments();
        ids.split_whitespace().all(|id| known.contains(id))
    });
    (label || title) && referred
}

/// Images without an alternative text. An empty one says that the image is decoration.
pub fn images_without_words(site: &Site) -> Vec<String> {
    site.chapters()
        .flat_map(|page| {
            page.select("main img:not([alt])").into_iter().map(move |image| {
                let source = image.attr("src").unwrap_or_default();
                page.finding(format!("image {source} has no alternative text"))
            })
        })
        .collect()
}

/// Table rows with fewer or more cells than the table has columns, and tables without a row.
pub fn ragged_tables(site: &Site) -> Vec<String> {
    let (heads, rows) = (selector("thead th"), selector("tbody tr"));
    let (cells, any_cell) = (selector("td, th"), selector("td, th, caption"));
    let mut findings = Vec::new();
    for page in site.chapters() {
        for table in page.select("main table") {
            let columns = span(table.select(&heads));
            let name = table.select(&any_cell).next().map(words).unwrap_or_default();
            if table.select(&rows).next().is_none() {
                findings.push(page.finding(format!("the table that starts «{name}» has no rows")));
            }
            for row in table.select(&rows) {
                let found = span(row.select(&cells));
                if columns != found {
                    let start = excerpt(&words(row));
                    findings.push(page.finding(format!(
                        "a table of {columns} columns has a row of {found} cells: {start}"
                    )));
                }
            }
        }
    }
    findings
}

/// How many columns these cells take.
fn span<'a>(cells: impl Iterator<Item = ElementRef<'a>>) -> usize {
    cells.map(|cell| cell.attr("colspan").and_then(|span| span.parse().ok()).unwrap_or(1)).sum()
}

/// Code blocks with nothing in them: what mdBook makes of an anchor that does not exist.
pub fn empty_code(site: &Site) -> Vec<String> {
    let mut findings = Vec::new();
    for page in site.chapters() {
        let mut before = "the start of the page".to_owned();
        for element in page.select("main h1, main h2, main h3, main pre > code") {
            if element.value().name() != "code" {
                before = format!("«{}»", words(element));
            } else if words(element).is_empty() {
                findings.push(page.finding(format!("a code block after {before} is empty")));
            }
        }
    }
    findings
}
