//! Scores every variant, chunk by chunk: the predictions of the `f32` model are kept for one chunk.

use std::time::Instant;

use anyhow::{Context, Result};
use model::{Cache, Closeness, Reference, Score};

use super::Progress;
use super::text::CONVENTION;
use super::variants::Variant;

/// Fills the records of `variants`, of which the first is the reference.
///
/// # Errors
/// If a model fails.
pub fn measure(variants: &mut [Variant], chunks: &[Vec<u32>], progress: &Progress) -> Result<()> {
    let (since, of) = (Instant::now(), chunks.len() * variants.len());
    for (index, chunk) in chunks.iter().enumerate() {
        let mut reference = None;
        let count = variants.len();
        for (place, variant) in variants.iter_mut().enumerate() {
            let name = variant.record.name.clone();
            one(variant, chunk, &mut reference).with_context(|| name)?;
            let done = index * count + place + 1;
            if done % 6 == 0 || done == of {
                progress.part("models on chunks", since, done, of);
            }
        }
    }
    Ok(())
}

fn one(variant: &mut Variant, chunk: &[u32], reference: &mut Option<Reference>) -> Result<()> {
    let mut cache = Cache::new(variant.model.config(), chunk.len())?;
    let logits = CONVENTION.logits(&variant.model, chunk, &mut cache)?;
    let (mut score, mut closeness) = (Score::default(), Closeness::default());
    score.add_chunk(&logits, chunk)?;
    closeness.add(reference.get_or_insert_with(|| Reference::new(logits.clone())), &logits)?;
    let record = &mut variant.record;
    record.tokens_per_chunk = score.tokens;
    record.nll.push(score.nll);
    record.divergence.push(closeness.divergence);
    record.agreed.push(closeness.agreed);
    Ok(())
}
