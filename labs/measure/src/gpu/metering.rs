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
use super::fp4;
use super::gpu_format::Format;
use super::gpu_meters::{Capture, FormatRun, GpuMeters};
use super::gpu_setup::Setup;
use super::hash::Hash;
use super::output_checks::{DEPTH, Stack, Weights};
use super::peaks::{self, Rates};
use super::product::Product;
use super::slice::RealWeights;
use super::throughput::{self, Layers};
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

/// What all formats of a run share.
struct Shared<'a> {
    device: &'a Device,
    lt: &'a Lt,
    plan: &'a Plan,
    clock: Clock,
    rates: Rates,
}

/// One model in one format, while it is metered.
struct Job<'a> {
    shared: &'a Shared<'a>,
    bench: &'a Bench<'a>,
    real: Source<'a>,
    stack: &'a Stack,
    model: Model,
    format: Format,
}

/// The weights of a job on the device, and what is known of them here.
struct Loaded {
    layers: Layers,
    /// Real weights, one for each shape of a layer.
    real: Vec<Linear>,
    /// For each shape the sampled channels of layer 0 and of the real weights.
    samples: Vec<[Weights; 2]>,
    /// Embedding and head take room, and nothing is computed with them.
    _embedding: Option<Buffer>,
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
    let clock = Clock::start(plan.budget, Duration::from_millis(if plan.quick { 30 } else { 150 }));
    let mut shared = Shared { device: &device, lt: &lt, plan, clock, rates: Rates::default() };
    eprintln!("{}, {} formats", device.facts().name, plan.formats.len());
    let mut note = |note: &str| capture.notes.push(note.into());
    note("A layer is four products, fused as engines fuse them; attention is not run.");
    note("The KV cache's room counts weights only: engines also keep room for activations.");
    if plan.check {
        note("A check of correctness: no times were taken.");
    } else {
        shared.rates = shared.measure_peaks(&mut capture);
    }
    let why = fp4::no_step(device.facts().capability);
    eprintln!("{why}");
    capture.notes.push(why);
    save(plan, &capture)?;
    for &format in &plan.formats {
        if let Some(why) = left_out(format, device.facts().capability) {
            eprintln!("{why}");
            capture.notes.push(why);
            continue;
        }
        for &model in &plan.models {
            let run = shared.guarded(model, format);
            summarize(&run, &shared.clock);
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

/// A panic of a binding (a symbol that an old driver lacks) must not lose the other formats.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(anyhow!(text_of(panic))))
}

fn text_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or("a panic".into())
}

impl Shared<'_> {
    /// The peaks; one that fails is noted and the rest go on.
    fn measure_peaks(&self, capture: &mut Capture) -> Rates {
        let Self { device, lt, plan, clock, .. } = self;
        let mut rates = Rates { bytes_per_s: f64::INFINITY, operations_per_s: Vec::new() };
        match caught(|| peaks::copy_peak(device, clock)) {
            Ok(peak) => {
                rates.bytes_per_s = peak.rate.max;
                eprintln!("copy: {:.0} GB/s", peak.rate.max / 1e9);
                capture.peaks.push(peak);
            }
            Err(error) => capture
                .notes
                .push(format!("no copy peak, so bounds count operations only: {error:#}")),
        }
        for format in [Format::Bf16, Format::Fp8Tensor, Format::Int8] {
            match caught(|| peaks::dense_peak(device, lt, format, plan.seed, clock)) {
                Ok(peak) => {
                    rates.operations_per_s.push((format, peak.rate.max));
                    eprintln!("{}: {:.0} TOP/s", peak.name, peak.rate.max / 1e12);
                    capture.peaks.push(peak);
                }
                Err(error) => capture.notes.push(format!(
                    "no peak for {}, its bounds use the rate of bf16: {error:#}",
                    format.name()
                )),
            }
        }
        if device.facts().capability >= fp4::CAPABILITY {
            match caught(|| fp4::peak(device, lt, plan.seed, clock)) {
                Ok(peak) => capture.peaks.push(peak),
                Err(error) => capture.notes.push(format!("no peak for nvfp4: {error:#}")),
            }
        }
        rates
    }

    /// The run of a format, with what stopped it, if something did.
    fn guarded(&self, model: Model, format: Format) -> FormatRun {
        let (name, format_name) = (model.name.into(), format.name().into());
        let mut run = FormatRun { model: name, format: format_name, ..FormatRun::default() };
        let result = caught(|| {
            let tokens = self.plan.batches().into_iter().max().unwrap_or(1);
            let bench = Bench::new(self.device, self.lt, &model.shapes(), tokens, self.plan.seed)?;
            let real = RealWeights::read()?;
            let on_device = self.device.allocate("the real slice", real.bits.len() * 2)?;
            self.device.upload(&on_device, &real.bits)?;
            let stack = reference_stack(&bench, self.plan, &model);
            let real = Source::Real(&real, &on_device);
            let job = Job { shared: self, bench: &bench, real, stack: &stack, model, format };
            job.meter(&mut run)
        });
        run.error = result.err().map(|error| format!("{error:#}"));
        run
    }
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

impl Job<'_> {
    fn meter(&self, run: &mut FormatRun) -> Result<()> {
        let loaded = self.load(run)?;
        for weights in loaded.samples.iter().flatten() {
            run.checks.extend(weights.grid().map(|f| weights.record(f, 0)));
        }
        for tokens in self.shared.plan.batches() {
            self.batch(tokens, &loaded, run).with_context(|| format!("{tokens} tokens"))?;
        }
        self.check_stack(&loaded, run)
    }

