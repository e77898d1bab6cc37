//! `llama-completion`: what a model writes.

use std::ffi::OsStr;
use std::path::Path;

use super::Tools;
use crate::EngineError;

const TOOL: &str = "llama-completion";

impl Tools {
    /// Continues `prompt` with the likeliest token each time, `tokens` at most; the prompt itself is
    /// not in the answer.
    ///
    /// # Errors
    /// If the tool is not there or fails.
    pub fn complete(
        &self,
        model: &Path,
        prompt: &str,
        tokens: usize,
    ) -> Result<String, EngineError> {
        let tokens = tokens.to_string();
        let mut words = vec!["-p", prompt, "-n", &tokens, "--temp", "0", "-c", "1024"];
        words.extend(["-no-cnv", "--no-display-prompt", "--no-warmup"]);
        let arguments: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        Ok(self.run(TOOL, model, &arguments)?.out)
    }
}
