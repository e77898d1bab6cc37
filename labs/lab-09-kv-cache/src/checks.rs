//! What the functions of the lab refuse.

use half::f16;
use ndarray::{Array2, Array3, ArrayView2, s};

use crate::{Cache, KvError, Side};

/// Refuses NaN, infinity and magnitudes beyond the largest `f16` in `m`, `[tokens, channels]`.
///
/// # Errors
/// [`KvError::Value`] with the first such number, row by row.
pub fn check_values(what: &'static str, m: ArrayView2<f32>) -> Result<(), KvError> {
    let fits = |value: f32| value.abs() <= f16::MAX.to_f32();
    match m.indexed_iter().find(|(_, value)| !fits(**value)) {
        Some(((token, channel), &value)) => Err(KvError::Value { what, token, channel, value }),
        None => Ok(()),
    }
}

/// Refuses tokens, `[tokens, head_dim]`, that do not fit one side of a cache.
///
/// # Errors
/// [`KvError::Shape`] and [`KvError::Value`] for `the tokens`.
pub fn check_tokens(side: &Side, tokens: &Array2<f32>) -> Result<(), KvError> {
    same_shape("the tokens", tokens.shape(), &[tokens.nrows(), side.head_dim()])?;
    check_values("the tokens", tokens.view())
}

/// Refuses a matrix `[tokens, head_dim]` that cannot be rotated at `positions`.
///
/// # Errors
/// [`KvError::OddHeadDim`], [`KvError::Positions`].
pub fn check_positions(m: &Array2<f32>, positions: &[usize]) -> Result<(), KvError> {
    let (tokens, head_dim) = m.dim();
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(KvError::OddHeadDim(head_dim));
    }
    if tokens != positions.len() {
        return Err(KvError::Positions { tokens, positions: positions.len() });
    }
    Ok(())
}

/// Refuses the keys and values of a step, `[tokens of all requests, kv_heads, head_dim]`, that do not fit
/// the caches and the numbers of tokens of the requests.
///
/// # Errors
/// [`KvError::Requests`], [`KvError::Shape`], [`KvError::Value`].
pub fn check_batch(
    caches: &[Cache],
    lengths: &[usize],
    keys: &Array3<f32>,
    values: &Array3<f32>,
) -> Result<(), KvError> {
    if caches.len() != lengths.len() {
        return Err(KvError::Requests { caches: caches.len(), lengths: lengths.len() });
    }
    for cache in caches {
        let head_dim = cache.heads.first().map_or(0, |head| head.keys.head_dim());
        let expected = [lengths.iter().sum(), cache.heads.len(), head_dim];
        for (what, of) in [("the keys", keys), ("the values", values)] {
            same_shape(what, of.shape(), &expected)?;
        }
    }
    for (what, of) in [("the keys", keys), ("the values", values)] {
        let head_dim = of.dim().2;
        for (token, heads) in of.outer_iter().enumerate() {
            for (head, row) in heads.outer_iter().enumerate() {
                let row = row.slice(s![ndarray::NewAxis, ..]);
                check_values(what, row).map_err(|error| located(error, token, head * head_dim))?;
            }
        }
    }
    Ok(())
}

/// The error of one head's row, counted in the whole tensor.
fn located(error: KvError, token: usize, first: usize) -> KvError {
    match error {
        KvError::Value { what, channel, value, .. } => {
            KvError::Value { what, token, channel: first + channel, value }
        }
        other => other,
    }
}

/// Refuses the queries of one token, `[heads, head_dim]`, that do not fit the cache.
///
/// # Errors
/// [`KvError::Empty`], [`KvError::UnevenHeads`], [`KvError::Shape`].
pub fn check_query(cache: &Cache, query: &Array2<f32>) -> Result<(), KvError> {
    if cache.tokens() == 0 {
        return Err(KvError::Empty);
    }
    let (heads, kv) = (query.nrows(), cache.heads.len());
    if heads == 0 || !heads.is_multiple_of(kv) {
        return Err(KvError::UnevenHeads { query: heads, kv });
    }
    let head_dim = cache.heads.first().map_or(0, |head| head.keys.head_dim());
    same_shape("the queries", query.shape(), &[heads, head_dim])
}

fn same_shape(what: &'static str, found: &[usize], expected: &[usize]) -> Result<(), KvError> {
    if found == expected {
        return Ok(());
    }
    Err(KvError::Shape { what, found: found.into(), expected: expected.into() })
}
