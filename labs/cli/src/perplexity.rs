//! `cargo book perplexity`: the perplexity of a checkpoint on a text.

use std::path::Path;

use anyhow::{Context, Result};
use arguments::reading::Perplexity as Args;
use indicatif::ProgressBar;
use model::{CacheFormat, CacheStorage, Convention, Model, Tokenizer, passage, perplexity};
use quantizer::loaded::load_quantized;

/// Prints the perplexity.
///
/// # Errors
/// If there is no such checkpoint, or its model or tokenizer is not supported.
pub fn run(args: &Args) -> Result<()> {
    let text = text_or(args.scored.text.as_deref(), passage::ALICE)?;
    let mut subject = Subject::load(&args.checkpoint, &args.checkpoint, &text)?;
    store_cache(&mut subject.model, args.kv_cache.as_deref())?;
    score(&subject, args.scored.chunks)
}

/// The text of the file that is given, or `default`.
///
/// # Errors
/// If the file cannot be read.
pub fn text_or(given: Option<&Path>, default: &str) -> Result<String> {
    match given {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string()),
        None => Ok(default.to_string()),
    }
}

/// Stores keys and values in the format of this name; without a name in 32 bits.
///
/// # Errors
/// If there is no such format, or it does not fit the model.
pub fn store_cache(model: &mut Model, name: Option<&str>) -> Result<()> {
    let Some(name) = name else { return Ok(()) };
    Ok(model.set_kv_cache(CacheStorage::of(CacheFormat::named(name)?))?)
}

/// Prints the perplexity of `checkpoint` on the course's passage, cut into tokens by `tokenizer`.
pub fn print(checkpoint: &Path, tokenizer: &Path, chunks: Option<usize>) -> Result<()> {
    score(&Subject::load(checkpoint, tokenizer, passage::ALICE)?, chunks)
}

fn score(subject: &Subject, chunks: Option<usize>) -> Result<()> {
    let chunk = subject.chunk();
    let (tokens, bar) = (subject.tokens(chunk, chunks), ProgressBar::new(0));
    let score =
        perplexity(&subject.model, tokens, subject.convention(chunk), &mut |score, chunks| {
            show(&bar, score.chunks, chunks);
        })?;
    bar.finish_and_clear();
    println!(
        "perplexity {:.6} over {} tokens in {} chunks of {chunk}",
        score.perplexity(),
        score.tokens,
        score.chunks
    );
    Ok(())
}

/// Shows that `done` of `all` chunks are scored.
pub fn show(bar: &ProgressBar, done: usize, all: usize) {
    bar.set_length(all as u64);
    bar.set_position(done as u64);
}

/// A model and a text as its tokenizer cuts the text.
pub struct Subject {
    /// The model.
    pub model: Model,
    tokens: Vec<u32>,
    /// The token in front of every chunk, if the tokenizer puts one there.
    pub bos: Option<u32>,
}

impl Subject {
    /// Loads `checkpoint`, and `text` in tokens of `tokenizer`.
    ///
    /// # Errors
    /// If there is no such checkpoint, or its model or tokenizer is not supported.
    pub fn load(checkpoint: &Path, tokenizer: &Path, text: &str) -> Result<Self> {
        let model = load_quantized(checkpoint).with_context(|| checkpoint.display().to_string())?;
        let tokenizer =
            Tokenizer::load(tokenizer).with_context(|| tokenizer.display().to_string())?;
        let tokens = tokenizer.encode(text)?;
        Ok(Self { model, tokens, bos: tokenizer.bos_in_front() })
    }

    /// The tokens of a chunk: llama.cpp's default, or fewer where the model has fewer positions.
    pub fn chunk(&self) -> usize {
        512.min(self.model.config().max_positions)
    }

    /// The tokens of the text, or of its first `chunks`.
    pub fn tokens(&self, chunk: usize, chunks: Option<usize>) -> &[u32] {
        let end = chunks.map_or(usize::MAX, |chunks| chunks.saturating_mul(chunk));
        &self.tokens[..end.min(self.tokens.len())]
    }

    /// How the text is cut and scored.
    pub fn convention(&self, chunk: usize) -> Convention {
        Convention { chunk, bos: self.bos }
    }
}
