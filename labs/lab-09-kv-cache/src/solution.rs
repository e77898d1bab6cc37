//! The reference, which the chapter shows piece by piece.

use formats::float8;
use ndarray::{Array1, Array2, Array3, Axis, s};

use crate::{
    Cache, Coded, FLOAT_BITS, Granularity, Grid, KvError, Layout, Policy, Shape, Side, check_batch,
    check_positions, check_query, check_tokens, check_values, joined, sixteen_bits,
};

// ANCHOR: group
/// The scale and the zero of a group of at least one finite number on `grid`, both rounded to 16 bits. A
/// static scale stays as it is. Where the scale would be 0, it is 1, because the zero then is the whole
/// number. The zero of a grid around 0 is 0.
pub fn scale_and_zero(values: &[f32], grid: Grid) -> (f32, f32) {
    let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let absmax = largest.max(-smallest);
    let (scale, zero) = match grid {
        Grid::Asymmetric(bits) => ((largest - smallest) / last_code(bits.count()), smallest),
        Grid::Symmetric(bits) => (absmax / last_code(bits.count() - 1), 0.0),
        Grid::Fp8 => (absmax / float8::MAX, 0.0),
        Grid::Fp8Static(scale) => return (scale, 0.0),
    };
    // Rounded before a number is coded, because a reader of the cache has the rounded ones only.
    let scale = sixteen_bits(scale);
    (if scale > 0.0 { scale } else { 1.0 }, sixteen_bits(zero))
}

/// The largest number of so many bits.
fn last_code(bits: u32) -> f32 {
    ((1 << bits) - 1) as f32
}

/// The code on `grid` that is nearest to `value`, ties to even. Beyond the ends the last code.
pub fn encode(value: f32, scale: f32, zero: f32, grid: Grid) -> u8 {
    let steps = (value - zero) / scale;
    match grid {
        Grid::Asymmetric(bits) => steps.round_ties_even().clamp(0.0, last_code(bits.count())) as u8,
        Grid::Symmetric(bits) => {
            let last = last_code(bits.count() - 1);
            (steps.round_ties_even().clamp(-last, last) as i8).cast_unsigned()
        }
        Grid::Fp8 | Grid::Fp8Static(_) => float8::encode(steps),
    }
}

/// The number that a code stands for.
pub fn decode(code: u8, scale: f32, zero: f32, grid: Grid) -> f32 {
    let steps = match grid {
        Grid::Asymmetric(_) => f32::from(code),
        Grid::Symmetric(_) => f32::from(code.cast_signed()),
        Grid::Fp8 | Grid::Fp8Static(_) => float8::decode(code),
    };
    steps * scale + zero
}
// ANCHOR_END: group

// ANCHOR: matrix
/// The tokens and the channels of a group, of which one is 1.
pub fn group_shape(layout: Layout) -> [usize; 2] {
    match layout.granularity {
        Granularity::PerToken => [1, layout.group],
        Granularity::PerChannel => [layout.group, 1],
    }
}

/// Quantizes `m`, `[tokens, head_dim]`.
///
/// # Errors
/// Those of [`Layout::check`], then [`KvError::Value`] for `the matrix`.
pub fn quantize(m: &Array2<f32>, layout: Layout) -> Result<Coded, KvError> {
    layout.check(m.dim().into())?;
    check_values("the matrix", m.view())?;
    let [high, wide] = group_shape(layout);
    let groups = (m.nrows() / high, m.ncols() / wide);
    let (mut scales, mut zeros) = (Array2::zeros(groups), Array2::zeros(groups));
    for ((i, j), scale) in scales.indexed_iter_mut() {
        let group = m.slice(s![i * high..(i + 1) * high, j * wide..(j + 1) * wide]);
        let values: Vec<f32> = group.iter().copied().collect();
        (*scale, zeros[(i, j)]) = scale_and_zero(&values, layout.grid);
    }
    let codes = Array2::from_shape_fn(m.dim(), |(token, channel)| {
        let group = (token / high, channel / wide);
        encode(m[(token, channel)], scales[group], zeros[group], layout.grid)
    });
    Ok(Coded { layout, codes, scales, zeros })
}

/// The numbers that the codes stand for, `[tokens, head_dim]`.
pub fn dequantize(coded: &Coded) -> Array2<f32> {
    let [high, wide] = group_shape(coded.layout);
    Array2::from_shape_fn(coded.codes.dim(), |(token, channel)| {
        let group = (token / high, channel / wide);
        let (scale, zero) = (coded.scales[group], coded.zeros[group]);
        decode(coded.codes[(token, channel)], scale, zero, coded.layout.grid)
    })
}
// ANCHOR_END: matrix

