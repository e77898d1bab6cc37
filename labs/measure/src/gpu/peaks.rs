//! The peaks of the device, measured in the same run: bandwidth and dense rates.

use std::cell::RefCell;

use anyhow::Result;

use super::bench::{Bench, Source};
use super::clock::Clock;
use super::cuda::lt::Lt;
use super::cuda::{Arg, Device, Repeatable};
use super::gpu_format::Format;
use super::gpu_meters::Peak;
use super::hash::Hash;
use super::product::Product;
use super::work::Shape;
use crate::capture::Spread;

/// The rates that roofline bounds are made of.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Bytes a second of a copy, read and written.
    pub bytes_per_s: f64,
    /// Operations a second of the formats that could be measured.
    pub operations_per_s: Vec<(Format, f64)>,
}

impl Rates {
    /// The rate of the unit that `format` computes on; that of bf16 where it was not measured.
    pub(super) fn of(&self, format: Format) -> f64 {
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
pub fn copy_peak(device: &Device, clock: &Clock) -> Result<Peak> {
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
    Ok(Peak {
        name: "copy".into(),
        unit: "bytes/s".into(),
        rate: rate(2.0 * bytes as f64, time),
        how: format!("{who}, {} MiB of random data, read plus written", bytes >> 20),
    })
}

/// The side of the square product whose rate is a peak.
pub(super) const SQUARE: usize = 8192;

/// The best dense rate of `format`, activations already quantized.
///
/// # Errors
/// If the library has no way to compute it here.
pub fn dense_peak(
    device: &Device,
    lt: &Lt,
    format: Format,
    seed: u32,
    clock: &Clock,
) -> Result<Peak> {
    let shape = Shape { name: "square", out_features: SQUARE, in_features: SQUARE };
    let bench = Bench::new(device, lt, &[shape], SQUARE, seed)?;
    let linear = bench.load(format, shape, Source::Random(Hash::stream(seed, u32::MAX, 1.0)))?;
    let product = RefCell::new(Product::new(&bench, format, shape, SQUARE)?);
    product.borrow().quantize(&bench, &bench.x)?;
    let choices = product.borrow().choices();
    let time = fastest(device, clock, choices, |choice| {
        product.borrow_mut().choose(choice);
        product.borrow().multiply(&bench, &linear, &bench.x, &bench.y)
    })?;
    Ok(of_square(format.name(), time, choices, &product.borrow().path()))
}

/// The time of the fastest of so many ways, each of which `run` starts, in milliseconds.
///
/// # Errors
/// If the fastest fails when it runs again, or none has run.
pub(super) fn fastest(
    device: &Device,
    clock: &Clock,
    choices: usize,
    run: impl Fn(usize) -> Result<()>,
) -> Result<Spread> {
    let mut best = (f64::INFINITY, 0);
    for choice in 0..choices {
        // Some proposals refuse only when they are started.
        let Ok(candidate) = Repeatable::new(device, || run(choice)) else { continue };
        let time = clock.read(&candidate, 1)?.min;
        best = if time < best.0 { (time, choice) } else { best };
    }
    clock.read(&Repeatable::new(device, || run(best.1))?, 1)
}

/// The peak of a square product that took `time_ms`.
pub(super) fn of_square(name: &str, time_ms: Spread, choices: usize, path: &str) -> Peak {
    Peak {
        name: name.into(),
        unit: "operations/s".into(),
        rate: rate(2.0 * (SQUARE as f64).powi(3), time_ms),
        how: format!(
            "{SQUARE} x {SQUARE} x {SQUARE} on random data, best of {choices} algorithms; {path}"
        ),
    }
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
