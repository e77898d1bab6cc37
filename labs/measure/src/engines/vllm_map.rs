//! The map of vLLM's quantization folder: every file's role, every scheme's three answers.
//!
//! `vllm-map/0.32.0.json` is written by hand, from reading that version; `vllm-map/check.py` holds
//! it to an installed package. The chapter's tables are drawn from it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::engines::EngineError;

/// The file that [`VllmMap::load`] reads.
pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engines/vllm-map/0.32.0.json");

/// The script that holds the map to a package.
pub const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/engines/vllm-map/check.py");

/// What the map says of a version of vLLM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VllmMap {
    /// Always `vllm`.
    pub package: String,
    /// The version that was read.
    pub version: String,
    /// The folder that is mapped, from the package's root.
    pub folder: String,
    /// Methods that this version does not have, though other documents name them.
    pub absent: Vec<String>,
    /// What `--quantization` and a checkpoint's `quant_method` accept, and the config class it means.
    pub methods: BTreeMap<String, String>,
    /// Names that quantize a 16-bit checkpoint while it loads.
    pub shorthands: Vec<String>,
    /// What a method does after loading: the words of [`Answers::process`].
    pub process: Vec<Step>,
    /// What a method does at run time: the words of [`Answers::apply`].
    pub apply: Vec<Step>,
    /// Every Python file of the folder.
    pub files: Vec<File>,
    /// Files outside the folder that the chapter names.
    pub elsewhere: Vec<Elsewhere>,
}

/// A word for what a method does, and the functions of lab 01 that do it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The word.
    pub step: String,
    /// What it means.
    pub does: String,
    /// The functions of the labs.
    pub lab: String,
}

/// A Python file of the folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path inside the folder.
    pub path: String,
    /// What it is there for.
    pub role: String,
    /// Its classes, all of them.
    #[serde(default)]
    pub classes: Vec<Class>,
    /// Those of its functions that the chapter names.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Names of parameters, methods and constants in it that the chapter names.
    #[serde(default)]
    pub words: Vec<String>,
}

/// A class of the folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// For a wrapper: what it wraps.
    pub what: Option<String>,
    /// The calls of a method that it defines itself, not its base class.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The three answers, of a scheme or a part.
    pub answers: Option<Answers>,
}

/// What a class of the folder is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It quantizes: a grid, a granularity, weights or both.
    Scheme,
    /// Half a scheme: the weights' or the activations'.
    Part,
    /// It forwards the calls to a scheme.
    Wrapper,
    /// It is derived from.
    Base,
    /// It reads a checkpoint's config.
    Config,
    /// None of these.
    Helper,
}

/// A scheme's three answers, and what it does with them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The table that it stands in.
    pub family: String,
    /// What grid?
    pub grid: String,
    /// Who shares a scale?
    pub scale: String,
    /// Weights only ("no"), or activations too?
    pub activations: String,
    /// What happens after loading: a word of [`VllmMap::process`].
    pub process: String,
    /// What happens at run time: a word of [`VllmMap::apply`].
    pub apply: String,
}

/// A file outside the folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// Its path inside the package.
    pub path: String,
    /// What it is there for.
    pub role: String,
    /// Classes that the chapter names, each with the methods that it names.
    pub classes: BTreeMap<String, Vec<String>>,
    /// Functions that the chapter names.
    pub functions: Vec<String>,
}

impl VllmMap {
    /// The committed map.
    ///
    /// # Errors
    /// If the file cannot be read or says something that a map does not.
    pub fn load() -> Result<Self, EngineError> {
        let path = Path::new(PATH);
        let text = std::fs::read_to_string(path).map_err(EngineError::file(path))?;
        serde_json::from_str(&text)
            .map_err(|error| EngineError::unreadable(path.display().to_string(), error))
    }

    /// The file and the classes of a family of schemes, in the order of the map.
    pub fn family(&self, name: &str) -> impl Iterator<Item = (&File, &Class, &Answers)> {
        self.files.iter().flat_map(move |file| {
            file.classes.iter().filter_map(move |class| {
                let answers = class.answers.as_ref()?;
                (answers.family == name).then_some((file, class, answers))
            })
        })
    }
}
