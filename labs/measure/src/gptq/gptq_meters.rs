//! The body of the capture.

use serde::{Deserialize, Serialize};

use super::plan::named;
use crate::capture::{self, Body, CaptureError};
use crate::subject::{Quality, Setup};

/// A capture of this program.
pub type Capture = capture::Capture<GptqMeters>;

/// The runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GptqMeters {
    /// In the order of the plan.
    pub runs: Vec<Run>,
    /// The same work by other programs.
    #[serde(default)]
    pub others: Vec<Other>,
}

impl GptqMeters {
    /// The run of this name.
    pub fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }
}

/// A run of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name in the plan.
    pub name: String,
    /// The calibration text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Weights that share a scale.
    pub group_size: u64,
    /// How codes were chosen.
    pub choices: Choices,
    /// What calibration and rounding took, by the clock.
    pub seconds: f64,
    /// What all threads took together, which other programs on the machine change little. Old runs and
    /// systems other than Linux do not tell.
    #[serde(default)]
    pub processor_seconds: Option<f64>,
    /// Processes ready to run when the run began, by the system's mean over a minute: 0 is an idle machine.
    pub load: Option<f64>,
    /// The quality of the rounded model.
    pub quality: Quality,
    /// The loss of each matrix, where it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
}

/// How codes were chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// The smallest and the largest code.
    pub codes: [i8; 2],
    /// The number that the absmax of a group is divided by.
    pub divisor: f32,
    /// `static`, `fresh` or `searched`.
    pub scales: String,
    /// Whether columns with large inputs were rounded first.
    pub act_order: bool,
    /// The share of the mean of the diagonal that was added to it.
    pub damping: f64,
    /// Whether each Hessian saw the rounded projections before it.
    pub sequential: bool,
    /// How often scales and codes were fitted again.
    pub sweeps: usize,
}

impl Choices {
    /// The choices behind options for codes of so many bits.
    pub fn of(options: &quantizer::Options, bits: u32) -> Self {
        let quantizer::Options { ends, scales, act_order, damping, sequential, sweeps } = *options;
        let codes = ends.codes(bits);
        let (codes, divisor) = ([*codes.start(), *codes.end()], ends.divisor(bits));
        let scales = format!("{scales:?}").to_lowercase();
        Self { codes, divisor, scales, act_order, damping, sequential, sweeps }
    }
}

/// The loss of a matrix: `tr(D H D^T) / tr(W H W^T)`, where `D` is the error of its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The name of the weight.
    pub name: String,
    /// With the nearest codes.
    pub nearest: f64,
    /// With the codes that were chosen.
    pub chosen: f64,
}

/// The same work by another program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Other {
    /// The program.
    pub name: String,
    /// Its version and those of what it stands on.
    pub version: String,
    /// The calibration text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// What calibration and rounding took, by the clock.
    pub seconds: f64,
    /// What all threads took together, which other programs on the machine change little. Old runs and
    /// systems other than Linux do not tell.
    #[serde(default)]
    pub processor_seconds: Option<f64>,
    /// As [`Run::load`].
    pub load: Option<f64>,
    /// On the passage, by this course's program.
    pub perplexity: Option<f64>,
    /// When, UTC.
    pub date: String,
}

impl Body for GptqMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "gptq-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        for run in &self.runs {
            let wrong = |what: &str| {
                Err(CaptureError::Inconsistent(format!("the run `{}` {what}", run.name)))
            };
            if named(&run.name).is_none() {
                return wrong("is not in the plan");
            }
            if let Some(problem) = run.quality.problem() {
                return wrong(problem);
            }
            if run.tokens == 0 {
                return wrong("has no token");
            }
        }
        Ok(())
    }
}
