//! The glossary and the book: every term is linked where the book first uses it, every link leads
//! to an entry, every entry is linked. Reads the Markdown sources; no built book is needed.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

const GLOSSARY: &str = "afterwards/glossary.md";

/// A chapter's path below `src` and its Markdown.
type Chapter = (String, String);

/// A term of the glossary.
struct Entry {
    name: String,
    /// The fragment that mdBook gives its title.
    id: String,
    /// What counts as a use of it.
    uses: Regex,
}

/// What a reader meets in running text, in order.
enum Piece {
    /// Text outside links, headings, code, tables and mathematics, and the line it begins in.
    Text(String, usize),
    /// A link to this fragment of the glossary, and its line.
    Link(String, usize),
}

#[test]
fn every_term_is_linked_where_the_book_first_uses_it() -> Result<()> {
    let findings = findings(&book()?)?;
    ensure!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    Ok(())
}

/// The chapters that SUMMARY.md lists, in its order.
fn book() -> Result<Vec<Chapter>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let read = |path: &str| {
        fs::read_to_string(folder.join(path)).with_context(|| format!("cannot read src/{path}"))
    };
    let summary = read("SUMMARY.md")?;
    let listed = parser(&summary).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    });
    listed.map(|path| Ok((path.clone(), read(&path)?))).collect()
}

/// Markdown as mdBook reads it, and mathematics as the KaTeX preprocessor does.
fn parser(markdown: &str) -> Parser<'_> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_GFM
        | Options::ENABLE_MATH;
    Parser::new_ext(markdown, options)
}

/// Everything that is wrong between the chapters and their glossary, a line each.
fn findings(book: &[Chapter]) -> Result<Vec<String>> {
    let glossary = book.iter().find(|(path, _)| path == GLOSSARY);
    let (_, glossary) = glossary.with_context(|| format!("SUMMARY.md lists no {GLOSSARY}"))?;
    let mut unlinked = entries(glossary)?;
    let known: Vec<String> = unlinked.iter().map(|entry| entry.id.clone()).collect();
    ensure!(!known.is_empty(), "{GLOSSARY} has no entries");

    let mut findings = Vec::new();
    for (path, markdown) in book.iter().filter(|(path, _)| path != GLOSSARY) {
        for piece in pieces(path, markdown) {
            match piece {
                Piece::Link(id, _) if known.contains(&id) => {
                    unlinked.retain(|entry| entry.id != id);
                }
                Piece::Link(id, line) => {
                    findings.push(format!("src/{path}:{line}: the glossary has no entry #{id}"));
                }
                Piece::Text(text, line) => unlinked.retain(|entry| {
                    let Some(found) = entry.uses.captures(&text) else { return true };
                    let used = &found[1];
                    findings.push(format!(
                        "src/{path}:{line} ff.: «{used}» is the first use of «{}»: write [{used}]({}#{})",
                        entry.name,
                        way_to_glossary(path),
                        entry.id
                    ));
                    false
                }),
            }
        }
    }
    findings.extend(unlinked.iter().map(|entry| {
        format!("src/{GLOSSARY}: no chapter uses «{}»: link it, or leave it out", entry.name)
    }));
    Ok(findings)
}

/// The terms of the glossary. `<!-- spelled: a; b -->` says what counts in place of the name.
fn entries(glossary: &str) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut title: Option<String> = None;
    for event in parser(glossary) {
        match event {
            Event::Start(Tag::DefinitionListTitle) => title = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text);
                }
            }
            Event::End(TagEnd::DefinitionListTitle) => {
                let name = title.take().context("a title that ends begins")?;
                let (id, uses) = (fragment(&name), uses(&[&name])?);
                ensure!(entries.iter().all(|entry| entry.id != id), "«{name}» has two entries");
                entries.push(Entry { name, id, uses });
            }
            Event::InlineHtml(html) => {
                let list = html.strip_prefix("<!-- spelled:").and_then(|h| h.strip_suffix("-->"));
                if let (Some(list), Some(entry)) = (list, entries.last_mut()) {
                    entry.uses = uses(&list.split(';').map(str::trim).collect::<Vec<_>>())?;
                }
            }
            _ => {}
        }
    }
    Ok(entries)
}

