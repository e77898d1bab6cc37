//! The capture that `cargo book serve-check` writes: one engine, one machine, several checkpoints.

use crate::capture::{CaptureError, CaptureFile};
use serde::{Deserialize, Serialize};

use crate::engines::vllm::CacheConfig;

/// What one engine made of several checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    schema: String,
    version: u64,
    /// Where, when and with what.
    pub provenance: Provenance,
    /// What every checkpoint was asked.
    pub questions: Questions,
    /// The checkpoints, the original first.
    pub checkpoints: Vec<Checkpoint>,
}

/// Where, when and with what a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The engine, `vLLM` or `llama.cpp`.
    pub engine: String,
    /// Its version and the package it came from.
    pub engine_version: String,
    /// The processor's name.
    pub processor: String,
    /// Its cores.
    pub processors: usize,
    /// Its vector instructions that engines ask for, `AVX2, AVX-512`.
    pub instructions: String,
    /// Operating system and architecture.
    pub system: String,
    /// The commit of this repository.
    pub commit: String,
    /// When, UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    /// Whether it was a short run.
    pub quick: bool,
}

/// What every checkpoint was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Questions {
    /// The prompts that it continued, by the likeliest token each time.
    pub prompts: Vec<String>,
    /// Tokens that it was to write at most.
    pub written_tokens: usize,
    /// The text that it was scored on.
    pub passage: String,
    /// Tokens of a chunk of that text; the second half is scored.
    pub chunk: usize,
    /// Chunks at most; none for the whole text.
    pub chunks: Option<usize>,
}

/// What the engine made of one checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its name, by which tables look it up.
    pub name: String,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    /// What its config says of its quantization, `compressed-tensors int-quantized`; for a GGUF file
    /// what llama.cpp calls it. `None` for a plain checkpoint.
    pub scheme: Option<String>,
    /// The type that activations and unquantized weights were given, where that was chosen.
    pub dtype: Option<String>,
    /// What stopped it, in the engine's words. What was read before is kept.
    pub error: Option<String>,
    /// Seconds from the start of the engine until it answered.
    pub load_s: Option<f64>,
    /// What the engine's log says of how it reads the checkpoint.
    pub facts: Vec<String>,
    /// The KV cache that it set up.
    pub kv_cache: Option<CacheConfig>,
    /// What it wrote, one for each prompt.
    pub answers: Vec<String>,
    /// How it predicts the passage.
    pub quality: Option<Quality>,
    /// How fast it was, one request at a time.
    pub speeds: Vec<Rate>,
}

/// How a checkpoint predicts the passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The perplexity.
    pub perplexity: f64,
    /// Its standard error: how much it depends on the text.
    pub standard_error: f64,
    /// Chunks that were scored.
    pub chunks: usize,
    /// The part of the scored places, 0 to 1, at which the likeliest token is the original's; `None`
    /// for the original, and where there was none.
    pub same_top: Option<f64>,
    /// The mean Kullback-Leibler divergence from the original, in nats, where the engine tells it.
    pub mean_kl: Option<f64>,
}

/// A speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// `reading` a prompt or `writing`.
    pub what: String,
    /// Tokens of the prompt, or written.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// Tokens per second.
    pub tokens_per_s: crate::capture::Spread,
}

impl Capture {
    /// A capture without a checkpoint yet.
    pub fn new(provenance: Provenance, questions: Questions) -> Self {
        let (schema, version) = (Self::SCHEMA.into(), Self::VERSION);
        Self { schema, version, provenance, questions, checkpoints: Vec::new() }
    }

    /// The checkpoint of a name.
    pub fn named(&self, name: &str) -> Option<&Checkpoint> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)
    }
}

impl CaptureFile for Capture {
    const SCHEMA: &'static str = "serve-check";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), CaptureError> {
        for (index, checkpoint) in self.checkpoints.iter().enumerate() {
            let fail = |what: &str| {
                let text = format!("the checkpoint `{}` {what}", checkpoint.name);
                Err(CaptureError::Inconsistent(text))
            };
            if self.checkpoints[..index].iter().any(|other| other.name == checkpoint.name) {
                return fail("is there twice");
            }
            if checkpoint.error.is_none() && checkpoint.quality.is_none() {
                return fail("has neither a perplexity nor an error");
            }
            if checkpoint.answers.len() > self.questions.prompts.len() {
                return fail("has more answers than there were prompts");
            }
            if checkpoint.quality.as_ref().is_some_and(|quality| !quality.is_sound()) {
                return fail("has a perplexity below 1, or a part beyond 1");
            }
            if checkpoint.speeds.iter().any(|rate| !rate.tokens_per_s.is_sound()) {
                return fail("has a speed that is none");
            }
        }
        Ok(())
    }
}

impl Quality {
    /// Whether this can be the score of a text.
    pub fn is_sound(&self) -> bool {
        let part = self.same_top.is_none_or(|part| (0.0..=1.0).contains(&part));
        // Of 16-bit log-probabilities, so that it may fall below 0 by their rounding.
        let divergence = self.mean_kl.is_none_or(f64::is_finite);
        let perplexity = self.perplexity.is_finite() && self.perplexity >= 1.0;
        perplexity && self.standard_error >= 0.0 && self.chunks > 0 && part && divergence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Capture {
        let text = || "test".to_string();
        let provenance = Provenance {
            engine: text(),
            engine_version: text(),
            processor: text(),
            processors: 2,
            instructions: text(),
            system: text(),
            commit: text(),
            date: text(),
            command: text(),
            quick: true,
        };
        let questions = Questions {
            prompts: vec![text()],
            written_tokens: 14,
            passage: text(),
            chunk: 512,
            chunks: Some(4),
        };
        let mut capture = Capture::new(provenance, questions);
        capture.checkpoints.push(Checkpoint {
            name: "w8a8".into(),
            answers: vec![" Paris".into()],
            quality: Some(Quality {
                perplexity: 22.5,
                standard_error: 0.5,
                chunks: 4,
                same_top: Some(0.9),
                mean_kl: None,
            }),
            ..Checkpoint::default()
        });
        capture.checkpoints.push(Checkpoint {
            name: "w4a16".into(),
            error: Some("no kernel".into()),
            ..Checkpoint::default()
        });
        capture
    }

    #[test]
    fn a_capture_comes_back_as_it_was_written() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("capture.json");
        example().save(&path)?;
        let read = Capture::load(&path)?;
        assert_eq!(read, example());
        assert_eq!(read.named("w4a16").and_then(|c| c.error.as_deref()), Some("no kernel"));
        Ok(())
    }

    #[test]
    fn a_capture_that_contradicts_itself_names_the_checkpoint() {
        type Change = fn(&mut Capture);
        let changes: [(&str, Change); 5] = [
            ("twice", |c| c.checkpoints[1].name = "w8a8".into()),
            ("neither", |c| c.checkpoints[1].error = None),
            ("more answers", |c| c.checkpoints[0].answers.push("x".into())),
            ("below 1", |c| c.checkpoints[0].quality.as_mut().expect("set").perplexity = 0.5),
            ("beyond 1", |c| c.checkpoints[0].quality.as_mut().expect("set").same_top = Some(1.1)),
        ];
        for (words, change) in changes {
            let mut capture = example();
            change(&mut capture);
            let error = capture.check().expect_err(words).to_string();
            assert!(error.contains(words) && error.contains("checkpoint `w"), "{error}");
        }
    }
}
