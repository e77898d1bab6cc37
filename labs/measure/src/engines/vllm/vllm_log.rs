//! What vLLM's log says of a checkpoint.

use crate::engines::process::last_lines;

/// What the lines are about that say how a checkpoint is read: in lower case.
const WORDS: [&str; 6] = [
    "kernel for ",
    "for compressedtensors",
    "fallback to",
    "loading weights took",
    "kv cache size",
    "init engine",
];
/// No line needs more.
const LONGEST: usize = 400;

/// The lines of a vLLM log that say which kernel and scheme it took, what loading took and how large
/// the KV cache is: each once, without the process, time and file in front.
pub fn facts(log: &str) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    for line in log.lines().map(message) {
        let lower = line.to_lowercase();
        let told = WORDS.iter().any(|word| lower.contains(word));
        if told && !facts.contains(&line) {
            facts.push(line);
        }
    }
    facts
}

/// The first error of a vLLM log and the last lines, without what stands in front of each. Only the
/// first error says what happened, because the last lines are of worker processes that were shut down for it.
pub(super) fn complaint(log: &str) -> String {
    let lines: Vec<String> = log.lines().map(message).collect();
    let last = last_lines(&lines.join("\n"));
    let Some(first) = lines.iter().position(|line| is_error(line)) else { return last };
    let mut cause = lines[first].clone();
    // pydantic says what the error is on a line of its own.
    if let Some(more) = lines.get(first + 1).filter(|_| cause.contains("validation error")) {
        cause = format!("{cause} {more}");
    }
    format!("{cause}\n...\n{last}")
}

/// Whether a line is Python's last word of a traceback: `AttributeError: no attribute ...`.
fn is_error(message: &str) -> bool {
    let Some((kind, _)) = message.split_once(": ") else { return false };
    let name = kind.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '_');
    name && (kind.ends_with("Error") || kind.ends_with("Exception"))
}

/// `(Worker pid=1) INFO 11-24 19:12:58 [file.py:68] message` without what stands in front.
fn message(line: &str) -> String {
    let rest = line.trim();
    let process = rest.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let rest = process.map_or(rest, |(_, rest)| rest);
    let is_log = ["INFO ", "WARNING ", "ERROR "].iter().any(|level| rest.starts_with(level));
    let message = rest.split_once("] ").filter(|_| is_log).map_or(rest, |(_, message)| message);
    message.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of vLLM 0.32.0 for a W8A8 checkpoint, routes and banner left out.
    const SERVES: &str = include_str!("../../../tests/recorded/vllm-w8a8.log");
    /// Of a W4A16 checkpoint on a processor without AVX-512, its tracebacks cut short.
    const FAILS: &str = include_str!("../../../tests/recorded/vllm-w4a16-fails.log");

    #[test]
    fn the_log_tells_the_kernel_the_loading_and_the_cache() {
        let facts = facts(SERVES);
        for wanted in [
            "Selected CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8",
            "Loading weights took 0.28 seconds",
            "CPU KV cache size: 46,592 tokens, Maximum concurrency for 1,024 tokens per request: 45.50x",
        ] {
            assert!(facts.iter().any(|fact| fact == wanted), "no `{wanted}` in {facts:#?}");
        }
        assert!(facts.len() < 8, "facts, not the log: {facts:#?}");
    }

    #[test]
    fn a_complaint_begins_with_the_first_error_and_not_with_those_who_heard_of_it() {
        let complaint = complaint(FAILS);
        let cause = "AttributeError: '_OpNamespace' '_C' object has no attribute 'cpu_gemm_wna16'";
        assert!(complaint.starts_with(cause), "{complaint}");
        assert!(facts(FAILS).iter().any(|fact| fact.contains("CPUWNA16LinearKernel")));
    }

    #[test]
    fn a_refusal_by_pydantic_is_shown_with_its_reason() {
        let log = "(APIServer pid=1) pydantic.ValidationError: 1 validation error for ModelConfig\n\
                   (APIServer pid=1)   Value error, torch.float32 is not supported\nend";
        assert!(
            complaint(log).starts_with(
                "pydantic.ValidationError: 1 validation error for ModelConfig Value error, torch"
            ),
            "{}",
            complaint(log)
        );
        assert_eq!(complaint("no error\nat all"), "no error\nat all");
    }
}