/// The fragment that mdBook makes of a title: letters, digits, `-` and `_`, and `-` for a space.
fn fragment(title: &str) -> String {
    let kept = title.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// Finds one of the spellings as whole words, in any case, with or without a plural s.
fn uses(spellings: &[&str]) -> Result<Regex> {
    let spellings: Vec<String> = spellings.iter().map(|words| regex::escape(words)).collect();
    Ok(Regex::new(&format!(r"(?i)(?:^|\W)((?:{})s?)(?:\W|$)", spellings.join("|")))?)
}

/// The running text of a chapter and its links to the glossary.
fn pieces(path: &str, markdown: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut skipped, mut links) = (0, 0);
    let (mut text, mut begin) = (String::new(), 0);
    let line = |offset: usize| markdown[..offset].matches('\n').count() + 1;
    for (event, range) in parser(markdown).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                links += 1;
                pieces.push(Piece::Text(std::mem::take(&mut text), begin));
                if let Some(id) = glossary_fragment(path, &dest_url) {
                    pieces.push(Piece::Link(id, line(range.start)));
                }
            }
            Event::End(TagEnd::Link) => links -= 1,
            Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_) | Tag::Table(_)) => skipped += 1,
            Event::End(TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::Table) => skipped -= 1,
            Event::Start(Tag::Paragraph | Tag::Item) | Event::End(TagEnd::Paragraph) => {
                pieces.push(Piece::Text(std::mem::take(&mut text), begin));
            }
            Event::Text(words) if skipped == 0 && links == 0 => {
                if text.is_empty() {
                    begin = line(range.start);
                }
                text.push_str(&words);
            }
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            // Two words with something between them are not one.
            Event::Code(_) | Event::InlineMath(_) | Event::FootnoteReference(_) => text.push('`'),
            _ => {}
        }
    }
    pieces.push(Piece::Text(text, begin));
    pieces
}

/// The fragment of a link that leads from this chapter to the glossary.
fn glossary_fragment(chapter: &str, link: &str) -> Option<String> {
    let (path, fragment) = link.split_once('#')?;
    let mut target = PathBuf::from(chapter).parent()?.to_path_buf();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(target.pop()),
            other => target.push(other),
        }
    }
    (target == Path::new(GLOSSARY)).then(|| fragment.to_owned())
}

/// How a chapter writes the glossary's path.
fn way_to_glossary(chapter: &str) -> String {
    let here = chapter.rsplit_once('/').map(|(folder, _)| folder);
    match here {
        None => GLOSSARY.to_owned(),
        Some("afterwards") => "glossary.md".to_owned(),
        Some(folder) => format!("{}{GLOSSARY}", "../".repeat(folder.split('/').count())),
    }
}

// The check of the check: a small book with nothing wrong, and each flaw in it.

const FIRST: &str = "# One grid\n\nA `grid`, $grid$, and a [grid](../afterwards/glossary.md#grid).\n\n\
                     | grid |\n| --- |\n| zero points |\n\n```text\nscale\n```\n\nTwo grids.\n";
const SECOND: &str =
    "# Two\n\nThe **[half to\neven](../afterwards/glossary.md#round-half-to-even)** rule.\n";
const TERMS: &str = "# Glossary\n\nGrid\n: Points.\n\nRound half to even\n: A rule. \
                     <!-- spelled: half to even; ties to even -->\n";

/// The findings in the small book, after one replacement in it.
fn flawed(from: &str, to: &str) -> Vec<String> {
    let pages = [("a/first.md", FIRST), ("a/second.md", SECOND), (GLOSSARY, TERMS)];
    assert!(pages.iter().any(|(_, text)| text.contains(from)), "the small book has no «{from}»");
    let book = pages.map(|(path, text)| (path.to_owned(), text.replacen(from, to, 1)));
    findings(&book).expect("a glossary with entries")
}

#[track_caller]
fn assert_only(findings: &[String], words: &str) {
    assert_eq!(findings.len(), 1, "one finding was expected: {findings:#?}");
    assert!(findings[0].contains(words), "«{words}» is not in «{}»", findings[0]);
}

#[test]
fn headings_code_tables_and_mathematics_are_no_running_text() {
    assert_eq!(flawed("grid", "grid"), Vec::<String>::new(), "the sound book must pass");
}

#[test]
fn a_use_before_the_link_is_found_with_the_link_to_write() {
    let found = flawed("A `grid`", "Two Grids and `grid`");
    assert_only(
        &found,
        "«Grids» is the first use of «Grid»: write [Grids](../afterwards/glossary.md#grid)",
    );
    assert_only(&found, "src/a/first.md:3");
}

#[test]
fn a_use_in_an_earlier_chapter_is_found_in_any_of_its_spellings() {
    assert_only(&flawed("Two grids.", "Ties\nto **even**."), "first use of «Round half to even»");
    assert_only(&flawed("Two grids.", "> half to even"), "src/a/first.md:13");
}

#[test]
fn a_link_to_no_entry_is_found() {
    assert_only(&flawed("Two grids.", "[x](../afterwards/glossary.md#gird)"), "no entry #gird");
}

#[test]
fn an_entry_that_no_chapter_uses_is_found() {
    assert_only(&flawed("Grid\n: Points.", "Grid\n: Points.\n\nAlpha\n: A number."), "«Alpha»");
}

#[test]
fn a_link_elsewhere_is_no_link_to_the_glossary() {
    let found = flawed("../afterwards/glossary.md#grid", "glossary.md#grid");
    assert_only(&found, "first use of «Grid»");
}
