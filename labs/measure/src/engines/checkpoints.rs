//! A checkpoint on the disk: its name, its files, their size.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::engines::capture::Checkpoint;
use crate::engines::llama_cpp::Tools;
use kit::workspace::{fetched_model, root};

/// A checkpoint and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// Its folder, or its GGUF file.
    pub path: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.into(), path: path.into() })
            }
            _ => Err("write NAME=PATH, as in w8a8=target/checkpoints/w8a8".into()),
        }
    }
}

impl Named {
    /// What its files say of it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let files = files(&self.path)?;
        let weights = files.iter().filter(|file| has_weights(file));
        let sizes: Vec<u64> =
            weights.map(|file| Ok(fs::metadata(file)?.len())).collect::<Result<_>>()?;
        let scheme = scheme(&self.path.join("config.json"));
        let (name, weight_bytes) = (self.name.clone(), sizes.iter().sum());
        Ok(Checkpoint { name, weight_bytes, scheme, ..Checkpoint::default() })
    }

    /// Its GGUF file.
    ///
    /// # Errors
    /// If it has none, or several.
    pub fn gguf(&self) -> Result<PathBuf> {
        let mut files = files(&self.path)?;
        files.retain(|file| is(file, "gguf"));
        match files.as_slice() {
            [file] => Ok(file.clone()),
            _ => bail!("{} has {} .gguf files, not one", self.path.display(), files.len()),
        }
    }
}

/// The fetched model, for llama.cpp in `bin`, with its weights as the 32-bit numbers that they stand for.
///
/// # Errors
/// If it was not fetched, or `llama-quantize` fails.
pub fn original(bin: &Path) -> Result<Named> {
    let folder = root().join("target");
    let fetched = fetched_model();
    let path = folder.join("engines").join("llama.cpp").join("original-f32.gguf");
    if !path.exists() {
        fs::metadata(&fetched).context("the model is not there: `cargo book fetch` gets it")?;
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        Tools::new(bin, 1).quantize(&fetched, &path, "F32")?;
    }
    Ok(Named { name: "original".into(), path })
}

/// The files of a folder, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.into()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn has_weights(file: &Path) -> bool {
    is(file, "safetensors") || is(file, "gguf")
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// What a config says of its quantization.
fn scheme(config: &Path) -> Option<String> {
    let config: Value = serde_json::from_str(&fs::read_to_string(config).ok()?).ok()?;
    let quantization = config.get("quantization_config")?;
    let words = ["quant_method", "format"].iter().filter_map(|key| quantization[*key].as_str());
    Some(words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_before_its_path() {
        let named: Named = "w8a8=some/dir=x".parse().expect("a name and a path");
        assert_eq!((named.name.as_str(), named.path), ("w8a8", "some/dir=x".into()));
        for text in ["w8a8", "=dir", "w8a8="] {
            assert!(
                text.parse::<Named>().is_err_and(|error| error.contains("NAME=PATH")),
                "{text}"
            );
        }
    }

    #[test]
    fn size_and_scheme_are_those_of_the_files() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("a.safetensors"), [0; 10])?;
        fs::write(folder.path().join("b.safetensors"), [0; 5])?;
        let config = r#"{"quantization_config": {"quant_method": "awq", "bits": 4}}"#;
        fs::write(folder.path().join("config.json"), config)?;
        let named = Named { name: "awq".into(), path: folder.path().into() };
        let checkpoint = named.checkpoint()?;
        assert_eq!((checkpoint.weight_bytes, checkpoint.scheme.as_deref()), (15, Some("awq")));
        assert!(named.gguf().is_err_and(|error| error.to_string().contains("0 .gguf files")));
        Ok(())
    }
}
