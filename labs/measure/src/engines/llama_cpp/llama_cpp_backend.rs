//! llama.cpp, asked through its tools: a process for every question.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::workspace::target;
use model::passage;
use tempfile::TempDir;

use super::{Logits, Perplexity, Tools};
use crate::engines::EngineError;
use crate::engines::backend::{Backend, Loaded};
use crate::engines::checkpoints::{Checkpoint, fetched};
use crate::engines::engine_meters::{KvCache, OwnMemory, Quality, Run};
use crate::engines::plan::{Load, Plan};

/// The GGUF file of llama.cpp's `format`, which `llama-quantize` makes of the fetched model if it is not
/// there: the files that llama.cpp's users run. `f32` has the weights as the numbers that they stand for.
///
/// # Errors
/// If the model was not fetched, or `llama-quantize` fails.
pub fn made(tools: &Tools, format: &str) -> Result<PathBuf> {
    let folder = target("engines/llama.cpp");
    let path = folder.join(format!("original-{format}.gguf"));
    if !path.exists() {
        let from = match format {
            "f32" => fetched()?,
            _ => made(tools, "f32")?,
        };
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        tools.quantize(&from, &path, &format.to_uppercase())?;
    }
    Ok(path)
}

/// llama.cpp, and the passage in a file.
#[derive(Debug)]
pub struct LlamaCpp {
    tools: Tools,
    plan: Plan,
    folder: TempDir,
}

impl LlamaCpp {
    /// The tools, and a place for the passage and for the original's logits: 100 KB for each scored
    /// token.
    ///
    /// # Errors
    /// If there is no temporary folder.
    pub fn new(tools: Tools, plan: &Plan) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        std::fs::write(folder.path().join("passage.txt"), passage::ALICE)
            .context("cannot write the passage")?;
        Ok(Self { tools, plan: plan.clone(), folder })
    }
}

impl Backend for LlamaCpp {
    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        is_original: bool,
        _: &mut Run,
    ) -> Result<Box<dyn Loaded + '_>> {
        let model = checkpoint.gguf()?;
        Ok(Box::new(File { engine: self, model, is_original, scheme: None, log: Vec::new() }))
    }
}

/// A GGUF file.
struct File<'e> {
    engine: &'e LlamaCpp,
    model: PathBuf,
    is_original: bool,
    scheme: Option<String>,
    log: Vec<String>,
}

impl File<'_> {
    /// Scores `chunks` chunks of the passage, and keeps what was said of the loading.
    fn perplexity(&mut self, chunks: Option<usize>, logits: Logits) -> Result<Perplexity> {
        let text = self.engine.folder.path().join("passage.txt");
        let Plan { chunk, .. } = self.engine.plan;
        let read = self.engine.tools.perplexity(&self.model, &text, chunk, chunks, logits)?;
        self.log.clone_from(&read.facts);
        Ok(read)
    }

    /// What the original predicts is saved, the others are compared with it where it is there.
    fn compared(&mut self, base: &Path) -> Result<Perplexity> {
        let chunks = self.engine.plan.chunks;
        if !self.is_original {
            let logits = if base.exists() { Logits::Compare(base) } else { Logits::Forget };
            return self.perplexity(chunks, logits);
        }
        let read = self.perplexity(chunks, Logits::Save(base));
        if read.is_err() {
            // Removed, because the next checkpoints would be compared with half a base as with a whole one.
            let _ = std::fs::remove_file(base);
        }
        read
    }
}

impl Loaded for File<'_> {
    fn complete(&mut self, prompt: &str, tokens: usize) -> Result<String> {
        Ok(self.engine.tools.complete(&self.model, prompt, tokens)?)
    }

    fn quality(&mut self, _: &mut dyn FnMut(&str)) -> Result<Quality> {
        let base = self.engine.folder.path().join("base");
        let read = self.compared(&base)?;
        Ok(Quality {
            perplexity: read.perplexity,
            standard_error: read.standard_error,
            chunks: read.chunks,
            top1_agreement: read.closeness.map(|closeness| closeness.top1_agreement),
            kl_divergence: read.closeness.map(|closeness| closeness.kl_divergence),
        })
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>> {
        // One token once, because the size alone is wanted.
        let speeds = self.engine.tools.bench(&self.model, 1, 0, 1)?;
        let speed = speeds.into_iter().next();
        self.scheme = speed.as_ref().map(|speed| speed.model_type.clone());
        Ok(speed.map(|speed| speed.model_size))
    }

    fn kv_cache(&mut self) -> Result<KvCache> {
        if self.log.is_empty() {
            self.perplexity(Some(1), Logits::Forget)?;
        }
        let told = self.log.iter().find_map(|line| token_bytes(line));
        let missing = || EngineError::unreadable("llama-perplexity", "no size of the KV cache");
        Ok(KvCache { token_bytes: Some(told.ok_or_else(missing)?), ..KvCache::default() })
    }

    fn prefill(&mut self, load: Load) -> Result<Vec<f64>> {
        let Plan { repetitions, .. } = self.engine.plan;
        let speeds = self.engine.tools.bench(&self.model, load.prompt, 0, repetitions)?;
        let prefill = speeds.into_iter().find(|speed| speed.n_prompt == load.prompt);
        let missing = || EngineError::unreadable("llama-bench", "no speed of the prompt");
        Ok(prefill.ok_or_else(missing)?.samples_ts)
    }

    fn decode(&mut self, load: Load) -> Result<Vec<f64>> {
        // A process each: the tool warms up by itself, and reads the time of one run.
        let once = |_| -> Result<f64> {
            let Load { requests, prompt, generated } = load;
            let read = self.engine.tools.batched(&self.model, prompt, generated, requests)?;
            Ok(load.all_generated() as f64 / read.t)
        };
        (0..self.engine.plan.repetitions.clamp(1, 3)).map(once).collect()
    }

    fn own_memory(&mut self) -> Option<OwnMemory> {
        let buffers: Vec<f64> = self.log.iter().filter_map(|line| buffer_bytes(line)).collect();
        let compute_bytes = Some(buffers.iter().sum::<f64>() as u64).filter(|&bytes| bytes > 0)?;
        Some(OwnMemory { compute_bytes: Some(compute_bytes), ..OwnMemory::default() })
    }

    fn tell(&mut self, run: &mut Run) {
        run.log.append(&mut self.log);
        run.scheme = self.scheme.take();
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

/// Bytes of a buffer for intermediate results, of `sched_reserve: CPU compute buffer size = 102.14 MiB`.
fn buffer_bytes(fact: &str) -> Option<f64> {
    let size = fact.split_once(" compute buffer size = ")?.1.strip_suffix(" MiB")?;
    Some(size.parse::<f64>().ok()? * f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compute_buffer_has_the_bytes_that_the_log_tells() {
        let fact = "sched_reserve: CPU compute buffer size = 102.14 MiB";
        assert_eq!(buffer_bytes(fact).map(f64::round), Some(107_101_553.0));
        assert_eq!(buffer_bytes("load_tensors: CPU_Mapped model buffer size = 85.30 MiB"), None);
    }

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
