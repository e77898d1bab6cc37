//! `llama-completion`: what a model writes.

use std::path::Path;

use super::{Tools, run};
use crate::engines::EngineError;

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
        let mut command = self.command(TOOL, model);
        command.args(["-p", prompt, "-n", &tokens.to_string(), "--temp", "0", "-c", "1024"]);
        command.args(["-no-cnv", "--no-display-prompt", "--no-warmup"]);
        Ok(text(&run(&mut command)?.out).to_string())
    }
}

/// What the model wrote, without what the tool puts behind it.
fn text(out: &str) -> &str {
    let text = out.strip_suffix("\n\n").unwrap_or(out);
    text.strip_suffix(" [end of text]\n").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_the_model_stay_and_those_of_the_tool_go() {
        // What build 11434 printed for "The capital of France is", 14 tokens.
        assert_eq!(text(" Paris.\n\nThe answer is: 2018-\n\n"), " Paris.\n\nThe answer is: 2018-");
        assert_eq!(text(" yes\n [end of text]\n\n\n"), " yes\n");
        assert_eq!(text(""), "");
    }
}
