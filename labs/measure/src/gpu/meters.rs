//! The throughput and capacity meters, and the ceilings they are held against.

use std::time::{Duration, Instant};

use crate::capture::Spread;
use anyhow::{Result, anyhow};
use formats::format::Grid;

use crate::gpu::capture::{Capacity, Ceiling, ProductTime, StepTime};
use crate::gpu::cuda::lt::Lt;
use crate::gpu::cuda::{Arg, Device, Repeatable};
use crate::gpu::floors::Demand;
use crate::gpu::formats::{Bench, Format, Linear, Product, Source};
use crate::gpu::numbers::Hash;
use crate::gpu::work::{Model, Shape};
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, UTILIZATION, concurrency, kv_available_bytes, kv_blocks,
    kv_bytes_per_token,
};

/// How long the run may take, and how much of it one reading may use.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    budget: Duration,
    reading: Duration,
}

/// Fewer readings than this make no median worth the name.
const FEWEST: usize = 5;
/// More add nothing.
const MOST: usize = 100;

impl Clock {
    /// Starts the clock: the run should end within `budget`, one reading takes about `reading`.
    pub fn start(budget: Duration, reading: Duration) -> Self {
        Self { start: Instant::now(), budget, reading }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Whether more than two thirds of the budget are spent: readings get shorter, not fewer.
    pub fn is_late(&self) -> bool {
        self.start.elapsed() * 3 > self.budget * 2
    }

    fn repetitions(&self, once_ms: f64) -> usize {
        if self.is_late() {
            return FEWEST;
        }
        let wanted = self.reading.as_secs_f64() * 1e3 / once_ms.max(1e-3);
        (wanted as usize).clamp(FEWEST, MOST)
    }

    /// Warms up, then reads the time of `work` many times, in milliseconds divided by `parts`.
    ///
    /// # Errors
    /// If the device fails or a time is not a number.
    pub fn read(&self, work: &Repeatable, parts: usize) -> Result<Spread> {
        work.time_ms()?;
        let once = work.time_ms()?;
        let samples: Vec<f64> = (0..self.repetitions(once))
            .map(|_| Ok(work.time_ms()? / parts as f64))
            .collect::<Result<_>>()?;
        Spread::of(&samples).ok_or_else(|| anyhow!("the events gave no time: {samples:?}"))
    }
}

/// The context at which concurrency is counted.
pub const CONTEXT: u64 = 4096;

/// The rates that floors are made of.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Bytes a second of a copy, read and written.
    pub bytes_per_s: f64,
    /// Operations a second of the formats that could be measured.
    pub operations_per_s: Vec<(Format, f64)>,
}

impl Rates {
    /// The rate of the unit that `format` computes on; that of bf16 where it was not measured.
    fn of(&self, format: Format) -> f64 {
        let unit = match format {
            Format::W4A16 => Format::Bf16,
            Format::Fp8Channel => Format::Fp8Tensor,
            other => other,
        };
        let rate = |wanted| self.operations_per_s.iter().find(|(f, _)| *f == wanted).map(|r| r.1);
        rate(unit).or(rate(Format::Bf16)).unwrap_or(f64::INFINITY)
    }
}

/// Device-to-device copy: the better of our kernel and the driver's own copy, bytes read plus
/// bytes written.
///
/// # Errors
/// If there is no memory for two buffers, or the device fails.
pub fn copy_ceiling(device: &Device, clock: &Clock) -> Result<Ceiling> {
    let (free, _) = device.memory()?;
    let bytes = (free / 4).min(2 << 30) as usize / 4096 * 4096;
    let (from, to) = (device.allocate("a copy", bytes)?, device.allocate("a copy", bytes)?);
    let kernel = device.kernel("copy_16_bytes")?;
    let blocks = device.facts().multiprocessors as usize * 4;
    let arguments = [to.arg(), from.arg(), Arg::Long((bytes / 16) as u64)];
    let hash = Hash::stream(1, 1, 1.0);
    let random =
        [from.arg(), Arg::Long((bytes / 2) as u64), Arg::Bits(hash.seed), Arg::Float(hash.sigma)];
    device.launch(device.kernel("fill_random")?, [blocks, 1], 256, 0, &random)?;
    let ours = Repeatable::new(device, || device.launch(kernel, [blocks, 1], 512, 0, &arguments))?;
    let theirs = Repeatable::new(device, || device.copy(&to, &from, bytes))?;
    let (ours, theirs) = (clock.read(&ours, 1)?, clock.read(&theirs, 1)?);
    let (time, who) = match ours.min < theirs.min {
        true => (ours, "our copy kernel"),
        false => (theirs, "cuMemcpyDtoD"),
    };
    Ok(Ceiling {
        name: "copy".into(),
        unit: "bytes/s".into(),
        rate: rate(2.0 * bytes as f64, time),
        how: format!("{who}, {} MiB of random data, read plus written", bytes >> 20),
    })
}

