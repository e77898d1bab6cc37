//! The capture file of `cpu-meters`: what the kernels did on one machine, and on which.
//!
//! Only what was read from a clock or counted from a type is in the file. Rates, shares and
//! speed-ups are computed from it, here, so that a table cannot contradict its capture.

use crate::capture::{CaptureError, CaptureFile, Spread};
use serde::{Deserialize, Serialize};

/// Where, when and with what a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The processor's name, as the system tells it.
    pub processor: String,
    /// Processors that the run could use.
    pub processors: usize,
    /// Bytes of the last cache, as the system tells it, or as was assumed (`notes` says so).
    pub cache_bytes: u64,
    /// The instructions that the kernels used.
    pub instructions: String,
    /// Operating system and architecture.
    pub system: String,
    /// `rustc --version`.
    pub compiler: String,
    /// The version of `llama-quantize`, where one was run.
    pub llama_quantize: Option<String>,
    /// The commit that was checked out, marked when files differed from it.
    pub commit: String,
    /// When the run started, UTC.
    pub date: String,
    /// The command line, folders left out.
    pub command: String,
    /// Whether the run was a quick one: fewer rounds.
    pub quick: bool,
}

/// Plain reading of a buffer much larger than the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Threads that read.
    pub threads: usize,
    /// Bytes of the buffer.
    pub bytes: u64,
    /// Milliseconds to read it.
    pub time_ms: Spread,
}

impl Ceiling {
    /// Bytes a second of the fastest reading: what the memory can do.
    pub fn best(&self) -> f64 {
        rate(self.bytes, self.time_ms.min)
    }

    /// Bytes a second of the middle reading.
    pub fn median(&self) -> f64 {
        rate(self.bytes, self.time_ms.median)
    }
}

/// One product of a matrix with the activations of one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// `f32`, `int8`, `int4 g128`, …
    pub format: String,
    /// Threads.
    pub threads: usize,
    /// Rows.
    pub out_features: usize,
    /// Weights in a row.
    pub in_features: usize,
    /// Matrices in turn, so that none is still in the cache.
    pub matrices: usize,
    /// Bytes that one product moves, counted from the types.
    pub bytes: u64,
    /// Milliseconds of one product.
    pub time_ms: Spread,
}

impl Product {
    /// Bytes a second at the median.
    pub fn rate(&self) -> f64 {
        rate(self.bytes, self.time_ms.median)
    }
}

/// One way to quantize the matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantizing {
    /// `Q8_0`, `Q4_0` or `int4 g128`.
    pub format: String,
    /// Who: `this lab` or `llama-quantize`.
    pub who: String,
    /// From where to where: `memory` or `files`.
    pub between: String,
    /// Threads.
    pub threads: usize,
    /// Bytes of f32 weights.
    pub bytes: u64,
    /// Milliseconds; of `llama-quantize` what it prints as its quantize time.
    pub time_ms: Spread,
    /// Milliseconds of the whole process, where it was one.
    pub process_ms: Option<Spread>,
    /// Blocks of the other's file that differ from ours, where there is another.
    pub blocks_that_differ: Option<u64>,
}

impl Quantizing {
    /// Bytes of f32 weights a second at the median.
    pub fn rate(&self) -> f64 {
        rate(self.bytes, self.time_ms.median)
    }
}

fn rate(bytes: u64, ms: f64) -> f64 {
    bytes as f64 / (ms / 1e3)
}

/// A capture, as it lies in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    schema: String,
    version: u64,
    /// Where, when and with what.
    pub provenance: Provenance,
    /// Plain reading, one a number of threads.
    pub ceilings: Vec<Ceiling>,
    /// The products.
    pub products: Vec<Product>,
    /// The encoders.
    pub quantizing: Vec<Quantizing>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Capture {
    /// An empty capture of the run that `provenance` describes.
    pub fn new(provenance: Provenance) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            version: Self::VERSION,
            provenance,
            ceilings: Vec::new(),
            products: Vec::new(),
            quantizing: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The ceiling on so many threads.
    pub fn ceiling(&self, threads: usize) -> Option<&Ceiling> {
        self.ceilings.iter().find(|ceiling| ceiling.threads == threads)
    }

    /// The product of a format on so many threads.
    pub fn product(&self, format: &str, threads: usize) -> Option<&Product> {
        self.products.iter().find(|p| p.format == format && p.threads == threads)
    }

    /// The share of the best reading rate that a product reached. One that also writes can exceed 1:
    /// a machine may read and write at the same time.
    pub fn share_of_ceiling(&self, product: &Product) -> Option<f64> {
        Some(product.rate() / self.ceiling(product.threads)?.best())
    }

    /// How many times as fast as f32 a product was, by its median.
    pub fn speed_up(&self, product: &Product) -> Option<f64> {
        let f32 = self.product("f32", product.threads)?;
        Some(f32.time_ms.median / product.time_ms.median)
    }

    /// How many times as fast as f32 a product would be if only bytes counted.
    pub fn predicted_speed_up(&self, product: &Product) -> Option<f64> {
        let f32 = self.product("f32", product.threads)?;
        Some(f32.bytes as f64 / product.bytes as f64)
    }
}

