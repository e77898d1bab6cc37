//! The three meters of llama.cpp, through its tools.

use std::path::{Path, PathBuf};

use super::{Engine, KvCache, Load, Loaded, MeterError, Plan, Told, WRITTEN};
use crate::engines::EngineError;
use crate::engines::capture::Quality;
use crate::engines::llama_cpp::{Logits, Tools};

/// llama.cpp, with a file for each format.
#[derive(Debug)]
pub struct LlamaCpp {
    /// Its tools.
    pub tools: Tools,
    /// The formats and their files; predictions are compared with those of the first.
    pub models: Vec<(String, PathBuf)>,
    /// The text that is scored.
    pub passage: PathBuf,
    /// Where the predictions of the first format go: 100 KB for each scored token.
    pub base: PathBuf,
    /// What every format does.
    pub plan: Plan,
}

impl Engine for LlamaCpp {
    fn open(&mut self, format: &str) -> Result<Box<dyn Loaded + '_>, MeterError> {
        let found = self.models.iter().find(|(name, _)| name == format);
        let model = &found.ok_or_else(|| format!("there is no file for `{format}`"))?.1;
        Ok(Box::new(File { engine: self, model, facts: Vec::new() }))
    }
}

/// A file; each meter starts a tool of its own.
struct File<'e> {
    engine: &'e LlamaCpp,
    model: &'e Path,
    facts: Vec<String>,
}

impl Loaded for File<'_> {
    fn told(&mut self) -> Told {
        Told { dtype: None, facts: self.facts.clone() }
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>, MeterError> {
        // The shortest reading that there is: what is wanted is the size.
        let speeds = self.engine.tools.bench(self.model, 1, 0, 1)?;
        Ok(speeds.first().map(|speed| speed.model_size))
    }

    fn kv_cache(&mut self) -> Result<KvCache, MeterError> {
        let told = self.facts.iter().find_map(|fact| token_bytes(fact));
        let missing = || EngineError::unreadable("llama-perplexity", "no size of the KV cache");
        Ok(KvCache { token_bytes: Some(told.ok_or_else(missing)?), blocks: None })
    }

    fn read(&mut self, tokens: usize) -> Result<Vec<f64>, MeterError> {
        let Plan { repetitions, .. } = self.engine.plan;
        let speeds = self.engine.tools.bench(self.model, tokens, 0, repetitions)?;
        let reading = speeds.into_iter().find(|speed| speed.n_prompt == tokens);
        let missing = || EngineError::unreadable("llama-bench", "no speed of the prompt");
        Ok(reading.ok_or_else(missing)?.samples_ts)
    }

    fn serve(&mut self, load: Load) -> Result<Vec<f64>, MeterError> {
        // A process each: the tool warms up by itself, and reads the time of one run.
        let once = |_| -> Result<f64, MeterError> {
            let Load { requests, prompt, written } = load;
            let read = self.engine.tools.batched(self.model, prompt, written, requests)?;
            Ok(load.all_written() as f64 / read.t)
        };
        (0..self.engine.plan.repetitions.clamp(1, 3)).map(once).collect()
    }

    fn sanity(&mut self, prompt: &str) -> Result<(String, Quality), MeterError> {
        let LlamaCpp { tools, passage, base, plan, models } = self.engine;
        let answer = tools.complete(self.model, prompt, WRITTEN)?;
        let first = models.first().is_some_and(|(_, model)| model == self.model);
        let logits = if first { Logits::Save(base) } else { Logits::Compare(base) };
        let read = tools.perplexity(self.model, passage, plan.chunk, plan.chunks, logits)?;
        self.facts = read.facts;
        let quality = Quality {
            perplexity: read.perplexity,
            standard_error: read.standard_error,
            chunks: read.chunks,
            same_top: read.divergence.map(|divergence| divergence.same_top),
            mean_kl: read.divergence.map(|divergence| divergence.mean_kl),
        };
        Ok((answer, quality))
    }
}

/// Bytes of a token, of `llama_kv_cache: size = 45.00 MiB ( 512 cells, 30 layers, 4/4 seqs), ...`:
/// each sequence has so many cells.
fn token_bytes(fact: &str) -> Option<f64> {
    let rest = fact.strip_prefix("llama_kv_cache: size = ")?;
    let (size, rest) = rest.split_once(" MiB")?;
    let (cells, rest) = rest.trim_start_matches([' ', '(']).split_once(" cells")?;
    let sequences = rest.split_once(" layers, ")?.1.split_once('/')?.0;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    Some(number(size)? * f64::from(1 << 20) / (number(cells)? * number(sequences)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_token_are_the_size_of_the_cache_over_the_cells_of_all_sequences() {
        // Printed by build 11434 for SmolLM2-135M: 2 x 30 layers x 3 heads x 64 x 2 bytes a token.
        let log = include_str!("../../../tests/recorded/llama-perplexity-lv4.err");
        let line = log.lines().rev().find_map(|line| line.split_once("llama_kv_cache: size"));
        let fact = format!("llama_kv_cache: size{}", line.expect("it is recorded").1);
        let fact = fact.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(token_bytes(&fact), Some(23_040.0));
        for other in ["", "llama_kv_cache: size = 45.00 MiB", "print_info: file type = Q4_0"] {
            assert_eq!(token_bytes(other), None, "{other}");
        }
    }
}
