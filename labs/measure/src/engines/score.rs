//! Perplexity of what an engine serves, by llama.cpp's convention.
//!
//! The text is cut into chunks that know nothing of each other; of a chunk of 512 tokens the first
//! 257 are context and the last 255 are scored; the rest of the text is dropped
//! (`llama-perplexity` of llama.cpp, as of build 11434). It is the convention of the book's own
//! model, so its number, vLLM's and llama.cpp's can be laid side by side.

use crate::engines::EngineError;
use crate::engines::vllm::Client;

/// How likely a model finds one token of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The token that the model finds likeliest there.
    pub top: u32,
}

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Tokens of a chunk; llama.cpp's default is 512.
    pub chunk: usize,
    /// The token that the model sees in place of the first of each chunk; `None` leaves it.
    pub bos: Option<u32>,
    /// Chunks at most; `None` takes all.
    pub chunks: Option<usize>,
}

/// What a text's scored tokens say of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// Chunks scored.
    pub chunks: usize,
    /// The sum of the negative log-likelihoods, in nats.
    pub nll: f64,
    /// The sum of the squares of those.
    pub nll_squared: f64,
    /// At each scored place the token that the model finds likeliest.
    pub top: Vec<u32>,
}

impl Scored {
    /// Tokens scored.
    pub fn tokens(&self) -> usize {
        self.top.len()
    }

    /// `exp` of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.tokens() as f64).exp()
    }

    /// The standard error of the perplexity as llama.cpp prints it behind `+/-`.
    pub fn standard_error(&self) -> f64 {
        let (tokens, mean) = (self.tokens() as f64, self.nll / self.tokens() as f64);
        let variance = self.nll_squared / tokens - mean * mean;
        self.perplexity() * (variance / (tokens - 1.0)).sqrt()
    }

    /// The part of the places, 0 to 1, at which both find the same token likeliest; `None` if they
    /// scored other places.
    pub fn agreement(&self, with: &Self) -> Option<f64> {
        if self.top.is_empty() || self.top.len() != with.top.len() {
            return None;
        }
        let same = self.top.iter().zip(&with.top).filter(|(a, b)| a == b).count();
        Some(same as f64 / self.top.len() as f64)
    }

    fn add(&mut self, scores: &[TokenScore]) {
        self.chunks += 1;
        for score in scores {
            self.nll -= score.logprob;
            self.nll_squared += score.logprob * score.logprob;
            self.top.push(score.top);
        }
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
    cut: Cut,
    progress: &mut dyn FnMut(&Scored, usize),
) -> Result<Scored, EngineError> {
    if cut.chunk < 4 {
        // The standard error needs two scored tokens.
        return Err(EngineError::Asked(format!("a chunk of {} tokens: take 4 or more", cut.chunk)));
    }
    let chunks = (tokens.len() / cut.chunk).min(cut.chunks.unwrap_or(usize::MAX));
    if chunks == 0 {
        let text = format!("{} tokens are no whole chunk of {}", tokens.len(), cut.chunk);
        return Err(EngineError::Asked(text));
    }
    let mut scored = Scored::default();
    for chunk in tokens.chunks_exact(cut.chunk).take(chunks) {
        let mut seen = chunk.to_vec();
        if let (Some(first), Some(bos)) = (seen.first_mut(), cut.bos) {
            *first = bos;
        }
        // The scores begin with the second token: this is the one of token `chunk / 2 + 1`.
        let scores = client.score(&seen)?;
        scored.add(scores.get(cut.chunk / 2..).unwrap_or_default());
        progress(&scored, chunks);
    }
    Ok(scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(logprobs: &[f64]) -> Scored {
        let mut scored = Scored::default();
        let token =
            |(index, &logprob): (usize, &f64)| TokenScore { token: 0, logprob, top: index as u32 };
        scored.add(&logprobs.iter().enumerate().map(token).collect::<Vec<_>>());
        scored
    }

    #[test]
    fn tokens_of_one_probability_have_its_inverse_as_perplexity_and_no_error() {
        let same = scored(&[-(4f64.ln()); 8]);
        // One rounding in each of 8 sums, a product, `ln` and `exp`: far below 100 units.
        let bound = 100.0 * f64::EPSILON * 4.0;
        assert!((same.perplexity() - 4.0).abs() < bound, "{}", same.perplexity());
        let other = scored(&[-1.0, -3.0]);
        assert_eq!(other.perplexity(), 2f64.exp());
        // Mean 2, mean square 5, so variance 1 over 2 - 1.
        assert_eq!(other.standard_error(), 2f64.exp());
    }

    #[test]
    fn agreement_is_a_part_of_the_same_places_and_of_no_others() {
        let (a, mut b) = (scored(&[-1.0; 4]), scored(&[-2.0; 4]));
        b.top[3] = 77;
        assert_eq!(a.agreement(&b), Some(0.75));
        assert_eq!(a.agreement(&scored(&[-1.0; 3])), None);
        assert_eq!(Scored::default().agreement(&Scored::default()), None);
    }
}
