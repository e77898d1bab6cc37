//! RoPE in `f64`, for the rows of one sequence.

use ndarray::Array2;

use crate::{RotationError, check_heads};

/// RoPE of each head of `x`, `[tokens, heads * head_dim]`; row `t` is at position `t`. Channels `j` and
/// `j + head_dim / 2` of a head turn by `t * 10000^(-2 j / head_dim)`.
///
/// # Errors
/// [`RotationError::Heads`].
pub fn rope(x: &Array2<f64>, head_dim: usize) -> Result<Array2<f64>, RotationError> {
    check_heads(x.ncols(), head_dim)?;
    let half = head_dim / 2;
    Ok(Array2::from_shape_fn(x.dim(), |(token, channel)| {
        let (head, j) = (channel / head_dim * head_dim, channel % head_dim % half);
        let angle = token as f64 * libm::pow(1e4, -2.0 * j as f64 / head_dim as f64);
        let (sin, cos) = libm::sincos(angle);
        let (first, second) = (x[(token, head + j)], x[(token, head + j + half)]);
        let in_front = channel % head_dim < half;
        if in_front { first * cos - second * sin } else { second * cos + first * sin }
    }))
}