    /// The random weights of a product.
    fn random(&self, layer: usize, at: usize, shape: Shape) -> Source<'_> {
        Source::Random(weights_of(self.shared.plan.seed, layer, at, shape))
    }

    /// All layers' weights and, unless only correctness is asked for, embedding and head.
    fn load(&self, run: &mut FormatRun) -> Result<Loaded> {
        let (device, check) = (self.bench.device, self.shared.plan.check);
        let shapes = || self.model.shapes().into_iter().enumerate();
        let load = |shape, source| self.bench.load(self.format, shape, source);
        let (free_before, _) = device.memory()?;
        let count = if check { DEPTH } else { self.model.layers() };
        let layer = |layer| {
            shapes().map(|(at, shape)| load(shape, self.random(layer, at, shape))).collect()
        };
        let layers: Layers = (0..count).map(layer).collect::<Result<_>>()?;
        device.wait()?;
        let mut embedding = None;
        if !check {
            let bytes = self.model.embedding_bytes();
            embedding = Some(device.allocate("embedding and head", bytes)?);
            device.wait()?;
            // Before the real weights are loaded, because no model has those as well.
            let bytes = layers.iter().flatten().map(Linear::bytes).sum();
            run.capacity = Some(throughput::capacity(device, &self.model, bytes, free_before)?);
        }
        let real: Vec<Linear> =
            shapes().map(|(_, shape)| load(shape, self.real)).collect::<Result<_>>()?;
        let take = |linear, source| Weights::sample(self.bench, self.format, linear, source);
        let sample = |(at, shape)| {
            let random = self.random(0, at, shape);
            Ok([take(&layers[0][at], random)?, take(&real[at], self.real)?])
        };
        let samples = shapes().map(sample).collect::<Result<_>>()?;
        Ok(Loaded { layers, real, samples, _embedding: embedding })
    }

    /// Everything about one batch: choose, check, time.
    fn batch(&self, tokens: usize, loaded: &Loaded, run: &mut FormatRun) -> Result<()> {
        let (mut products, mut tuned) = (Vec::new(), Vec::new());
        for (at, shape) in self.model.shapes().into_iter().enumerate() {
            let mut product = Product::new(self.bench, self.format, shape, tokens)
                .with_context(|| shape.name.to_string())?;
            if !self.shared.plan.check {
                tuned.push(throughput::tune(self.bench, &mut product, &loaded.layers, at)?);
                self.check(&product, at, loaded, run)?;
            } else if product.path().starts_with("own") {
                // All ways of our own kernel; of the library's proposals the first that runs, as
                // engines do.
                for choice in 0..product.choices() {
                    product.choose(choice);
                    self.check(&product, at, loaded, run)?;
                }
            } else {
                self.check(&product, at, loaded, run)?;
            }
            products.push(product);
        }
        if self.shared.plan.check {
            return Ok(());
        }
        let Shared { rates, clock, .. } = self.shared;
        let (bench, layers) = (self.bench, &loaded.layers);
        run.steps.push(throughput::step_time(bench, self.format, &products, layers, rates, clock)?);
        for (at, product) in products.iter().enumerate() {
            let bound = throughput::bound_ms(rates, self.format, &layers[0][at], product.tokens());
            let of = (product, tuned[at]);
            run.products.push(throughput::product_time(bench, of, layers, at, bound, clock)?);
        }
        Ok(())
    }

    /// Checks product `at` of a layer on random and on real weights.
    fn check(
        &self,
        product: &Product,
        at: usize,
        loaded: &Loaded,
        run: &mut FormatRun,
    ) -> Result<()> {
        let linears = [&loaded.layers[0][at], &loaded.real[at]];
        for (weights, linear) in loaded.samples[at].iter().zip(linears) {
            let findings = weights.check(self.bench, product, linear)?;
            run.checks.extend(findings.map(|finding| weights.record(finding, product.tokens())));
        }
        Ok(())
    }

    fn check_stack(&self, loaded: &Loaded, run: &mut FormatRun) -> Result<()> {
        let layers = loaded.layers.iter().take(DEPTH);
        let square: Vec<&Linear> = layers.map(|layer| &layer[SQUARE]).collect();
        let (weights, shape) = (&loaded.samples[SQUARE][0], self.model.shapes()[SQUARE]);
        let product = Product::new(self.bench, self.format, shape, 4)?;
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
    let (seconds, model, format) = (clock.seconds(), &run.model, &run.format);
    eprintln!("{seconds:6.1} s  {model} {format}: {passed} of {checks} checks");
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