// ANCHOR: rope
/// Turns each row of `m`, `[tokens, head_dim]`, by the angles of its position: channels `j` and
/// `j + head_dim / 2` are a pair of coordinates, and turn by `position * theta^(-2 j / head_dim)`. The power
/// and the angle are rounded to `f32`, as transformers rounds them.
///
/// # Errors
/// Those of [`check_positions`].
pub fn rotate(m: &Array2<f32>, positions: &[usize], theta: f64) -> Result<Array2<f32>, KvError> {
    turned(m, positions, theta, 1.0)
}

/// Turns each row of `m` back: the inverse of [`rotate`].
///
/// # Errors
/// Those of [`check_positions`].
pub fn unrotate(m: &Array2<f32>, positions: &[usize], theta: f64) -> Result<Array2<f32>, KvError> {
    turned(m, positions, theta, -1.0)
}

fn turned(
    m: &Array2<f32>,
    positions: &[usize],
    theta: f64,
    direction: f64,
) -> Result<Array2<f32>, KvError> {
    check_positions(m, positions)?;
    let half = m.ncols() / 2;
    Ok(Array2::from_shape_fn(m.dim(), |(token, channel)| {
        let j = channel % half;
        let frequency = libm::pow(theta, -2.0 * j as f64 / m.ncols() as f64) as f32;
        let angle = f64::from(positions[token] as f32 * frequency);
        let (sin, cos) = libm::sincos(direction * angle);
        let (first, second) = (f64::from(m[(token, j)]), f64::from(m[(token, j + half)]));
        let turned =
            if channel < half { first * cos - second * sin } else { second * cos + first * sin };
        turned as f32
    }))
}
// ANCHOR_END: rope

// ANCHOR: grow
/// Appends `tokens`, `[tokens, head_dim]`, rounded to 16 bits, to one side of a cache.
///
/// The first tokens are sinks until there are `policy.sinks`. A later token is recent. While there are
/// [`Layout::unit`] recent tokens besides the `policy.window` most recent ones, the oldest of them are
/// quantized together. So a code depends on no token behind its group.
///
/// # Errors
/// [`KvError::Shape`] and [`KvError::Value`] for `the tokens`, and then the side is as before.
pub fn extend(side: &mut Side, tokens: &Array2<f32>, policy: &Policy) -> Result<(), KvError> {
    check_tokens(side, tokens)?;
    let tokens = tokens.mapv(sixteen_bits);
    let room = policy.sinks.saturating_sub(side.sinks.nrows()).min(tokens.nrows());
    let (sinks, recent) = tokens.view().split_at(Axis(0), room);
    side.sinks = joined(&[side.sinks.view(), sinks]);
    side.recent = joined(&[side.recent.view(), recent]);
    let unit = side.layout.unit();
    while side.recent.nrows() >= policy.window.saturating_add(unit) {
        let oldest = quantize(&side.take_oldest(unit), side.layout)?;
        side.coded.push(oldest);
    }
    Ok(())
}

/// Appends the new tokens of several requests to their caches. `keys` and `values` are
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
    check_batch(caches, lengths, keys, values)?;
    let mut first = 0;
    for (cache, length) in caches.iter_mut().zip(lengths) {
        let rows = first..first + length;
        for (index, head) in cache.heads.iter_mut().enumerate() {
            let of = |all: &Array3<f32>| all.slice(s![rows.clone(), index, ..]).to_owned();
            extend(&mut head.keys, &of(keys), &cache.policy)?;
            extend(&mut head.values, &of(values), &cache.policy)?;
        }
        first += length;
    }
    Ok(())
}

/// All tokens of a side in their order, as attention reads them: `[tokens, head_dim]`.
pub fn read(side: &Side) -> Array2<f32> {
    let coded: Vec<Array2<f32>> = side.coded.iter().map(dequantize).collect();
    let mut parts = vec![side.sinks.view()];
    parts.extend(coded.iter().map(|part| part.view()));
    parts.push(side.recent.view());
    joined(&parts)
}
// ANCHOR_END: grow

// ANCHOR: attend
/// The products of a query, `[head_dim]`, with each key of `[tokens, head_dim]`, over `sqrt(head_dim)`.
pub fn logits(query: &[f32], keys: &Array2<f32>) -> Vec<f64> {
    let root = (query.len() as f64).sqrt();
    let products = |key: ndarray::ArrayView1<f32>| {
        let products = key.into_iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q));
        products.sum::<f64>() / root
    };
    keys.rows().into_iter().map(products).collect()
}

