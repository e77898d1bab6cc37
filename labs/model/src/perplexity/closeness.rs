//! KL divergence and top-1 agreement of the predictions of two models, token by token.
//!
//! Perplexity looks at the probability of one token, the next token of the text, so two models that
//! err on different tokens can have the same perplexity. The KL divergence looks at all tokens of the
//! vocabulary.

use ndarray::{Array2, Zip};
use rayon::prelude::*;

use super::log_sum_exp::log_sum_exp;
use crate::{ModelError, most_likely};

/// The predictions of the reference model for one chunk.
#[derive(Clone, Debug)]
pub struct Reference {
    logits: Array2<f32>,
    probabilities: Array2<f32>,
    log_sums: Vec<f64>,
}

impl Reference {
    /// Keeps `logits`, `[tokens, vocab_size]`, and the probabilities that they stand for.
    pub fn new(logits: Array2<f32>) -> Self {
        let rows: Vec<_> = logits.rows().into_iter().collect();
        let log_sums: Vec<f64> = rows.into_par_iter().map(log_sum_exp).collect();
        let mut probabilities = logits.clone();
        for (mut row, log_sum) in probabilities.rows_mut().into_iter().zip(&log_sums) {
            row.mapv_inplace(|logit| (f64::from(logit) - log_sum).exp() as f32);
        }
        Self { logits, probabilities, log_sums }
    }

    /// The logits, `[tokens, vocab_size]`.
    pub fn logits(&self) -> &Array2<f32> {
        &self.logits
    }
}

/// The sum so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closeness {
    /// Tokens compared.
    pub tokens: usize,
    /// The sum of the KL divergences `sum p ln(p / q)` in nats (Kullback and Leibler 1951), `p` the
    /// reference.
    pub divergence: f64,
    /// Tokens for which both models have the same most likely next token.
    pub agreed: usize,
}

impl Closeness {
    /// Adds the predictions for the same tokens, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add(&mut self, reference: &Reference, logits: &Array2<f32>) -> Result<(), ModelError> {
        if logits.dim() != reference.logits.dim() {
            let (found, expected) = (logits.dim(), reference.logits.dim());
            let problem = format!("logits of shape {found:?} against a reference of {expected:?}");
            return Err(ModelError::Perplexity(problem));
        }
        let tokens: Vec<(f64, bool)> = (0..logits.nrows())
            .into_par_iter()
            .map(|row| {
                let (p, q) = (reference.logits.row(row), logits.row(row));
                // sum p (ln p - ln q), with the two normalizers outside of the sum, because `ln p` is
                // the logit minus its normalizer. A logarithm for each token is then not needed.
                let mut cross = 0.0;
                Zip::from(reference.probabilities.row(row)).and(p).and(q).for_each(|&w, &p, &q| {
                    cross += f64::from(w) * (f64::from(p) - f64::from(q));
                });
                let normalizers = log_sum_exp(q) - reference.log_sums[row];
                (cross + normalizers, most_likely(p) == most_likely(q))
            })
            .collect();
        self.tokens += tokens.len();
        self.divergence += tokens.iter().map(|(divergence, _)| divergence).sum::<f64>();
        self.agreed += tokens.iter().filter(|(_, agreed)| *agreed).count();
        Ok(())
    }

    /// The mean KL divergence of a token, in nats.
    pub fn mean_kl_divergence(&self) -> f64 {
        self.divergence / self.tokens as f64
    }

    /// The share of tokens for which the most likely next token is the same.
    pub fn top1_agreement(&self) -> f64 {
        self.agreed as f64 / self.tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_model_is_as_close_to_itself_as_f32_probabilities_tell() -> Result<(), ModelError> {
        let logits = array![[1.0, 2.0, -3.0], [0.0, 0.5, 0.25]];
        let mut closeness = Closeness::default();
        // A constant added to all logits changes no probability.
        closeness.add(&Reference::new(logits.clone()), &(logits + 0.5))?;
        // Each probability is rounded by half an ulp, and the constant is weighed with their sum.
        assert!(closeness.mean_kl_divergence().abs() < 0.5 * f64::from(f32::EPSILON));
        assert_eq!(closeness.top1_agreement(), 1.0);
        Ok(())
    }

    #[test]
    fn the_divergence_is_that_of_the_definition() -> Result<(), ModelError> {
        let (p, q) = ([0.75_f64, 0.25], [0.25_f64, 0.75]);
        let logits = |p: [f64; 2]| array![[p[0].ln() as f32, p[1].ln() as f32]];
        let mut closeness = Closeness::default();
        closeness.add(&Reference::new(logits(p)), &logits(q))?;
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        // Logits below 2 and probabilities below 1, each rounded to f32.
        let bound = 4.0 * f64::from(f32::EPSILON);
        assert!((closeness.mean_kl_divergence() - expected).abs() < bound);
        assert_eq!(closeness.top1_agreement(), 0.0);
        assert!(closeness.add(&Reference::new(array![[1.0]]), &array![[1.0, 2.0]]).is_err());
        Ok(())
    }
}
