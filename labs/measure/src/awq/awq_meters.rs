//! The body of the capture.

use serde::{Deserialize, Serialize};

use super::plan::{GROUP_SIZE, TOKENS, named};
use crate::capture::{self, Body, CaptureError};
use crate::gptq::Other;
use crate::subject::Quality;

/// A capture of this program.
pub type Capture = capture::Capture<AwqMeters>;

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model.
    pub model: String,
    /// What was scored.
    pub passage: String,
    /// The calibration text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Weights that share a scale.
    pub group_size: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            model: "SmolLM2-135M-Instruct.Q4_1.gguf".into(),
            passage: "labs/model/passage/alice.txt".into(),
            text: crate::gptq::texts::PARADISE_LOST.into(),
            tokens: TOKENS,
            group_size: GROUP_SIZE,
        }
    }
}

/// The runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AwqMeters {
    /// In the order of the plan.
    pub runs: Vec<Run>,
    /// One channel in a hundred in 16 bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_percent: Vec<Kept>,
    /// AWQ by another program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Other>,
}

/// The nearest codes, with one channel in a hundred of each projection's inputs in 16 bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Which channels.
    pub chosen_by: String,
    /// The quality of the model.
    pub quality: Quality,
}

impl AwqMeters {
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
    /// What calibration, search and rounding took.
    pub seconds: f64,
    /// Processes ready to run when the run began, by the system's mean over a minute: 0 is an idle machine.
    pub load: Option<f64>,
    /// The quality of the first file, read back.
    pub quality: Quality,
    /// The files, each read back.
    pub files: Vec<File>,
    /// What the search found for each input of each decoder layer, where scales were searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// The layout, by its name in the registry.
    pub layout: String,
    /// Bytes of all weights.
    pub bytes: u64,
    /// Whether each tensor is read back to the same bits as from the first file, whose quality is measured.
    pub same_values: bool,
}

/// What the search found for one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The first layer that reads the input.
    pub layer: String,
    /// The ratio of the best candidate.
    pub ratio: f32,
    /// Its error over the error without scales, to four digits.
    pub left: f64,
}

impl Body for AwqMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "awq-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        for run in &self.runs {
            let wrong = |what: &str| {
                Err(CaptureError::Inconsistent(format!("the run `{}` {what}", run.name)))
            };
            let Some(asked) = named(&run.name) else { return wrong("is not in the plan") };
            if let Some(problem) = run.quality.problem() {
                return wrong(problem);
            }
            if run.files.is_empty() {
                return wrong("has no file");
            }
            if run.choices.is_empty() == asked.scales.is_some() {
                return wrong("has choices of scales and searched none, or the other way round");
            }
            if run.choices.iter().any(|choice| choice.left.is_nan() || choice.left > 1.0) {
                return wrong("has a choice that is worse than no scales");
            }
        }
        for kept in &self.one_percent {
            if let Some(problem) = kept.quality.problem() {
                let problem = format!("one percent, {} {problem}", kept.chosen_by);
                return Err(CaptureError::Inconsistent(problem));
            }
        }
        Ok(())
    }
}
