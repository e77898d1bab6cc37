//! The whole run: each format on each model, the capture written after each.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::bench::{Bench, Linear, Source};
use super::clock::Clock;
use super::cuda::lt::Lt;
use super::cuda::{Buffer, Device};
use super::gpu_format::Format;
use super::gpu_meters::{Capture, FormatRun, GpuMeters};
use super::gpu_setup::Setup;
use super::hash::Hash;
use super::output_checks::{DEPTH, Finding, Stack, Weights};
use super::peaks::{self, Rates};
use super::product::Product;
use super::slice::RealWeights;
use super::throughput::{self, Layers, Tuned};
use super::work::{BATCHES, Model, QUICK_BATCHES, Shape};
use crate::capture::Provenance;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The formats, in order.
    pub formats: Vec<Format>,
    /// The models.
    pub models: Vec<Model>,
    /// Fewer batches and shorter readings.
    pub quick: bool,
    /// Only the checks of outputs.
    pub check: bool,
    /// Seed of the random data.
    pub seed: u32,
    /// Where the capture goes, if anywhere.
    pub out: Option<PathBuf>,
    /// How long the run should take at most.
    pub budget: Duration,
}

impl Plan {
    /// A check runs all batches, and two that fill no block of 8 tokens.
    fn batches(&self) -> Vec<usize> {
        match (self.check, self.quick) {
            (true, _) => vec![1, 5, 11, 16, 64, 256],
            (false, true) => QUICK_BATCHES.to_vec(),
            (false, false) => BATCHES.to_vec(),
        }
    }
}

/// One model in one format, while it is metered.
struct Job<'a, 'd> {
    bench: &'a Bench<'d>,
    plan: &'a Plan,
    clock: &'a Clock,
    rates: &'a Rates,
    real: (&'a RealWeights, &'a Buffer),
    stack: &'a Stack,
    model: Model,
    format: Format,
}

/// Meters everything in `plan` and returns the capture, which is on disk too if it has a place.
///
/// # Errors
/// If there is no GPU ([`crate::gpu::cuda::libraries::Missing`]) or the capture cannot be written. What
/// fails within a format is in the capture instead.
pub fn meter(plan: &Plan) -> Result<Capture> {
    let device = Device::open()?;
    let lt = Lt::open(&device)?;
    let (provenance, body) = (Provenance::of_this_run(plan.quick), GpuMeters::default());
    let mut capture = Capture { provenance, setup: Setup::of(device.facts(), plan.seed)?, body };
    let reading = Duration::from_millis(if plan.quick { 30 } else { 150 });
    let clock = Clock::start(plan.budget, reading);
    eprintln!("{}, {} formats", device.facts().name, plan.formats.len());
    let mut note = |note: &str| capture.notes.push(note.into());
    note("A layer is four products, fused as engines fuse them; attention is not run.");
    note("The KV cache's room counts weights only: engines also keep room for activations.");
    if plan.check {
        note("A check of correctness: no times were taken.");
    }
    let rates = if plan.check {
        Rates::default()
    } else {
        measure_peaks(&device, &lt, plan, &clock, &mut capture)
    };
    save(plan, &capture)?;
    for &format in &plan.formats {
        if let Some(why) = left_out(format, device.facts().capability) {
            eprintln!("{why}");
            capture.notes.push(why);
            continue;
        }
        for &model in &plan.models {
            let run = guarded(&device, &lt, plan, &clock, &rates, model, format);
            summarize(&run, &clock);
            capture.runs.push(run);
            save(plan, &capture)?;
        }
    }
    Ok(capture)
}

/// Why `format` is left out on a device of `capability`, if it is: that is no failure.
fn left_out(format: Format, capability: (u32, u32)) -> Option<String> {
    let needed = format.least_capability();
    let [(a, b), (c, d)] = [needed, capability];
    let name = format.name();
    (capability < needed).then(|| {
        format!("left out: {name} needs compute capability {a}.{b} and this device has {c}.{d}")
    })
}

fn save(plan: &Plan, capture: &Capture) -> Result<()> {
    plan.out.as_ref().map_or(Ok(()), |path| Ok(capture.save(path)?))
}

/// The peaks; one that fails is noted and the rest go on.
fn measure_peaks(
    device: &Device,
    lt: &Lt,
    plan: &Plan,
    clock: &Clock,
    capture: &mut Capture,
) -> Rates {
    let mut rates = Rates { bytes_per_s: f64::INFINITY, operations_per_s: Vec::new() };
    match caught(|| peaks::copy_peak(device, clock)) {
        Ok(peak) => {
            rates.bytes_per_s = peak.rate.max;
            eprintln!("copy: {:.0} GB/s", peak.rate.max / 1e9);
            capture.peaks.push(peak);
        }
        Err(error) => {
            capture.notes.push(format!("no copy peak, so bounds count operations only: {error:#}"));
        }
    }
    for format in [Format::Bf16, Format::Fp8Tensor, Format::Int8] {
        match caught(|| peaks::dense_peak(device, lt, format, plan.seed, clock)) {
            Ok(peak) => {
                rates.operations_per_s.push((format, peak.rate.max));
                eprintln!("{}: {:.0} Top/s", peak.name, peak.rate.max / 1e12);
                capture.peaks.push(peak);
            }
            Err(error) => capture.notes.push(format!(
                "no peak for {}, its bounds use the rate of bf16: {error:#}",
                format.name()
            )),
        }
    }
    rates
}

