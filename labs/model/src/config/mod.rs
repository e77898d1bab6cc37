//! The sizes of a model, from its config.

mod from_gguf;
mod from_hugging_face;
mod sizes;

use std::path::Path;

use formats::gguf::Gguf;

use crate::ModelError;
use crate::source::{Source, source};
pub(crate) use from_gguf::from_gguf;
pub(crate) use from_hugging_face::from_hugging_face;
pub use sizes::Config;

impl Config {
    /// Reads the config of what `path` names: the metadata of a GGUF file, or the `config.json` of a
    /// folder. A `quantization_config` in it is not looked at.
    ///
    /// # Errors
    /// If the file is missing, or the architecture is not supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        match source(path.as_ref())? {
            Source::Gguf(file) => from_gguf(&Gguf::open(file)?),
            Source::HuggingFace(folder) => from_hugging_face(&folder.join("config.json")),
        }
    }
}
