//! This course's own model beside the engines: the same prompts, the same passage, no server.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use engines::capture::{Checkpoint, Quality, Questions};
use model::{Cache, Closeness, Convention, Model, Reference, Score, Tokenizer, greedy, passage};
use quantize_model::loaded::load_quantized;

use crate::checkpoints::Named;

/// The texts, and what the original predicts of the passage.
pub struct Ours {
    /// A chunk each: a gigabyte for the whole passage, so that the original runs once.
    references: Vec<Reference>,
    tokenizer: Tokenizer,
    tokens: Vec<u32>,
    convention: Convention,
}

impl Ours {
    /// Loads the original, and cuts the passage as its tokenizer does.
    ///
    /// # Errors
    /// If it is no model that the course runs.
    pub fn new(original: &Named, questions: &Questions) -> Result<Self> {
        let path = path_of(original)?;
        let tokenizer = Tokenizer::load(&path)?;
        let mut tokens = tokenizer.encode(passage::ALICE)?;
        if let Some(chunks) = questions.chunks {
            tokens.truncate(chunks.saturating_mul(questions.chunk));
        }
        let convention = Convention { chunk: questions.chunk, bos: tokenizer.bos_in_front() };
        let model = load(&path)?;
        let mut cache = Cache::new(model.config(), convention.chunk)?;
        let chunks = convention.chunks(&tokens)?.into_iter();
        let references =
            chunks.map(|chunk| Ok(Reference::new(convention.logits(&model, chunk, &mut cache)?)));
        let references = references.collect::<Result<_>>()?;
        Ok(Self { references, tokenizer, tokens, convention })
    }

    /// Asks and scores one checkpoint; what stops it is written into it.
    pub fn check(
        &self,
        named: &Named,
        questions: &Questions,
        is_original: bool,
        found: &mut Checkpoint,
    ) {
        if let Err(error) = self.ask(named, questions, is_original, found) {
            found.error = Some(format!("{error:#}"));
        }
    }

    fn ask(
        &self,
        named: &Named,
        questions: &Questions,
        is_original: bool,
        found: &mut Checkpoint,
    ) -> Result<()> {
        let start = Instant::now();
        let model = load(&path_of(named)?)?;
        found.load_s = Some(start.elapsed().as_secs_f64());
        found.dtype = Some("float32".into());
        for prompt in &questions.prompts {
            let prompt = self.tokenizer.encode(prompt)?;
            let tokens = greedy(&model, &prompt, questions.written_tokens)?;
            found.answers.push(self.tokenizer.decode(tokens.get(prompt.len()..).unwrap_or(&[]))?);
        }
        let (score, closeness) = self.score(&model, is_original)?;
        found.quality = Some(Quality {
            perplexity: score.perplexity(),
            standard_error: score.standard_error(),
            chunks: score.chunks,
            same_top: closeness.as_ref().map(Closeness::agreement),
            mean_kl: closeness.as_ref().map(Closeness::mean_divergence),
        });
        Ok(())
    }

    /// The score of the passage, and how close the predictions are to the original's.
    fn score(&self, model: &Model, is_original: bool) -> Result<(Score, Option<Closeness>)> {
        let mut cache = Cache::new(model.config(), self.convention.chunk)?;
        let (mut score, mut closeness) = (Score::default(), Closeness::default());
        let chunks = self.convention.chunks(&self.tokens)?;
        for (chunk, reference) in chunks.into_iter().zip(&self.references) {
            let logits = self.convention.logits(model, chunk, &mut cache)?;
            score.add_chunk(&logits, chunk)?;
            closeness.add(reference, &logits)?;
            eprintln!("  chunk {}: {:.4}", score.chunks, score.perplexity());
        }
        Ok((score, (!is_original).then_some(closeness)))
    }
}

/// What to load: the folder, or the GGUF file in it.
fn path_of(named: &Named) -> Result<std::path::PathBuf> {
    if named.path.join("config.json").exists() { Ok(named.path.clone()) } else { named.gguf() }
}

fn load(path: &Path) -> Result<Model> {
    load_quantized(path).with_context(|| path.display().to_string())
}
