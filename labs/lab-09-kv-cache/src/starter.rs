//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-09`, or `LAB_IMPL=starter cargo test -p lab-09-kv-cache --test
//! spec`. On the untouched file every test of the spec fails, because every body is a `todo!`.

#[allow(unused_imports)] // Yours to use.
use formats::float8;
#[allow(unused_imports)] // Yours to use.
use ndarray::{Array1, Array2, Array3, Axis, s};

#[allow(unused_imports)] // Yours to use.
use crate::{
    Cache, Coded, FLOAT_BITS, Granularity, Grid, KvError, Layout, Policy, Shape, Side, check_batch,
    check_positions, check_query, check_tokens, check_values, joined, sixteen_bits,
};

/// Task 1. The scale and the zero of a group of at least one finite number on `grid`, both rounded to 16 bits. A
/// static scale stays as it is. Where the scale would be 0, it is 1, because the zero then is the whole
/// number. The zero of a grid around 0 is 0.
pub fn scale_and_zero(values: &[f32], grid: Grid) -> (f32, f32) {
    todo!("task 1: the scale and the zero of {} numbers on {grid:?}, in 16 bits", values.len())
}

/// Task 1. The code on `grid` that is nearest to `value`, ties to even. Beyond the ends the last code.
pub fn encode(value: f32, scale: f32, zero: f32, grid: Grid) -> u8 {
    todo!("task 1: ({value} - {zero}) / {scale}, rounded, on {grid:?}")
}

/// Task 1. The number that a code stands for.
pub fn decode(code: u8, scale: f32, zero: f32, grid: Grid) -> f32 {
    todo!("task 1: the number of code {code} on {grid:?}, times {scale}, plus {zero}")
}

/// Task 2. The tokens and the channels of a group, of which one is 1.
pub fn group_shape(layout: Layout) -> [usize; 2] {
    todo!("task 2: tokens and channels of a group of {layout:?}")
}

/// Task 2. Quantizes `m`, `[tokens, head_dim]`.
///
/// # Errors
/// Those of [`Layout::check`], then [`KvError::Value`] for `the matrix`.
pub fn quantize(m: &Array2<f32>, layout: Layout) -> Result<Coded, KvError> {
    todo!("task 2: {:?} in groups of {layout:?}", m.dim())
}

/// Task 2. The numbers that the codes stand for, `[tokens, head_dim]`.
pub fn dequantize(coded: &Coded) -> Array2<f32> {
    todo!("task 2: {:?} codes, each with the scale and zero of its group", coded.codes.dim())
}

/// Task 3. Turns each row of `m`, `[tokens, head_dim]`, by the angles of its position: channels `j` and
/// `j + head_dim / 2` are a pair of coordinates, and turn by `position * theta^(-2 j / head_dim)`. The power
/// and the angle are rounded to `f32`, as transformers rounds them.
///
/// # Errors
/// Those of [`check_positions`].
pub fn rotate(m: &Array2<f32>, positions: &[usize], theta: f64) -> Result<Array2<f32>, KvError> {
    todo!("task 3: pairs of {:?} turned at {positions:?}, by powers of {theta}", m.dim())
}

/// Task 3. Turns each row of `m` back: the inverse of [`rotate`].
///
/// # Errors
/// Those of [`check_positions`].
pub fn unrotate(m: &Array2<f32>, positions: &[usize], theta: f64) -> Result<Array2<f32>, KvError> {
    todo!("task 3: pairs of {:?} turned back at {positions:?}, by powers of {theta}", m.dim())
}

/// Task 4. Appends `tokens`, `[tokens, head_dim]`, rounded to 16 bits, to one side of a cache.
///
/// The first tokens are sinks until there are `policy.sinks`. A later token is recent. While there are
/// [`Layout::unit`] recent tokens besides the `policy.window` most recent ones, the oldest of them are
/// quantized together. So a code depends on no token behind its group.
///
/// # Errors
/// [`KvError::Shape`] and [`KvError::Value`] for `the tokens`, and then the side is as before.
pub fn extend(side: &mut Side, tokens: &Array2<f32>, policy: &Policy) -> Result<(), KvError> {
    todo!("task 4: {} tokens after {} under {policy:?}", tokens.nrows(), side.tokens())
}

/// Task 4. Appends the new tokens of several requests to their caches. `keys` and `values` are
/// `[tokens of all requests, kv_heads, head_dim]`, the tokens of the first request first, and `lengths` has
/// the number of tokens of each.
///
/// # Errors
/// Those of [`check_batch`], and then every cache is as before.
pub fn append(
    caches: &mut [Cache],
    lengths: &[usize],
    keys: &Array3<f32>,
    values: &Array3<f32>,
) -> Result<(), KvError> {
    todo!(
        "task 4: {:?} keys and {:?} values of {lengths:?} tokens to {} requests",
        keys.dim(),
        values.dim(),
        caches.len()
    )
}

/// Task 4. All tokens of a side in their order, as attention reads them: `[tokens, head_dim]`.
pub fn read(side: &Side) -> Array2<f32> {
    todo!("task 4: the {} tokens, sinks first", side.tokens())
}

/// Task 5. The products of a query, `[head_dim]`, with each key of `[tokens, head_dim]`, over `sqrt(head_dim)`.
pub fn logits(query: &[f32], keys: &Array2<f32>) -> Vec<f64> {
    todo!("task 5: {} numbers times each of {} keys", query.len(), keys.nrows())
}

/// Task 5. The weights `exp(logit)` over their sum. The largest logit is taken away first, so that no exponential
/// overflows.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    todo!("task 5: exponentials of {} logits over their sum", logits.len())
}

/// Task 5. Attention of the queries of one token, `[heads, head_dim]`, on a cache, in the same shape. Neighbouring
/// query heads share a key-value head.
///
/// # Errors
/// Those of [`check_query`].
pub fn attend(cache: &Cache, query: &Array2<f32>) -> Result<Array2<f32>, KvError> {
    todo!("task 5: {} query heads on {} tokens", query.nrows(), cache.tokens())
}

/// Task 6. Bits that a number in codes costs: its code, and its share of the scale and the zero of its group.
pub fn bits_per_number(layout: Layout) -> f64 {
    todo!("task 6: the code and the shares of what a group of {layout:?} stores")
}

/// Task 6. Bytes of the keys and values of a token in codes, in all layers.
pub fn bytes_per_token(policy: &Policy, shape: &Shape) -> f64 {
    todo!("task 6: keys and values of {policy:?} in {shape:?}")
}

/// Task 6. Bytes of the cache of a request of so many tokens in all layers, those that stay floats included.
pub fn cache_bytes(policy: &Policy, shape: &Shape, tokens: usize) -> f64 {
    todo!("task 6: {tokens} tokens of {shape:?} under {policy:?}")
}

/// Task 7. How far logits moved, as softmax sees it: half of the range of `after - before`, because a number that
/// is added to all logits changes no weight.
pub fn logit_shift(before: &[f64], after: &[f64]) -> f64 {
    todo!("task 7: half of the range of {} differences", before.len().max(after.len()))
}

/// Task 7. How far each channel of the output of attention on `values`, `[tokens, head_dim]`, can move when the
/// logits move by `shift`: `tanh(shift / 2)` times the range of the channel.
pub fn output_bound(shift: f64, values: &Array2<f32>) -> Array1<f64> {
    todo!("task 7: tanh({shift} / 2) times the range of each of {} channels", values.ncols())
}
