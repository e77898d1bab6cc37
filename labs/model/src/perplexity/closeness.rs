//! How close one model's predictions are to another's, token by token.
//!
//! Perplexity looks at one token of the vocabulary, the one that came; two models can err on
//! different tokens and have the same perplexity. The divergence looks at all of them.

use ndarray::{Array2, ArrayView1, Zip};
use rayon::prelude::*;

use super::log_sum_exp::log_sum_exp;
use crate::ModelError;

/// The predictions that others are compared with: of one chunk.
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

    /// The logits that it was made from.
    pub fn logits(&self) -> &Array2<f32> {
        &self.logits
    }
}

/// The sum so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closeness {
    /// Tokens compared.
    pub tokens: usize,
    /// The sum of the divergences `sum p ln(p / q)` in nats (Kullback and Leibler 1951), `p` the
    /// reference.
    pub divergence: f64,
    /// Tokens on whose likeliest next token both agree.
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
                // sum p (ln p - ln q), with the two normalizers taken out of the sum.
                let mut cross = 0.0;
                Zip::from(reference.probabilities.row(row)).and(p).and(q).for_each(|&w, &p, &q| {
                    cross += f64::from(w) * (f64::from(p) - f64::from(q));
                });
                let normalizers = log_sum_exp(q) - reference.log_sums[row];
                (cross + normalizers, likeliest(p) == likeliest(q))
            })
            .collect();
        self.tokens += tokens.len();
        self.divergence += tokens.iter().map(|(divergence, _)| divergence).sum::<f64>();
        self.agreed += tokens.iter().filter(|(_, agreed)| *agreed).count();
        Ok(())
    }

    /// The mean divergence of a token, in nats.
    pub fn mean_divergence(&self) -> f64 {
        self.divergence / self.tokens as f64
    }

    /// The share of tokens on which both agree.
    pub fn agreement(&self) -> f64 {
        self.agreed as f64 / self.tokens as f64
    }
}

/// The index of the largest logit, the first of equals.
fn likeliest(logits: ArrayView1<f32>) -> usize {
    let better = |best: (usize, f32), (id, &logit): (usize, &f32)| {
        if logit > best.1 { (id, logit) } else { best }
    };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), better).0
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
        assert!(closeness.mean_divergence().abs() < 0.5 * f64::from(f32::EPSILON));
        assert_eq!(closeness.agreement(), 1.0);
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
        assert!((closeness.mean_divergence() - expected).abs() < bound);
        assert_eq!(closeness.agreement(), 0.0);
        assert!(closeness.add(&Reference::new(array![[1.0]]), &array![[1.0, 2.0]]).is_err());
        Ok(())
    }
}
