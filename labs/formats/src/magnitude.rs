//! The largest magnitude of weights, from which scales follow.

/// The largest magnitude; 0 for none.
pub fn absmax<'a>(weights: impl IntoIterator<Item = &'a f32>) -> f32 {
    weights.into_iter().fold(0.0, |max: f32, weight| max.max(weight.abs()))
}
