//! What vLLM's log says of a checkpoint.

/// What the lines are about that say how a checkpoint is read: in lower case.
const WORDS: [&str; 9] = [
    "kernel for ",
    "kernel kernel",
    "linearmethod",
    "compressedtensors",
    "quantization=",
    "checkpoint size",
    "loading weights took",
    "kv cache size",
    "init engine",
];

/// The lines of a vLLM log that say which kernel and scheme it took, what loading took and how large
/// the KV cache is: each once, without the process, time and file in front.
pub fn facts(log: &str) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    for line in log.lines().map(message) {
        let lower = line.to_lowercase();
        let told = WORDS.iter().any(|word| lower.contains(word));
        if told && !facts.iter().any(|fact| fact == line) {
            facts.push(line.into());
        }
    }
    facts
}

/// `(Worker pid=1) INFO 11-24 19:12:58 [file.py:68] message` without what stands in front.
fn message(line: &str) -> &str {
    let rest = line.trim();
    let head = ["INFO ", "WARNING ", "ERROR "].iter().find_map(|level| rest.find(level));
    let message = head.and_then(|at| rest.get(at..)?.split_once("] "));
    message.map_or(rest, |(_, message)| message.trim())
}
