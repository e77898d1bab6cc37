//! What the functions of the lab refuse.

use ndarray::Array2;

use crate::{Decoder, RotationError};

/// Refuses an order that no Hadamard matrix has. That a matrix exists for each multiple of 4 is a conjecture.
///
/// # Errors
/// [`RotationError::NoHadamard`].
pub fn check_order(order: usize) -> Result<(), RotationError> {
    let exists = matches!(order, 1 | 2) || (order > 0 && order.is_multiple_of(4));
    if exists { Ok(()) } else { Err(RotationError::NoHadamard(order)) }
}

/// Refuses a number that is no prime, or leaves another remainder than `remainder` when it is divided by 4.
///
/// # Errors
/// [`RotationError::NotPaley`].
pub fn check_prime(
    construction: &'static str,
    q: usize,
    remainder: usize,
) -> Result<(), RotationError> {
    let prime = q > 1 && (2..q).take_while(|d| d * d <= q).all(|d| !q.is_multiple_of(d));
    if prime && q % 4 == remainder {
        return Ok(());
    }
    Err(RotationError::NotPaley { construction, remainder, q })
}

/// Refuses a size that is not `expected`.
///
/// # Errors
/// [`RotationError::Width`].
pub fn check_width(what: &'static str, found: usize, expected: usize) -> Result<(), RotationError> {
    if found == expected { Ok(()) } else { Err(RotationError::Width { what, found, expected }) }
}

/// Refuses channels that do not divide into heads.
///
/// # Errors
/// [`RotationError::Heads`].
pub fn check_heads(found: usize, head_dim: usize) -> Result<(), RotationError> {
    let divides = head_dim > 0 && found.is_multiple_of(head_dim);
    if divides { Ok(()) } else { Err(RotationError::Heads { found, head_dim }) }
}

/// Refuses NaN and infinity.
///
/// # Errors
/// [`RotationError::NotFinite`] with the first such number, row by row.
pub fn check_finite(m: &Array2<f64>) -> Result<(), RotationError> {
    match m.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(RotationError::NotFinite { row, column, value }),
        None => Ok(()),
    }
}

/// Refuses a model whose norms have weights or whose head is the embedding.
///
/// # Errors
/// [`RotationError::NotFused`] with the first such norm, [`RotationError::Tied`].
pub fn check_fused(model: &Decoder) -> Result<(), RotationError> {
    let of_layers = model.layers.iter().enumerate().flat_map(|(index, layer)| {
        [("input", &layer.input_norm), ("post-attention", &layer.post_norm)]
            .map(|(name, weights)| (format!("the {name} norm of layer {index}"), weights))
    });
    let last = ("the final norm".to_owned(), &model.final_norm);
    for (norm, weights) in of_layers.chain([last]) {
        if weights.iter().any(|weight| *weight != 1.0) {
            return Err(RotationError::NotFused { norm });
        }
    }
    if model.head.is_none() { Err(RotationError::Tied) } else { Ok(()) }
}