/// A panic of a binding (a symbol that an old driver lacks) must not lose the other formats.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(anyhow!(text_of(panic))))
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or("a panic".into())
}

fn guarded(
    device: &Device,
    lt: &Lt,
    plan: &Plan,
    clock: &Clock,
    rates: &Rates,
    model: Model,
    format: Format,
) -> FormatRun {
    let mut run = FormatRun::new(model.name, format.name());
    let result = caught(|| {
        let shapes = model.shapes();
        let tokens = plan.batches().into_iter().max().unwrap_or(1);
        let bench = Bench::new(device, lt, &shapes, tokens, plan.seed)?;
        let real = RealWeights::read()?;
        let on_device = device.allocate("the real slice", real.bits.len() * 2)?;
        device.upload(&on_device, &real.bits)?;
        let stack = reference_stack(&bench, plan, &model);
        let real = (&real, &on_device);
        let job = Job { bench: &bench, plan, clock, rates, real, stack: &stack, model, format };
        job.meter(&mut run)
    });
    run.error = result.err().map(|error| format!("{error:#}"));
    run
}

/// The random weights of product `shape` of layer `layer`; the products keep the variance of their
/// input, so that a stack of them neither grows nor dies.
fn weights_of(seed: u32, layer: usize, at: usize, shape: Shape) -> Hash {
    let sigma = 1.0 / (shape.in_features as f32).sqrt();
    Hash::stream(seed, (1 + layer * 4 + at) as u32, sigma)
}

/// `o_proj` is the square product, the second of a layer.
const SQUARE: usize = 1;

fn reference_stack(bench: &Bench, plan: &Plan, model: &Model) -> Stack {
    let shape = model.shapes()[SQUARE];
    let hash = |layer| weights_of(plan.seed, layer, SQUARE, shape);
    Stack::new(shape, bench.x_source(), &(0..DEPTH).map(hash).collect::<Vec<_>>())
}

impl Job<'_, '_> {
    fn meter(&self, run: &mut FormatRun) -> Result<()> {
        let (layers, _embedding) = self.load(run)?;
        let real = self.load_real()?;
        let samples = self.samples(&layers, &real)?;
        for sample in samples.iter().flatten() {
            let (shape, sample) = (sample.0, &sample.1);
            run.checks.extend(sample.grid().map(|f| f.record(shape.name, sample.data(), 0)));
        }
        for tokens in self.plan.batches() {
            self.batch(tokens, &layers, &real, &samples, run)
                .with_context(|| format!("{tokens} tokens"))?;
        }
        self.check_stack(&layers, &samples, run)
    }

    /// All layers' weights and, unless only correctness is asked for, embedding and head.
    fn load(&self, run: &mut FormatRun) -> Result<(Layers, Option<Buffer>)> {
        let device = self.bench.device;
        let (free_before, _) = device.memory()?;
        let count = if self.plan.check { DEPTH } else { self.model.layers() };
        let layers: Layers =
            (0..count).map(|layer| self.load_layer(layer)).collect::<Result<_>>()?;
        device.wait()?;
        if self.plan.check {
            return Ok((layers, None));
        }
        let embedding = device.allocate("embedding and head", self.model.embedding_bytes())?;
        device.wait()?;
        let bytes = layers.iter().flatten().map(Linear::bytes).sum();
        run.capacity = Some(throughput::capacity(device, &self.model, bytes, free_before)?);
        Ok((layers, Some(embedding)))
    }

    fn load_layer(&self, layer: usize) -> Result<Vec<Linear>> {
        let load = |(at, shape)| {
            let hash = weights_of(self.plan.seed, layer, at, shape);
            self.bench.load(self.format, shape, Source::Random(hash))
        };
        self.model.shapes().into_iter().enumerate().map(load).collect()
    }

    fn load_real(&self) -> Result<Vec<Linear>> {
        let source = Source::Real(self.real.0, self.real.1);
        let load = |shape| self.bench.load(self.format, shape, source);
        self.model.shapes().into_iter().map(load).collect()
    }

    /// Of each shape: the sampled channels of layer 0 and of the real weights.
    fn samples(&self, layers: &Layers, real: &[Linear]) -> Result<Vec<[(Shape, Weights); 2]>> {
        let sample = |at: usize, shape| {
            let random = Source::Random(weights_of(self.plan.seed, 0, at, shape));
            let slice = Source::Real(self.real.0, self.real.1);
            let take = |linear, source| Weights::sample(self.bench, self.format, linear, source);
            Ok([(shape, take(&layers[0][at], random)?), (shape, take(&real[at], slice)?)])
        };
        self.model.shapes().into_iter().enumerate().map(|(at, shape)| sample(at, shape)).collect()
    }

