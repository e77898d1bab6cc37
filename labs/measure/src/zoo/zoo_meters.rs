//! The body of the capture.

use serde::{Deserialize, Serialize};

use super::plan::{PLAN, TOKENS};
use crate::capture::{self, Body, CaptureError};
use crate::subject::Quality;

/// A capture of this program.
pub type Capture = capture::Capture<ZooMeters>;

/// The program of the course's own files.
pub const COURSE: &str = "this course";

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model.
    pub model: String,
    /// What was scored.
    pub passage: String,
    /// The calibration text.
    pub text: String,
    /// Tokens of the calibration text.
    pub tokens: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let crate::subject::Setup { model, passage, .. } = crate::subject::Setup::default();
        Self { model, passage, text: crate::gptq::texts::PARADISE_LOST.into(), tokens: TOKENS }
    }
}

/// The files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZooMeters {
    /// The course's in the order of the plan, then those of each other program.
    pub runs: Vec<Run>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Format and method.
    pub name: String,
    /// Who made it.
    pub program: String,
    /// The program's version and those of what it stands on; the course's is the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How it was made, folders left out.
    pub command: String,
    /// Bits of a weight of the decoder layers, everything counted.
    pub bits: f64,
    /// On the passage.
    pub quality: Quality,
    /// What making the file took, by the clock.
    pub seconds: f64,
    /// Processes ready to run when the run began, by the system's mean over a minute: 0 is an idle machine.
    pub load: Option<f64>,
    /// The engines that serve the file.
    pub readers: Vec<String>,
    /// Whether a matrix has a type that finds the grid of the input again, so that the file says little about
    /// the method.
    #[serde(default)]
    pub finds_again: bool,
    /// Whether inputs of layers were rounded too when the file was scored.
    #[serde(default)]
    pub activations: bool,
}

impl Run {
    /// Whether the course made the file.
    pub fn is_ours(&self) -> bool {
        self.program == COURSE
    }

    /// One line of the progress.
    pub(super) fn print(&self) {
        let Quality { perplexity, kl_divergence, .. } = self.quality;
        let Self { name, bits, seconds, .. } = self;
        println!(
            "{name}: {bits:.3} bits, KL divergence {kl_divergence:.4}, perplexity {perplexity:.3}, {seconds:.0} s"
        );
    }
}

impl ZooMeters {
    /// The file of this name.
    pub fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// Adds a file in its place, whichever files were made first.
    pub(super) fn add(&mut self, run: Run) {
        self.runs.push(run);
        let place = |run: &Run| {
            let planned = PLAN.iter().position(|asked| asked.name == run.name);
            (planned.unwrap_or(PLAN.len()), run.program.clone(), run.name.clone())
        };
        self.runs.sort_by_key(place);
    }
}

impl Body for ZooMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "zoo-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        for run in &self.runs {
            let wrong = |what: &str| {
                Err(CaptureError::Inconsistent(format!("the file `{}` {what}", run.name)))
            };
            if run.is_ours() && !PLAN.iter().any(|asked| asked.name == run.name) {
                return wrong("is not in the plan");
            }
            if let Some(problem) = run.quality.problem() {
                return wrong(problem);
            }
            if !(1.0..=32.0).contains(&run.bits) {
                return wrong("has bits that no file has");
            }
        }
        Ok(())
    }
}
