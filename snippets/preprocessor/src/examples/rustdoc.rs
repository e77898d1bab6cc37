//! The rustdoc that belongs to the cargo that built the crates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use mdbook_preprocessor::config::RustEdition;

use super::cargo;
use super::crates::Crates;
use super::in_color;
use super::listing::Listing;
use super::report::Report;
use crate::Setup;

/// Runs examples.
#[derive(Debug)]
pub struct Rustdoc {
    program: PathBuf,
    crates: Crates,
    edition: &'static str,
    folder: tempfile::TempDir,
}

impl Rustdoc {
    /// Finds out all that rustdoc must be told. `edition` is that of `book.toml`.
    ///
    /// # Errors
    /// If the crates cannot be built.
    pub fn new(setup: &Setup, edition: Option<RustEdition>) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let crates = Crates::of(setup)?;
        Ok(Self { program: program(&cargo::program()), crates, edition: year(edition)?, folder })
    }

    /// Runs the examples of one chapter.
    ///
    /// # Errors
    /// If rustdoc cannot be started. That an example fails is in the report.
    pub fn test(&self, listing: &Listing) -> Result<Report> {
        let file = self.folder.path().join(&listing.chapter);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, &listing.text)?;
        let output = self
            .command(&listing.chapter)
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Report::after(listing, output.status.success(), &said))
    }

    fn command(&self, file: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path());
        command.args([file, "--test", "--edition", self.edition]);
        command.args(["--color", if in_color() { "always" } else { "never" }]);
        for (name, file) in &self.crates.named {
            command.arg("--extern").arg(format!("{name}={}", file.display()));
        }
        for folder in &self.crates.folders {
            command.arg("-L").arg(format!("dependency={}", folder.display()));
        }
        command
    }
}

/// The rustdoc in cargo's own folder. A bare `rustdoc` may be another one: rustup chooses by the folder it
/// is started in, which is a temporary one here, and crates work with their own compiler only.
fn program(cargo: &Path) -> PathBuf {
    if let Some(program) = std::env::var_os("RUSTDOC") {
        return program.into();
    }
    let beside = cargo.with_file_name(format!("rustdoc{}", std::env::consts::EXE_SUFFIX));
    if beside.is_file() { beside } else { "rustdoc".into() }
}

fn year(edition: Option<RustEdition>) -> Result<&'static str> {
    match edition {
        Some(RustEdition::E2024) => Ok("2024"),
        Some(RustEdition::E2021) => Ok("2021"),
        Some(RustEdition::E2018) => Ok("2018"),
        Some(RustEdition::E2015) => Ok("2015"),
        other => anyhow::bail!(
            "book.toml has no edition that is known ({other:?}): put `edition = \"2024\"` under `[rust]`"
        ),
    }
}
