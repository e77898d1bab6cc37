//! The tables of lab 09: real keys and values, what each layout does to the output of attention, and bytes.

use anyhow::Result;
use formats::architecture::{Architecture, PUBLISHED, SMOLLM2_135M};
use kit::Table;
use kit::meters::relative_error;
use kit::real_cache::{HEAD_DIM, HEADS, KV_HEADS, QUERIES, ROPE_THETA, RealCache, TOKENS};
use kit::table::{count, percent, sig3};
use kv_cache::{
    Bits, EXACT, Grid, Layout, Policy, Shape, bits_per_number, bytes_per_token, cache_bytes,
    decode_steps, dequantize, logits, quantize, rotate, softmax, unrotate,
};
use ndarray::{Array1, Array2, Array3, Axis, concatenate, s};

use crate::inputs::Caches;
use crate::rows::{ascending, largest, median};

/// Numbers of a group.
const GROUP: usize = 32;
/// Pairs of channels that turn around more than five times in the tokens of the slice.
const FAST: usize = 7;
/// The size of the values of a token, over the median token, below which the values count as small.
const SMALL: f64 = 0.25;

/// The largest over the median.
fn over_median(values: &[f64]) -> f64 {
    largest(values) / median(values)
}

/// The mean magnitude of each channel, of all heads.
pub fn channel_means(of: &Array3<f32>) -> Vec<f64> {
    let (tokens, heads, head_dim) = of.dim();
    let mean = |(head, channel): (usize, usize)| {
        of.slice(s![.., head, channel]).iter().map(|x| f64::from(x.abs())).sum::<f64>()
            / tokens as f64
    };
    ndarray::indices((heads, head_dim)).into_iter().map(mean).collect()
}

/// The mean magnitude of each token.
pub fn token_means(of: &Array3<f32>) -> Vec<f64> {
    let mean = |token: ndarray::ArrayView2<f32>| {
        token.iter().map(|x| f64::from(x.abs())).sum::<f64>() / token.len() as f64
    };
    of.outer_iter().map(mean).collect()
}

/// One head of a tensor, `[tokens, head_dim]`.
fn head(of: &Array3<f32>, index: usize) -> Array2<f32> {
    of.index_axis(Axis(1), index).to_owned()
}

/// The weights of the tokens that the query of token `at` sees, in query head `row`.
fn weights(keys: &[Array2<f32>], of: &RealCache, at: usize, row: usize) -> Array1<f64> {
    let query = of.queries.slice(s![at - (TOKENS - QUERIES), row, ..]).to_vec();
    let seen = keys[row / (HEADS / KV_HEADS)].slice(s![..=at, ..]).to_owned();
    softmax(&logits(&query, &seen)).into()
}

/// The mean weight of each token over all queries and heads.
pub fn token_weights(of: &RealCache) -> Vec<f64> {
    let keys: Vec<Array2<f32>> = (0..KV_HEADS).map(|index| head(&of.keys, index)).collect();
    let mut sums = vec![0.0; TOKENS];
    for at in TOKENS - QUERIES..TOKENS {
        for row in 0..HEADS {
            let weights = weights(&keys, of, at, row);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
        }
    }
    sums.iter().map(|sum| sum / (QUERIES * HEADS) as f64).collect()
}

/// The tokens whose values are small.
pub fn small_values(of: &RealCache) -> Vec<usize> {
    let sizes = token_means(&of.values);
    let limit = SMALL * median(&sizes);
    (0..TOKENS).filter(|token| sizes[*token] < limit).collect()
}

/// How unequal channels and tokens are, and where the attention goes.
pub fn spread(caches: &Caches) -> Result<Table> {
    let rows = caches.0.iter().map(|(layer, of)| {
        let (small, weights) = (small_values(of), token_weights(of));
        // Not `sum`, because the sum of no numbers is -0 there.
        let drawn = small.iter().fold(0.0, |sum, token| sum + weights[*token]);
        (*layer, of, small.len(), drawn, weights[0])
    });
    let title =
        "Mean magnitudes, the largest over the median, and the weight of tokens with small values";
    Ok(Table::of(title, rows)
        .number("layer", |(layer, ..)| layer.to_string())
        .number("keys, by channel", |(_, of, ..)| sig3(over_median(&channel_means(&of.keys))))
        .number("keys, by token", |(_, of, ..)| sig3(over_median(&token_means(&of.keys))))
        .number("values, by channel", |(_, of, ..)| sig3(over_median(&channel_means(&of.values))))
        .number("values, by token", |(_, of, ..)| sig3(over_median(&token_means(&of.values))))
        .number("tokens with small values", |(_, _, small, ..)| small.to_string())
        .number("their weight", |(.., drawn, _)| percent(*drawn))
        .number("the first token's weight", |(.., first)| percent(*first))
        .done())
}

