//! The files of other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::scored;
use super::zoo_meters::Run;
use crate::subject::Subject;

/// A file that another program wrote, as its script tells of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Other {
    /// Format and method.
    pub name: String,
    program: String,
    version: String,
    command: String,
    seconds: f64,
    load: Option<f64>,
    /// What is stored for the matrices of the decoder layers, where the folder has the numbers that the file
    /// stands for, because the course did not read the file itself.
    linear: Option<Linear>,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Linear {
    weights: u64,
    bytes: u64,
}

/// The files in `folder`, each a folder with a JSON file of its name beside; none where there is no folder.
///
/// # Errors
/// If a JSON file cannot be read.
pub fn found(folder: &Path) -> Result<Vec<Other>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let json = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut found = Vec::new();
    for path in paths.into_iter().filter(json) {
        let read = || -> Result<Other> { Ok(serde_json::from_slice(&std::fs::read(&path)?)?) };
        let other = read().with_context(|| path.display().to_string())?;
        found.push(Other { folder: path.with_extension(""), ..other });
    }
    found.sort_by(|a, b| (&a.program, &a.name).cmp(&(&b.program, &b.name)));
    Ok(found)
}

impl Other {
    /// Scores the file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn measured(&self, subject: &Subject) -> Result<Run> {
        let measured = scored(subject, &self.folder)?;
        let stored = self.linear.map(|of| 8.0 * of.bytes as f64 / of.weights as f64);
        // The script and its recipe, without the folders of a machine.
        let command: Vec<&str> = self.command.split(' ').take(2).collect();
        Ok(Run {
            name: self.name.clone(),
            program: self.program.clone(),
            version: Some(self.version.clone()),
            command: command.join(" "),
            seconds: self.seconds,
            load: self.load,
            bits: stored.unwrap_or(measured.bits),
            ..measured
        })
    }
}