impl CaptureFile for Capture {
    const SCHEMA: &'static str = "cpu-meters";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), CaptureError> {
        let times = (self.ceilings.iter().map(|c| ("the ceiling", &c.time_ms, c.bytes)))
            .chain(self.products.iter().map(|p| (p.format.as_str(), &p.time_ms, p.bytes)))
            .chain(self.quantizing.iter().map(|q| (q.format.as_str(), &q.time_ms, q.bytes)));
        for (what, time, bytes) in times {
            if !time.is_sound() || bytes == 0 {
                let text = format!("{what} has {bytes} bytes and the times {time:?}");
                return Err(CaptureError::Inconsistent(text));
            }
        }
        for product in &self.products {
            let missing = |what: &str| {
                let (format, threads) = (&product.format, product.threads);
                CaptureError::Inconsistent(format!("{format} on {threads} threads has no {what}"))
            };
            self.ceiling(product.threads).ok_or_else(|| missing("ceiling beside it"))?;
            self.product("f32", product.threads).ok_or_else(|| missing("f32 product beside it"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture that nobody took, for these tests alone.
    fn example() -> Capture {
        let mut capture = Capture::new(Provenance {
            processor: "none: a test".into(),
            processors: 1,
            cache_bytes: 1,
            instructions: "none".into(),
            system: "none".into(),
            compiler: "none".into(),
            llama_quantize: None,
            commit: "none".into(),
            date: "2000-01-01T00:00:00Z".into(),
            command: "made up".into(),
            quick: true,
        });
        let time = |ms| Spread { median: ms, min: ms / 2.0, max: ms * 2.0, samples: 3 };
        capture.ceilings.push(Ceiling { threads: 1, bytes: 800, time_ms: time(0.8) });
        for (format, bytes, ms) in [("f32", 400, 1.0), ("int8", 100, 0.5)] {
            capture.products.push(Product {
                format: format.into(),
                threads: 1,
                out_features: 10,
                in_features: 10,
                matrices: 1,
                bytes,
                time_ms: time(ms),
            });
        }
        capture
    }

    #[test]
    fn a_capture_comes_back_as_it_was_written() -> Result<(), CaptureError> {
        assert_eq!(Capture::parse(&serde_json::to_string(&example())?)?, example());
        Ok(())
    }

    #[test]
    fn shares_and_speed_ups_follow_from_bytes_and_times() {
        let capture = example();
        let int8 = &capture.products[1];
        // 800 bytes in 0.4 ms are the ceiling, 100 bytes in 0.5 ms are a tenth of that.
        assert_eq!(capture.share_of_ceiling(int8), Some(0.1));
        assert_eq!(capture.speed_up(int8), Some(2.0));
        assert_eq!(capture.predicted_speed_up(int8), Some(4.0));
    }

    fn error_of(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(example()).expect("a capture is JSON");
        change(&mut value);
        Capture::parse(&value.to_string()).expect_err("it is damaged").to_string()
    }

    #[test]
    fn damaged_and_foreign_captures_are_refused_with_the_reason() {
        assert!(error_of(|v| v["schema"] = "x".into()).contains("no capture of `cpu-meters`"));
        assert!(error_of(|v| v["version"] = 2.into()).contains("version 2"));
        let damaged = error_of(|v| v["products"][0]["bytes"] = "many".into());
        assert!(damaged.contains("damaged"), "{damaged}");
        let order = error_of(|v| v["products"][1]["time_ms"]["median"] = 9.into());
        assert!(order.contains("int8 has 100 bytes"), "{order}");
        let alone = error_of(|v| v["ceilings"] = serde_json::json!([]));
        assert!(alone.contains("no ceiling beside it"), "{alone}");
        let no_f32 = error_of(|v| v["products"][0]["format"] = "f33".into());
        assert!(no_f32.contains("no f32 product beside it"), "{no_f32}");
    }
}
