//! The throughput and capacity meters.

use anyhow::{Error, Result, anyhow};
use formats::format::Grid;
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, UTILIZATION, concurrency, kv_available_bytes, kv_blocks,
    kv_bytes_per_token,
};

use super::bench::{Bench, Linear};
use super::clock::Clock;
use super::cuda::{Device, Repeatable};
use super::gpu_format::Format;
use super::gpu_meters::{Capacity, ProductTime, StepTime};
use super::peaks::Rates;
use super::product::Product;
use super::roofline::Demand;
use super::work::Model;

/// The context at which concurrency is counted.
pub const CONTEXT: u64 = 4096;

/// What the weights leave to the KV cache.
///
/// # Errors
/// If the driver does not answer.
pub fn capacity(
    device: &Device,
    model: &Model,
    weight_bytes: usize,
    free_before: u64,
) -> Result<Capacity> {
    let (free_after, total) = device.memory()?;
    let taken = free_before.saturating_sub(free_after);
    let kv_bytes = room(total, taken)?;
    let per_token = kv_bytes_per_token(&model.architecture, Grid::Sixteen)?;
    let kv_blocks = kv_blocks(kv_bytes, BLOCK_TOKENS, per_token)?;
    Ok(Capacity {
        weight_bytes: weight_bytes as u64,
        embedding_bytes: model.embedding_bytes() as u64,
        total_bytes: total,
        free_before,
        free_after,
        kv_bytes,
        kv_blocks,
        concurrency: concurrency(kv_blocks, BLOCK_TOKENS, CONTEXT)?,
    })
}

/// What the cache gets. Weights that leave it nothing are a reading, and no failure. The room that
/// activations and graphs take is not counted here, so an engine has a little less.
fn room(total: u64, taken: u64) -> Result<u64, CostError> {
    match kv_available_bytes(total, UTILIZATION, taken) {
        Err(CostError::NoRoom { .. }) => Ok(0),
        left => left,
    }
}

/// All layers' weights of a model in one format: `[layer][shape]`.
pub type Layers = Vec<Vec<Linear>>;

/// What choosing among the ways of one product showed, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuned {
    first_ms: Option<f64>,
    best_ms: Option<f64>,
    choices: usize,
}

/// Layers that a choice is timed on: enough to leave the cache, few enough to be quick.
const TUNING_LAYERS: usize = 8;

/// Times each way to compute `product` on the first layers and keeps the fastest.
///
/// # Errors
/// If every way fails.
pub fn tune(bench: &Bench, product: &mut Product, layers: &Layers, shape: usize) -> Result<Tuned> {
    let layers = &layers[..layers.len().min(TUNING_LAYERS)];
    let mut tuned = Tuned { choices: product.choices(), ..Tuned::default() };
    let (mut best, mut refusal) = (None, anyhow!("there is no way to choose"));
    for choice in 0..tuned.choices {
        product.choose(choice);
        let time = match time_choice(bench, product, layers, shape) {
            Ok(time) => time,
            Err(error) => {
                refusal = error;
                continue;
            }
        };
        if choice == 0 {
            tuned.first_ms = Some(time);
        }
        if best.is_none_or(|(fastest, _)| time < fastest) {
            best = Some((time, choice));
        }
    }
    let (time, choice) = best.ok_or(refusal)?;
    product.choose(choice);
    tuned.best_ms = Some(time);
    Ok(tuned)
}

fn time_choice(
    bench: &Bench,
    product: &Product,
    layers: &[Vec<Linear>],
    shape: usize,
) -> Result<f64> {
    let work = Repeatable::new(bench.device, || {
        layers
            .iter()
            .try_for_each(|layer| product.multiply(bench, &layer[shape], &bench.x, &bench.y))
    })?;
    let fastest = (0..4)
        .try_fold(f64::INFINITY, |fastest: f64, _| Ok::<_, Error>(fastest.min(work.time_ms()?)));
    Ok(fastest? / layers.len() as f64)
}

/// Reads the time of one product over all layers.
///
/// # Errors
/// If the device fails.
pub fn product_time(
    bench: &Bench,
    (product, tuned): (&Product, Tuned),
    layers: &Layers,
    at: usize,
    bound_ms: f64,
    clock: &Clock,
) -> Result<ProductTime> {
    let work = Repeatable::new(bench.device, || {
        layers.iter().try_for_each(|layer| product.run(bench, &layer[at], &bench.x, &bench.y))
    })?;
    let shape = layers[0][at].shape;
    let bytes: usize = layers.iter().map(|layer| layer[at].bytes()).sum();
    Ok(ProductTime {
        shape: shape.name.into(),
        out_features: shape.out_features,
        in_features: shape.in_features,
        tokens: product.tokens(),
        path: product.path(),
        time_ms: clock.read(&work, layers.len())?,
        bound_ms,
        fits_in_l2: bytes as u64 <= bench.device.facts().l2_bytes,
        first_choice_ms: tuned.first_ms,
        best_choice_ms: tuned.best_ms,
        choices: tuned.choices,
    })
}

/// The roofline bound of one product in `format`, in milliseconds.
pub fn bound_ms(rates: &Rates, format: Format, linear: &Linear, tokens: usize) -> f64 {
    let demand = Demand::of_product(linear.shape, tokens, linear.bytes());
    demand.bound_ms(rates.bytes_per_s, rates.of(format))
}

/// Reads the time of a step: every product of every layer, in order.
///
/// # Errors
/// If the device fails.
pub fn step_time(
    bench: &Bench,
    format: Format,
    products: &[Product],
    layers: &Layers,
    rates: &Rates,
    clock: &Clock,
) -> Result<StepTime> {
    let tokens = products[0].tokens();
    let pairs = || layers.iter().flat_map(|layer| products.iter().zip(layer));
    let step = Repeatable::new(bench.device, || {
        pairs().try_for_each(|(product, linear)| product.run(bench, linear, &bench.x, &bench.y))
    })?;
    let time_ms = clock.read(&step, 1)?;
    let quantize = || pairs().try_for_each(|(product, _)| product.quantize(bench, &bench.x));
    let timed = || clock.read(&Repeatable::new(bench.device, quantize)?, 1);
    let activation_ms = format.quantizes_activations().then(timed).transpose()?;
    let demand = |l: &Linear| Demand::of_product(l.shape, tokens, l.bytes());
    let total = layers.iter().flatten().map(demand).fold(Demand::default(), Demand::plus);
    let bound_ms: f64 =
        layers.iter().flatten().map(|linear| bound_ms(rates, format, linear, tokens)).sum();
    let bounds = total.bounds(rates.bytes_per_s, rates.of(format));
    let by_bytes = bounds.memory_s > bounds.arithmetic_s;
    Ok(StepTime {
        tokens,
        time_ms,
        tokens_per_s: tokens as f64 / time_ms.median * 1e3,
        activation_ms,
        bound_ms,
        bound_by: if by_bytes { "bytes" } else { "operations" }.into(),
        launched: step.launched().name().into(),
    })
}
