//! What the searches try, and what they find.

use ndarray::{Array1, Array2};

/// The ratios that the search tries: 0, 0.05, … 0.95. Ratio 0 has scales of 1, so the search never ends
/// worse than without scales. Source: `n_grid = 20` of mit-han-lab/llm-awq, which never tries 1.
pub fn ratios() -> impl Iterator<Item = f32> {
    (0..20u8).map(|k| f32::from(k) / 20.0)
}

/// The maxima that the clip search tries for a group with the largest magnitude `absmax`, from `absmax`
/// down to 0.55 of it. Source: `auto_clip_layer` of mit-han-lab/llm-awq with `n_grid` 20 and
/// `max_shrink` 0.5.
pub fn clip_maxima(absmax: f32) -> impl Iterator<Item = f32> {
    (0..10u8).map(move |k| absmax * (1.0 - f32::from(k) / 20.0))
}

/// Scales that the search may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The exponent of the mean magnitudes.
    pub ratio: f32,
    /// A scale for each input channel, `[in_features]`.
    pub scales: Array1<f32>,
}

/// What the search over the ratio has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The candidate with the least error.
    pub best: Candidate,
    /// The error of each candidate, in the order in which they were tried.
    pub errors: Vec<f64>,
}

/// A norm and the layers that read its output, ready to be rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The scales and their ratio, one vector for all layers.
    pub scales: Candidate,
    /// The weight of the norm, divided.
    pub norm: Array1<f32>,
    /// The weights, multiplied and clipped.
    pub layers: Vec<Array2<f32>>,
}
