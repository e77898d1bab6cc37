//! The arguments of the commands that read checkpoints and cards.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::existing;

/// Arguments of `cargo book inspect`.
#[derive(clap::Args)]
pub struct Inspect {
    /// A .safetensors or .gguf file, an index of shards, or a folder with one of these.
    #[arg(value_parser = existing)]
    pub file: PathBuf,
    /// Name every tensor, and list the parts of a matrix of each kind.
    #[arg(long)]
    pub all: bool,
    /// Print JSON, with an entry for each matrix.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cargo book card`.
#[derive(clap::Args)]
pub struct Card {
    /// What the card says, in quotes: "W4A16 group_size=128 sym", a repository's name, a config's
    /// JSON, or the path of a config.json.
    #[arg(allow_hyphen_values = true)]
    pub card: String,
    /// A published model, such as llama-3.1-8b; if the card names one, it is found there.
    #[arg(long)]
    pub model: Option<String>,
    /// A config.json with the sizes of a Llama-like model.
    #[arg(long, conflicts_with = "model")]
    pub config: Option<PathBuf>,
    /// A device, such as h100: KV blocks, and roofline bounds of decode and prefill.
    #[arg(long)]
    pub device: Option<String>,
    /// Tokens of a sequence, for the KV cache and for the prompt.
    #[arg(long, default_value_t = 4096)]
    pub context: u64,
}

/// Arguments of `cargo book perplexity`.
#[derive(clap::Args)]
pub struct Perplexity {
    /// The checkpoint: a folder of safetensors, quantized or not, or GGUF.
    #[arg(value_name = "DIR|GGUF", value_parser = existing)]
    pub checkpoint: PathBuf,
    /// What is scored.
    #[command(flatten)]
    pub scored: Scored,
    /// How keys and values are stored: f32, int8, int4, fp8, kivi4, kivi2 or another that the error of a
    /// wrong name lists [default: f32].
    #[arg(long, value_name = "FORMAT")]
    pub kv_cache: Option<String>,
}

/// Arguments of `cargo book compare`.
#[derive(clap::Args)]
pub struct Compare {
    /// The reference: a folder of safetensors, quantized or not, or GGUF.
    #[arg(value_name = "A", value_parser = existing)]
    pub reference: PathBuf,
    /// What is compared with it, of the same kinds.
    #[arg(value_name = "B", value_parser = existing)]
    pub other: PathBuf,
    /// What is scored.
    #[command(flatten)]
    pub scored: Scored,
}

/// The text that a checkpoint predicts.
#[derive(clap::Args)]
pub struct Scored {
    /// Score this text instead of the course's passage.
    #[arg(long, value_name = "FILE", value_parser = existing)]
    pub text: Option<PathBuf>,
    /// Score the first chunks only.
    #[arg(long, value_parser = chunks)]
    pub chunks: Option<usize>,
}

/// A number of chunks, of which a perplexity needs one.
fn chunks(given: &str) -> Result<usize> {
    let chunks = given.parse().with_context(|| format!("`{given}` is no whole number"))?;
    ensure!(
        chunks > 0,
        "no chunk would be scored: say 1 or more, or leave out --chunks to score the whole text"
    );
    Ok(chunks)
}
