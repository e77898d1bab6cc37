//! Checks that the built book has every figure and table of its chapters.
//!
//! mdBook skips a preprocessor without a message when the preprocessor does not start, and still exits
//! with 0. A build is therefore checked: no mark is left over, and every figure and every table is in
//! its page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::labs::chapters;

/// What was found in a built book.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// Pages looked at.
    pub pages: usize,
    /// Figures that chapters ask for, all there.
    pub figures: usize,
    /// Interactive figures that chapters ask for, all there.
    pub interactives: usize,
    /// Tables that chapters ask for, all there.
    pub tables: usize,
}

/// Compares the chapters under `source` with the pages under `book`.
///
/// # Errors
/// If a page is missing, a mark is left over, or a figure or table is not in its page; all of them
/// are named.
pub fn check(source: &Path, book: &Path) -> Result<Found> {
    let mut found = Found::default();
    let mut problems = Vec::new();
    for page in html_pages(book)? {
        found.pages += 1;
        if let Some(mark) = left_over(&read(&page)?) {
            problems.push(format!("{}: the mark {mark} was not replaced", page.display()));
        }
    }
    for chapter in chapters(&read(&source.join("SUMMARY.md"))?) {
        let markdown = read(&source.join(&chapter))?;
        let page = book.join(page_of(&chapter));
        let Ok(html) = fs::read_to_string(&page) else {
            problems.push(format!("{chapter}: its page {} is missing", page.display()));
            continue;
        };
        for (kind, name) in marks(&markdown) {
            *match kind {
                "figure" => &mut found.figures,
                "interactive" => &mut found.interactives,
                _ => &mut found.tables,
            } += 1;
            if !html.contains(&format!("data-snippet=\"{kind} {name}\"")) {
                problems.push(format!("{chapter}: the {kind} `{name}` is not in its page"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(found);
    }
    bail!("the built book is not complete:\n  {}", problems.join("\n  "))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Every HTML file under `folder`.
fn html_pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("there is no built book in {}", folder.display()))?;
    let mut pages = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            pages.extend(html_pages(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            pages.push(path);
        }
    }
    Ok(pages)
}

/// The first `{{#` of a page, with what follows it.
fn left_over(html: &str) -> Option<String> {
    html.find("{{#").map(|at| html[at..].chars().take(40).collect())
}

/// The page mdBook makes of a chapter.
fn page_of(chapter: &str) -> PathBuf {
    let path = Path::new(chapter).with_extension("html");
    if path.file_stem().is_some_and(|stem| stem == "README") {
        return path.with_file_name("index.html");
    }
    path
}

/// The kind and name of each figure, interactive figure and table of a chapter. Marks that are shown as
/// code, or escaped with a backslash, do not count.
fn marks(markdown: &str) -> Vec<(&str, &str)> {
    let mut fence: Option<&str> = None;
    let mut marks = Vec::new();
    for line in markdown.lines() {
        let start = line.trim_start();
        match fence {
            Some(open) if start.starts_with(open) => fence = None,
            Some(_) => {}
            None if start.starts_with("```") => fence = Some("```"),
            None if start.starts_with("~~~") => fence = Some("~~~"),
            None => marks.extend(marks_of_line(line)),
        }
    }
    marks
}

fn marks_of_line(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("{{#").filter_map(move |(at, open)| {
        let before = &line[..at];
        let shown_as_code = before.matches('`').count() % 2 == 1;
        if shown_as_code || before.ends_with('\\') {
            return None;
        }
        let (mark, _) = line[at + open.len()..].split_once("}}")?;
        let (kind, name) = mark.trim().split_once(char::is_whitespace)?;
        matches!(kind, "figure" | "interactive" | "table").then(|| (kind, name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A book of one chapter with one figure and one table, and its page.
    fn book(page: &str) -> Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let (source, built) = (folder.path().join("src"), folder.path().join("book"));
        fs::create_dir_all(source.join("part"))?;
        fs::create_dir_all(built.join("part"))?;
        fs::write(source.join("SUMMARY.md"), "# Summary\n\n- [One](part/one.md)\n- [Draft]()\n")?;
        fs::write(
            source.join("part/one.md"),
            "{{#figure a}}\n```text\n{{#figure shown}}\n```\n`{{#table shown}}` \\{{#table no}}\n\
             {{#table b}} {{#value c}}\n{{#interactive d}}\n",
        )?;
        fs::write(built.join("part/one.html"), page)?;
        Ok(folder)
    }

    fn checked(page: &str) -> Result<Found> {
        let folder = book(page)?;
        check(&folder.path().join("src"), &folder.path().join("book"))
    }

    #[test]
    fn a_complete_book_is_counted() -> Result<()> {
        let found = checked(
            "<figure data-snippet=\"figure a\"><figure data-snippet=\"interactive d\">\
             <p data-snippet=\"table b\">",
        )?;
        assert_eq!(found, Found { pages: 1, figures: 1, interactives: 1, tables: 1 });
        Ok(())
    }

    #[test]
    fn a_missing_table_and_a_mark_left_over_are_both_named() {
        let Err(error) = checked("<figure data-snippet=\"figure a\"> {{#table b}}") else {
            panic!("it was believed");
        };
        let text = error.to_string();
        assert!(text.contains("the mark {{#table b}} was not replaced"), "{text}");
        assert!(text.contains("part/one.md: the table `b` is not in its page"), "{text}");
        assert!(text.contains("the interactive `d` is not in its page"), "{text}");
        assert!(!text.contains("the figure"), "{text}");
    }

    #[test]
    fn a_chapter_without_a_page_is_named() -> Result<()> {
        let folder = book("")?;
        fs::remove_file(folder.path().join("book/part/one.html"))?;
        let Err(error) = check(&folder.path().join("src"), &folder.path().join("book")) else {
            panic!("it was believed");
        };
        assert!(error.to_string().contains("part/one.md: its page"), "{error}");
        Ok(())
    }

    #[test]
    fn a_readme_is_the_index_of_its_folder() {
        assert_eq!(page_of("part/README.md"), Path::new("part/index.html"));
        assert_eq!(page_of("part/one.md"), Path::new("part/one.html"));
    }
}
