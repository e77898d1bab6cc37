//! One thing, one number: a number that the book states of a thing is that of the code, on every page.
//!
//! The test reads each sentence of each chapter and of the README, with values and tables put in. A number
//! belongs to the thing that is named last before the number in the same sentence, or else to the first
//! one named behind.

mod text;
mod things;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kit::skip::if_written;
use regex::Regex;
use text::{Sentence, sentences};
use things::{Thing, UNITS, Unit};
use walkdir::WalkDir;

/// A page's path and its Markdown.
type Page = (String, String);

#[test]
fn a_number_that_two_pages_state_of_one_thing_is_the_same_number() -> Result<()> {
    let Some(found) = if_written("the numbers of the book", || check(&book()?)) else {
        return Ok(());
    };
    let wrong = found?.wrong;
    ensure!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_thing_of_the_table_is_stated_on_some_page() -> Result<()> {
    let Some(found) = if_written("the numbers of the book", || check(&book()?)) else {
        return Ok(());
    };
    let stated = found?.stated;
    for unit in &UNITS {
        for thing in unit.things {
            let key = (unit.name, thing.name);
            assert!(
                stated.contains(&key),
                "no page states {} of «{}»: remove the row, or correct its expressions",
                unit.name,
                thing.name
            );
        }
    }
    Ok(())
}

/// What was found in some pages.
#[derive(Default)]
struct Found {
    /// A sentence for each number that contradicts the code.
    wrong: Vec<String>,
    /// The things that a number was stated of: unit and name.
    stated: BTreeSet<(&'static str, &'static str)>,
}

fn check(pages: &[Page]) -> Result<Found> {
    let snapshots = snippets::pinned::snapshots();
    let embedded = |kind: &str, name: &str| embedded(&snapshots, kind, name);
    let units = UNITS.iter().map(Expressions::of).collect::<Result<Vec<_>>>()?;
    let mut found = Found::default();
    for (page, markdown) in pages {
        for sentence in sentences(markdown, &embedded)? {
            units.iter().for_each(|unit| unit.compare(page, &sentence, &mut found));
        }
    }
    Ok(found)
}

/// A unit with its expressions compiled.
struct Expressions {
    unit: &'static Unit,
    number: Regex,
    things: Vec<(&'static Thing, Regex)>,
}

impl Expressions {
    fn of(unit: &'static Unit) -> Result<Self> {
        let things = unit.things.iter().map(|thing| Ok((thing, Regex::new(thing.name)?)));
        let number = Regex::new(unit.number)?;
        Ok(Self { unit, number, things: things.collect::<Result<_>>()? })
    }

    fn compare(&self, page: &str, Sentence { line, text }: &Sentence, found: &mut Found) {
        let numbers = self.number.captures_iter(text);
        let numbers =
            numbers.flat_map(|groups| groups.iter().skip(1).flatten().collect::<Vec<_>>());
        for number in numbers {
            let Some((thing, name)) = self.named(text, number.start()) else { continue };
            found.stated.insert((self.unit.name, thing.name));
            let (number, is) = (number.as_str(), (thing.is)());
            if !is.is_empty() && !is.iter().any(|&is| agrees(number, is)) {
                let is: Vec<_> = is.iter().map(f64::to_string).collect();
                found.wrong.push(format!(
                    "{page}:{line}: the page says {number} of «{name}» ({}), the code says {}. Correct the \
                     page, or name the thing that the number is of. In: {text}",
                    self.unit.name,
                    is.join(" or ")
                ));
            }
        }
    }

    /// The thing that a number at `place` is of, and how the sentence names the thing.
    fn named<'t>(&self, text: &'t str, place: usize) -> Option<(&'static Thing, &'t str)> {
        let names = self
            .things
            .iter()
            .flat_map(|(thing, name)| name.find_iter(text).map(move |found| (*thing, found)));
        let (before, behind): (Vec<_>, Vec<_>) = names.partition(|(_, name)| name.end() <= place);
        // Of two that end together, the longer one says more.
        let last = before.into_iter().max_by_key(|(_, name)| (name.end(), name.len()));
        let first = || behind.into_iter().min_by_key(|(_, name)| name.start());
        last.or_else(first).map(|(thing, name)| (thing, name.as_str()))
    }
}

/// Whether `number`, as a page writes it, is `is` with as many decimals.
fn agrees(number: &str, is: f64) -> bool {
    let number = number.replace(',', "");
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    // A tie may have been rounded either way. A file adds the shape of a matrix, or a scale for a tensor,
    // and each of them is less than the third decimal.
    let half = (0.5 * 10_f64.powi(-(decimals as i32))).max(0.0005) + 1e-9;
    number.parse::<f64>().is_ok_and(|number| (number - is).abs() <= half)
}

/// The README and every chapter.
fn book() -> Result<Vec<Page>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let chapters = WalkDir::new(root.join("src")).sort_by_file_name().into_iter();
    let chapters =
        chapters.collect::<Result<Vec<_>, _>>()?.into_iter().map(|file| file.into_path());
    let chapters = chapters.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = chapters.chain([root.join("README.md")]).map(|path| {
        let name = path.strip_prefix(&root)?.display().to_string();
        Ok((name, fs::read_to_string(&path)?))
    });
    pages.collect()
}

