//! The denominator of a softmax.

use ndarray::ArrayView1;

/// `log(sum(exp(logits)))`, in `f64`.
pub(super) fn log_sum_exp(logits: ArrayView1<f32>) -> f64 {
    // The maximum is taken out, because `exp` of a large logit would overflow.
    let max = logits.fold(f32::NEG_INFINITY, |max, logit| max.max(*logit));
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    sum.ln() + f64::from(max)
}
