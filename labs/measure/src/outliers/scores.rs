//! Scores every variant, chunk by chunk, because the predictions of the `f32` model fit into memory for
//! one chunk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use model::{Cache, Closeness, Reference, Score};
use ndarray::Array2;
use rayon::prelude::*;

use super::Progress;
use super::text::CONVENTION;
use super::variants::Variant;

/// Fills the records of `variants`, of which the first is the reference; `after` sees them after each
/// chunk, with the number of chunks so far.
///
/// One variant runs on each core, because the parts of a model that use one thread then leave the other
/// cores to the products of other variants.
///
/// # Errors
/// If a model fails.
pub fn measure(
    variants: &mut [Variant],
    chunks: &[Vec<u32>],
    progress: &Progress,
    mut after: impl FnMut(&[Variant], usize) -> Result<()>,
) -> Result<()> {
    let (since, of) = (Instant::now(), chunks.len() * variants.len());
    let done = AtomicUsize::new(0);
    let told = |name: &str, result: Result<()>| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(10) || done == of {
            progress.part("models on chunks", since, done, of);
        }
        result.with_context(|| name.to_string())
    };
    for (index, chunk) in chunks.iter().enumerate() {
        let Some((first, others)) = variants.split_first_mut() else { return Ok(()) };
        let logits = logits(first, chunk)?;
        let reference = Reference::new(logits);
        told("the reference", record(first, chunk, &reference, reference.logits()))?;
        others.par_iter_mut().with_max_len(1).try_for_each(|variant| {
            let result = logits_and_record(variant, chunk, &reference);
            told(&variant.record.name, result)
        })?;
        after(variants, index + 1)?;
    }
    Ok(())
}

fn logits(variant: &Variant, chunk: &[u32]) -> Result<Array2<f32>> {
    let mut cache = Cache::new(variant.model.config(), chunk.len())?;
    Ok(CONVENTION.logits(&variant.model, chunk, &mut cache)?)
}

fn logits_and_record(variant: &mut Variant, chunk: &[u32], reference: &Reference) -> Result<()> {
    let logits = logits(variant, chunk)?;
    record(variant, chunk, reference, &logits)
}

fn record(
    variant: &mut Variant,
    chunk: &[u32],
    reference: &Reference,
    logits: &Array2<f32>,
) -> Result<()> {
    let (mut score, mut closeness) = (Score::default(), Closeness::default());
    score.add_chunk(logits, chunk)?;
    closeness.add(reference, logits)?;
    let record = &mut variant.record;
    record.tokens_per_chunk = score.tokens;
    record.nll.push(score.nll);
    record.kl_divergence.push(closeness.divergence);
    record.top1_agreed.push(closeness.agreed);
    Ok(())
}
