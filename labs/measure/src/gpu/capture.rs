//! The capture file: what a run measured, and where.
//!
//! A number is reached only through [`Measured`], which a [`Capture`] alone can make and which
//! carries the run's [`Provenance`]: there is no way to a bare number that forgets its machine.
//!
//! ```no_run
//! use measure::capture::CaptureFile;
//! use measure::gpu::capture::Capture;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let capture = Capture::load(std::path::Path::new("captures/gpu.json"))?;
//! for step in capture.steps() {
//!     println!("{} on {}: {} ms", step.format, step.provenance().gpu, step.time_ms.median);
//! }
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;

use crate::capture::{CaptureError, CaptureFile, Spread};
use serde::{Deserialize, Serialize};

/// Where, when and with what a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The processor and the operating system.
    pub machine: String,
    /// The GPU's name.
    pub gpu: String,
    /// Compute capability, `9.0`.
    pub compute_capability: String,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of L2 cache.
    pub l2_bytes: u64,
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// The driver's own version where `nvidia-smi` tells it.
    pub driver: String,
    /// The newest CUDA the driver speaks, `13.0`.
    pub cuda: String,
    /// NVRTC's version.
    pub nvrtc: String,
    /// cuBLASLt's version.
    pub cublaslt: String,
    /// Clocks, power limit and temperature as `nvidia-smi` reads them, before the run.
    pub clocks: String,
    /// The commit the program was built from.
    pub commit: String,
    /// When the run started, UTC, `2026-01-31T12:00:00Z`.
    pub date: String,
    /// The command line, without the program's folder.
    pub command: String,
    /// The seed of the random data.
    pub seed: u32,
    /// Whether the run was a quick one: fewer repetitions and batches.
    pub quick: bool,
}

/// A ceiling of the device, measured in the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ceiling {
    /// `copy`, or the format of a large square product.
    pub name: String,
    /// `bytes/s` or `operations/s`.
    pub unit: String,
    /// The best of the readings is the ceiling: `max`.
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

/// One check of an output against its f64 reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sanity {
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

impl Sanity {
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
    /// Milliseconds of the floor.
    pub floor_ms: f64,
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
    /// Milliseconds of the floor.
    pub floor_ms: f64,
    /// `bytes` or `operations`: what the floor is made of.
    pub bound_by: String,
    /// `graph` or `stream`: how the work was launched.
    pub launched: String,
}

/// One format on one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The sanity meter.
    pub sanity: Vec<Sanity>,
    /// The throughput meter, product by product.
    pub products: Vec<ProductTime>,
    /// The throughput meter, step by step.
    pub steps: Vec<StepTime>,
}

/// A capture, as it lies in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    schema: String,
    version: u64,
    provenance: Provenance,
    ceilings: Vec<Ceiling>,
    runs: Vec<FormatRun>,
    notes: Vec<String>,
}

/// A record of a capture together with where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'c, Record> {
    capture: &'c Capture,
    /// The model, empty for a ceiling.
    pub model: &'c str,
    /// The format, or the ceiling's name.
    pub format: &'c str,
    record: &'c Record,
}

impl<'c, Record> Measured<'c, Record> {
    /// The run this was read from.
    pub fn provenance(&self) -> &'c Provenance {
        &self.capture.provenance
    }
}

impl<Record> Deref for Measured<'_, Record> {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.record
    }
}

/// What the program that measures does with a capture.
impl Capture {
    /// An empty capture of the run that `provenance` describes.
    pub(crate) fn new(provenance: Provenance) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            version: Self::VERSION,
            provenance,
            ceilings: Vec::new(),
            runs: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn add_ceiling(&mut self, ceiling: Ceiling) {
        self.ceilings.push(ceiling);
    }

