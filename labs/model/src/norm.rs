//! RMSNorm.

use ndarray::Array2;

use crate::product::dot;

/// Each row of `x`, `[tokens, hidden_size]`, divided by its root mean square and multiplied by
/// `weight`: `x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich 2019, equation 4; `eps` is
/// Llama's).
pub(crate) fn rms_norm(x: &Array2<f32>, weight: &[f32], eps: f32) -> Array2<f32> {
    let mut out = x.as_standard_layout().into_owned();
    for mut row in out.rows_mut() {
        let Some(row) = row.as_slice_mut() else { continue };
        let mean_square = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        row.iter_mut().zip(weight).for_each(|(x, weight)| *x = *x * scale * weight);
    }
    out
}
