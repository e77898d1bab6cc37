//! `cargo book fetch --original`: the checkpoint in bf16 from which the reference model was quantized.
//!
//! The hub's own Python client gets it, in an environment of its own, so that the reader's proxies, mirrors
//! and tokens are used. No checksum of these files is pinned here, because the repository of this course
//! was made without the hub: each file is held to the checksum that the hub states, and a later run to the
//! checksums of the first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::checksum::sha256_of;
use super::python;

/// The repository on the hub.
const REPOSITORY: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

/// The hub's client; vLLM's environment has the same version.
const CLIENT: &str = "huggingface_hub==2.4.0";

/// What makes a checkpoint, where the repository has it.
const FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
];

/// The files that a reader needs at least.
const NEEDED: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// The names and SHA-256 of the files.
const SUMS: &str = "SHA256SUMS";

/// Gets the original into `dir/original`, unless it is there and complete.
pub fn run(dir: &Path) -> Result<()> {
    let original = dir.join("original");
    if original.exists() {
        verify(&original).with_context(|| {
            format!("{} is damaged: remove it, and fetch again", original.display())
        })?;
        eprintln!("{} is there, its SHA-256 are right: nothing to do", original.display());
        return Ok(());
    }
    let partial = dir.join(".original.partial");
    let commit = download(dir, &partial).with_context(|| failed(&partial))?;
    // The client's own notes.
    let _ = fs::remove_dir_all(partial.join(".cache"));
    verify(&partial)?;
    let cannot = || format!("cannot create {}", original.display());
    fs::rename(&partial, &original).with_context(cannot)?;
    eprintln!("{} is there: {REPOSITORY}, commit {commit}", original.display());
    eprintln!("its checksums are those that the hub states: {}", original.join(SUMS).display());
    eprintln!("quantize it: cargo book quantize --input {} --scheme w4a16", original.display());
    Ok(())
}

/// What was tried, and what to do without it.
fn failed(partial: &Path) -> String {
    format!(
        "the original did not come. Tried: a Python environment beside {}, pip install {CLIENT} in it, and \
         its client for {REPOSITORY}. Everything else of the course works without: its model is \
         the one of `cargo book fetch`. Where the hub can be reached, `hf download {REPOSITORY} \
         --local-dir DIR` gets the same files, and `cargo book quantize --input DIR` takes them",
        partial.display()
    )
}

/// Gets the files into `partial`, where an interrupted download goes on, and returns the commit.
fn download(dir: &Path, partial: &Path) -> Result<String> {
    let python = client(dir)?;
    eprintln!("asking the hub for {REPOSITORY} (270 MB)");
    let mut command = Command::new(python);
    command.args(["-c", include_str!("original.py"), REPOSITORY]).arg(partial).args(FILES);
    command.env("HF_HUB_DISABLE_TELEMETRY", "1");
    // The standard error is not captured, because it shows the progress, and at the end what went wrong.
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the hub's client gives its reason above");
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// The Python of an environment that has the client.
fn client(dir: &Path) -> Result<PathBuf> {
    let venv = dir.join("hub-client");
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let has_client = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import huggingface_hub"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if has_client(&python) {
        return Ok(python);
    }
    let system = python::find().with_context(|| {
        format!("no Python 3.9 or later found (tried {})", python::NAMES.join(", "))
    })?;
    let made = Command::new(system).args(["-m", "venv"]).arg(&venv).status();
    ensure!(
        made.is_ok_and(|status| status.success()),
        "{system} cannot make an environment: install its venv (Debian: python3-venv)"
    );
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", CLIENT]);
    pip.env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    ensure!(pip.status()?.success(), "pip did not get {CLIENT}: is this machine offline?");
    Ok(python)
}

/// Fails if a file is missing or not the one of [`SUMS`].
fn verify(folder: &Path) -> Result<()> {
    let path = folder.join(SUMS);
    let sums =
        fs::read_to_string(&path).with_context(|| format!("there is no {}", path.display()))?;
    let sums: Vec<(&str, &str)> = sums.lines().filter_map(|line| line.split_once("  ")).collect();
    for name in NEEDED {
        ensure!(sums.iter().any(|(_, listed)| *listed == name), "{} lacks {name}", path.display());
    }
    for (sum, name) in sums {
        let found = sha256_of(&folder.join(name))?;
        ensure!(found == sum, "{name} has the SHA-256 {found} instead of {sum}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc", the first example of FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn an_original_that_is_there_is_held_to_its_checksums() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("original");
        fs::create_dir(&folder)?;
        let said = || format!("{:#}", run(dir.path()).expect_err("it is not whole"));
        assert!(said().contains("there is no"), "{}", said());
        for name in NEEDED {
            fs::write(folder.join(name), "abc")?;
        }
        let sums = |names: &[&str]| -> String {
            names.iter().map(|name| format!("{ABC}  {name}\n")).collect()
        };
        fs::write(folder.join(SUMS), sums(&NEEDED[1..]))?;
        assert!(said().contains("lacks config.json"), "{}", said());
        fs::write(folder.join(SUMS), sums(&NEEDED))?;
        run(dir.path())?;
        fs::write(folder.join("config.json"), "abd")?;
        assert!(said().contains("config.json has the SHA-256"), "{}", said());
        Ok(())
    }

    #[test]
    fn a_failure_says_what_was_tried_and_what_works_without() {
        let said = failed(Path::new("model/.original.partial"));
        for words in [CLIENT, REPOSITORY, "works without", "--input DIR"] {
            assert!(said.contains(words), "no `{words}` in: {said}");
        }
    }
}
