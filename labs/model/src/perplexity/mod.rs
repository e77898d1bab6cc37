//! Perplexity, by llama.cpp's convention.
//!
//! Perplexity is `exp` of the mean negative log-likelihood of a text's tokens. A convention says which
//! tokens are scored, and with how much context, and another convention gives another number for the
//! same model and text. The convention here is that of llama.cpp's `llama-perplexity`
//! (`tools/perplexity/perplexity.cpp`, as of build 11434): the text is cut into independent chunks; the
//! first half of a chunk is context, the second half is scored; a partial chunk at the end is dropped.
//! Of a chunk of 512 tokens, 255 are scored: tokens 257 to 511.

use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate, s};
use rayon::prelude::*;

use crate::{Cache, Model, ModelError};

mod closeness;
mod compare;
mod log_sum_exp;

pub use closeness::{Closeness, Reference};
pub use compare::{Compared, compare};
use log_sum_exp::log_sum_exp;

/// How a text is cut and scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// Tokens of a chunk; llama.cpp's default is 512.
    pub chunk: usize,
    /// The token that the model sees in place of the first one of each chunk; `None` leaves it.
    /// llama.cpp replaces the token if the tokenizer puts a BOS in front of a text
    /// ([`Tokenizer::bos_in_front`](crate::Tokenizer::bos_in_front)). SmolLM2's does not.
    pub bos: Option<u32>,
}

/// The sum so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Chunks scored.
    pub chunks: usize,
    /// Tokens scored.
    pub tokens: usize,
    /// The sum of their negative log-likelihoods, in nats.
    pub nll: f64,
    /// The sum of the squares of those.
    pub nll_squared: f64,
}

impl Score {
    /// The mean negative log-likelihood of a token, in nats.
    pub fn mean_nll(&self) -> f64 {
        self.nll / self.tokens as f64
    }

    /// `exp` of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        self.mean_nll().exp()
    }

    /// The standard error of the perplexity, as llama.cpp prints it behind `+/-`. The error says how much
    /// the perplexity depends on the text. It does not say how far two models differ on one text.
    pub fn standard_error(&self) -> f64 {
        let variance = self.nll_squared / self.tokens as f64 - self.mean_nll().powi(2);
        self.perplexity() * (variance / (self.tokens as f64 - 1.0)).sqrt()
    }

    /// Adds one chunk: the logits of its scored tokens, `[tokens, vocab_size]`, from
    /// [`Convention::logits`], and the chunk they come from.
    ///
    /// # Errors
    /// If a logit is not finite, or the chunk is another one.
    pub fn add_chunk(&mut self, logits: &Array2<f32>, chunk: &[u32]) -> Result<(), ModelError> {
        self.add(&nll_of(logits, chunk)?);
        Ok(())
    }

    /// Adds one chunk that another engine scored: the negative log-likelihood of each scored token.
    pub fn add_nll(&mut self, nll: impl Iterator<Item = f64>) {
        self.add(&nll.collect());
    }

    fn add(&mut self, nll: &Array1<f64>) {
        self.chunks += 1;
        self.tokens += nll.len();
        self.nll += nll.sum();
        self.nll_squared += nll.mapv(|nll| nll * nll).sum();
    }
}

/// The perplexity of `tokens`. `progress` is called after every chunk with the sum so far and the
/// number of all chunks.
///
/// # Errors
/// If a chunk has no scored token (it needs 3), the text is shorter than a chunk, a chunk is longer
/// than the model allows, or the model fails.
pub fn perplexity(
    model: &Model,
    tokens: &[u32],
    convention: Convention,
    progress: &mut dyn FnMut(&Score, usize),
) -> Result<Score, ModelError> {
    let chunks = convention.chunks(tokens)?;
    let mut cache = Cache::new(model.config(), convention.chunk)?;
    let mut score = Score::default();
    for chunk in &chunks {
        score.add_chunk(&convention.logits(model, chunk, &mut cache)?, chunk)?;
        progress(&score, chunks.len());
    }
    Ok(score)
}

