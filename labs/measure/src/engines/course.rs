//! This course's own model on the course's kernels: what a reader's code quantizes, or any checkpoint
//! that the course reads. Nothing to install.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use half::f16;
use model::{
    Cache, CacheFormat, CacheStorage, Closeness, Convention, Format, LinearError, Model, Quantizer,
    Reference, Score, Tokenizer, greedy, most_likely, passage,
};
use ndarray::{Array2, Axis};
use quantizer::loaded::load_quantized;

use super::backend::{Backend, Loaded};
use super::checkpoints::{Checkpoint, fetched, formats};
use super::engine::Engine;
use super::engine_meters::{KvCache, Quality, Run};
use super::plan::{Load, Plan};

/// Tokens of prompts that run together, as many as in a pass of llama.cpp (`-ub`).
const PROMPT_TOKENS: usize = 512;

/// This course's model.
pub struct Course {
    plan: Plan,
    tokenizer: Tokenizer,
    /// The passage in tokens, as many as are scored.
    tokens: Vec<u32>,
    convention: Convention,
    /// The fetched model, from when a format of it is asked for.
    fetched: Option<Model>,
    /// What the original predicts of the passage, a chunk each: a gigabyte for the whole passage, so
    /// that the original runs once. Empty until it has run.
    references: Vec<Reference>,
}

impl Course {
    /// Cuts the passage with the tokenizer of the first of `checkpoints`.
    ///
    /// # Errors
    /// If that is no model that the course runs, or was not fetched.
    pub fn new(checkpoints: &[Checkpoint], plan: &Plan) -> Result<Self> {
        let first = checkpoints.first().context("there is no checkpoint")?;
        let path = match first.path {
            Some(_) => first.folder_or_gguf()?,
            None => fetched()?,
        };
        let tokenizer = Tokenizer::load(&path)?;
        let mut tokens = tokenizer.encode(passage::ALICE)?;
        let convention = plan.cut(&mut tokens, tokenizer.bos_in_front());
        let (plan, references) = (plan.clone(), Vec::new());
        Ok(Self { plan, tokenizer, tokens, convention, fetched: None, references })
    }

    fn fetched(&mut self) -> Result<&Model> {
        match &mut self.fetched {
            Some(model) => Ok(model),
            none => Ok(none.insert(Model::load(fetched()?)?)),
        }
    }

    /// The original in `format`.
    fn quantized(&mut self, format: &str) -> Result<Model> {
        let model = self.fetched()?;
        if format == "f32" {
            return Ok(model.clone());
        }
        let format =
            Format::named(format).with_context(|| format!("there is no format `{format}`"))?;
        Ok(model.quantized(format, &Labs)?)
    }

    /// The score of the passage by `model`; `each` sees the logits of each chunk.
    fn score(
        &self,
        model: &Model,
        say: &mut dyn FnMut(&str),
        mut each: impl FnMut(usize, Array2<f32>) -> Result<()>,
    ) -> Result<Score> {
        let mut cache = Cache::new(model.config(), self.convention.chunk)?;
        let mut score = Score::default();
        for (index, chunk) in self.convention.chunks(&self.tokens)?.into_iter().enumerate() {
            let logits = self.convention.logits(model, chunk, &mut cache)?;
            score.add_chunk(&logits, chunk)?;
            say(&format!("chunk {}: {:.4}", score.chunks, score.perplexity()));
            each(index, logits)?;
        }
        Ok(score)
    }

    /// The score of the original, whose predictions are kept.
    fn score_original(&mut self, model: &Model, say: &mut dyn FnMut(&str)) -> Result<Quality> {
        let mut references = Vec::new();
        let score = self.score(model, say, |_, logits| {
            references.push(Reference::new(logits));
            Ok(())
        })?;
        self.references = references;
        Ok(quality(&score, None))
    }
}

fn quality(score: &Score, closeness: Option<&Closeness>) -> Quality {
    Quality {
        perplexity: score.perplexity(),
        standard_error: score.standard_error(),
        chunks: score.chunks,
        top1_agreement: closeness.map(Closeness::top1_agreement),
        kl_divergence: closeness.map(Closeness::mean_kl_divergence),
    }
}

/// Codes of the labs: with `LAB_IMPL=starter`, the reader's.
pub(crate) struct Labs;

impl Quantizer for Labs {
    fn int8(&self, w: &Array2<f32>) -> Result<(Array2<i8>, Vec<f32>), LinearError> {
        let quantized = fake_quant_linear::quantize_per_channel(w)?;
        Ok((quantized.q().clone(), quantized.scales().iter().copied().collect()))
    }

    fn int4(
        &self,
        w: &Array2<f32>,
        group_size: usize,
    ) -> Result<(Array2<i8>, Array2<f16>), LinearError> {
        let quantized = int4_groups::quantize_groups(w, group_size)?;
        Ok((quantized.q().clone(), quantized.scales().clone()))
    }
}

