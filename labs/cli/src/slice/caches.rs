//! The KV caches of the slice: rotated keys, values and rotated queries of three layers.
//!
//! The three were chosen by what all layers do with their values, which [`describe`] prints.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use half::f16;
use kit::meters::relative_error;
use kit::real_cache::{self, HEAD_DIM, LAYERS, QUERIES, TOKENS};
use kv_cache::solution::rotate;
use kv_cache::{Bits, EXACT, Grid, Layout, Policy, decode_steps};
use model::{Cache, LayerId, Model, Projection, Tokenizer, passage};
use ndarray::{Array2, Array3, Axis, concatenate, s};

use super::activations::Inputs;
use super::file;
use xtask::fetch;

/// The allowed error of attention on the cut tensors. Queries and keys are rounded to `f16`, which moves a
/// logit by at most a thousandth of the products in it. A wrong rotation or a wrong head is off by more than a
/// tenth.
const SLACK: f64 = 0.01;

/// The inputs of the query and the output projection of a layer, each `[TOKENS, features]`.
type Seen = BTreeMap<LayerId, Array2<f32>>;

/// Rotated keys, values and rotated queries of the last tokens of a layer, each `[tokens, heads * head_dim]`.
type Cut = [Array2<f16>; 3];

/// Runs the model at `path` on the first tokens of the passage: what its cache holds.
///
/// # Errors
/// If the model cannot be run, or if attention on the cut tensors is not what the model computed.
pub fn inputs(path: &Path) -> Result<Inputs> {
    let (model, tokenizer) = (Model::load(path)?, Tokenizer::load(path)?);
    let tokens = tokenizer.encode(passage::ALICE)?;
    let ids = tokens.get(..TOKENS).context("the passage is too short")?;
    let mut seen = Seen::new();
    let mut cache = Cache::new(model.config(), ids.len())?;
    model.hidden(ids, &mut cache, &mut |id, x| {
        if matches!(id.projection(), Some(Projection::Q | Projection::O)) {
            seen.insert(id, x.clone());
        }
    })?;
    let mut tensors = BTreeMap::new();
    for layer in 0..model.config().layers {
        let cut = cut(&model, layer, &seen)?;
        describe(layer, &cut)?;
        if LAYERS.contains(&layer) {
            let names = real_cache::TENSORS.map(|tensor| real_cache::name(layer, tensor));
            tensors.extend(names.into_iter().zip(cut));
        }
    }
    let mut metadata = file::source(fetch::MODEL.name, fetch::MODEL.sha256);
    metadata.insert("tokens".into(), format!("the first {TOKENS} of labs/model/passage/alice.txt"));
    metadata.insert("text".into(), tokenizer.decode(ids)?);
    Ok(Inputs { tensors, metadata })
}

/// What the cache of a layer holds, and its queries.
fn cut(model: &Model, layer: usize, seen: &Seen) -> Result<Cut> {
    let x = seen.get(&LayerId::Layer(layer, Projection::Q)).context("q_proj did not run")?;
    let project = |projection| {
        let linear = model.linear(LayerId::Layer(layer, projection))?;
        linear.forward(x).map_err(|error| anyhow!("{projection:?} of layer {layer}: {error}"))
    };
    let [keys, values, queries] = [Projection::K, Projection::V, Projection::Q].map(project);
    let theta = model.config().rope_theta;
    let queries = rotated(&queries?, theta)?.slice(s![TOKENS - QUERIES.., ..]).to_owned();
    let cut = [rotated(&keys?, theta)?, values?, queries].map(|m| m.mapv(f16::from_f32));
    let mixed = seen.get(&LayerId::Layer(layer, Projection::O)).context("o_proj did not run")?;
    let error = relative_error(
        &mixed.slice(s![TOKENS - QUERIES.., ..]).to_owned(),
        &outputs(&cut, Policy::FLOATS)?,
    );
    ensure!(error <= SLACK, "layer {layer}: attention on the cut tensors is off by {error:.1e}");
    Ok(cut)
}

/// Each head of `m`, `[tokens, heads * head_dim]`, rotated by the positions from 0 on.
fn rotated(m: &Array2<f32>, theta: f64) -> Result<Array2<f32>> {
    let positions: Vec<usize> = (0..m.nrows()).collect();
    let heads = m.axis_chunks_iter(Axis(1), HEAD_DIM);
    let heads = heads.map(|head| rotate(&head.to_owned(), &positions, theta));
    let heads: Vec<Array2<f32>> = heads.collect::<Result<_, _>>()?;
    let views: Vec<_> = heads.iter().map(|head| head.view()).collect();
    Ok(concatenate(Axis(1), &views)?)
}

/// The outputs of attention of all queries under `policy`, `[QUERIES, heads * head_dim]`.
fn outputs(cut: &Cut, policy: Policy) -> Result<Array2<f32>> {
    let of_heads = |m: &Array2<f16>| -> Result<Array3<f32>> {
        let shape = (m.nrows(), m.ncols() / HEAD_DIM, HEAD_DIM);
        Ok(m.mapv(f16::to_f32).to_shape(shape)?.to_owned())
    };
    let [keys, values, queries] = cut;
    Ok(decode_steps(policy, &of_heads(keys)?, &of_heads(values)?, &of_heads(queries)?)?)
}

/// A line of the table of `PROVENANCE.md`: the error of attention with groups of 32 per channel over that with
/// groups per token, in two bits.
fn describe(layer: usize, cut: &Cut) -> Result<()> {
    let grid = Grid::Asymmetric(Bits::Two);
    let layouts = [Layout::per_channel(grid, 32), Layout::per_token(grid, 32)];
    let floats = outputs(cut, Policy::FLOATS)?;
    let error = |sinks, [keys, values]: [Layout; 2]| -> Result<f64> {
        let policy = Policy { keys, values, sinks, window: 0 };
        Ok(relative_error(&floats, &outputs(cut, policy)?))
    };
    let ratio = |sinks, of: fn(Layout) -> [Layout; 2]| -> Result<f64> {
        let [channel, token] = layouts.map(|layout| error(sinks, of(layout)));
        Ok(channel? / token?)
    };
    let keys = |sinks| ratio(sinks, |layout| [layout, EXACT]);
    let values = |sinks| ratio(sinks, |layout| [EXACT, layout]);
    let [k0, k4, v0, v4] = [keys(0)?, keys(4)?, values(0)?, values(4)?];
    eprintln!(
        "layer {layer}: error per channel / per token: keys {k0:.2}, values {v0:.2}; with four sinks left \
         alone: keys {k4:.2}, values {v4:.2}"
    );
    Ok(())
}