/// The error of attention's outputs over all queries, relative to their norm.
fn error(of: &RealCache, policy: Policy) -> Result<f64> {
    let outputs = |policy| decode_steps(policy, &of.keys, &of.values, &of.queries);
    Ok(relative_error(&outputs(Policy::FLOATS)?, &outputs(policy)?))
}

/// Keys or values in groups per channel and per token, the other side left alone.
pub fn granularity(caches: &Caches) -> Result<Table> {
    let mut rows = Vec::new();
    for (layer, of) in &caches.0 {
        for bits in [Bits::Two, Bits::Four] {
            for sinks in [0, 1] {
                let grid = Grid::Asymmetric(bits);
                let [channel, token] =
                    [Layout::per_channel(grid, GROUP), Layout::per_token(grid, GROUP)];
                let policy = |keys, values| Policy { keys, values, sinks, window: 0 };
                let cells = [
                    policy(channel, EXACT),
                    policy(token, EXACT),
                    policy(EXACT, channel),
                    policy(EXACT, token),
                ];
                let errors = cells.map(|policy| error(of, policy));
                rows.push((*layer, bits, sinks, errors.into_iter().collect::<Result<Vec<_>>>()?));
            }
        }
    }
    let title = "Error of attention's output with keys or values in groups of 32, without a window";
    let mut table = Table::of(title, rows)
        .number("layer", |(layer, ..)| layer.to_string())
        .number("bits", |(_, bits, ..)| bits.count().to_string())
        .text("first token", |(_, _, sinks, _)| if *sinks == 0 { "in codes" } else { "a float" });
    let columns = ["keys per channel", "keys per token", "values per channel", "values per token"];
    for (index, name) in columns.into_iter().enumerate() {
        table = table.number(name, move |(.., errors)| percent(errors[index]));
    }
    Ok(table.done())
}

/// The most uneven of the fast pairs of a head: the larger root mean square of its two channels over the
/// smaller one.
fn unevenness(m: &Array2<f32>) -> f64 {
    let square = |channel: usize| -> f64 {
        m.column(channel).iter().map(|key| f64::from(*key).powi(2)).sum()
    };
    let ratio = |j: usize| {
        let [first, second] = [square(j), square(j + HEAD_DIM / 2)];
        (first.max(second) / first.min(second)).sqrt()
    };
    largest(&(0..FAST).map(ratio).collect::<Vec<_>>())
}

/// What keys lose in two bits per channel.
struct Lost {
    layer: usize,
    before_rope: bool,
    /// The pairs of the largest channels of the heads.
    pairs: Vec<String>,
    unevenness: f64,
    /// The error of the keys.
    keys: f64,
    /// The error of attention's outputs.
    outputs: f64,
}

/// The pair of the channel with the largest mean magnitude.
fn largest_pair(m: &Array2<f32>) -> usize {
    let sizes: Vec<f64> =
        m.columns().into_iter().map(|c| c.iter().map(|x| f64::from(x.abs())).sum()).collect();
    ascending(&sizes).last().map_or(0, |channel| channel % (HEAD_DIM / 2))
}