impl Backend for Course {
    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        is_original: bool,
        run: &mut Run,
    ) -> Result<Box<dyn Loaded + '_>> {
        run.dtype = Some("float32".into());
        let start = Instant::now();
        let (model, is_original) = match checkpoint.path {
            Some(_) => {
                let path: PathBuf = checkpoint.folder_or_gguf()?;
                let model = load_quantized(&path).with_context(|| path.display().to_string())?;
                (model, is_original)
            }
            // A format is compared with the fetched model, even where `f32` is not one of the formats.
            None => {
                let original = formats(Engine::Course).first() == Some(&checkpoint.name);
                (self.quantized(&checkpoint.name)?, original)
            }
        };
        run.load_s = Some(start.elapsed().as_secs_f64());
        let (mut model, mut is_original) = (model, is_original);
        if let Some(name) = &self.plan.kv_cache {
            model.set_kv_cache(CacheStorage::of(CacheFormat::named(name)?))?;
            // The original has its keys and values in 32 bits.
            is_original = false;
        }
        Ok(Box::new(Variant { course: self, model, is_original }))
    }
}

/// The model of one checkpoint.
struct Variant<'c> {
    course: &'c mut Course,
    model: Model,
    is_original: bool,
}

impl Variant<'_> {
    /// The likeliest token behind each prompt.
    fn prefill_all(&self, prompts: &[Vec<u32>], caches: &mut [Cache]) -> Result<Vec<u32>> {
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let hidden = self.model.hidden_of_each(&prompts, caches)?;
        let ends = prompts.iter().scan(0, |end, prompt| {
            *end += prompt.len();
            Some(*end - 1)
        });
        let last = hidden.select(Axis(0), &ends.collect::<Vec<_>>());
        let logits = self.model.logits(&last, &mut |_, _| ())?;
        Ok(logits.rows().into_iter().map(most_likely).collect())
    }

    /// Runs all requests of a load together: the prompts, some at once, then a token of each with every
    /// step.
    fn run(&self, load: Load) -> Result<usize> {
        let config = self.model.config();
        let room = load.prompt + load.generated;
        let new = |_| Cache::new(config, room);
        let mut caches = (0..load.requests).map(new).collect::<Result<Vec<_>, _>>()?;
        let prompts: Vec<_> =
            (0..load.requests).map(|index| load.prompt_of(index, config.vocab_size)).collect();
        let at_once = (PROMPT_TOKENS / load.prompt.max(1)).max(1);
        let mut tokens = Vec::with_capacity(load.requests);
        for (prompts, caches) in prompts.chunks(at_once).zip(caches.chunks_mut(at_once)) {
            tokens.extend(self.prefill_all(prompts, caches)?);
        }
        for _ in 1..load.generated {
            let logits = self.model.step(&tokens, &mut caches)?;
            tokens = logits.rows().into_iter().map(most_likely).collect();
        }
        Ok(load.all_generated())
    }
}

impl Loaded for Variant<'_> {
    fn complete(&mut self, prompt: &str, tokens: usize) -> Result<String> {
        let tokenizer = &self.course.tokenizer;
        let prompt = tokenizer.encode(prompt)?;
        let tokens = greedy(&self.model, &prompt, tokens)?;
        Ok(tokenizer.decode(tokens.get(prompt.len()..).unwrap_or(&[]))?)
    }

    fn quality(&mut self, say: &mut dyn FnMut(&str)) -> Result<Quality> {
        if self.is_original {
            return self.course.score_original(&self.model, say);
        }
        if self.course.references.is_empty()
            && let Some(original) = self.course.fetched.clone()
        {
            say("the original predicts the passage");
            self.course.score_original(&original, &mut |_| ())?;
        }
        let references = &self.course.references;
        let mut closeness = Closeness::default();
        let score = self.course.score(&self.model, say, |chunk, logits| {
            let add = |reference| closeness.add(reference, &logits);
            Ok(references.get(chunk).map_or(Ok(()), add)?)
        })?;
        Ok(quality(&score, Some(&closeness).filter(|closeness| closeness.tokens > 0)))
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>> {
        Ok(Some(self.model.bytes() as u64))
    }

    fn kv_cache(&mut self) -> Result<KvCache> {
        let cache = Cache::new(self.model.config(), self.course.plan.chunk)?;
        let token_bytes = cache.bytes() as f64 / cache.capacity() as f64;
        Ok(KvCache { token_bytes: Some(token_bytes), ..KvCache::default() })
    }

    fn prefill(&mut self, load: Load) -> Result<Vec<f64>> {
        self.course.plan.rates(|| self.run(load).map(|_| load.prompt))
    }

    fn decode(&mut self, load: Load) -> Result<Vec<f64>> {
        self.course.plan.rates(|| self.run(load))
    }

    fn tell(&mut self, run: &mut Run) {
        run.log.push(format!("kernels: {}", kernels::instructions()));
    }
}
