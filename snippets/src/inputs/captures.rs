//! Capture files in a folder of the repository.

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

/// The capture in a file.
///
/// # Errors
/// If it cannot be read; the message names the file.
pub fn load<B: Body>(file: &Path) -> Result<Capture<B>> {
    Capture::load(file).context(file.display().to_string())
}

/// The captures in several files.
///
/// # Errors
/// If one cannot be read; the message names it.
pub fn load_all<B: Body>(files: &[PathBuf]) -> Result<Vec<Capture<B>>> {
    files.iter().map(|file| load(file)).collect()
}

/// The one capture of `folder`, which `cargo book COMMAND` takes: `capture WHAT`, or a command of its own.
///
/// # Errors
/// If `files`, those of the folder, are not exactly one, or it cannot be read; the message says what
/// to do.
pub fn the_one<B: Body>(folder: &str, files: &[PathBuf], command: &str) -> Result<Capture<B>> {
    match files {
        [file] => load(file),
        [] => bail!(
            "there is no capture in {0}: run `cargo book {command}` and copy \
             target/captures/{1}.json there",
            shown(folder).display(),
            command.trim_start_matches("capture ")
        ),
        several => bail!(
            "there are {} captures in {} and the chapter speaks of one machine: keep one",
            several.len(),
            shown(folder).display()
        ),
    }
}

/// A capture of each engine that the book compares.
pub struct Engines {
    /// This course's model.
    pub ours: engines::Capture,
    /// vLLM.
    pub vllm: engines::Capture,
    /// llama.cpp.
    pub llama_cpp: engines::Capture,
}

impl Engines {
    /// The captures in `files`, those of `folder`.
    ///
    /// # Errors
    /// If an engine has not exactly one, or a file cannot be read.
    pub fn read(folder: &str, files: &[PathBuf]) -> Result<Self> {
        let mut captures: Vec<engines::Capture> = load_all(files)?;
        let mut take = |engine: Engine| {
            let of_engine = |capture: &engines::Capture| capture.setup.engine == engine;
            match captures.iter().filter(|capture| of_engine(capture)).count() {
                1 => Ok(captures.remove(captures.iter().position(of_engine).unwrap_or(0))),
                number => bail!(
                    "there are {number} captures of {engine} in {}, and the chapter speaks of one",
                    shown(folder).display()
                ),
            }
        };
        Ok(Self {
            ours: take(Engine::Course)?,
            vllm: take(Engine::Vllm)?,
            llama_cpp: take(Engine::LlamaCpp)?,
        })
    }

    /// All of them, in the order of the book.
    pub fn all(&self) -> [&engines::Capture; 3] {
        [&self.ours, &self.vllm, &self.llama_cpp]
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
        let temporary = std::env::temp_dir().join(format!("captures-{}", std::process::id()));
        let captures = temporary.join("labs/lab-00/captures");
        std::fs::create_dir_all(&captures)?;
        let folder = captures.to_string_lossy();
        let error = || match the_one::<CpuMeters>(&folder, &json_in(&folder), "capture cpu") {
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
        Ok(std::fs::remove_dir_all(temporary)?)
    }
}
