//! What `gpu-meters` measures.
//!
//! A number is reached only through [`Measured`], which carries the run's [`Setup`]: there is no way to a
//! bare number that forgets its GPU.
//!
//! ```no_run
//! use measure::gpu::Capture;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let capture = Capture::load(std::path::Path::new("captures/gpu.json"))?;
//! for step in capture.steps() {
//!     println!("{} on {}: {} ms", step.format, step.setup().gpu, step.time_ms.median);
//! }
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gpu_setup::Setup;
use crate::capture::{self, Body, CaptureError, Spread};

/// A peak of the device, measured in the same run: what roofline bounds are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peak {
    /// `copy`, or the format of a large square product.
    pub name: String,
    /// `bytes/s` or `operations/s`.
    pub unit: String,
    /// The best of the readings is the peak: `max`.
    pub rate: Spread,
    /// How it was measured.
    pub how: String,
}

/// What is left for the KV cache when the weights are loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capacity {
    /// Bytes asked for the linear layers, scales included.
    pub weight_bytes: u64,
    /// Bytes asked for the embedding and the head, in 16 bits.
    pub embedding_bytes: u64,
    /// The driver's total.
    pub total_bytes: u64,
    /// Free before the weights were loaded, by the driver.
    pub free_before: u64,
    /// Free after.
    pub free_after: u64,
    /// Left to the KV cache by vLLM's formula.
    pub kv_bytes: u64,
    /// Blocks of 16 tokens, bf16.
    pub kv_blocks: u64,
    /// Requests of 4,096 tokens at once.
    pub concurrency: f64,
}

/// One check of an output against its f64 reference. A quick check of the kernels, no measure of a
/// model's quality: the format's own error is allowed for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputCheck {
    /// The product, or `stack`.
    pub what: String,
    /// `random` or `real slice, tiled`.
    pub data: String,
    /// Tokens.
    pub tokens: usize,
    /// `kernel` (against the f64 product of the very codes), `format` (against the f64 product of
    /// the weights and activations before quantization), or `grid` (the largest distance of a
    /// weight to its code, in half steps).
    pub meter: String,
    /// The relative error, or `None` if it is not a number.
    pub error: Option<f64>,
    /// The bound that follows from the format.
    pub bound: f64,
    /// Whether the error is a number within the bound.
    pub passed: bool,
}

impl OutputCheck {
    fn is_consistent(&self) -> bool {
        self.passed == self.error.is_some_and(|error| error <= self.bound)
    }
}

/// The time of one product, averaged over all layers of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProductTime {
    /// `qkv_proj`, `o_proj`, `gate_up_proj` or `down_proj`.
    pub shape: String,
    /// Output channels.
    pub out_features: usize,
    /// Inputs.
    pub in_features: usize,
    /// Tokens.
    pub tokens: usize,
    /// How the product is computed, in words.
    pub path: String,
    /// Milliseconds a product, quantization of the activations included.
    pub time_ms: Spread,
    /// Milliseconds of the roofline bound.
    #[serde(rename = "floor_ms")]
    pub bound_ms: f64,
    /// Whether all layers' weights of this shape fit into the L2 cache, which flatters the time.
    pub fits_in_l2: bool,
    /// Milliseconds of the library's first choice, where there was a choice.
    pub first_choice_ms: Option<f64>,
    /// Milliseconds of the fastest choice tried.
    pub best_choice_ms: Option<f64>,
    /// How many choices were tried.
    pub choices: usize,
}

/// The time of one step: every linear layer of the model once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepTime {
    /// Tokens in the step: the batch of a decode, or 2,048 of a prefill.
    pub tokens: usize,
    /// Milliseconds a step, quantization of the activations included.
    pub time_ms: Spread,
    /// Tokens a second at the median.
    pub tokens_per_s: f64,
    /// Milliseconds of quantizing the activations alone; none where they stay in 16 bits.
    pub activation_ms: Option<Spread>,
    /// Milliseconds of the roofline bound.
    #[serde(rename = "floor_ms")]
    pub bound_ms: f64,
    /// `bytes` or `operations`: which of the two bounds is the longer.
    pub bound_by: String,
    /// `graph` or `stream`: how the work was launched.
    pub launched: String,
}

