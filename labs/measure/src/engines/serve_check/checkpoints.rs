//! Which checkpoints there are.

use std::fs;
use std::path::Path;

use crate::engines::checkpoints::{Named, original};
use crate::engines::ready::Ready;
use anyhow::{Context, Result, bail};
use kit::workspace::root;

use super::{Args, Engine};

/// Names of checkpoints that nothing was quantized in: one of them is the original.
const PLAIN: [&str; 5] = ["none", "original", "f32", "bf16", "f16"];

/// The checkpoints that were named, or all that the engine can read.
///
/// # Errors
/// If there is none.
pub fn of(cli: &Args, ready: &Ready) -> Result<Vec<Named>> {
    if !cli.checkpoints.is_empty() {
        return Ok(cli.checkpoints.clone());
    }
    let folder = root().join("target").join("checkpoints");
    let mut found = found(&folder, cli.engine)?;
    if cli.engine == Engine::LlamaCpp && !found.iter().any(|named| is_plain(&named.name)) {
        found.insert(0, original(&ready.program)?);
    }
    if found.is_empty() {
        bail!(
            "{} has no checkpoint: write one with `cargo book quantize`, or name one with --checkpoint",
            folder.display()
        );
    }
    Ok(found)
}

/// The checkpoints in `folder`, plain ones first, then by name.
fn found(folder: &Path, engine: Engine) -> Result<Vec<Named>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let named = Named {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path: path.clone(),
        };
        let fits = match engine {
            Engine::Ours => {
                path.join("config.json").exists() || path.is_dir() && named.gguf().is_ok()
            }
            Engine::Vllm => path.join("config.json").exists(),
            Engine::LlamaCpp => path.is_dir() && named.gguf().is_ok(),
        };
        if fits {
            found.push(named);
        }
    }
    found.sort_by_key(|named| (!is_plain(&named.name), named.name.clone()));
    Ok(found)
}

fn is_plain(name: &str) -> bool {
    PLAIN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_finds_what_it_reads_and_the_plain_one_first() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for (name, file) in [
            ("awq", "config.json"),
            ("none", "config.json"),
            ("gguf-q8_0", "model.gguf"),
            ("f32", "model.gguf"),
            ("notes", "notes.txt"),
        ] {
            fs::create_dir(folder.path().join(name))?;
            fs::write(folder.path().join(name).join(file), "{}")?;
        }
        let names = |engine| -> Result<Vec<String>> {
            Ok(found(folder.path(), engine)?.into_iter().map(|named| named.name).collect())
        };
        assert_eq!(names(Engine::Vllm)?, ["none", "awq"]);
        assert_eq!(names(Engine::LlamaCpp)?, ["f32", "gguf-q8_0"]);
        assert!(found(Path::new("no/such"), Engine::Vllm)?.is_empty());
        Ok(())
    }
}
