//! `llama-perplexity`: perplexity, and the KL divergence of a model from another.

use std::path::Path;

use super::{Tools, run};
use crate::engines::EngineError;
use crate::engines::process::last_lines;

const TOOL: &str = "llama-perplexity";

/// What to do with the logits of a run.
#[derive(Clone, Copy, Debug)]
pub enum Logits<'a> {
    /// Forget them.
    Forget,
    /// Write them to this file, as the base that others are compared with. It takes 100 KB for each
    /// scored token of a vocabulary of 49,152.
    Save(&'a Path),
    /// Compare them with this base.
    Compare(&'a Path),
}

/// What `llama-perplexity` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Perplexity {
    /// The perplexity.
    pub perplexity: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Chunks scored.
    pub chunks: usize,
    /// How far the predictions are from those of the base; none without a base.
    pub closeness: Option<Closeness>,
    /// The lines that say what was loaded: the file's type, the buffers, the KV cache.
    pub facts: Vec<String>,
}

/// How far a model's predictions are from those of a base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closeness {
    /// The mean KL divergence of a scored token, in nats.
    pub kl_divergence: f64,
    /// The standard error of that mean.
    pub standard_error: f64,
    /// Top-1 agreement: the part of the scored tokens, 0 to 1, at which the likeliest token is the same.
    pub top1_agreement: f64,
}

impl Tools {
    /// Scores the text in the file `text`, `chunk` tokens a chunk, `chunks` chunks at most.
    ///
    /// # Errors
    /// If the tool is not there or fails, or prints no result. The tool has been seen to lose the
    /// end of its output: it is run once more then.
    pub fn perplexity(
        &self,
        model: &Path,
        text: &Path,
        chunk: usize,
        chunks: Option<usize>,
        logits: Logits,
    ) -> Result<Perplexity, EngineError> {
        let once = || {
            let mut command = self.command(TOOL, model);
            // `-lv 4`: with the lines that say what was loaded.
            command.args(["-lv", "4", "-c", &chunk.to_string(), "-f"]).arg(text);
            if let Some(chunks) = chunks {
                command.args(["--chunks", &chunks.to_string()]);
            }
            if let Logits::Save(base) | Logits::Compare(base) = logits {
                command.arg("--kl-divergence-base").arg(base);
            }
            if matches!(logits, Logits::Compare(_)) {
                command.arg("--kl-divergence");
            }
            let printed = run(&mut command)?;
            parse(&printed.out, &printed.err)
        };
        // Only an output without a result is worth a second run; a failure would fail again.
        once().or_else(|error| match error {
            EngineError::Unreadable { .. } => once(),
            other => Err(other),
        })
    }
}

/// Reads what the tool printed.
fn parse(out: &str, err: &str) -> Result<Perplexity, EngineError> {
    let compared = out.contains("KL divergence");
    let read = if compared { compared_result(out) } else { plain_result(out, err) };
    let (perplexity, standard_error, chunks, closeness) = read.ok_or_else(|| {
        let lines = last_lines(&format!("{out}\n{err}"));
        EngineError::unreadable(TOOL, format!("no result at the end of\n{lines}"))
    })?;
    Ok(Perplexity { perplexity, standard_error, chunks, closeness, facts: facts(err) })
}

type Read = (f64, f64, usize, Option<Closeness>);

/// `[1]17.9693,[2]23.2586,` and, in the log, `Final estimate: PPL = 22.2313 +/- 1.86419`.
fn plain_result(out: &str, err: &str) -> Option<Read> {
    let both = [out, err];
    let line = both.iter().find_map(|text| text.split_once("Final estimate: PPL = "))?.1;
    let (perplexity, error) = line.split_once("+/-")?;
    // Each chunk prints its number in brackets, and nothing else on standard output has one.
    let chunks = out.matches('[').count();
    Some((first(perplexity)?, first(error)?, chunks, None))
}

