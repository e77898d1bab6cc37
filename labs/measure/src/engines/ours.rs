//! This course's own model beside the engines: the same passage, no server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use model::{Cache, Closeness, Convention, Model, Reference, Score, Tokenizer, passage};
use quantizer::loaded::load_quantized;

use crate::engines::capture::Quality;
use crate::engines::checkpoints::Named;

/// The passage, and what the original predicts of it.
pub struct Scorer {
    /// A chunk each: a gigabyte for the whole passage, so that the original runs once.
    references: Vec<Reference>,
    tokens: Vec<u32>,
    convention: Convention,
}

impl Scorer {
    /// Cuts the passage as `tokenizer` does into chunks of `chunk` tokens, the first `chunks` of them,
    /// and runs the original.
    ///
    /// # Errors
    /// If the passage is no whole chunk, or the model fails.
    pub fn new(
        original: &Model,
        tokenizer: &Tokenizer,
        chunk: usize,
        chunks: Option<usize>,
    ) -> Result<Self> {
        let mut tokens = tokenizer.encode(passage::ALICE)?;
        if let Some(chunks) = chunks {
            tokens.truncate(chunks.saturating_mul(chunk));
        }
        let convention = Convention { chunk, bos: tokenizer.bos_in_front() };
        let mut cache = Cache::new(original.config(), convention.chunk)?;
        let chunks = convention.chunks(&tokens)?.into_iter();
        let references =
            chunks.map(|chunk| Ok(Reference::new(convention.logits(original, chunk, &mut cache)?)));
        let references = references.collect::<Result<_>>()?;
        Ok(Self { references, tokens, convention })
    }

    /// The score of the passage, and how close the predictions are to the original's, which is not
    /// compared with itself. `say` is told of every chunk.
    ///
    /// # Errors
    /// If the model fails.
    pub fn score(
        &self,
        model: &Model,
        is_original: bool,
        say: &mut dyn FnMut(&Score),
    ) -> Result<Quality> {
        let mut cache = Cache::new(model.config(), self.convention.chunk)?;
        let (mut score, mut closeness) = (Score::default(), Closeness::default());
        let chunks = self.convention.chunks(&self.tokens)?;
        for (chunk, reference) in chunks.into_iter().zip(&self.references) {
            let logits = self.convention.logits(model, chunk, &mut cache)?;
            score.add_chunk(&logits, chunk)?;
            closeness.add(reference, &logits)?;
            say(&score);
        }
        let closeness = (!is_original).then_some(closeness);
        Ok(Quality {
            perplexity: score.perplexity(),
            standard_error: score.standard_error(),
            chunks: score.chunks,
            same_top: closeness.as_ref().map(Closeness::agreement),
            mean_kl: closeness.as_ref().map(Closeness::mean_divergence),
        })
    }
}

/// What to load of a checkpoint: the folder, or the GGUF file in it.
///
/// # Errors
/// If it has neither a config nor one GGUF file.
pub fn path_of(named: &Named) -> Result<PathBuf> {
    if named.path.join("config.json").exists() { Ok(named.path.clone()) } else { named.gguf() }
}

/// Loads a model, quantized or not.
///
/// # Errors
/// If it is none that the course runs.
pub fn load(path: &Path) -> Result<Model> {
    load_quantized(path).with_context(|| path.display().to_string())
}
