//! `cargo book perplexity`: the perplexity of a checkpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use model::{Convention, Tokenizer, passage, perplexity};
use quantizer::loaded::load_quantized;

/// What to score.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint: a folder of safetensors, quantized or not, or GGUF.
    #[arg(value_name = "DIR|GGUF")]
    checkpoint: PathBuf,
    /// Score the first chunks only.
    #[arg(long)]
    chunks: Option<usize>,
}

/// Prints the perplexity.
///
/// # Errors
/// If there is no such checkpoint, or its model or tokenizer is not supported.
pub fn run(args: &Args) -> Result<()> {
    print(&args.checkpoint, &args.checkpoint, args.chunks)
}

/// Prints the perplexity of `checkpoint` on the course's passage, cut into tokens by `tokenizer`.
pub fn print(checkpoint: &Path, tokenizer: &Path, chunks: Option<usize>) -> Result<()> {
    let model = load_quantized(checkpoint).with_context(|| checkpoint.display().to_string())?;
    let tokenizer = Tokenizer::load(tokenizer)?;
    let mut tokens = tokenizer.encode(passage::ALICE)?;
    let chunk = 512.min(model.config().max_positions);
    if let Some(chunks) = chunks {
        tokens.truncate(chunks.saturating_mul(chunk));
    }
    let convention = Convention { chunk, bos: tokenizer.bos_in_front() };
    let bar = ProgressBar::new(0);
    let score = perplexity(&model, &tokens, convention, &mut |score, chunks| {
        bar.set_length(chunks as u64);
        bar.set_position(score.chunks as u64);
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