/// One format on one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FormatRun {
    /// The model's name.
    pub model: String,
    /// The format's name.
    pub format: String,
    /// What stopped it, if something did; what was measured before stays.
    pub error: Option<String>,
    /// The capacity meter.
    pub capacity: Option<Capacity>,
    /// The checks of outputs.
    #[serde(rename = "sanity")]
    pub checks: Vec<OutputCheck>,
    /// The throughput meter, product by product.
    pub products: Vec<ProductTime>,
    /// The throughput meter, step by step.
    pub steps: Vec<StepTime>,
}

/// The capture of a run.
pub type Capture = capture::Capture<GpuMeters>;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuMeters {
    #[serde(rename = "ceilings")]
    pub(crate) peaks: Vec<Peak>,
    pub(crate) runs: Vec<FormatRun>,
    pub(crate) notes: Vec<String>,
}

/// A record of a capture together with where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'c, Record> {
    capture: &'c Capture,
    /// The model, empty for a peak.
    pub model: &'c str,
    /// The format, or the peak's name.
    pub format: &'c str,
    record: &'c Record,
}

impl<'c, Record> Measured<'c, Record> {
    /// The GPU of the run that this was read from.
    pub fn setup(&self) -> &'c Setup {
        &self.capture.setup
    }
}

impl<Record> Deref for Measured<'_, Record> {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.record
    }
}

impl Capture {
    /// What the run wants a reader to know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The device's peaks.
    pub fn peaks(&self) -> impl Iterator<Item = Measured<'_, Peak>> {
        self.peaks.iter().map(|c| self.measured("", &c.name, c))
    }

    /// The runs, one a model and format; `run.error` says what stopped one.
    pub fn runs(&self) -> impl Iterator<Item = Measured<'_, FormatRun>> {
        self.runs.iter().map(|run| self.measured(&run.model, &run.format, run))
    }

    /// The steps of all models and formats.
    pub fn steps(&self) -> impl Iterator<Item = Measured<'_, StepTime>> {
        self.each(|run| &run.steps)
    }

    /// The products of all models and formats.
    pub fn products(&self) -> impl Iterator<Item = Measured<'_, ProductTime>> {
        self.each(|run| &run.products)
    }

    /// The checks of outputs of all models and formats.
    pub fn checks(&self) -> impl Iterator<Item = Measured<'_, OutputCheck>> {
        self.each(|run| &run.checks)
    }

    /// The capacity of all models and formats.
    pub fn capacity(&self) -> impl Iterator<Item = Measured<'_, Capacity>> {
        self.each(|run| run.capacity.as_slice())
    }

    /// The step of `model` in `format` with `tokens` tokens, if it was measured.
    pub fn step(&self, model: &str, format: &str, tokens: usize) -> Option<Measured<'_, StepTime>> {
        self.steps().find(|s| s.model == model && s.format == format && s.tokens == tokens)
    }

    /// What failed: errors of formats and checks beyond their bound. Empty for a clean run.
    pub fn failures(&self) -> Vec<String> {
        self.runs.iter().flat_map(FormatRun::failures).collect()
    }

    fn measured<'c, R>(
        &'c self,
        model: &'c str,
        format: &'c str,
        record: &'c R,
    ) -> Measured<'c, R> {
        Measured { capture: self, model, format, record }
    }

    fn each<'c, R: 'c>(
        &'c self,
        of: impl Fn(&'c FormatRun) -> &'c [R],
    ) -> impl Iterator<Item = Measured<'c, R>> {
        self.runs.iter().flat_map(move |run| {
            of(run).iter().map(move |record| self.measured(&run.model, &run.format, record))
        })
    }
}

impl Body for GpuMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "gpu-meters";

    /// Version 1 had the processor and the system in one field.
    fn upgrade(value: &mut Value) {
        let machine = value["setup"]["machine"].take();
        let machine = machine.as_str().unwrap_or_default();
        let (processor, system) = machine.rsplit_once(", ").unwrap_or((machine, ""));
        value["provenance"]["processor"] = processor.into();
        value["provenance"]["system"] = system.into();
    }

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        if let Some(peak) = self.peaks.iter().find(|peak| !peak.rate.is_sound()) {
            let text = format!("the peak {} has {:?}", peak.name, peak.rate);
            return Err(CaptureError::Inconsistent(text));
        }
        self.runs.iter().try_for_each(FormatRun::check)
    }
}

