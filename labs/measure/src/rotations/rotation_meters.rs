//! The body of the capture.

use serde::{Deserialize, Serialize};

use super::plan::{GROUP_SIZE, TOKENS, names};
use crate::capture::{self, Body, CaptureError, Spread};
use crate::subject::Quality;

/// A capture of this program.
pub type Capture = capture::Capture<RotationMeters>;

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
    /// Weights that share a scale in formats of 4 bits.
    pub group_size: u64,
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
pub struct RotationMeters {
    /// In the order of the plan.
    pub runs: Vec<Run>,
    /// What rotations do to the first token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub massive: Vec<Massive>,
    /// What R1 does to the error of rounded weights behind each norm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noise: Vec<Noise>,
    /// What the online rotation costs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speed: Vec<Speed>,
}

/// A run of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name in the plan.
    pub name: String,
    /// The quality of the file, read back.
    pub quality: Quality,
    /// The perplexity on the calibration text behind the tokens that were calibrated on, of draws of the signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// The modules whose inputs have a scale for each token, in a format where others have one in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_token: Vec<String>,
    /// Processes ready to run at the end, by the system's mean over a minute.
    pub load: Option<f64>,
}

/// The largest magnitudes at one place of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Massive {
    /// The rotations, by their letters.
    pub rotations: String,
    /// The decoder layer.
    pub layer: usize,
    /// `residual`, behind the layer, or `down`, the input of `down_proj`.
    pub place: String,
    /// Of the first token of a chunk.
    pub first: f32,
    /// Of all other tokens.
    pub others: f32,
    /// The root mean square of all other tokens' values.
    pub rms_of_others: f32,
}

/// The squared error that equal errors of all weights of a layer make in its outputs, with the weights of the
/// norm fused into the layer and the stream rotated, over the error with neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// The decoder layer.
    pub layer: usize,
    /// The first layer behind the norm.
    pub reader: String,
    /// The mean over the first tokens of chunks.
    pub first: f64,
    /// The mean over all other tokens.
    pub others: f64,
}

/// The speed of a model with and without the online rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// The format of the weights, by its name in the engine.
    pub format: String,
    /// `prefill` of 512 tokens, or `decode` of one sequence.
    pub phase: String,
    /// Whether the inputs of `down_proj` are rotated.
    pub rotated: bool,
    /// Tokens a second.
    pub tokens_per_s: Spread,
    /// Processes ready to run when the turns began.
    pub load: Option<f64>,
}

impl RotationMeters {
    /// The run of this name.
    pub fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// The magnitudes at a place.
    pub fn massive(&self, rotations: &str, layer: usize, place: &str) -> Option<&Massive> {
        self.massive.iter().find(|found| {
            found.rotations == rotations && found.layer == layer && found.place == place
        })
    }

    /// The speed of a format in a phase.
    pub fn speed(&self, format: &str, phase: &str, rotated: bool) -> Option<&Speed> {
        self.speed.iter().find(|found| {
            found.format == format && found.phase == phase && found.rotated == rotated
        })
    }
}

impl Body for RotationMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "rotation-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        let wrong = |name: &str, what: &str| {
            Err(CaptureError::Inconsistent(format!("the run `{name}` {what}")))
        };
        let names = names();
        for run in &self.runs {
            if !names.contains(&run.name) {
                return wrong(&run.name, "is not in the plan");
            }
            if let Some(problem) = run.quality.problem() {
                return wrong(&run.name, problem);
            }
            if run.name.starts_with("W8A8 mixed") == run.per_token.is_empty() {
                return wrong(
                    &run.name,
                    "has modules per token and is not mixed, or the other way",
                );
            }
        }
        if let Some(speed) = self.speed.iter().find(|speed| !speed.tokens_per_s.is_sound()) {
            return wrong(&speed.format, "has a speed that is none");
        }
        if self.noise.iter().any(|noise| !(noise.first > 0.0 && noise.others > 0.0)) {
            return wrong("noise", "has a ratio that is none");
        }
        let is_none = |x: f32| !(x.is_finite() && x > 0.0);
        match self.massive.iter().find(|found| is_none(found.first) || is_none(found.others)) {
            Some(found) => wrong(&found.rotations, "has a magnitude that is none"),
            None => Ok(()),
        }
    }
}
