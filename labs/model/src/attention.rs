//! Causal attention with grouped key-value heads.

use std::ops::Range;

use kernels::elementwise;
use kernels::plain::multiply;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use crate::Config;
use crate::cache::{CacheLayer, Rows};

/// Queries that are scored together. The limit bounds the memory of the scores, and saves the scores of
/// keys that come after the last query of a block.
const QUERIES: usize = 128;
/// The fewest multiplications of a task, where each sequence has one query.
const MIN_TASK: usize = 1 << 16;

/// As [`attend`], with one query for each sequence: `q` is `[sequences, heads * head_dim]`, and each
/// cache holds `length` positions, the query's included.
///
/// The tokens of a head are read in parts, each with a softmax of its own, and the parts are joined at the end (Milakov
/// and Gimelshein 2018, "Online normalizer calculation for softmax"). So there is work for every thread also where there
/// are fewer key-value heads than threads, or three heads and two threads.
pub(crate) fn attend_one_each(
    q: &Array2<f32>,
    caches: &[(&CacheLayer, usize)],
    config: &Config,
) -> Array2<f32> {
    let (group, head_dim) = (config.heads / config.kv_heads, config.head_dim);
    let width = group * head_dim;
    let mut out = Array2::zeros(q.dim());
    // The queries are scaled rather than the scores, because `head_dim` is the smaller number.
    let root = (head_dim as f32).sqrt();
    let q = q.as_standard_layout().mapv(|q| q / root);
    let (Some(q), Some(values)) = (q.as_slice(), out.as_slice_mut()) else { return out };
    // The query heads of a group read its keys and values while the core's caches hold them.
    let heads = caches.iter().flat_map(|(cache, length)| cache.heads().map(move |kv| (kv, length)));
    let tasks =
        q.chunks_exact(width).zip(heads).enumerate().flat_map(|(head, (q, (kv, length)))| {
            kv.0.parts(*length).map(move |tokens| (head, q, kv, tokens))
        });
    let tasks: Vec<_> = tasks.collect();
    let longest = tasks.iter().map(|(.., tokens)| tokens.len()).max().unwrap_or_default();
    // Short sequences share a task.
    let tasks = tasks.into_par_iter().with_min_len(MIN_TASK.div_ceil(2 * width * longest.max(1)));
    let parts = tasks.map(|(head, q, kv, tokens)| (head, Part::of(q, kv, tokens, head_dim)));
    let parts: Vec<_> = parts.collect();
    let of_heads = parts.chunk_by(|(one, _), (other, _)| one == other);
    for (out, parts) in values.chunks_exact_mut(width).zip(of_heads) {
        join(parts.iter().map(|(_, part)| part), out, head_dim);
    }
    out
}

/// What some tokens of a key-value head contribute to each query of the group.
struct Part {
    /// The largest score of each query.
    most: Vec<f32>,
    /// Each query's sum of `exp(score - most)`.
    sums: Vec<f32>,
    /// The values times these exponentials, `[queries, head_dim]`.
    values: Vec<f32>,
}

impl Part {
    /// `q` is `[queries, head_dim]`, over the root of `head_dim`.
    fn of(q: &[f32], kv: (&Rows, &Rows), tokens: Range<usize>, head_dim: usize) -> Self {
        let (keys, values) = kv;
        let mut scores = vec![0.0; q.len() / head_dim * tokens.len()];
        keys.scores(tokens.clone(), q, &mut scores);
        let of_queries = scores.chunks_exact_mut(tokens.len());
        let (most, sums) = of_queries.map(elementwise::exponentials).unzip();
        let mut part = Self { most, sums, values: vec![0.0; q.len()] };
        values.add_weighted(tokens, &scores, &mut part.values);
        part
    }
}

/// The weighted means of all parts' values, `[queries, head_dim]`, into `out`, which is 0.
fn join<'p>(parts: impl Iterator<Item = &'p Part> + Clone, out: &mut [f32], head_dim: usize) {
    for (query, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let most = parts.clone().map(|part| part.most[query]).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for part in parts.clone() {
            let share = (part.most[query] - most).exp();
            sum += share * part.sums[query];
            let values = &part.values[query * head_dim..(query + 1) * head_dim];
            out.iter_mut().zip(values).for_each(|(out, value)| *out += share * value);
        }
        out.iter_mut().for_each(|out| *out /= sum);
    }
}

/// `softmax(q K^T / sqrt(head_dim)) V` for each head, each query seeing the positions up to its own
/// (Vaswani et al. 2017, equation 1).
///
/// `q` is `[tokens, heads * head_dim]`, its first row at position `first`; the cache holds keys and
/// values of those tokens already. Query head `h` reads key-value head `h / (heads / kv_heads)`
/// (Ainslie et al. 2023). The result, `[tokens, heads * head_dim]`, goes to `out`.
pub(crate) fn attend(
    q: ArrayView2<f32>,
    cache: &CacheLayer,
    first: usize,
    config: &Config,
    mut out: ArrayViewMut2<f32>,
) {
    let group = config.heads / config.kv_heads;
    let head_dim = config.head_dim;
    // Codes are read once for all queries.
    let length = first + q.nrows();
    let heads = cache.heads().map(|(keys, values)| (keys.numbers(length), values.numbers(length)));
    let heads: Vec<_> = heads.collect();
    // A task is one head and one block of queries. Late blocks start first, because they see more keys
    // and so take longest.
    let mut tasks = Vec::new();
    for (block, mut rest) in out.axis_chunks_iter_mut(Axis(0), QUERIES).enumerate() {
        for head in 0..config.heads {
            let (out, after) = rest.split_at(Axis(1), head_dim);
            tasks.push((block * QUERIES, head, out));
            rest = after;
        }
    }
    tasks.reverse();
    tasks.into_par_iter().with_max_len(1).for_each(|(start, head, out)| {
        let rows = start..start + out.nrows();
        let (keys, values) = &heads[head / group];
        let seen = s![..first + rows.end, ..];
        let q = q.slice(s![rows, head * head_dim..(head + 1) * head_dim]);
        attend_block(q, keys.slice(seen), values.slice(seen), first + start, out);
    });
}

/// One head, one block of queries, the first of them at position `first`; `keys` and `values` end
/// with the position of the last.
fn attend_block(
    q: ArrayView2<f32>,
    keys: ArrayView2<f32>,
    values: ArrayView2<f32>,
    first: usize,
    out: ArrayViewMut2<f32>,
) {
    let mut scores = Array2::zeros((q.nrows(), keys.nrows()));
    // The query is scaled rather than the scores, because `head_dim` is the smaller number.
    let root = (q.ncols() as f32).sqrt();
    let scaled = q.mapv(|q| q / root);
    multiply(scaled.view(), keys, scores.view_mut());
    for (row, mut scores) in scores.rows_mut().into_iter().enumerate() {
        if let Some(scores) = scores.as_slice_mut() {
            softmax_of_seen(scores, first + row + 1);
        }
    }
    // Future positions have weight 0, so the product needs no mask.
    multiply(scores.view(), values.t(), out);
}

/// The softmax of the first `seen` scores; the others get no weight.
fn softmax_of_seen(scores: &mut [f32], seen: usize) {
    let (scores, future) = scores.split_at_mut(seen);
    future.fill(0.0);
    elementwise::softmax(scores);
}
