//! The built book as files, and what can be checked without a browser.
//!
//! Each check takes a [`Site`] and returns what is wrong, one sentence a finding, so that one run
//! shows all of it. An empty list is a pass.

pub mod assets;
pub mod content;
pub mod links;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use scraper::{ElementRef, Html, Selector};
use walkdir::WalkDir;

/// Every chapter once more on one page, for the printer.
pub const PRINT_PAGE: &str = "print.html";
/// The contents by themselves, for readers without JavaScript.
pub const CONTENTS_PAGE: &str = "toc.html";
/// What a server shows for a wrong address. Its links start at the root of a server.
pub const NOT_FOUND_PAGE: &str = "404.html";

/// A folder of HTML pages and what they load.
pub struct Site {
    root: PathBuf,
    pages: Vec<Page>,
}

/// One HTML page.
pub struct Page {
    /// Where it is in the site, with `/` between folders: `labs/lab-01.html`.
    pub path: String,
    /// Its elements.
    pub html: Html,
}

/// The folder of the built book: `BOOK_DIR`, or `target/book` in the workspace.
pub fn book_dir() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("target").join("book");
    std::env::var_os("BOOK_DIR").map_or(built, PathBuf::from)
}

impl Site {
    /// Reads every page in the folder.
    ///
    /// # Errors
    /// If the folder holds no book, or a file cannot be read.
    pub fn load(root: &Path) -> Result<Self> {
        ensure!(
            root.join("index.html").is_file(),
            "there is no built book in {}: run `cargo book build`, or set BOOK_DIR",
            root.display()
        );
        let mut pages = Vec::new();
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "html") {
                let text = std::fs::read_to_string(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                pages.push(Page {
                    path: site_path(root, entry.path()),
                    html: Html::parse_document(&text),
                });
            }
        }
        Ok(Self { root: root.to_owned(), pages })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All pages.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// The pages that a reader reads: no copy for the printer, no bare contents.
    pub fn chapters(&self) -> impl Iterator<Item = &Page> {
        let aside = [PRINT_PAGE, CONTENTS_PAGE];
        self.pages.iter().filter(move |page| !aside.contains(&page.path.as_str()))
    }

    /// The page at this path.
    pub fn page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.path == path)
    }
}

impl Page {
    /// The elements that a CSS selector selects.
    pub fn select(&self, css: &str) -> Vec<ElementRef<'_>> {
        self.html.select(&selector(css)).collect()
    }

    /// Whether an address of this page starts at the root of a server, not at its own folder.
    pub fn is_rooted(&self) -> bool {
        !self.select("base[href='/']").is_empty()
    }

    /// Every name that a `#fragment` can mean.
    pub fn fragments(&self) -> HashSet<&str> {
        let ids = self.select("[id]").into_iter().filter_map(|element| element.attr("id"));
        let names = self.select("a[name]").into_iter().filter_map(|element| element.attr("name"));
        ids.chain(names).collect()
    }

    /// What is wrong with this page, as a sentence that starts with its path.
    fn finding(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.path)
    }
}

/// The path of a file inside the site, with `/` on every system.
fn site_path(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).unwrap_or(file);
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// A selector that is written in this crate, so it is a mistake here if it is not one.
fn selector(css: &str) -> Selector {
    Selector::parse(css).unwrap_or_else(|error| panic!("{css} is not a CSS selector: {error}"))
}

/// The words of an element, spaces made single.
fn words(element: ElementRef<'_>) -> String {
    let text: String = element.text().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The start of a text, to say where something is.
fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}