    pub(crate) fn add_run(&mut self, run: FormatRun) {
        self.runs.push(run);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Capture {
    /// Where, when and with what the run was made.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What the run wants a reader to know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The device's ceilings.
    pub fn ceilings(&self) -> impl Iterator<Item = Measured<'_, Ceiling>> {
        self.ceilings.iter().map(|c| self.measured("", &c.name, c))
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

    /// The sanity checks of all models and formats.
    pub fn sanity(&self) -> impl Iterator<Item = Measured<'_, Sanity>> {
        self.each(|run| &run.sanity)
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

impl CaptureFile for Capture {
    const SCHEMA: &'static str = "gpu-meters";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), CaptureError> {
        if self.version == 0 {
            return Err(CaptureError::Inconsistent("version 0 was never written".into()));
        }
        if let Some(ceiling) = self.ceilings.iter().find(|ceiling| !ceiling.rate.is_sound()) {
            let text = format!("the ceiling {} has {:?}", ceiling.name, ceiling.rate);
            return Err(CaptureError::Inconsistent(text));
        }
        self.runs.iter().try_for_each(FormatRun::check)
    }
}

impl FormatRun {
    pub(crate) fn new(model: &str, format: &str) -> Self {
        Self {
            model: model.into(),
            format: format.into(),
            error: None,
            capacity: None,
            sanity: Vec::new(),
            products: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl FormatRun {
    fn failures(&self) -> Vec<String> {
        let name = format!("{} {}", self.model, self.format);
        let stopped = self.error.iter().map(|error| format!("{name}: {error}"));
        let beyond = self.sanity.iter().filter(|check| !check.passed).map(|check| {
            let Sanity { what, data, tokens, meter, error, bound, .. } = check;
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
        if let Some(check) = self.sanity.iter().find(|check| !check.is_consistent()) {
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
    use super::*;

    fn provenance() -> Provenance {
        let text = || "test".to_string();
        Provenance {
            machine: text(),
            gpu: "no GPU: a test".into(),
            compute_capability: text(),
            multiprocessors: 1,
            l2_bytes: 1,
            memory_bytes: 1,
            driver: text(),
            cuda: text(),
            nvrtc: text(),
            cublaslt: text(),
            clocks: text(),
            commit: text(),
            date: text(),
            command: text(),
            seed: 1,
            quick: false,
        }
    }

    fn example() -> Capture {
        let time = Spread { median: 2.0, min: 1.0, max: 4.0, samples: 3 };
        let mut run = FormatRun::new("m", "f");
        run.steps.push(StepTime {
            tokens: 16,
            time_ms: time,
            tokens_per_s: 8000.0,
            activation_ms: None,
            floor_ms: 0.5,
            bound_by: "bytes".into(),
            launched: "graph".into(),
        });
        run.sanity.push(Sanity {
            what: "o_proj".into(),
            data: "random".into(),
            tokens: 1,
            meter: "kernel".into(),
            error: Some(0.1 + 0.2),
            bound: 0.5,
            passed: true,
        });
        let mut capture = Capture::new(provenance());
        capture.add_run(run);
        capture
    }

    #[test]
    fn a_capture_comes_back_as_it_was_written() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("new").join("capture.json");
        example().save(&path)?;
        assert_eq!(Capture::load(&path)?, example());
        let left: Vec<_> = std::fs::read_dir(folder.path().join("new"))?.collect();
        assert_eq!(left.len(), 1, "the temporary file is gone");
        Ok(())
    }

    #[test]
    fn a_number_comes_with_its_provenance() {
        let capture = example();
        let step = capture.step("m", "f", 16).expect("it was added");
        assert_eq!((step.time_ms.median, step.provenance().gpu.as_str()), (2.0, "no GPU: a test"));
        assert!(capture.step("m", "f", 17).is_none());
    }

    fn error_of(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(example()).expect("a capture is JSON");
        change(&mut value);
        Capture::parse(&value.to_string()).expect_err("it is damaged").to_string()
    }

    #[test]
    fn other_files_and_newer_captures_are_refused_by_name() {
        assert!(error_of(|v| v["schema"] = "x".into()).contains("no capture of `gpu-meters`"));
        let newer = error_of(|v| v["version"] = 2.into());
        assert!(newer.contains("version 2") && newer.contains("update"), "{newer}");
        // A newer version wins over whatever else has changed in it.
        let newer = error_of(|v| {
            v["version"] = 9.into();
            v["runs"] = "elsewhere".into();
        });
        assert!(newer.contains("version 9"), "{newer}");
    }

    #[test]
    fn damaged_captures_are_refused_with_the_reason() {
        assert!(
            Capture::parse("{\"schema\": \"gpu-m")
                .expect_err("cut off")
                .to_string()
                .contains("damaged")
        );
        let missing = error_of(|v| v["provenance"]["gpu"] = serde_json::Value::Null);
        assert!(missing.contains("damaged"), "{missing}");
        let forged = error_of(|v| v["runs"][0]["sanity"][0]["error"] = serde_json::Value::Null);
        assert!(forged.contains("`passed` is wrong"), "{forged}");
        let nan =
            error_of(|v| v["runs"][0]["steps"][0]["time_ms"]["median"] = serde_json::Value::Null);
        assert!(nan.contains("damaged"), "{nan}");
        let order = error_of(|v| v["runs"][0]["steps"][0]["time_ms"]["median"] = 9.into());
        assert!(order.contains("a step of 16 tokens"), "{order}");
    }

    #[test]
    fn a_nan_error_is_a_failure() {
        let mut capture = example();
        capture.runs[0].sanity[0].error = None;
        capture.runs[0].sanity[0].passed = false;
        assert!(capture.failures()[0].contains("not a number"), "{:?}", capture.failures());
    }
}