impl FormatRun {
    fn failures(&self) -> Vec<String> {
        let name = format!("{} {}", self.model, self.format);
        let stopped = self.error.iter().map(|error| format!("{name}: {error}"));
        let beyond = self.checks.iter().filter(|check| !check.passed).map(|check| {
            let OutputCheck { what, data, tokens, meter, error, bound, .. } = check;
            let error = error.map_or("not a number".into(), |error| format!("{error:.3e}"));
            format!(
                "{name}: {what}, {tokens} tokens, {data}: {meter} error {error}, bound {bound:.3e}"
            )
        });
        stopped.chain(beyond).collect()
    }

    fn check(&self) -> Result<(), CaptureError> {
        let name = format!("{} {}", self.model, self.format);
        let fail = |text: String| Err(CaptureError::Inconsistent(format!("{name}: {text}")));
        if let Some(check) = self.checks.iter().find(|check| !check.is_consistent()) {
            return fail(format!("`passed` is wrong in {check:?}"));
        }
        if let Some(step) = self.steps.iter().find(|step| !step.time_ms.is_sound()) {
            return fail(format!("a step of {} tokens took {:?}", step.tokens, step.time_ms));
        }
        if let Some(product) = self.products.iter().find(|product| !product.time_ms.is_sound()) {
            return fail(format!("{} took {:?}", product.shape, product.time_ms));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::capture::Provenance;

    use super::*;

    fn example() -> Capture {
        let time = Spread { median: 2.0, min: 1.0, max: 4.0, samples: 3 };
        let (model, format) = ("m".into(), "f".into());
        let mut run = FormatRun { model, format, ..FormatRun::default() };
        run.steps.push(StepTime {
            tokens: 16,
            time_ms: time,
            tokens_per_s: 8000.0,
            activation_ms: None,
            bound_ms: 0.5,
            bound_by: "bytes".into(),
            launched: "graph".into(),
        });
        run.checks.push(OutputCheck {
            what: "o_proj".into(),
            data: "random".into(),
            tokens: 1,
            meter: "kernel".into(),
            error: Some(0.1 + 0.2),
            bound: 0.5,
            passed: true,
        });
        let body = GpuMeters { runs: vec![run], ..GpuMeters::default() };
        let setup = Setup { gpu: "no GPU: a test".into(), ..Setup::default() };
        Capture { provenance: Provenance::made_up(), setup, body }
    }

    #[test]
    fn a_number_comes_with_its_gpu() {
        let capture = example();
        let step = capture.step("m", "f", 16).expect("it was added");
        assert_eq!((step.time_ms.median, step.setup().gpu.as_str()), (2.0, "no GPU: a test"));
        assert!(capture.step("m", "f", 17).is_none());
    }

    #[test]
    fn meters_that_contradict_themselves_are_refused_with_the_reason() {
        type Change = fn(&mut GpuMeters);
        let peak = |m: &mut GpuMeters| {
            let rate = Spread { median: 1.0, min: 2.0, max: 3.0, samples: 3 };
            let (name, unit, how) = ("copy".into(), "bytes/s".into(), String::new());
            m.peaks.push(Peak { name, unit, rate, how });
        };
        let changes: [(&str, Change); 3] = [
            ("`passed` is wrong", |m| m.runs[0].checks[0].error = None),
            ("a step of 16 tokens", |m| m.runs[0].steps[0].time_ms.median = 9.0),
            ("the peak copy", peak),
        ];
        for (words, change) in changes {
            let mut capture = example();
            change(&mut capture);
            let error = capture.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_committed_captures_are_read_by_their_version() -> Result<(), CaptureError> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu/captures");
        for (file, gpu) in [("gpu-h100.json", "H100"), ("gpu-h200.json", "H200")] {
            let Capture { provenance, setup, .. } = Capture::load(&folder.join(file))?;
            assert!(setup.gpu.contains(gpu), "{}", setup.gpu);
            assert_eq!(provenance.processor, "Intel(R) Xeon(R) Processor");
            assert_eq!((provenance.system.as_str(), provenance.processors), ("linux x86_64", 0));
        }
        Ok(())
    }

    #[test]
    fn a_nan_error_is_a_failure() {
        let mut capture = example();
        capture.runs[0].checks[0].error = None;
        capture.runs[0].checks[0].passed = false;
        assert!(capture.failures()[0].contains("not a number"), "{:?}", capture.failures());
    }
}