/// A table or a value as the snapshots pin it; nothing for a table that has no snapshot.
fn embedded(snapshots: &Path, kind: &str, name: &str) -> Result<String> {
    let read = |file: &str| fs::read_to_string(snapshots.join(format!("{file}.snap")));
    if kind == "table" {
        return Ok(read(name).unwrap_or_default());
    }
    let (chapter, _) = name.split_once('.').with_context(|| format!("{name} has no point"))?;
    let values = read(&format!("values_{chapter}"))?;
    let line = values.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    let line = line.with_context(|| format!("no snapshot has the value {name}"))?;
    // The number is at the end of the sentence, and its unit is a word of its own.
    let words: Vec<_> = line.trim_end_matches('.').split(' ').collect();
    let begin = words.iter().rposition(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Ok(words[begin.unwrap_or(0)..].join(" "))
}

/// Chapters without a time of their own: they are looked into, not read in order.
const LOOKED_INTO: [&str; 6] =
    ["SUMMARY", "introduction", "references", "cheat-sheet", "glossary", "interview"];

#[test]
fn the_hours_of_the_readme_are_the_minutes_of_the_chapters() -> Result<()> {
    let minutes = Regex::new(r"(?m)^\*minutes: (\d+)\b")?;
    let hours = Regex::new(r"about (\d+) hours with their labs")?;
    let (mut sum, mut stated) = (0_u32, None);
    for (page, markdown) in book()? {
        if let Some(found) = minutes.captures(&markdown) {
            sum += found[1].parse::<u32>()?;
        } else if let Some(found) = hours.captures(&markdown) {
            stated = Some(found[1].parse::<u32>()?);
        } else if page.starts_with("src") {
            let name = Path::new(&page).file_stem().unwrap_or_default().to_string_lossy();
            ensure!(LOOKED_INTO.contains(&&*name), "{page} does not say how many minutes it takes");
        }
    }
    let stated = stated.context("README.md does not say how many hours the chapters take")?;
    let hours = f64::from(sum) / 60.0;
    ensure!(
        stated == hours.round() as u32,
        "README.md says {stated} hours, the chapters say {hours:.1}"
    );
    Ok(())
}

/// The check of the check: a page with a wrong number of each unit, each in another form.
#[test]
fn a_page_that_contradicts_the_code_is_found_with_line_and_both_numbers() -> Result<()> {
    let wrong = include_str!("wrong_page.md");
    let found = check(&[("src/wrong.md".into(), wrong.into())])?.wrong;
    let expected = wrong.lines().enumerate().filter(|(_, line)| line.contains("WRONG"));
    let expected: Vec<_> =
        expected.map(|(index, _)| format!("src/wrong.md:{}:", index + 1)).collect();
    let lines: Vec<_> = found.iter().map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        lines,
        expected.iter().map(|at| Some(at.as_str())).collect::<Vec<_>>(),
        "{found:#?}"
    );
    for words in ["«MXFP4»", "says 4.5", "4.25"] {
        assert!(found[0].contains(words), "«{words}» is not in «{}»", found[0]);
    }
    Ok(())
}