/// Keys of the first group stay floats, because the first token is unlike the others. Values stay floats.
fn lost(layer: usize, of: &RealCache, before_rope: bool) -> Result<Lost> {
    let positions: Vec<usize> = (0..TOKENS).collect();
    let layout = Layout::per_channel(Grid::Asymmetric(Bits::Two), GROUP);
    let (mut uneven, mut coded, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keys, mut came_back, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..KV_HEADS {
        let rotated = head(&of.keys, index);
        let m =
            if before_rope { unrotate(&rotated, &positions, ROPE_THETA)? } else { rotated.clone() };
        uneven.push(unevenness(&m));
        pairs.push(largest_pair(&m).to_string());
        let (first, rest) = m.view().split_at(Axis(0), GROUP);
        let back = dequantize(&quantize(&rest.to_owned(), layout)?);
        keys.push(rest.to_owned());
        let all = concatenate(Axis(0), &[first, back.view()])?;
        came_back.push(back);
        coded.push(if before_rope { rotate(&all, &positions, ROPE_THETA)? } else { all });
        plain.push(rotated);
    }
    let stacked = |heads: &[Array2<f32>]| -> Result<Array2<f32>> {
        Ok(concatenate(Axis(1), &heads.iter().map(|head| head.view()).collect::<Vec<_>>())?)
    };
    let error = relative_error(&stacked(&keys)?, &stacked(&came_back)?);
    let outputs = relative_error(&outputs(of, &plain), &outputs(of, &coded));
    Ok(Lost { layer, before_rope, pairs, unevenness: largest(&uneven), keys: error, outputs })
}

/// The outputs of all queries with these keys and the values as they are, `[QUERIES, HEADS * HEAD_DIM]`.
fn outputs(of: &RealCache, keys: &[Array2<f32>]) -> Array2<f32> {
    let mut out = Array2::zeros((QUERIES, HEADS * HEAD_DIM));
    for (index, mut out) in out.rows_mut().into_iter().enumerate() {
        let at = TOKENS - QUERIES + index;
        for (row, mut out) in out.exact_chunks_mut(HEAD_DIM).into_iter().enumerate() {
            let values = of.values.slice(s![..=at, row / (HEADS / KV_HEADS), ..]);
            let mixed = weights(keys, of, at, row).dot(&values.mapv(f64::from));
            out.assign(&mixed.mapv(|value| value as f32));
        }
    }
    out
}

/// Keys in two bits per channel before and after the rotation.
pub fn rope(caches: &Caches) -> Result<Table> {
    let both = caches
        .0
        .iter()
        .flat_map(|(layer, of)| [true, false].map(|before_rope| lost(*layer, of, before_rope)));
    let title = "Keys in two bits per channel, quantized before RoPE and after";
    Ok(Table::of(title, both.collect::<Result<Vec<_>>>()?)
        .number("layer", |lost| lost.layer.to_string())
        .text("quantized", |lost| if lost.before_rope { "before RoPE" } else { "after RoPE" })
        .text("pairs of the heads' largest channels", |lost| lost.pairs.join(", "))
        .number("most uneven of the pairs 0 to 6", |lost| sig3(lost.unevenness))
        .number("error of the keys", |lost| percent(lost.keys))
        .number("error of the output", |lost| percent(lost.outputs))
        .done())
}

/// Keys per channel and values per token in groups of 32.
fn kivi(bits: Bits, sinks: usize, window: usize) -> Policy {
    let grid = Grid::Asymmetric(bits);
    let (keys, values) = (Layout::per_channel(grid, GROUP), Layout::per_token(grid, GROUP));
    Policy { keys, values, sinks, window }
}

/// Keys and values in one layout.
fn both(layout: Layout, sinks: usize, window: usize) -> Policy {
    Policy { keys: layout, values: layout, sinks, window }
}

/// Layouts of a whole cache, from the most bytes to the fewest.
fn policies(head_dim: usize) -> Vec<(&'static str, Policy)> {
    let each = |grid| both(Layout::per_token(grid, head_dim), 0, 0);
    let channel = Layout::per_channel(Grid::Asymmetric(Bits::Four), GROUP);
    let token = Layout::per_token(Grid::Asymmetric(Bits::Four), GROUP);
    vec![
        ("int8, per token and head", each(Grid::Symmetric(Bits::Eight))),
        ("FP8, per token and head", each(Grid::Fp8)),
        ("FP8, static scale 1", each(Grid::Fp8Static(1.0))),
        ("4 bits, all per token", both(token, 0, 0)),
        ("4 bits, KIVI's axes", kivi(Bits::Four, 0, 0)),
        ("4 bits, KIVI's axes, a window of 32", kivi(Bits::Four, 0, 32)),
        ("4 bits, KIVI's axes, 4 sinks, a window of 32", kivi(Bits::Four, 4, 32)),
        ("4 bits, all per channel, 4 sinks, a window of 32", both(channel, 4, 32)),
        ("int4, per token and head", each(Grid::Symmetric(Bits::Four))),
        ("2 bits, KIVI's axes, a window of 32", kivi(Bits::Two, 0, 32)),
        ("2 bits, KIVI's axes, 4 sinks, a window of 32", kivi(Bits::Two, 4, 32)),
    ]
}

/// Every layout of a whole cache: bits, and the error of attention's output in three layers.
pub fn formats(caches: &Caches) -> Result<Table> {
    let mut rows = Vec::new();
    for (name, policy) in policies(HEAD_DIM) {
        let errors = caches.0.iter().map(|(_, of)| error(of, policy));
        let errors = errors.collect::<Result<Vec<_>>>()?;
        let bits = (bits_per_number(policy.keys) + bits_per_number(policy.values)) / 2.0;
        rows.push((name, bits, errors));
    }
    let title = "Keys and values in codes: bits a number, and the error of attention's output";
    let mut table = Table::of(title, rows)
        .text("layout", |(name, ..)| *name)
        .number("bits a number", |(_, bits, _)| bits.to_string());
    for (index, (layer, _)) in caches.0.iter().enumerate() {
        table = table.number(format!("layer {layer}"), move |(.., errors)| percent(errors[index]));
    }
    Ok(table.done())
}

/// The sizes of a published model's cache.
fn shape(of: &Architecture) -> Shape {
    let [layers, kv_heads, head_dim] =
        [of.layers, of.kv_heads, of.head_dim].map(|size| size as usize);
    Shape { layers, kv_heads, head_dim }
}

/// Bytes of a token of published models.
pub fn bytes() -> Result<Table> {
    let title =
        "Bytes of a token in codes, keys and values of all layers, scales and zeros included";
    let bytes =
        |of: &Architecture, policy: &Policy| count(bytes_per_token(policy, &shape(of)) as usize);
    let each = |of: &Architecture, grid| both(Layout::per_token(grid, shape(of).head_dim), 0, 0);
    Ok(Table::of(title, PUBLISHED)
        .text("model", |(name, _)| *name)
        .number("16 bits", |(_, of)| count(cache_bytes(&Policy::FLOATS, &shape(of), 1) as usize))
        .number("FP8, static", |(_, of)| bytes(of, &each(of, Grid::Fp8Static(1.0))))
        .number("int8, per token and head", |(_, of)| {
            bytes(of, &each(of, Grid::Symmetric(Bits::Eight)))
        })
        .number("int4, per token and head", |(_, of)| {
            bytes(of, &each(of, Grid::Symmetric(Bits::Four)))
        })
        .number("KIVI, 4 bits", |(_, of)| bytes(of, &kivi(Bits::Four, 0, 128)))
        .number("KIVI, 2 bits", |(_, of)| bytes(of, &kivi(Bits::Two, 0, 128)))
        .done())
}

/// What the window of floats costs at several lengths.
pub fn window() -> Result<Table> {
    let shape = shape(&SMOLLM2_135M);
    let numbers = (2 * shape.layers * shape.kv_heads * shape.head_dim) as f64;
    let bits = |tokens: usize, policy: Policy| {
        let bits = 8.0 * cache_bytes(&policy, &shape, tokens) / (numbers * tokens as f64);
        format!("{bits:.2}")
    };
    let title = "Bits a number of a whole cache in KIVI's layout with 2 bits, floats included";
    Ok(Table::of(title, [128, 256, 512, 2048, 8192])
        .number("tokens", |tokens| count(*tokens))
        .number("a window of 128", |tokens| bits(*tokens, kivi(Bits::Two, 0, 128)))
        .number("a window of 32", |tokens| bits(*tokens, kivi(Bits::Two, 0, 32)))
        .number("4 sinks, a window of 32", |tokens| bits(*tokens, kivi(Bits::Two, 4, 32)))
        .done())
}