/// The side of the square product whose rate is a ceiling.
const SQUARE: usize = 8192;

/// The best dense rate of `format`, activations already quantized.
///
/// # Errors
/// If the library has no way to compute it here.
pub fn dense_ceiling(
    device: &Device,
    lt: &Lt,
    format: Format,
    seed: u32,
    clock: &Clock,
) -> Result<Ceiling> {
    let shape = Shape { name: "square", out_features: SQUARE, in_features: SQUARE };
    let bench = Bench::new(device, lt, &[shape], SQUARE, seed)?;
    let linear = bench.load(format, shape, Source::Random(Hash::stream(seed, u32::MAX, 1.0)))?;
    let mut product = Product::new(&bench, format, shape, SQUARE)?;
    product.quantize(&bench, &bench.x)?;
    let work = |product: &Product| product.multiply(&bench, &linear, &bench.x, &bench.y);
    let mut best = (f64::INFINITY, 0);
    for choice in 0..product.choices() {
        product.choose(choice);
        let Ok(candidate) = Repeatable::new(device, || work(&product)) else { continue };
        let time = clock.read(&candidate, 1)?.min;
        best = if time < best.0 { (time, choice) } else { best };
    }
    product.choose(best.1);
    let time = clock.read(&Repeatable::new(device, || work(&product))?, 1)?;
    Ok(Ceiling {
        name: format.name().into(),
        unit: "operations/s".into(),
        rate: rate(2.0 * (SQUARE as f64).powi(3), time),
        how: format!(
            "{SQUARE} x {SQUARE} x {SQUARE} on random data, best of {} algorithms; {}",
            product.choices(),
            product.path()
        ),
    })
}

/// A rate in units a second from times in milliseconds: the shortest time is the largest rate.
fn rate(amount: f64, time_ms: Spread) -> Spread {
    let of = |ms: f64| amount / ms * 1e3;
    Spread {
        median: of(time_ms.median),
        min: of(time_ms.max),
        max: of(time_ms.min),
        samples: time_ms.samples,
    }
}

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
    let mut fastest = f64::INFINITY;
    for _ in 0..4 {
        fastest = fastest.min(work.time_ms()?);
    }
    Ok(fastest / layers.len() as f64)
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
    floor_ms: f64,
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
        floor_ms,
        fits_in_l2: bytes as u64 <= bench.device.facts().l2_bytes,
        first_choice_ms: tuned.first_ms,
        best_choice_ms: tuned.best_ms,
        choices: tuned.choices,
    })
}

/// The floor of one product in `format`, in milliseconds.
pub fn floor_ms(rates: &Rates, format: Format, linear: &Linear, tokens: usize) -> f64 {
    let demand = Demand::of_product(linear.shape, tokens, linear.bytes());
    demand.floor_ms(rates.bytes_per_s, rates.of(format))
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
    let activation_ms = if format.quantizes_activations() {
        let quantize = Repeatable::new(bench.device, || {
            pairs().try_for_each(|(product, _)| product.quantize(bench, &bench.x))
        })?;
        Some(clock.read(&quantize, 1)?)
    } else {
        None
    };
    let demand = |l: &Linear| Demand::of_product(l.shape, tokens, l.bytes());
    let total = layers.iter().flatten().map(demand).fold(Demand::default(), Demand::plus);
    let floor_ms: f64 =
        layers.iter().flatten().map(|linear| floor_ms(rates, format, linear, tokens)).sum();
    let floors = total.floors(rates.bytes_per_s, rates.of(format));
    let by_bytes = floors.memory_s > floors.arithmetic_s;
    Ok(StepTime {
        tokens,
        time_ms,
        tokens_per_s: tokens as f64 / time_ms.median * 1e3,
        activation_ms,
        floor_ms,
        bound_by: if by_bytes { "bytes" } else { "operations" }.into(),
        launched: step.launched().name().into(),
    })
}