impl Convention {
    /// The chunks that `tokens` are cut into; the rest is dropped.
    ///
    /// # Errors
    /// If a chunk has no scored token (it needs 3), or there is no whole chunk.
    pub fn chunks<'t>(&self, tokens: &'t [u32]) -> Result<Vec<&'t [u32]>, ModelError> {
        let chunk = self.chunk;
        if chunk < 3 {
            let problem = format!("a chunk of {chunk} tokens has none to score: take 3 or more");
            return Err(ModelError::Perplexity(problem));
        }
        if tokens.len() < chunk {
            let problem = format!("{} tokens are no whole chunk of {chunk}", tokens.len());
            return Err(ModelError::Perplexity(problem));
        }
        Ok(tokens.chunks_exact(chunk).collect())
    }

    /// The model's input for a chunk: the chunk, with a BOS in place of the first token if there is one.
    pub fn input(&self, chunk: &[u32]) -> Vec<u32> {
        let mut input = chunk.to_vec();
        if let (Some(first), Some(bos)) = (input.first_mut(), self.bos) {
            *first = bos;
        }
        input
    }

    /// Runs one chunk from an empty cache: the logits that score the tokens `chunk / 2 + 1 ..`,
    /// `[scored tokens, vocab_size]`.
    ///
    /// # Errors
    /// If the model fails.
    pub fn logits(
        &self,
        model: &Model,
        chunk: &[u32],
        cache: &mut Cache,
    ) -> Result<Array2<f32>, ModelError> {
        cache.truncate(0);
        let input = self.input(chunk);
        let passes = input.chunks(cache.tokens_at_once());
        let passes = passes.map(|tokens| model.hidden(tokens, cache, &mut |_, _| ()));
        let passes = passes.collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = passes.iter().map(|hidden| hidden.view()).collect();
        let hidden = concatenate(Axis(0), &views).map_err(|_| ModelError::NoTokens)?;
        // The last token has no next token to score, and the head runs on scored tokens only.
        let last = chunk.len().saturating_sub(1);
        let scored = hidden.slice(s![chunk.len() / 2..last.max(chunk.len() / 2), ..]).to_owned();
        model.logits(&scored, &mut |_, _| ())
    }
}

/// The negative log-likelihoods of the scored tokens of one chunk.
fn nll_of(logits: &Array2<f32>, chunk: &[u32]) -> Result<Array1<f64>, ModelError> {
    // The logits of a token score the next token, which the chunk names and not the input with BOS.
    let targets = chunk.get(chunk.len() / 2 + 1..).unwrap_or_default();
    if targets.len() != logits.nrows() {
        let (rows, found) = (targets.len(), logits.nrows());
        let problem =
            format!("the chunk has {rows} tokens to score, and there are logits of {found}");
        return Err(ModelError::Perplexity(problem));
    }
    let rows: Vec<_> = logits.rows().into_iter().collect();
    let nll = rows.into_par_iter().zip(targets);
    let nll: Vec<f64> =
        nll.map(|(logits, &token)| negative_log_likelihood(logits, token)).collect();
    if nll.iter().any(|nll| !nll.is_finite()) {
        return Err(ModelError::Perplexity("the model gave a logit that is not finite".into()));
    }
    Ok(Array1::from(nll))
}

/// `log(sum(exp(logits))) - logits[token]`, in `f64`.
fn negative_log_likelihood(logits: ArrayView1<f32>, token: u32) -> f64 {
    let of_token = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    log_sum_exp(logits) - f64::from(of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(nll: &[f64]) -> Score {
        let mut score = Score::default();
        score.add_nll(nll.iter().copied());
        score
    }

    #[test]
    fn tokens_of_one_probability_have_its_inverse_as_perplexity_and_no_error() {
        let same = scored(&[4f64.ln(); 8]);
        // One rounding in each of 8 sums, a product, `ln` and `exp`: far below 100 units.
        let bound = 100.0 * f64::EPSILON * 4.0;
        assert!((same.perplexity() - 4.0).abs() < bound, "{}", same.perplexity());
        let other = scored(&[1.0, 3.0]);
        assert_eq!(other.perplexity(), 2f64.exp());
        // Mean 2, mean square 5, so variance 1 over 2 - 1.
        assert_eq!(other.standard_error(), 2f64.exp());
    }
}
