//! Two models on one text.

use super::{Closeness, Convention, Reference, Score};
use crate::{Cache, Model, ModelError};

/// The sums so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compared {
    /// The score of the reference.
    pub reference: Score,
    /// The score of the other model.
    pub other: Score,
    /// How close the predictions of the other model are to those of the reference.
    pub closeness: Closeness,
}

/// Scores `reference` and `other` on `tokens`. Both models run chunk by chunk, because the logits of a
/// whole text take a gigabyte. `progress` is called after every chunk with the sums so far and the
/// number of all chunks.
///
/// # Errors
/// As [`perplexity`](super::perplexity); if the models have vocabularies of different sizes.
pub fn compare(
    reference: &Model,
    other: &Model,
    tokens: &[u32],
    convention: Convention,
    progress: &mut dyn FnMut(&Compared, usize),
) -> Result<Compared, ModelError> {
    let chunks = convention.chunks(tokens)?;
    let cache = |model: &Model| Cache::new(model.config(), convention.chunk);
    let (mut reference_cache, mut other_cache) = (cache(reference)?, cache(other)?);
    let mut compared = Compared::default();
    for chunk in &chunks {
        let expected = convention.logits(reference, chunk, &mut reference_cache)?;
        compared.reference.add_chunk(&expected, chunk)?;
        let found = convention.logits(other, chunk, &mut other_cache)?;
        compared.other.add_chunk(&found, chunk)?;
        compared.closeness.add(&Reference::new(expected), &found)?;
        progress(&compared, chunks.len());
    }
    Ok(compared)
}
