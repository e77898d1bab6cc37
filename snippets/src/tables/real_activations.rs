//! Lab 04 on real activations: what W8A8 does to nine layers, and in which channels the outliers are.

use anyhow::Result;
use kit::Table;
use kit::meters::relative_error;
use kit::reference::linear_f64;
use kit::table::percent;
use ndarray::{Array2, s};
use smoothquant::decomposition::{THRESHOLD, mixed_linear, outlier_channels};
use smoothquant::{
    Granularity, migrate, migrated_linear, quantize_activations_per_tensor,
    quantize_activations_per_token, quantize_weight, w8a8_linear,
};

use super::lab_04::{ALPHA, back};
use crate::inputs::{Layer, Layers};

/// All tokens but the first.
pub fn without_first(x: &Array2<f32>) -> Array2<f32> {
    x.slice(s![1.., ..]).to_owned()
}

/// Token and channel of the absmax.
pub fn position_of_absmax(x: &Array2<f32>) -> (usize, usize) {
    let position = x.indexed_iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    position.map_or((0, 0), |(place, _)| place)
}

/// The output errors of one layer on its held-out tokens, the first token's output left out.
pub struct Errors {
    /// Int8 weights alone.
    pub weight_only: f64,
    /// One activation scale for the window.
    pub per_tensor: f64,
    /// One activation scale for the window, chosen without its first token, which is left out.
    pub without_first: f64,
    /// One activation scale per token.
    pub per_token: f64,
    /// Migrated at alpha 0.5, one scale for the window.
    pub migrated_per_tensor: f64,
    /// Migrated at alpha 0.5, one scale per token.
    pub migrated: f64,
    /// Channels from 6 on kept in floating point.
    pub mixed: f64,
}

impl Errors {
    /// Of one layer.
    ///
    /// # Errors
    /// If the lab refuses its tensors.
    pub fn of(layer: &Layer) -> Result<Self> {
        let (x, w) = (&layer.held_out, &layer.weight);
        let int8 = quantize_weight(w)?;
        let exact = linear_f64(x, w);
        // The first token is another matter: it is judged apart from the other 45.
        let error = |y: &Array2<f32>| relative_error(&without_first(&exact), &without_first(y));
        let alone = without_first(x);
        let migrated = migrate(std::slice::from_ref(&layer.calibration), w, ALPHA)?;
        Ok(Self {
            weight_only: error(&linear_f64(x, &back(&int8))),
            per_tensor: error(&w8a8_linear(&quantize_activations_per_tensor(x)?, &int8)?),
            without_first: relative_error(
                &linear_f64(&alone, w),
                &w8a8_linear(&quantize_activations_per_tensor(&alone)?, &int8)?,
            ),
            per_token: error(&w8a8_linear(&quantize_activations_per_token(x)?, &int8)?),
            migrated_per_tensor: error(&migrated_linear(x, &migrated, Granularity::PerTensor)?),
            migrated: error(&migrated_linear(x, &migrated, Granularity::PerToken)?),
            mixed: error(&mixed_linear(x, w, THRESHOLD)?),
        })
    }
}

/// What each road costs on nine real layers.
pub fn errors(layers: &Layers) -> Result<Table> {
    let rows = layers.0.iter().map(|layer| Ok((layer, Errors::of(layer)?)));
    let title = "Output error of nine layers on tokens 1 to 45 of a window: int8 weights, activations as named";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("layer", |(layer, _)| layer.label.clone())
        .number("16 bits (W8A16)", |(_, errors)| percent(errors.weight_only))
        .number("int8 per tensor", |(_, errors)| percent(errors.per_tensor))
        .number("the same, first token left out", |(_, errors)| percent(errors.without_first))
        .number("int8 per token", |(_, errors)| percent(errors.per_token))
        .number("migrated, per tensor", |(_, errors)| percent(errors.migrated_per_tensor))
        .number("migrated, per token", |(_, errors)| percent(errors.migrated))
        .number("mixed from 6 on", |(_, errors)| percent(errors.mixed))
        .done())
}

/// How many channels the threshold of 6 takes out of the integers, with and without the first token.
pub fn kept_channels(layers: &Layers) -> Result<Table> {
    let outliers = |x: &Array2<f32>| outlier_channels(x, THRESHOLD).len().to_string();
    Ok(Table::of("Channels with a magnitude of 6 or more, in 46 tokens", &layers.0)
        .text("input of", |layer| layer.label.clone())
        .number("channels", |layer| layer.held_out.ncols().to_string())
        .number("outliers", |layer| outliers(&layer.held_out))
        .number("outliers without the first token", |layer| {
            outliers(&without_first(&layer.held_out))
        })
        .done())
}
