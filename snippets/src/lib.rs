//! What the chapters embed: figures, interactive figures, tables and values, computed by the labs.
//!
//! Each is an [`Entry`] of a list: [`figures::ALL`], [`interactive::ALL`], [`tables::ALL`],
//! [`values::ALL`]. An entry names what it is made of besides the labs, the data files of
//! [`inputs`]. A chapter names the entry, the preprocessor computes it, and insta pins tables and
//! values under the same name. [`predictions`] are questions whose answer is in one of them.

pub mod captures;
mod entry;
pub mod figures;
mod grid;
pub mod inputs;
pub mod interactive;
mod meter;
pub mod moved;
pub mod pinned;
pub mod predictions;
pub mod published;
mod rows;
pub mod tables;
pub mod values;

use std::path::PathBuf;

use anyhow::{Context, Result};
use book_preprocessor::{Kind, Library};

use entry::Named;
pub use entry::{Embed, Entry, Input, Inputs, Opening};

/// Everything there is to embed.
pub struct Book;

impl Library for Book {
    fn names(&self, kind: Kind) -> Vec<&'static str> {
        entries(kind).into_iter().map(Named::name).collect()
    }

    fn render(&self, kind: Kind, name: &str) -> Result<String> {
        let entry = entries(kind).into_iter().find(|entry| entry.name() == name);
        entry.with_context(|| format!("there is no {} {name}", kind.word()))?.render()
    }

    fn inputs(&self, kind: Kind, name: &str) -> Vec<PathBuf> {
        let entry = entries(kind).into_iter().find(|entry| entry.name() == name);
        entry.map(Named::inputs).unwrap_or_default()
    }
}

fn entries(kind: Kind) -> Vec<&'static dyn Named> {
    fn named<T: Embed>(entries: &'static [Entry<T>]) -> Vec<&'static dyn Named> {
        entries.iter().map(|entry| entry as &dyn Named).collect()
    }
    match kind {
        Kind::Figure => named(&figures::ALL),
        Kind::Interactive => [named(&interactive::ALL), named(&interactive::card::ALL)].concat(),
        Kind::Table => named(&tables::ALL),
        Kind::Value => named(&values::ALL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_input_is_there_and_an_entry_of_a_capture_has_its_key() {
        let mut by_file: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
        for kind in Kind::ALL {
            for entry in entries(kind) {
                for file in entry.inputs() {
                    assert!(file.is_file(), "{} names {}", entry.name(), file.display());
                    by_file.entry(file).or_default().push(entry.name());
                }
            }
        }
        let of = |end: &str| {
            let mut found = by_file.iter().filter(|(file, _)| file.ends_with(end));
            found.next().map(|(_, names)| names.clone()).unwrap_or_default()
        };
        assert!(of("gpu-h200.json").contains(&"choose_format"));
        assert_eq!(of("vllm-seven-bits.json"), ["engines_seven_bits"]);
        assert!(!of("smollm2-135m-activations.safetensors").contains(&"lab_01_memory"));
    }
}
