//! The capture file of `cpu-meters`: what the kernels did on one machine, and on which.
//!
//! Only what was read from a clock or counted from a type is in the file. Rates, shares and
//! speed-ups are computed from it, here, so that a table cannot contradict its capture.

use crate::capture::{self, Body, CaptureError, Spread};
use serde::{Deserialize, Serialize};

/// The machine as far as these meters depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Bytes of the last cache, as the system tells it, or as was assumed (`notes` says so).
    pub cache_bytes: u64,
    /// The instructions that the kernels used.
    pub instructions: String,
    /// The version of `llama-quantize`, where one was run.
    pub llama_quantize: Option<String>,
}

/// Plain reading of a buffer much larger than the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Threads that read.
    pub threads: usize,
    /// Bytes of the buffer.
    pub bytes: u64,
    /// Milliseconds to read it.
    pub time_ms: Spread,
}

impl Bandwidth {
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

/// The capture of a run.
pub type Capture = capture::Capture<CpuMeters>;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuMeters {
    /// Plain reading, one a number of threads.
    #[serde(rename = "ceilings")]
    pub bandwidths: Vec<Bandwidth>,
    /// The products.
    pub products: Vec<Product>,
    /// The encoders.
    pub quantizing: Vec<Quantizing>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl CpuMeters {
    /// Plain reading on so many threads.
    pub fn bandwidth(&self, threads: usize) -> Option<&Bandwidth> {
        self.bandwidths.iter().find(|bandwidth| bandwidth.threads == threads)
    }

    /// The product of a format on so many threads.
    pub fn product(&self, format: &str, threads: usize) -> Option<&Product> {
        self.products.iter().find(|p| p.format == format && p.threads == threads)
    }

    /// The share of the measured bandwidth that a product reached. One that also writes can exceed 1:
    /// a machine may read and write at the same time.
    pub fn share_of_bandwidth(&self, product: &Product) -> Option<f64> {
        Some(product.rate() / self.bandwidth(product.threads)?.best())
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

impl Body for CpuMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "cpu-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        let times = (self.bandwidths.iter().map(|b| ("plain reading", &b.time_ms, b.bytes)))
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
            self.bandwidth(product.threads).ok_or_else(|| missing("plain reading beside it"))?;
            self.product("f32", product.threads).ok_or_else(|| missing("f32 product beside it"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings that nobody took, for these tests alone.
    fn example() -> CpuMeters {
        let mut meters = CpuMeters::default();
        let time = |ms| Spread { median: ms, min: ms / 2.0, max: ms * 2.0, samples: 3 };
        meters.bandwidths.push(Bandwidth { threads: 1, bytes: 800, time_ms: time(0.8) });
        for (format, bytes, ms) in [("f32", 400, 1.0), ("int8", 100, 0.5)] {
            meters.products.push(Product {
                format: format.into(),
                threads: 1,
                out_features: 10,
                in_features: 10,
                matrices: 1,
                bytes,
                time_ms: time(ms),
            });
        }
        meters
    }

    #[test]
    fn shares_and_speed_ups_follow_from_bytes_and_times() {
        let meters = example();
        let int8 = &meters.products[1];
        // 800 bytes in 0.4 ms are the bandwidth, 100 bytes in 0.5 ms are a tenth of that.
        assert_eq!(meters.share_of_bandwidth(int8), Some(0.1));
        assert_eq!(meters.speed_up(int8), Some(2.0));
        assert_eq!(meters.predicted_speed_up(int8), Some(4.0));
    }

    #[test]
    fn meters_that_contradict_themselves_are_refused_with_the_reason() {
        type Change = fn(&mut CpuMeters);
        let changes: [(&str, Change); 4] = [
            ("int8 has 100 bytes", |m| m.products[1].time_ms.median = 9.0),
            ("int8 has 0 bytes", |m| m.products[1].bytes = 0),
            ("no plain reading beside it", |m| m.bandwidths.clear()),
            ("no f32 product beside it", |m| m.products[0].format = "f33".into()),
        ];
        let setup = Setup { cache_bytes: 1, instructions: String::new(), llama_quantize: None };
        for (words, change) in changes {
            let mut meters = example();
            change(&mut meters);
            let error = meters.check(&setup).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_committed_capture_is_read_by_its_version() -> Result<(), CaptureError> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cpu/captures");
        let capture = Capture::load(&folder.join("cpu-epyc-milan-2.json"))?;
        assert_eq!((capture.setup.cache_bytes, capture.provenance.processors), (32 << 20, 2));
        assert!(capture.setup.llama_quantize.is_some_and(|version| version.contains("11434")));
        Ok(())
    }
}
