//! The inputs of the nine layers of the slice when the whole model runs the two windows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use half::f16;
use kit::real_slice::{self, Window};
use model::{Cache, Model, Tokenizer, passage};
use ndarray::Array2;

use super::activations::Inputs;
use super::file;
use xtask::fetch;

/// Runs the model at `path` on the two windows: its activations, and the text and tokens they are of.
///
/// # Errors
/// If the model cannot be run.
pub fn inputs(path: &Path) -> Result<Inputs> {
    let (model, tokenizer) = (Model::load(path)?, Tokenizer::load(path)?);
    let tokens = tokenizer.encode(passage::ALICE)?;
    let mut metadata = file::source(fetch::MODEL.name, fetch::MODEL.sha256);
    let mut tensors = BTreeMap::new();
    for window in Window::ALL {
        let ids = tokens.get(window.range()).context("the passage ends before the window")?;
        tensors.extend(of_window(&model, ids, window)?);
        let ids_text: Vec<String> = ids.iter().map(u32::to_string).collect();
        metadata.insert(format!("{} token ids", window.key()), ids_text.join(" "));
        metadata.insert(format!("{} text", window.key()), tokenizer.decode(ids)?);
    }
    Ok(Inputs { tensors, metadata })
}

/// The inputs of the nine layers, from an empty cache: the first of `ids` is a first token.
fn of_window(model: &Model, ids: &[u32], window: Window) -> Result<BTreeMap<String, Array2<f16>>> {
    let mut cache = Cache::new(model.config(), ids.len())?;
    let mut inputs = BTreeMap::new();
    model.hidden(ids, &mut cache, &mut |layer, x| {
        let weight = format!("{layer}.weight");
        if real_slice::TENSORS.contains(&weight.as_str()) {
            inputs.insert(real_slice::input_name(&weight, window), x.mapv(f16::from_f32));
        }
    })?;
    Ok(inputs)
}
