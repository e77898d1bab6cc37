//! Perplexity of what a server serves, by the convention of this course's own model, which is that of
//! llama.cpp: its number, vLLM's and llama.cpp's can be laid side by side.

use model::{Convention, Score};

use super::client::{Client, TokenScore};
use crate::engines::EngineError;

/// What the scored tokens of a text say of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// The sum of their negative log-likelihoods.
    pub score: Score,
    /// The likeliest token at each scored place.
    pub top: Vec<u32>,
}

impl Predictions {
    /// The part of the scored places, 0 to 1, at which the likeliest token of both is the same; `None`
    /// if other places were scored.
    pub fn top1_agreement(&self, with: &Self) -> Option<f64> {
        if self.top.is_empty() || self.top.len() != with.top.len() {
            return None;
        }
        let same = self.top.iter().zip(&with.top).filter(|(a, b)| a == b).count();
        Some(same as f64 / self.top.len() as f64)
    }

    fn add(&mut self, scores: &[TokenScore]) {
        self.score.add_nll(scores.iter().map(|score| -score.logprob));
        self.top.extend(scores.iter().map(|score| score.top));
    }
}

/// Scores `tokens` with the model that `client` asks; `progress` is told the sum after every chunk,
/// and how many chunks there will be.
///
/// # Errors
/// If no token would be scored, or the server does not answer as [`Client::score`] needs it.
pub fn perplexity(
    client: &Client,
    tokens: &[u32],
    convention: Convention,
    progress: &mut dyn FnMut(&Score, usize),
) -> Result<Predictions, EngineError> {
    let chunks = convention.chunks(tokens);
    let chunks = chunks.map_err(|error| EngineError::Asked(error.to_string()))?;
    let mut predictions = Predictions::default();
    for chunk in &chunks {
        // The scores begin with the second token: this is the one of token `chunk / 2 + 1`.
        let scores = client.score(&convention.input(chunk))?;
        predictions.add(scores.get(chunk.len() / 2..).unwrap_or_default());
        progress(&predictions.score, chunks.len());
    }
    Ok(predictions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top1_agreement_is_a_part_of_the_same_places_and_of_no_others() {
        let of = |top: &[u32]| Predictions { top: top.to_vec(), ..Predictions::default() };
        assert_eq!(of(&[0, 1, 2, 3]).top1_agreement(&of(&[0, 1, 2, 77])), Some(0.75));
        assert_eq!(of(&[0, 1, 2, 3]).top1_agreement(&of(&[0, 1, 2])), None);
        assert_eq!(of(&[]).top1_agreement(&of(&[])), None);
    }
}
