//! Perplexity, by llama.cpp's convention.
//!
//! Perplexity is `exp` of the mean negative log-likelihood of a text's tokens. Which tokens are
//! scored, and with how much text before them, is a convention, and another one gives another number
//! for the same model and text. This is the one of llama.cpp's `llama-perplexity`
//! (`tools/perplexity/perplexity.cpp`, as of build 11434): the text is cut into chunks that know
//! nothing of each other; the first half of a chunk is context, the second half is scored; the rest
//! of the text is dropped. Of a chunk of 512 tokens, 255 are scored: tokens 257 to 511.

use ndarray::{Array1, ArrayView1, s};
use rayon::prelude::*;

use crate::{Cache, Model, ModelError};

/// How a text is cut and scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// Tokens of a chunk; llama.cpp's default is 512.
    pub chunk: usize,
    /// The token that the model sees in place of the first one of each chunk; `None` leaves it.
    /// llama.cpp replaces it if the tokenizer puts a BOS in front of a text
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

    /// The standard error of the perplexity as llama.cpp prints it behind `+/-`: it says how much
    /// the number depends on the text, not how far two models are apart on one text.
    pub fn standard_error(&self) -> f64 {
        let variance = self.nll_squared / self.tokens as f64 - self.mean_nll().powi(2);
        self.perplexity() * (variance / (self.tokens as f64 - 1.0)).sqrt()
    }

    fn add(&mut self, nll: &Array1<f64>) {
        self.chunks += 1;
        self.tokens += nll.len();
        self.nll += nll.sum();
        self.nll_squared += nll.mapv(|nll| nll * nll).sum();
    }
}

/// The perplexity of `tokens`; `progress` is told the sum after every chunk, and how many chunks
/// there will be.
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
    let Convention { chunk, bos } = convention;
    if chunk < 3 {
        let problem = format!("a chunk of {chunk} tokens has none to score: take 3 or more");
        return Err(ModelError::Perplexity(problem));
    }
    let chunks = tokens.len() / chunk;
    if chunks == 0 {
        let problem = format!("{} tokens are no whole chunk of {chunk}", tokens.len());
        return Err(ModelError::Perplexity(problem));
    }
    let mut cache = Cache::new(model.config(), chunk)?;
    let mut score = Score::default();
    for chunk in tokens.chunks_exact(chunk) {
        cache.truncate(0);
        score.add(&nll_of_second_half(model, chunk, bos, &mut cache)?);
        progress(&score, chunks);
    }
    Ok(score)
}

/// The negative log-likelihoods of the tokens `chunk / 2 + 1 ..` of one chunk.
fn nll_of_second_half(
    model: &Model,
    chunk: &[u32],
    bos: Option<u32>,
    cache: &mut Cache,
) -> Result<Array1<f64>, ModelError> {
    let mut seen = chunk.to_vec();
    if let (Some(first), Some(bos)) = (seen.first_mut(), bos) {
        *first = bos;
    }
    let hidden = model.hidden(&seen, cache, &mut |_, _| ())?;
    let first = chunk.len() / 2;
    let scored = hidden.slice(s![first..chunk.len() - 1, ..]).to_owned();
    let logits = model.logits(&scored, &mut |_, _| ())?;
    let rows: Vec<_> = logits.rows().into_iter().collect();
    // The logits of a token score the next one, which the chunk and not the replaced input names.
    let nll = rows.into_par_iter().zip(&chunk[first + 1..]);
    let nll: Vec<f64> =
        nll.map(|(logits, &token)| negative_log_likelihood(logits, token)).collect();
    if nll.iter().any(|nll| !nll.is_finite()) {
        return Err(ModelError::Perplexity("the model gave a logit that is not finite".into()));
    }
    Ok(Array1::from(nll))
}

/// `log(sum(exp(logits))) - logits[token]`, in `f64`.
fn negative_log_likelihood(logits: ArrayView1<f32>, token: u32) -> f64 {
    let max = logits.fold(f32::NEG_INFINITY, |max, logit| max.max(*logit));
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    let of_token = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    sum.ln() + f64::from(max) - f64::from(of_token)
}
