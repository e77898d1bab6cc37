//! The kind of model that a path names.

use std::path::{Path, PathBuf};

use crate::ModelError;

/// The two kinds of model that a path can name.
pub(crate) enum Source {
    /// A GGUF file.
    Gguf(PathBuf),
    /// A folder with `config.json`.
    HuggingFace(PathBuf),
}

/// What `path` names: a folder with a `config.json`, a folder with one GGUF file, or a file.
pub(crate) fn source(path: &Path) -> Result<Source, ModelError> {
    if path.join("config.json").is_file() {
        return Ok(Source::HuggingFace(path.into()));
    }
    let metadata = path.metadata().map_err(ModelError::io(path))?;
    if !metadata.is_dir() {
        return Ok(Source::Gguf(path.into()));
    }
    let checkpoint = formats::checkpoint::open(path)?;
    match checkpoint.files.as_slice() {
        [only] if only.path.extension().is_some_and(|ending| ending == "gguf") => {
            Ok(Source::Gguf(only.path.clone()))
        }
        _ => {
            let problem = format!("is missing: there is no config.json in {}", path.display());
            Err(ModelError::config("config.json", problem))
        }
    }
}
