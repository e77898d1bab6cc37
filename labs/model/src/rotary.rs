//! Rotary position embedding.

use ndarray::{Array2, Zip, s};

/// Cosines and sines of the angles of some positions, each `[tokens, head_dim / 2]`.
pub(crate) struct Rotary {
    cos: Array2<f32>,
    sin: Array2<f32>,
}

impl Rotary {
    /// Angle `j` of position `p` is `p * theta^(-2 j / head_dim)` (Su et al. 2021, equation 15),
    /// for the position of each token. Frequencies and angles are rounded to `f32`, because
    /// transformers does so and the golden logits come from it.
    pub(crate) fn new(positions: &[usize], head_dim: usize, theta: f64) -> Self {
        let frequency = |j| theta.powf(-((2 * j) as f64) / head_dim as f64) as f32;
        let frequencies: Vec<f32> = (0..head_dim / 2).map(frequency).collect();
        let angle = |(token, j): (usize, usize)| positions[token] as f32 * frequencies[j];
        let angles = Array2::from_shape_fn((positions.len(), head_dim / 2), angle);
        Self { cos: angles.mapv(f32::cos), sin: angles.mapv(f32::sin) }
    }

    /// Rotates each head of each row of `x`, `[tokens, heads * head_dim]`: elements `j` and
    /// `j + head_dim / 2` are a pair of coordinates, as in Hugging Face's Llama.
    pub(crate) fn rotate(&self, x: &mut Array2<f32>) {
        let half = self.cos.ncols();
        let angles = self.cos.rows().into_iter().zip(self.sin.rows());
        for (mut row, (cos, sin)) in x.rows_mut().into_iter().zip(angles) {
            for mut head in row.exact_chunks_mut(2 * half) {
                let (first, second) = head.multi_slice_mut((s![..half], s![half..]));
                Zip::from(first).and(second).and(cos).and(sin).for_each(|a, b, cos, sin| {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                });
            }
        }
    }
}
