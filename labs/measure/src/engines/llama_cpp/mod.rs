//! The tools of llama.cpp, through what they print.
//!
//! llama.cpp has a library, but what its users quote are its tools: `llama-perplexity`,
//! `llama-bench`, `llama-batched-bench`, `llama-completion`. Their output is read as build 11434 prints it.

mod completion;
mod llama_bench;
mod llama_cpp_backend;
mod perplexity;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::engines::EngineError;
use crate::engines::process::{self, Printed};

pub use llama_bench::{Batched, Speed};
pub use llama_cpp_backend::{LlamaCpp, made};
pub use perplexity::{Closeness, Logits, Perplexity};

/// How long one run of a tool may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// The folder with the tools, and how they are run.
#[derive(Clone, Debug)]
pub struct Tools {
    bin: PathBuf,
    threads: usize,
    kv_cache: Option<String>,
}

impl Tools {
    /// The tools in the folder `bin`, run on as many threads as there are processors, with keys and
    /// values in the type `kv_cache` where one is named.
    pub fn new(bin: &Path, kv_cache: Option<&str>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { bin: bin.into(), threads, kv_cache: kv_cache.map(String::from) }
    }

    /// The path of a tool, whether it is there or not.
    pub fn path(&self, tool: &str) -> PathBuf {
        self.bin.join(format!("{tool}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A run of a tool on a model file; the tool's own arguments are still to be added.
    fn command(&self, tool: &str, model: &Path) -> Command {
        let mut command = Command::new(self.path(tool));
        command.args(["-t", &self.threads.to_string(), "-m"]).arg(model);
        if let Some(kv_cache) = &self.kv_cache {
            // Values in codes need flash attention.
            command.args(["-ctk", kv_cache, "-ctv", kv_cache, "-fa", "1"]);
        }
        command
    }

    /// Writes `from` again with every matrix in `format`, `F32` or `Q8_0` for example, to the file
    /// `to`, by `llama-quantize`.
    ///
    /// # Errors
    /// If the tool is not there or fails. No half file is left under the name `to`.
    pub fn quantize(&self, from: &Path, to: &Path, format: &str) -> Result<(), EngineError> {
        // Renamed at the end, because a file of this name is taken for whole by the next run.
        let part = to.with_extension("part");
        let mut command = Command::new(self.path("llama-quantize"));
        run(command.arg("--allow-requantize").args([from, &part]).arg(format))?;
        std::fs::rename(&part, to).map_err(EngineError::file(to))
    }
}

/// Runs a tool to its end, within the limit.
fn run(command: &mut Command) -> Result<Printed, EngineError> {
    process::run(command, LIMIT)
}
