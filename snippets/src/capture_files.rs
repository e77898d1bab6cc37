//! Where the committed captures lie, and the one of a chapter that speaks of one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use measure::capture::{Body, Capture};
use measure::engines::{self, Engine};

/// The `.json` files in `folder`, by name; none if there is no such folder.
pub fn json_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let json = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(json).collect();
    files.sort();
    files
}

/// The one capture in `folder`, which `cargo book capture WHAT` takes.
///
/// # Errors
/// If there is not exactly one, or it cannot be read; the message says what to do.
pub fn the_one<B: Body>(folder: &str, what: &str) -> Result<Capture<B>> {
    let shown = shown(folder);
    match &json_in(folder)[..] {
        [file] => Capture::load(file).context(file.display().to_string()),
        [] => bail!(
            "there is no capture in {}: run `cargo book capture {what}` and copy \
             target/captures/{what}.json there",
            shown.display()
        ),
        several => bail!(
            "there are {} captures in {} and the chapter speaks of one machine: keep one",
            several.len(),
            shown.display()
        ),
    }
}

/// The one capture of `engine` in `folder`.
///
/// # Errors
/// If there is not exactly one, or a file cannot be read.
pub fn of_engine(folder: &str, engine: Engine) -> Result<engines::Capture> {
    let mut found = Vec::new();
    for file in json_in(folder) {
        let capture = engines::Capture::load(&file).context(file.display().to_string())?;
        if capture.setup.engine == engine {
            found.push(capture);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        number => bail!(
            "there are {number} captures of {engine} in {}, and the chapter speaks of one",
            shown(folder).display()
        ),
    }
}

/// The last parts of a folder's path: what a message shows of it.
fn shown(folder: &str) -> PathBuf {
    let last: Vec<_> = Path::new(folder).components().rev().take(3).collect();
    last.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use measure::cpu::CpuMeters;

    #[test]
    fn no_capture_and_two_are_refused_with_the_folder_and_what_to_do() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("captures-{}", std::process::id()));
        let captures = folder.join("labs/lab-00/captures");
        std::fs::create_dir_all(&captures)?;
        let error = || match the_one::<CpuMeters>(&captures.to_string_lossy(), "cpu") {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let none = error();
        assert!(none.contains("no capture in labs/lab-00/captures"), "{none}");
        assert!(none.contains("`cargo book capture cpu`"), "{none}");
        for name in ["a.json", "b.json"] {
            std::fs::write(captures.join(name), "{}")?;
        }
        assert!(error().contains("2 captures in labs/lab-00/captures"), "{}", error());
        Ok(std::fs::remove_dir_all(folder)?)
    }
}
