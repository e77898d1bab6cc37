//! The KV caches of the slice: rotated keys, values and rotated queries of three layers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use half::f16;
use kit::meters::relative_error;
use kit::real_cache::{self, HEAD_DIM, LAYERS, QUERIES, TOKENS};
use kv_cache::solution::{append, attend, rotate};
use kv_cache::{Grid, Layout, Policy};
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
        let is_cut = id.layer().is_some_and(|layer| LAYERS.contains(&layer));
        if is_cut && matches!(id.projection(), Some(Projection::Q | Projection::O)) {
            seen.insert(id, x.clone());
        }
    })?;
    let mut tensors = BTreeMap::new();
    for layer in LAYERS {
        let [keys, values, queries] = of_layer(&model, layer, &seen)?;
        let last = queries.slice(s![TOKENS - QUERIES.., ..]).to_owned();
        for (tensor, m) in real_cache::TENSORS.into_iter().zip([keys, values, last]) {
            tensors.insert(real_cache::name(layer, tensor), m.mapv(f16::from_f32));
        }
    }
    let mut metadata = file::source(fetch::MODEL.name, fetch::MODEL.sha256);
    metadata.insert("tokens".into(), format!("the first {TOKENS} of labs/model/passage/alice.txt"));
    metadata.insert("text".into(), tokenizer.decode(ids)?);
    Ok(Inputs { tensors, metadata })
}

/// Rotated keys, values and rotated queries of a layer, each `[TOKENS, heads * head_dim]`.
fn of_layer(model: &Model, layer: usize, seen: &Seen) -> Result<[Array2<f32>; 3]> {
    let x = seen.get(&LayerId::Layer(layer, Projection::Q)).context("q_proj did not run")?;
    let project = |projection| {
        let linear = model.linear(LayerId::Layer(layer, projection))?;
        linear.forward(x).map_err(|error| anyhow!("{projection:?} of layer {layer}: {error}"))
    };
    let [keys, values, queries] = [Projection::K, Projection::V, Projection::Q].map(project);
    let theta = model.config().rope_theta;
    let cut = [rotated(&keys?, theta)?, values?, rotated(&queries?, theta)?];
    let mixed = seen.get(&LayerId::Layer(layer, Projection::O)).context("o_proj did not run")?;
    check(&cut, mixed).with_context(|| format!("layer {layer}"))?;
    Ok(cut)
}

/// Each head of `m`, `[tokens, heads * head_dim]`, rotated by the positions from 0 on.
fn rotated(m: &Array2<f32>, theta: f64) -> Result<Array2<f32>> {
    let positions: Vec<usize> = (0..m.nrows()).collect();
    let heads = m.axis_chunks_iter(Axis(1), HEAD_DIM);
    let heads = heads.map(|head| rotate(&head.to_owned(), &positions, theta));
    let heads: Vec<Array2<f32>> = heads.collect::<Result<_, _>>()?;
    let views: Vec<_> = heads.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(1), &views)?)
}

/// Compares attention of the last query on keys and values with the input of the output projection.
fn check([keys, values, queries]: &[Array2<f32>; 3], mixed: &Array2<f32>) -> Result<()> {
    let layout = Layout::per_token(Grid::Fp8, HEAD_DIM);
    let all_floats = Policy { keys: layout, values: layout, sinks: 0, window: usize::MAX };
    let of_heads = |m: &Array2<f32>| -> Result<Array3<f32>> {
        let shape = (m.nrows(), m.ncols() / HEAD_DIM, HEAD_DIM);
        Ok(m.to_shape(shape)?.to_owned())
    };
    let (keys, values, queries) = (of_heads(keys)?, of_heads(values)?, of_heads(queries)?);
    let mut cache = kv_cache::Cache::new(all_floats, keys.dim().1, HEAD_DIM)?;
    append(std::slice::from_mut(&mut cache), &[keys.dim().0], &keys, &values)?;
    let out = attend(&cache, &queries.slice(s![-1, .., ..]).to_owned())?;
    let expected = mixed.slice(s![-1.., ..]).to_shape(out.dim())?.to_owned();
    let error = relative_error(&expected, &out);
    ensure!(error <= SLACK, "attention on the cut tensors is off by {error:.1e}");
    Ok(())
}