/// The weights `exp(logit)` over their sum. The largest logit is taken away first, so that no exponential
/// overflows.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| libm::exp(logit - largest)).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// Attention of the queries of one token, `[heads, head_dim]`, on a cache, in the same shape. Neighbouring
/// query heads share a key-value head.
///
/// # Errors
/// Those of [`check_query`].
pub fn attend(cache: &Cache, query: &Array2<f32>) -> Result<Array2<f32>, KvError> {
    check_query(cache, query)?;
    let sharing = query.nrows() / cache.heads.len();
    let mut out = Array2::zeros(query.dim());
    for (index, head) in cache.heads.iter().enumerate() {
        let (keys, values) = (read(&head.keys), read(&head.values).mapv(f64::from));
        for row in index * sharing..(index + 1) * sharing {
            let weights = softmax(&logits(&query.row(row).to_vec(), &keys));
            let mixed = Array1::from(weights).dot(&values);
            out.row_mut(row).assign(&mixed.mapv(|value| value as f32));
        }
    }
    Ok(out)
}
// ANCHOR_END: attend

// ANCHOR: bytes
/// Bits that a number in codes costs: its code, and its share of the scale and the zero of its group.
pub fn bits_per_number(layout: Layout) -> f64 {
    let (bits, stored) = match layout.grid {
        Grid::Asymmetric(bits) => (bits.count(), 2),
        Grid::Symmetric(bits) => (bits.count(), 1),
        Grid::Fp8 => (8, 1),
        Grid::Fp8Static(_) => (8, 0),
    };
    f64::from(bits) + (stored * FLOAT_BITS) as f64 / layout.group as f64
}

/// Bytes of the keys and values of a token in codes, in all layers.
pub fn bytes_per_token(policy: &Policy, shape: &Shape) -> f64 {
    let bits = bits_per_number(policy.keys) + bits_per_number(policy.values);
    bits * (shape.layers * shape.kv_heads * shape.head_dim) as f64 / 8.0
}

/// Bytes of the cache of a request of so many tokens in all layers, those that stay floats included.
pub fn cache_bytes(policy: &Policy, shape: &Shape, tokens: usize) -> f64 {
    let bits = |layout: Layout| {
        let floats = policy.sinks.saturating_add(policy.window);
        let coded = tokens.saturating_sub(floats) / layout.unit() * layout.unit();
        coded as f64 * bits_per_number(layout) + ((tokens - coded) * FLOAT_BITS) as f64
    };
    let numbers = (shape.layers * shape.kv_heads * shape.head_dim) as f64;
    (bits(policy.keys) + bits(policy.values)) * numbers / 8.0
}
// ANCHOR_END: bytes

// ANCHOR: bound
/// How far logits moved, as softmax sees it: half of the range of `after - before`, because a number that
/// is added to all logits changes no weight.
pub fn logit_shift(before: &[f64], after: &[f64]) -> f64 {
    let moved = || before.iter().zip(after).map(|(before, after)| after - before);
    let largest = moved().fold(f64::NEG_INFINITY, f64::max);
    let smallest = moved().fold(f64::INFINITY, f64::min);
    (largest - smallest) / 2.0
}

/// How far each channel of the output of attention on `values`, `[tokens, head_dim]`, can move when the
/// logits move by `shift`: `tanh(shift / 2)` times the range of the channel.
pub fn output_bound(shift: f64, values: &Array2<f32>) -> Array1<f64> {
    // Let p be the weights before, q the weights after, and A the tokens that gain. The output moves by
    // sum (q - p) v, and the gains and the losses have the same sum T, so it moves by T times (a mean of v
    // over A less a mean over the others): at most T times the range of v.
    //
    // q(A) grows with each logit of A and falls with each other one, so T is largest if the former rise by
    // `shift` and the latter fall by `shift`. With P = p(A) and r = exp(shift) then
    // T = P r / (P r + (1 - P) / r) - P. Its maximum over P, at P = 1 / (r + 1), is
    // (r - 1) / (r + 1) = tanh(shift / 2).
    let range = |column: ndarray::ArrayView1<f32>| {
        let largest = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let smallest = column.iter().copied().fold(f32::INFINITY, f32::min);
        f64::from(largest) - f64::from(smallest)
    };
    values.columns().into_iter().map(range).map(|range| libm::tanh(shift / 2.0) * range).collect()
}
// ANCHOR_END: bound
