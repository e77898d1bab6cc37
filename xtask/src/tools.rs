//! mdBook and mdbook-katex, in exactly the versions that the book was made for.
//!
//! The programs on the reader's `PATH` are used when both have these versions. Otherwise they are built
//! once, into `target/tools`, because the reader's `~/.cargo/bin` may need other versions.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use xtask::workspace;

use crate::progress;

const MDBOOK: (&str, &str) = ("mdbook", "0.5.4");
const KATEX: (&str, &str) = ("mdbook-katex", "0.10.0");

/// Where the two programs are.
pub struct Tools {
    /// Their directory; none if they are on the `PATH`.
    bin: Option<PathBuf>,
}

impl Tools {
    /// `mdbook`, started in the root of the repository, with mdbook-katex where it looks for it.
    pub fn mdbook(&self) -> Command {
        let mut command = program(self.bin.as_deref(), MDBOOK.0);
        if let Some(bin) = &self.bin {
            command.env("PATH", path_with(bin));
        }
        command
    }
}

/// Finds the two programs, or builds them: about two minutes, once.
///
/// # Errors
/// If they have to be built and cannot be; the message is the compiler's or the network's.
pub fn ready() -> Result<Tools> {
    if right_versions(None) {
        return Ok(Tools { bin: None });
    }
    let tools = workspace::root().join("target").join("tools");
    fs::create_dir_all(&tools)?;
    let lock = File::create(tools.join("lock"))?;
    lock.lock().context("cannot lock target/tools")?;
    let (stamp, bin) = (tools.join("stamp"), tools.join("bin"));
    if fs::read_to_string(&stamp).is_ok_and(|text| text == stamp_text())
        && right_versions(Some(&bin))
    {
        return Ok(Tools { bin: Some(bin) });
    }
    install(&tools)?;
    if !right_versions(Some(&bin)) {
        bail!("{} was built and does not run: look into {}", spec(MDBOOK), bin.display());
    }
    fs::write(&stamp, stamp_text())?;
    Ok(Tools { bin: Some(bin) })
}

/// Builds both into `tools`. The leftovers of an interrupted run are removed first, because cargo would
/// take an installed name for an installed program.
fn install(tools: &Path) -> Result<()> {
    eprintln!("The book needs {} and {}: building them once.", spec(MDBOOK), spec(KATEX));
    for leftover in ["stamp", ".crates.toml", ".crates2.json"] {
        remove(&tools.join(leftover), fs::remove_file)?;
    }
    remove(&tools.join("bin"), fs::remove_dir_all)?;
    let mut output = cargo_install(tools, false)?;
    if String::from_utf8_lossy(&output.stderr).contains("could not compile") {
        // A dependency released since may not build; the authors' lock file still does.
        eprintln!("The newest dependencies do not build: taking those the authors locked.");
        output = cargo_install(tools, true)?;
    }
    // Removed to save disk, because the programs are installed, and a failed build starts clean.
    remove(&tools.join("build"), fs::remove_dir_all)?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr);
    bail!(
        "building {} and {} failed:\n{}\nIt needs the network and a C compiler once. To use your \
         own, put exactly these versions on the PATH.",
        spec(MDBOOK),
        spec(KATEX),
        log.trim_end()
    )
}

fn cargo_install(tools: &Path, locked: bool) -> Result<Output> {
    let mut command = workspace::cargo();
    command.arg("install").args([spec(MDBOOK), spec(KATEX)]).arg("--root").arg(tools);
    // Without optimization, because that saves more than a minute once and costs half a second a build.
    command.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
    command.env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback");
    command.env("CARGO_TARGET_DIR", tools.join("build"));
    if locked {
        command.arg("--locked");
    }
    progress::run("building mdbook and mdbook-katex", &mut command)
}

fn spec((name, version): (&str, &str)) -> String {
    format!("{name}@{version}")
}

fn stamp_text() -> String {
    format!("{} {}\n", spec(MDBOOK), spec(KATEX))
}

fn right_versions(bin: Option<&Path>) -> bool {
    [MDBOOK, KATEX].into_iter().all(|(name, version)| {
        let output = program(bin, name).arg("--version").output();
        output.is_ok_and(|output| version_of(&String::from_utf8_lossy(&output.stdout)) == version)
    })
}

/// The version in `mdbook v0.5.4` or `mdbook-katex 0.10.0`.
fn version_of(answer: &str) -> &str {
    answer.split_whitespace().last().unwrap_or_default().trim_start_matches('v')
}

fn program(bin: Option<&Path>, name: &str) -> Command {
    match bin {
        Some(bin) => {
            workspace::command(bin.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        }
        None => workspace::command(name),
    }
}

/// The reader's `PATH` with `bin` in front.
fn path_with(bin: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let parts = std::iter::once(bin.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(parts).unwrap_or(path.clone())
}

/// Removes `path` if it exists.
fn remove(path: &Path, how: fn(PathBuf) -> std::io::Result<()>) -> Result<()> {
    match how(path.to_path_buf()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_tell_their_version_in_their_own_way() {
        assert_eq!(version_of("mdbook v0.5.4\n"), "0.5.4");
        assert_eq!(version_of("mdbook-katex 0.10.0\n"), "0.10.0");
        assert_eq!(version_of(""), "");
    }

    #[test]
    fn a_directory_without_the_programs_has_not_the_right_versions() -> Result<()> {
        let empty = tempfile::tempdir()?;
        assert!(!right_versions(Some(empty.path())));
        Ok(())
    }
}
