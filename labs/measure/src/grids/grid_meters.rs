//! The body of the capture.

use serde::{Deserialize, Serialize};

use super::plan;
use crate::capture::{self, Body, CaptureError};
use crate::subject::{Quality, Setup};

/// A capture of this program.
pub type Capture = capture::Capture<GridMeters>;

/// The runs, in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GridMeters {
    /// One for each format.
    pub runs: Vec<Run>,
}

/// The model in a format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The format, by its name in the plan.
    pub format: String,
    /// The tokens of calibration, of which nearest codes need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_tokens: Option<usize>,
    /// The error of all weights relative to their norm.
    pub weight_error: f64,
    /// The quality of the model.
    pub quality: Quality,
}

impl GridMeters {
    /// The run of this format.
    pub fn run(&self, format: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.format == format)
    }
}

impl Body for GridMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "grid-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        for run in &self.runs {
            let wrong = |what: &str| {
                let problem = format!("the run `{}` {what}", run.format);
                Err(CaptureError::Inconsistent(problem))
            };
            if plan::place(&run.format).is_none() {
                return wrong("is not in the plan");
            }
            if let Some(problem) = run.quality.problem() {
                return wrong(problem);
            }
            if !(0.0..1.0).contains(&run.weight_error) {
                return wrong("has a weight error outside 0 to 1");
            }
        }
        Ok(())
    }
}
