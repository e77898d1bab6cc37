//! The meters of `cargo book measure`, as tables, figures and values read them from a capture.

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use measure::engines::{Capture, Run, meter_tables};

/// A number that is taken of every format.
#[derive(Clone, Copy)]
pub enum Meter {
    /// Tokens per second of a prompt.
    Prefill,
    /// Tokens per second of so many requests at once.
    Decode(usize),
    /// Blocks of KV cache that fit.
    Blocks,
}

impl Meter {
    /// The meters of a capture.
    pub fn all(capture: &Capture) -> Vec<Self> {
        let decode = capture.plan.batches.iter().copied().map(Self::Decode);
        [Self::Prefill].into_iter().chain(decode).chain([Self::Blocks]).collect()
    }

    /// As the axis of a figure shows it.
    pub fn name(self) -> String {
        match self {
            Self::Prefill => "reads".into(),
            Self::Decode(1) => "1 writes".into(),
            Self::Decode(requests) => format!("{requests} write"),
            Self::Blocks => "KV blocks".into(),
        }
    }

    /// What it says of a format.
    pub fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Prefill => run.prefill.as_ref().map(|prefill| prefill.tokens_per_s.median),
            Self::Decode(requests) => {
                run.decode_of(requests).map(|decode| decode.tokens_per_s.median)
            }
            Self::Blocks => run.kv_cache.as_ref().map(|cache| cache.blocks as f64),
        }
    }

    /// The prediction of the cost model for a format, from the peaks of the same capture.
    pub fn predicted(self, capture: &Capture, run: &Run) -> Option<f64> {
        let predicted = meter_tables::predicted(capture, run, SMOLLM2_135M)?;
        match self {
            Self::Prefill => Some(predicted.prefill),
            Self::Decode(requests) => {
                let at = capture.plan.batches.iter().position(|&batch| batch == requests)?;
                predicted.decode.get(at).copied()
            }
            Self::Blocks => Some(predicted.blocks as f64),
        }
    }
}

/// What a capture has of a format.
///
/// # Errors
/// If it has none of it.
pub fn run_of<'c>(capture: &'c Capture, format: &str) -> Result<&'c Run> {
    let engine = capture.setup.engine;
    capture.named(format).with_context(|| format!("the capture of {engine} has no {format}"))
}
