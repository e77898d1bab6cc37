//! The texts that snapshots pin: each table, and the values of a chapter together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use kit::Table;
use kit::workspace::root;

use crate::values::Value;
use crate::{Entry, tables, values};

/// A text with a snapshot.
pub enum Pinned {
    /// A table under its name.
    Table(&'static Entry<Table>),
    /// The values whose names have this word before the point. Each chapter has its own text, because a
    /// lab that is not written yet then keeps back its own values and nobody else's.
    Values(&'static str, Vec<&'static Entry<Value>>),
}

/// Every text with a snapshot.
pub fn all() -> Vec<Pinned> {
    let mut chapters: BTreeMap<&str, Vec<&Entry<Value>>> = BTreeMap::new();
    for entry in values::ALL.iter() {
        let chapter = entry.name.split('.').next().unwrap_or(entry.name);
        chapters.entry(chapter).or_default().push(entry);
    }
    let tables = tables::ALL.iter().filter(|entry| !entry.transcribed).map(Pinned::Table);
    tables.chain(chapters.into_iter().map(|(name, of)| Pinned::Values(name, of))).collect()
}

impl Pinned {
    /// The name of the snapshot.
    pub fn name(&self) -> String {
        match self {
            Self::Table(entry) => entry.name.into(),
            Self::Values(chapter, _) => format!("values_{chapter}"),
        }
    }

    /// The text as the labs make it now.
    ///
    /// # Errors
    /// If an input cannot be read, or a lab refuses what it is given.
    pub fn text(&self) -> Result<String> {
        match self {
            Self::Table(entry) => Ok(entry.make()?.to_string()),
            Self::Values(_, entries) => entries.iter().map(|entry| sentence(entry)).collect(),
        }
    }

    /// Whether a chapter with this source embeds the table, or one of the values.
    pub fn is_embedded_in(&self, chapter: &str) -> bool {
        chapter.contains(&match self {
            Self::Table(entry) => format!("{{{{#table {}}}}}", entry.name),
            Self::Values(name, _) => format!("{{{{#value {name}."),
        })
    }
}

/// The folder of the snapshots.
pub fn snapshots() -> PathBuf {
    root().join("tests/snapshots")
}

fn sentence(entry: &Entry<Value>) -> Result<String> {
    let value = entry.make()?;
    Ok(format!("{}: {} {}.\n", entry.name, value.meaning, value.text))
}