    /// Everything about one batch: choose, check, time.
    fn batch(
        &self,
        tokens: usize,
        layers: &Layers,
        real: &[Linear],
        samples: &[[(Shape, Weights); 2]],
        run: &mut FormatRun,
    ) -> Result<()> {
        let (mut products, mut tuned) = (Vec::new(), Vec::new());
        for (at, shape) in self.model.shapes().into_iter().enumerate() {
            let mut product = Product::new(self.bench, self.format, shape, tokens)
                .with_context(|| shape.name.to_string())?;
            if self.plan.check {
                self.check_every_choice(
                    &mut product,
                    (&layers[0][at], &real[at]),
                    &samples[at],
                    run,
                )?;
                continue;
            }
            tuned.push(throughput::tune(self.bench, &mut product, layers, at)?);
            self.check(&product, (&layers[0][at], &real[at]), &samples[at], run)?;
            products.push(product);
        }
        if self.plan.check { Ok(()) } else { self.time(&products, &tuned, layers, run) }
    }

    fn check_every_choice(
        &self,
        product: &mut Product,
        linears: (&Linear, &Linear),
        samples: &[(Shape, Weights); 2],
        run: &mut FormatRun,
    ) -> Result<()> {
        // All ways of our own kernel; of the library's proposals the first that runs, as engines do.
        let own = product.path().starts_with("own");
        if !own {
            return self.check(product, linears, samples, run);
        }
        for choice in 0..product.choices() {
            product.choose(choice);
            self.check(product, linears, samples, run)?;
        }
        Ok(())
    }

    fn check(
        &self,
        product: &Product,
        (random, real): (&Linear, &Linear),
        samples: &[(Shape, Weights); 2],
        run: &mut FormatRun,
    ) -> Result<()> {
        for ((shape, weights), linear) in samples.iter().zip([random, real]) {
            let findings = weights.check(self.bench, product, linear)?;
            let record = |f: Finding| f.record(shape.name, weights.data(), product.tokens());
            run.checks.extend(findings.map(record));
        }
        Ok(())
    }

    fn time(
        &self,
        products: &[Product],
        tuned: &[Tuned],
        layers: &Layers,
        run: &mut FormatRun,
    ) -> Result<()> {
        let step = throughput::step_time(
            self.bench,
            self.format,
            products,
            layers,
            self.rates,
            self.clock,
        )?;
        run.steps.push(step);
        for (at, product) in products.iter().enumerate() {
            let bound =
                throughput::bound_ms(self.rates, self.format, &layers[0][at], product.tokens());
            let of = (product, tuned[at]);
            run.products
                .push(throughput::product_time(self.bench, of, layers, at, bound, self.clock)?);
        }
        Ok(())
    }

    fn check_stack(
        &self,
        layers: &Layers,
        samples: &[[(Shape, Weights); 2]],
        run: &mut FormatRun,
    ) -> Result<()> {
        let square: Vec<&Linear> = layers.iter().take(DEPTH).map(|layer| &layer[SQUARE]).collect();
        let (shape, weights) = &samples[SQUARE][0];
        let product = Product::new(self.bench, self.format, *shape, 4)?;
        let [_, one] = weights.check(self.bench, &product, square[0])?;
        let finding = self.stack.check(self.bench, self.format, &square, one)?;
        let what = format!("stack of {DEPTH} {}", shape.name);
        run.checks.push(finding.record(&what, "random", 4));
        Ok(())
    }
}

fn summarize(run: &FormatRun, clock: &Clock) {
    let passed = run.checks.iter().filter(|check| check.passed).count();
    let checks = run.checks.len();
    eprintln!(
        "{:6.1} s  {} {}: {passed} of {checks} checks",
        clock.seconds(),
        run.model,
        run.format
    );
    for step in &run.steps {
        let share = step.bound_ms / step.time_ms.median * 100.0;
        eprintln!(
            "          {:5} tokens: {:9.3} ms, {share:3.0} % of the roofline bound ({})",
            step.tokens, step.time_ms.median, step.bound_by
        );
    }
    if let Some(error) = &run.error {
        eprintln!("          stopped: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_left_out_only_where_the_device_lacks_it() {
        let kept = |capability| {
            let formats = Format::ALL.into_iter();
            formats.filter(|&f| left_out(f, capability).is_none()).count()
        };
        assert_eq!([kept((8, 0)), kept((8, 9)), kept((9, 0)), kept((10, 0))], [3, 4, 5, 5]);
        let why = left_out(Format::Fp8Tensor, (8, 6)).unwrap_or_default();
        assert!(why.contains("fp8-tensor needs compute capability 8.9"), "{why}");
    }
}
