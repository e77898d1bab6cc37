//! `cargo book imatrix`: writes an importance matrix.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arguments::imatrix::Args;
use model::{Model, Tokenizer, passage};
use quantizer::{CHUNK, Importance};

use crate::quantize::calibration;

/// Runs the model on the text and writes the sums.
///
/// # Errors
/// If the model or the text cannot be read, the text is shorter than a chunk or is the passage that is scored,
/// or the file is there already.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let text = calibration(args.calibration.as_deref(), passage::PARADISE_LOST)?;
    let model = Model::load(args.input()).with_context(|| args.input().display().to_string())?;
    let tokens = Tokenizer::load(args.input())?.encode(&text)?;
    let chunks: Vec<&[u32]> = tokens.chunks_exact(CHUNK).take(args.chunks).collect();
    ensure!(!chunks.is_empty(), "the text is no whole chunk of {CHUNK} tokens: take a longer one");
    println!("squares of the inputs of {} chunks of {CHUNK} tokens", chunks.len());
    let importance = Importance::collect(&model, &chunks)?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let name = args.calibration.as_ref().and_then(|path| path.file_name());
    let name = name.map_or("Paradise Lost".into(), |name| name.to_string_lossy());
    let counts = [chunks.len(), CHUNK].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    importance.write(&args.out, &name, counts)?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{}: {} weights in {seconds:.1} s", args.out.display(), importance.weights());
    Ok(())
}
