//! What the chapters embed: figures, interactive figures, tables and values, computed by the labs.
//!
//! Each is an [`Entry`] of a list: [`figures::ALL`], [`interactive::ALL`], [`tables::ALL`],
//! [`values::ALL`]. A chapter
//! names it, the preprocessor computes it, and insta pins tables and values under the same name.

mod capture_files;
pub mod figures;
mod grid;
pub mod interactive;
pub mod published;
mod rows;
pub mod tables;
pub mod values;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use book_preprocessor::{Kind, Library};

/// A named thing that a chapter can embed, and how to compute it.
pub struct Entry<T> {
    /// The name that chapters and snapshots use.
    pub name: &'static str,
    /// Runs the labs.
    pub make: fn() -> Result<T>,
}

/// Everything there is to embed.
pub struct Book;

impl Library for Book {
    fn names(&self, kind: Kind) -> Vec<&'static str> {
        match kind {
            Kind::Figure => figures::ALL.iter().map(|entry| entry.name).collect(),
            Kind::Interactive => {
                let names = interactive::ALL.iter().map(|entry| entry.name);
                names.chain([interactive::card::NAME]).collect()
            }
            Kind::Table => tables::available().map(|entry| entry.name).collect(),
            Kind::Value => values::ALL.iter().map(|entry| entry.name).collect(),
        }
    }

    fn render(&self, kind: Kind, name: &str) -> Result<String> {
        match kind {
            Kind::Figure => Ok(make(figures::ALL.iter(), name)?.to_html(name)),
            Kind::Interactive if name == interactive::card::NAME => interactive::card::html(),
            Kind::Interactive => make(interactive::ALL.iter(), name)?.to_html(name),
            Kind::Table => {
                let table = make(tables::available(), name)?;
                Ok(format!(
                    "\n<p class=\"table-title\" id=\"table-{name}\" \
                     data-snippet=\"table {name}\">{}</p>\n\n{}",
                    table.title(),
                    table.to_markdown()
                ))
            }
            // A number does not part from its unit at the end of a line.
            Kind::Value => Ok(make(values::ALL.iter(), name)?.text.replace(' ', "\u{a0}")),
        }
    }

    fn data_files(&self) -> Vec<PathBuf> {
        let captures = tables::captured::files();
        let captures = captures.into_iter().chain(tables::dequantization::files());
        let captures = captures.chain(tables::outliers::files()).chain(tables::engines::files());
        captures
            .chain(tables::measured::files())
            .chain([
                tables::engines::control_file(),
                tables::engines::avx512_file(),
                tables::vllm_map::file(),
            ])
            .chain([kit::real_slice::PATH.into(), kit::real_slice::ACTIVATIONS_PATH.into()])
            .chain(formats::checkpoint::golden::files())
            .collect()
    }
}

fn make<T: 'static>(mut entries: impl Iterator<Item = &'static Entry<T>>, name: &str) -> Result<T> {
    let entry = entries.find(|entry| entry.name == name);
    (entry.ok_or_else(|| anyhow!("there is no {name}"))?.make)()
}
