//! Lab 04 on real activations: where the outliers of nine layers are, and what W8A8 does to them.

use anyhow::Result;
use kit::Table;
use kit::meters::relative_error;
use kit::real_slice::{self, TENSORS, Window, label};
use kit::reference::linear_f64;
use kit::table::{percent, sig3, times};
use ndarray::{Array2, Axis, s};
use smoothquant::decomposition::{THRESHOLD, loud_channels, mixed_linear};
use smoothquant::{
    Granularity, channel_absmax, migrate, migrated_linear, quantize_activations_per_tensor,
    quantize_activations_per_token, quantize_weight, w8a8_linear,
};

use super::lab_04::{ALPHA, spread};

/// One of the nine layers: its weight, what calibration saw and what it is tried on.
pub struct Layer {
    /// Its name in the book.
    pub label: String,
    /// `[rows kept, in_features]`.
    pub weight: Array2<f32>,
    /// `[46, in_features]`.
    pub calibration: Array2<f32>,
    /// `[46, in_features]`.
    pub held_out: Array2<f32>,
}

impl Layer {
    /// Reads the layer with the weight `name`.
    ///
    /// # Errors
    /// If the real slice has no such layer.
    pub fn read(name: &str) -> Result<Self> {
        Ok(Self {
            label: label(name),
            weight: real_slice::tensor(name)?,
            calibration: real_slice::activations(name, Window::Calibration)?,
            held_out: real_slice::activations(name, Window::HeldOut)?,
        })
    }
}

/// All tokens but the first.
pub fn without_first(x: &Array2<f32>) -> Array2<f32> {
    x.slice(s![1.., ..]).to_owned()
}

/// Where the loudest value is, and how much of it is the first token's.
pub fn outliers() -> Result<Table> {
    let mut table = Table::new(
        "Inputs of nine layers, 46 tokens that calibration never sees: how loud, and who",
    )
    .text("input of")
    .number("largest magnitude")
    .number("at token")
    .number("in channel")
    .number("over the median channel")
    .number("without the first token")
    .number("its loudest channel");
    for name in TENSORS {
        let layer = Layer::read(name)?;
        let x = &layer.held_out;
        let (token, channel) = loudest(x);
        let rest = without_first(x);
        table.row([
            layer.label.clone(),
            sig3(x[(token, channel)].abs().into()),
            token.to_string(),
            channel.to_string(),
            times(spread(&channel_absmax(x)?.to_vec())),
            times(spread(&channel_absmax(&rest)?.to_vec())),
            loudest(&rest).1.to_string(),
        ]);
    }
    Ok(table)
}

/// Token and channel of the largest magnitude.
pub fn loudest(x: &Array2<f32>) -> (usize, usize) {
    let loudest = x.indexed_iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    loudest.map_or((0, 0), |(place, _)| place)
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
        let back = int8.q().mapv(f32::from) * int8.scales();
        let migrated = migrate(std::slice::from_ref(&layer.calibration), w, ALPHA)?;
        Ok(Self {
            weight_only: error(&linear_f64(x, &back)),
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
pub fn errors() -> Result<Table> {
    let mut table = Table::new(
        "Output error of nine layers on tokens 1 to 45 of a window: int8 weights, activations as named",
    )
    .text("layer")
    .number("16 bits (W8A16)")
    .number("int8 per tensor")
    .number("the same, first token left out")
    .number("int8 per token")
    .number("migrated, per tensor")
    .number("migrated, per token")
    .number("mixed from 6 on");
    for name in TENSORS {
        let layer = Layer::read(name)?;
        let errors = Errors::of(&layer)?;
        let cells = [
            errors.weight_only,
            errors.per_tensor,
            errors.without_first,
            errors.per_token,
            errors.migrated_per_tensor,
            errors.migrated,
            errors.mixed,
        ];
        table.row([layer.label].into_iter().chain(cells.map(percent)));
    }
    Ok(table)
}

/// How many channels the threshold of 6 takes out of the integers, with and without the first token.
pub fn kept_channels() -> Result<Table> {
    let mut table = Table::new("Channels with a magnitude of 6 or more, in 46 tokens")
        .text("input of")
        .number("channels")
        .number("loud")
        .number("loud without the first token");
    for name in TENSORS {
        let layer = Layer::read(name)?;
        let x = &layer.held_out;
        table.row([
            layer.label.clone(),
            x.len_of(Axis(1)).to_string(),
            loud_channels(x, THRESHOLD).len().to_string(),
            loud_channels(&without_first(x), THRESHOLD).len().to_string(),
        ]);
    }
    Ok(table)
}
