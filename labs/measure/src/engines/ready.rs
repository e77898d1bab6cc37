//! An engine's programs: those that were given, or those under target/engines, set up if they are
//! not there.

use std::path::{Path, PathBuf};
use std::process::Command;

use kit::workspace::root;

use crate::engines::EngineError;

/// An engine that others wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// vLLM: the program `vllm`.
    Vllm,
    /// llama.cpp: the folder with its tools.
    LlamaCpp,
}

/// An engine that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The program `vllm`, or the folder with llama.cpp's tools.
    pub program: PathBuf,
    /// What it is.
    pub version: String,
}

impl Which {
    /// The name of its folder and of the script that sets it up.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// The engine that was given and is `version`, or the one under target/engines, set up if it is
    /// not there.
    ///
    /// # Errors
    /// If the script that sets it up fails; it has said why.
    pub fn ready(self, given: Option<&Path>, version: Option<&str>) -> Result<Ready, EngineError> {
        if let Some(program) = given {
            let version = version.unwrap_or("not told: given on the command line").into();
            let program = std::path::absolute(program).map_err(EngineError::file(program))?;
            return Ok(Ready { program, version });
        }
        let name = self.folder();
        let folder = root().join("target").join("engines").join(name);
        let script = root().join("labs/measure/src/engines/setup").join(format!("{name}.sh"));
        let status = Command::new("sh").arg(&script).arg(&folder).status();
        if !status.map_err(EngineError::file(&script))?.success() {
            return Err(EngineError::Asked(format!("{name} could not be set up")));
        }
        let program = match self {
            Self::Vllm => folder.join("venv/bin/vllm"),
            Self::LlamaCpp => folder.join("build/bin"),
        };
        let file = folder.join("version");
        let version = std::fs::read_to_string(&file).map_err(EngineError::file(&file))?;
        Ok(Ready { program, version: version.trim().into() })
    }
}