/// The table of `--kl-divergence`.
fn compared_result(out: &str) -> Option<Read> {
    // The standard error stands behind a plus-minus sign.
    let error = |key: &str| first(behind(out, key)?.split_once('\u{b1}')?.1);
    let after = |key: &str| first(behind(out, key)?);
    let closeness = Closeness {
        kl_divergence: after("Mean KLD")?,
        standard_error: error("Mean KLD")?,
        top1_agreement: after("Same top p")? / 100.0,
    };
    let head = out.lines().skip_while(|line| !line.trim_start().starts_with("chunk"));
    let is_row =
        |line: &&str| line.split_whitespace().next().is_some_and(|w| w.parse::<u32>().is_ok());
    let chunks = head.skip(1).take_while(is_row).count();
    Some((after("Mean PPL(Q)")?, error("Mean PPL(Q)")?, chunks, Some(closeness)))
}

/// What was loaded, the time and level in front of each line left out.
fn facts(err: &str) -> Vec<String> {
    const WORDS: [&str; 5] =
        ["file type", "file size", "model buffer size", "kv_cache: size", "compute buffer size"];
    let told = err.lines().filter(|line| WORDS.iter().any(|word| line.contains(word)));
    let mut facts: Vec<String> = Vec::new();
    for line in told {
        let message = line.split_once(" I ").map_or(line, |(_, message)| message);
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        // A first pass that only plans prints the same names with other sizes, so the last one counts.
        let name = |fact: &str| fact.split(" = ").next().unwrap_or_default().to_string();
        facts.retain(|fact| name(fact) != name(&message));
        facts.push(message);
    }
    facts
}

/// The text behind `key :` in the line that begins with `key`, whatever blanks are in both.
fn behind<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.split_whitespace().eq(key.split_whitespace()).then_some(value)
    })
}

/// The number that a text begins with, a `%` behind it left out.
fn first(text: &str) -> Option<f64> {
    let word = text.split_whitespace().next()?.trim_end_matches('%');
    word.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What build 11434 printed of SmolLM2-135M in F32, `--chunks 4 --kl-divergence-base FILE`.
    const PLAIN: [&str; 2] = [
        include_str!("../../../tests/recorded/llama-perplexity.out"),
        include_str!("../../../tests/recorded/llama-perplexity.err"),
    ];
    /// The same of Q8_0 against that base, `--kl-divergence`.
    const COMPARED: &str = include_str!("../../../tests/recorded/llama-perplexity-kl.out");

    #[test]
    fn the_plain_result_is_read_as_it_was_printed() {
        let read = parse(PLAIN[0], PLAIN[1]).expect("a whole output");
        assert_eq!((read.perplexity, read.standard_error, read.chunks), (22.2313, 1.86419, 4));
        assert_eq!(read.closeness, None);
    }

    #[test]
    fn the_comparison_is_read_as_it_was_printed() {
        let read = parse(COMPARED, "").expect("a whole output");
        assert_eq!((read.perplexity, read.standard_error, read.chunks), (22.471453, 1.887617, 4));
        let closeness = read.closeness.expect("it was compared");
        assert_eq!((closeness.kl_divergence, closeness.standard_error), (0.003625, 0.000096));
        assert_eq!(closeness.top1_agreement, 95.882 / 100.0);
    }

    #[test]
    fn an_output_that_lost_its_end_is_an_error_that_shows_it() {
        let cut = COMPARED.split("Same top p:").next().expect("the part in front");
        // `Same top p` also heads a column: that is not the result.
        let error = parse(cut, "").expect_err("no end").to_string();
        assert!(error.contains("no result") && error.contains("RMS"), "{error}");
        let error = parse("[1]17.9,", "").expect_err("no final estimate").to_string();
        assert!(error.contains("[1]17.9"), "{error}");
    }

    #[test]
    fn what_was_loaded_is_kept_and_the_last_of_a_name_counts() {
        let err = include_str!("../../../tests/recorded/llama-perplexity-lv4.err");
        let facts = facts(err);
        let wanted = [
            "print_info: file type = Q4_0",
            "print_info: file size = 85.77 MiB (5.35 BPW)",
            "load_tensors: CPU_Mapped model buffer size = 85.30 MiB",
            "load_tensors: CPU_REPACK model buffer size = 56.95 MiB",
        ];
        assert_eq!(facts[..4], wanted);
        assert!(facts[4].starts_with("llama_kv_cache: size = 45.00 MiB"), "{facts:?}");
        assert_eq!(facts[5], "sched_reserve: CPU compute buffer size = 102.14 MiB");
        assert_eq!(facts.len(), 6, "{facts:?}");
    }
}
