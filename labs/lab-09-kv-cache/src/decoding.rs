//! Decode steps on given tensors, with which the error of a layout is measured.

use ndarray::{Array2, Array3, s};

use crate::{Bits, Cache, Grid, KvError, Layout, Policy, append, attend};

/// A layout that loses nothing of numbers of 16 bits, because a group of one number is its own zero. For the
/// side of a cache that an experiment leaves alone.
pub const EXACT: Layout = Layout {
    grid: Grid::Asymmetric(Bits::Eight),
    granularity: crate::Granularity::PerToken,
    group: 1,
};

impl Policy {
    /// A cache of floats.
    pub const FLOATS: Self = Self { keys: EXACT, values: EXACT, sinks: 0, window: usize::MAX };
}

/// The outputs of attention in the last decode steps of a request: `[queries, heads * head_dim]`.
///
/// `keys` and `values` are `[tokens, kv_heads, head_dim]`, and `queries`, `[queries, heads, head_dim]`, are those
/// of the last tokens. The tokens before the first query are appended at once, which is prefill. Each later
/// one is appended by itself, and then its query reads the cache.
///
/// # Errors
/// [`KvError::Shape`] if there are more queries than tokens; those of [`Cache::new`], [`append`] and
/// [`attend`].
pub fn decode_steps(
    policy: Policy,
    keys: &Array3<f32>,
    values: &Array3<f32>,
    queries: &Array3<f32>,
) -> Result<Array2<f32>, KvError> {
    let (tokens, kv_heads, head_dim) = keys.dim();
    let (steps, heads, width) = queries.dim();
    let Some(prompt) = tokens.checked_sub(steps) else {
        let expected = vec![tokens, heads, width];
        return Err(KvError::Shape {
            what: "the queries",
            found: queries.shape().into(),
            expected,
        });
    };
    let mut cache = Cache::new(policy, kv_heads, head_dim)?;
    let step = |cache: &mut Cache, rows: std::ops::Range<usize>| {
        let of = |all: &Array3<f32>| all.slice(s![rows.clone(), .., ..]).to_owned();
        append(std::slice::from_mut(cache), &[rows.len()], &of(keys), &of(values))
    };
    step(&mut cache, 0..prompt)?;
    let mut outputs = Array2::zeros((steps, heads * width));
    for (index, query) in queries.outer_iter().enumerate() {
        step(&mut cache, prompt + index..prompt + index + 1)?;
        let out = attend(&cache, &query.to_owned())?;
        outputs.row_mut(index).iter_mut().zip(out).for_each(|(place, value)| *place = value);
    }
    Ok(outputs)
}
