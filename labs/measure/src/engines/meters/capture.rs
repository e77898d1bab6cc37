//! The capture that `cargo book measure` writes: one engine, one machine, several formats.

use crate::capture::{CaptureError, CaptureFile, Spread};
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::engines::capture::{Provenance, Quality};

/// The three meters of one engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    schema: String,
    version: u64,
    /// Where, when and with what.
    pub provenance: Provenance,
    /// What this machine can do at all, measured in the same run.
    pub ceilings: Ceilings,
    /// What every format was asked to do.
    pub plan: Plan,
    /// The formats, the one that the others are compared with first.
    pub runs: Vec<Run>,
}

/// What a machine can do at all, measured with this course's kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Threads.
    pub threads: usize,
    /// Bytes per second of plain reading.
    pub bytes_per_s: Spread,
    /// Operations per second of a large product in `f32`; a multiply-add is two.
    pub f32_operations_per_s: Spread,
    /// Operations per second of a large product of int8 codes.
    pub int8_operations_per_s: Spread,
}

/// The three meters of one format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name, by which tables and predictions look it up.
    pub format: String,
    /// The type of activations and of what is not quantized, where it was chosen.
    pub dtype: Option<String>,
    /// What stopped it, in the engine's words. What was read before is kept.
    pub error: Option<String>,
    /// What the engine tells of how it reads the weights.
    pub facts: Vec<String>,
    /// Throughput: a long prompt is read.
    pub reading: Option<Throughput>,
    /// Throughput: requests at once write, one entry for each number of them.
    pub writing: Vec<Throughput>,
    /// Capacity.
    pub capacity: Option<Capacity>,
    /// Output sanity: how it predicts the passage.
    pub sanity: Option<Quality>,
    /// How it goes on from "The capital of France is".
    pub answer: Option<String>,
}

/// A throughput.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Requests at once.
    pub requests: usize,
    /// Tokens per second: read, or written by all requests together.
    pub tokens_per_s: Spread,
}

/// What fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Bytes of the weights, if they are known.
    pub weight_bytes: Option<u64>,
    /// Bytes of a token's keys and values in all layers, if the engine tells.
    pub token_bytes: Option<f64>,
    /// Tokens of a block.
    pub block_tokens: u64,
    /// Blocks that fit beside the weights.
    pub blocks: u64,
    /// Whether the engine counted them; else they are its bytes a token, divided.
    pub counted: bool,
}

impl Capture {
    /// A capture without a format yet.
    pub fn new(provenance: Provenance, ceilings: Ceilings, plan: Plan) -> Self {
        let (schema, version) = (Self::SCHEMA.into(), Self::VERSION);
        Self { schema, version, provenance, ceilings, plan, runs: Vec::new() }
    }

    /// The run of a format.
    pub fn named(&self, format: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.format == format)
    }
}

impl Run {
    /// The throughput of writing with `requests` at once.
    pub fn writing_of(&self, requests: usize) -> Option<&Throughput> {
        self.writing.iter().find(|throughput| throughput.requests == requests)
    }
}

impl CaptureFile for Capture {
    const SCHEMA: &'static str = "three-meters";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), CaptureError> {
        let Ceilings { bytes_per_s, f32_operations_per_s, int8_operations_per_s, .. } =
            &self.ceilings;
        if ![bytes_per_s, f32_operations_per_s, int8_operations_per_s].iter().all(|s| s.is_sound())
        {
            return Err(CaptureError::Inconsistent("a ceiling is no rate".into()));
        }
        for (index, run) in self.runs.iter().enumerate() {
            let problem = if self.runs[..index].iter().any(|other| other.format == run.format) {
                Some("is there twice")
            } else {
                run.problem()
            };
            if let Some(problem) = problem {
                let text = format!("the format `{}` {problem}", run.format);
                return Err(CaptureError::Inconsistent(text));
            }
        }
        Ok(())
    }
}

impl Run {
    /// What contradicts itself in it.
    fn problem(&self) -> Option<&'static str> {
        let mut speeds = self.reading.iter().chain(&self.writing);
        if speeds.any(|speed| speed.requests == 0 || !speed.tokens_per_s.is_sound()) {
            return Some("has a speed that is none");
        }
        if self.sanity.as_ref().is_some_and(|quality| !quality.is_sound()) {
            return Some("has a perplexity below 1, or a part beyond 1");
        }
        if self.capacity.as_ref().is_some_and(|c| c.weight_bytes == Some(0) || c.block_tokens == 0)
        {
            return Some("has weights or blocks of no size");
        }
        let whole = self.sanity.is_some() && self.capacity.is_some() && self.reading.is_some();
        (self.error.is_none() && !whole).then_some("lacks a meter and has no error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(value: f64) -> Spread {
        Spread { median: value, min: value, max: value, samples: 1 }
    }

    fn example() -> Capture {
        let text = || "test".to_string();
        let provenance = Provenance {
            engine: text(),
            engine_version: text(),
            processor: text(),
            processors: 2,
            instructions: text(),
            system: text(),
            commit: text(),
            date: text(),
            command: text(),
            quick: true,
        };
        let ceilings = Ceilings {
            threads: 2,
            bytes_per_s: spread(2e10),
            f32_operations_per_s: spread(1e11),
            int8_operations_per_s: spread(2e11),
        };
        let mut capture = Capture::new(provenance, ceilings, Plan::new());
        capture.runs.push(Run {
            format: "f32".into(),
            reading: Some(Throughput { requests: 1, tokens_per_s: spread(400.0) }),
            writing: vec![Throughput { requests: 16, tokens_per_s: spread(200.0) }],
            capacity: Some(Capacity {
                weight_bytes: Some(538),
                token_bytes: Some(46_080.0),
                block_tokens: 128,
                blocks: 70,
                counted: false,
            }),
            sanity: Some(Quality {
                perplexity: 22.5,
                standard_error: 0.5,
                chunks: 4,
                same_top: None,
                mean_kl: None,
            }),
            ..Run::default()
        });
        let error = Some("no kernel".into());
        capture.runs.push(Run { format: "w4a16".into(), error, ..Run::default() });
        capture
    }

    #[test]
    fn a_capture_comes_back_as_it_was_written() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("capture.json");
        example().save(&path)?;
        let read = Capture::load(&path)?;
        assert_eq!(read, example());
        let run = read.named("f32").ok_or("it is there")?;
        assert_eq!(run.writing_of(16).map(|speed| speed.tokens_per_s.median), Some(200.0));
        assert_eq!(run.writing_of(64), None);
        Ok(())
    }

    #[test]
    fn a_capture_that_contradicts_itself_names_the_format() {
        type Change = fn(&mut Capture);
        let changes: [(&str, Change); 5] = [
            ("`f32` is there twice", |c| c.runs[1].format = "f32".into()),
            ("`w4a16` lacks a meter", |c| c.runs[1].error = None),
            ("`f32` has a speed", |c| c.runs[0].writing[0].tokens_per_s.min = 0.0),
            ("below 1", |c| c.runs[0].sanity.as_mut().expect("set").perplexity = 0.5),
            ("a ceiling is no rate", |c| c.ceilings.bytes_per_s.median = f64::NAN),
        ];
        for (words, change) in changes {
            let mut capture = example();
            change(&mut capture);
            let error = capture.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
