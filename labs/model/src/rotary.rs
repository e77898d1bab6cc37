//! Rotary position embedding.

use ndarray::{Array2, s};

/// Cosines and sines of the angles of some positions, each `[tokens, head_dim / 2]`.
pub(crate) struct Rotary {
    cos: Array2<f32>,
    sin: Array2<f32>,
}

impl Rotary {
    /// Angle `j` of position `p` is `p * theta^(-2 j / head_dim)` (Su et al. 2021, equation 15),
    /// for the positions `first .. first + tokens`. Frequencies and angles are rounded to `f32`,
    /// as transformers does.
    pub(crate) fn new(first: usize, tokens: usize, head_dim: usize, theta: f64) -> Self {
        let angle = |(token, j): (usize, usize)| {
            let frequency = theta.powf(-((2 * j) as f64) / head_dim as f64) as f32;
            (first + token) as f32 * frequency
        };
        let angles = Array2::from_shape_fn((tokens, head_dim / 2), angle);
        Self { cos: angles.mapv(f32::cos), sin: angles.mapv(f32::sin) }
    }

    /// Turns each head of each row of `x`, `[tokens, heads * head_dim]`: element `j` and element
    /// `j + head_dim / 2` are the two coordinates that turn together, as in Hugging Face's Llama.
    pub(crate) fn turn(&self, x: &mut Array2<f32>) {
        let half = self.cos.ncols();
        for token in 0..x.nrows().min(self.cos.nrows()) {
            let (cos, sin) = (self.cos.row(token), self.sin.row(token));
            let mut row = x.row_mut(token);
            for mut head in row.exact_chunks_mut(2 * half) {
                let (mut first, mut second) = head.multi_slice_mut((s![..half], s![half..]));
                for j in 0..half {
                    let (a, b) = (first[j], second[j]);
                    first[j] = a * cos[j] - b * sin[j];
                    second[j] = b * cos[j] + a * sin[j];
                }
            }
        }
    }
}
