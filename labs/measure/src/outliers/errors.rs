//! What each method does to each layer by itself, on the inputs of the `f32` model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use kit::meters::{relative_error, row_relative_errors};
use model::{Cache, Dense, LayerId, Linear, LinearError, Model};
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::Progress;
use super::calibration::{Calibration, Seen};
use super::layer::{Input, Layer, laid_out};
use super::variants::ALPHAS;
use crate::outliers::{Error, LayerErrors};
use fake_quant_linear::solution::quantize_per_channel;
use smoothquant::decomposition::THRESHOLD;
use smoothquant::solution::{channel_absmax, smoothing_scales};

/// Runs the model on `chunk` and every method on what each layer was given.
///
/// # Errors
/// If the model or a method fails.
pub fn measure(
    model: &Model,
    chunk: &[u32],
    calibration: &Calibration,
    progress: &Progress,
) -> Result<Vec<LayerErrors>> {
    let mut inputs: Vec<(LayerId, Array2<f32>)> = Vec::new();
    let mut cache = Cache::new(model.config(), chunk.len())?;
    model.hidden(chunk, &mut cache, &mut |id, x| {
        if id.layer().is_some() {
            inputs.push((id, x.clone()));
        }
    })?;
    let (since, of, done) = (Instant::now(), inputs.len(), AtomicUsize::new(0));
    let records = inputs.into_par_iter().with_max_len(1).map(|(id, x)| {
        let errors = of_layer(model.linear(id)?, calibration.at(id)?, &x);
        let errors = errors.map_err(|error| anyhow::anyhow!("{id}: {error}"))?;
        let projection = id.projection().context("a layer has a projection")?.name();
        let projection = projection.rsplit('.').next().unwrap_or(projection).into();
        let layer = id.layer().context("a layer has a number")?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(30) {
            progress.part("layers by themselves", since, done, of);
        }
        Ok(LayerErrors { layer, projection, errors })
    });
    records.collect()
}

/// Every method on one layer.
fn of_layer(
    float: &Arc<dyn Linear>,
    seen: &Seen,
    x: &Array2<f32>,
) -> Result<BTreeMap<String, Error>, LinearError> {
    let w = float.weight().ok_or("the layer does not keep its f32 weight")?;
    let exact = float.forward(x)?;
    let codes = laid_out(&quantize_per_channel(w)?)?;
    let mut errors = BTreeMap::new();
    for (method, input) in [
        ("W8A16", Input::Float),
        ("W8A8 per-tensor", Input::PerTensor),
        ("W8A8 per-token", Input::PerToken),
        ("LLM.int8() from 6", Input::Mixed(THRESHOLD)),
    ] {
        let got = Layer::int8(codes.clone(), float, input).forward(x)?;
        errors.insert(method.into(), error_of(&exact, &got));
    }
    let (rest, exact_rest) = (without_first(x), without_first(&exact));
    let got = Layer::int8(codes, float, Input::PerTensor).forward(&rest)?;
    errors.insert("W8A8 per-tensor, without first token".into(), error_of(&exact_rest, &got));
    let weight_absmax = channel_absmax(w)?;
    for alpha in ALPHAS.map(|hundredths| f32::from(hundredths) / 100.0) {
        let scales = smoothing_scales(&seen.channels, &weight_absmax, alpha)?;
        let smoothed: Arc<dyn Linear> = Arc::new(Dense::new(w * &scales));
        let codes = smoothed.weight().map(quantize_per_channel).transpose()?;
        let codes = laid_out(&codes.ok_or("a dense layer keeps its weight")?)?;
        let x = x / &scales;
        for (name, input) in [("per-tensor", Input::PerTensor), ("per-token", Input::PerToken)] {
            let got = Layer::int8(codes.clone(), &smoothed, input).forward(&x)?;
            errors.insert(format!("SmoothQuant {alpha:.1}, {name}"), error_of(&exact, &got));
        }
    }
    Ok(errors)
}

fn without_first(x: &Array2<f32>) -> Array2<f32> {
    x.slice(s![1.., ..]).to_owned()
}

fn error_of(exact: &Array2<f32>, got: &Array2<f32>) -> Error {
    let mut tokens = row_relative_errors(exact, got).to_vec();
    tokens.sort_by(f64::total_cmp);
    let median_token = tokens.get(tokens.len() / 2).copied().unwrap_or(0.0);
    Error { whole: relative_error(exact, got), median_token }
}
