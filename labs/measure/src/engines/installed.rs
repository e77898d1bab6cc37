//! An engine's programs: those that were given, or those under target/engines, set up if they are
//! not there.

use std::path::{Path, PathBuf};
use std::process::Command;

use kit::workspace::root;

use super::EngineError;
use super::engine::Engine;

/// An engine that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The program `vllm`, or the folder with llama.cpp's tools.
    pub program: PathBuf,
    /// What it is.
    pub version: String,
}

impl Engine {
    /// The engine that was given and is `version`, or the one under target/engines, set up if it is
    /// not there.
    ///
    /// # Errors
    /// If the script that sets it up fails; the script has said why.
    pub fn installed(
        self,
        given: Option<&Path>,
        version: Option<&str>,
    ) -> Result<Installed, EngineError> {
        if let Some(program) = given {
            let version = version.unwrap_or("not told: given on the command line").into();
            let program = std::path::absolute(program).map_err(EngineError::file(program))?;
            return Ok(Installed { program, version });
        }
        let (name, within) = match self {
            Self::Vllm => ("vllm", "venv/bin/vllm"),
            Self::LlamaCpp => ("llama.cpp", "build/bin"),
            Self::Course | Self::Gpu => {
                return Err(EngineError::Asked(format!("{self} has no program to be set up")));
            }
        };
        let folder = root().join("target").join("engines").join(name);
        let script = root().join("labs/measure/src/engines/setup").join(format!("{name}.sh"));
        let status = Command::new("sh").arg(&script).arg(&folder).status();
        if !status.map_err(EngineError::file(&script))?.success() {
            return Err(EngineError::Asked(format!("{name} could not be set up")));
        }
        let file = folder.join("version");
        let version = std::fs::read_to_string(&file).map_err(EngineError::file(&file))?;
        let program = folder.join(within);
        Ok(Installed { program, version: version.trim().into() })
    }
}
