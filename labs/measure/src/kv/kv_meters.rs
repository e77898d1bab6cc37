//! The body of the capture.

use model::CacheFormat;
use serde::{Deserialize, Serialize};

use crate::capture::{self, Body, CaptureError, Spread};
use crate::subject::Quality;

/// A capture of this program.
pub type Capture = capture::Capture<KvMeters>;

/// Tokens of a chunk of the passage: the course's usual ones, and a chunk in which a window of 128 tokens
/// is a small part.
pub const CHUNKS: [usize; 2] = [512, 2048];

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model.
    pub model: String,
    /// What was scored.
    pub passage: String,
    /// The tokens of which bytes are counted.
    pub capacity: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            model: "SmolLM2-135M-Instruct.Q4_1.gguf".into(),
            passage: "labs/model/passage/alice.txt".into(),
            capacity: 2048,
        }
    }
}

/// The runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KvMeters {
    /// A format each, in the order of [`CacheFormat::ALL`].
    pub runs: Vec<Run>,
    /// Decode beside caches of several lengths; the formats of one length took turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decode: Vec<Decode>,
    /// Whether words are found again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retrieval: Vec<Retrieval>,
}

/// The quality of a format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub format: String,
    /// Bytes of a token in a cache that is full, all layers.
    pub token_bytes: f64,
    /// On the passage in chunks of each length.
    pub quality: Vec<ChunkQuality>,
}

/// The quality on a passage that was cut in one way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkQuality {
    /// Tokens of a chunk, of which the second half is scored.
    pub chunk: usize,
    /// The quality.
    pub quality: Quality,
}

/// The speed of one sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decode {
    /// The format of the cache.
    pub format: String,
    /// Tokens in the cache before.
    pub context: usize,
    /// Tokens a second.
    pub tokens_per_s: Spread,
    /// Processes ready to run when the turns began.
    pub load: Option<f64>,
}

/// A text that begins again in its middle, and the model's guesses at how it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// The format of the cache.
    pub format: String,
    /// Tokens of the text.
    pub context: usize,
    /// Guesses that are the text's next token.
    pub right: usize,
    /// Guesses.
    pub asked: usize,
}

impl KvMeters {
    /// The run of this format.
    pub fn run(&self, format: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.format == format)
    }

    /// The speed of a format beside so many tokens.
    pub fn decode(&self, format: &str, context: usize) -> Option<&Decode> {
        self.decode.iter().find(|run| run.format == format && run.context == context)
    }

    /// The words that a format finds again among so many tokens.
    pub fn retrieval(&self, format: &str, context: usize) -> Option<&Retrieval> {
        self.retrieval.iter().find(|run| run.format == format && run.context == context)
    }
}

impl Run {
    /// The quality in chunks of so many tokens.
    pub fn quality(&self, chunk: usize) -> Option<&Quality> {
        let mut all = self.quality.iter();
        all.find(|quality| quality.chunk == chunk).map(|quality| &quality.quality)
    }
}

impl Body for KvMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "kv-meters";

    fn check(&self, _: &Setup) -> Result<(), CaptureError> {
        let wrong = |format: &str, what: &str| {
            Err(CaptureError::Inconsistent(format!("the cache format `{format}` {what}")))
        };
        let names = self.runs.iter().map(|run| &run.format);
        let names = names.chain(self.decode.iter().map(|run| &run.format));
        for name in names.chain(self.retrieval.iter().map(|run| &run.format)) {
            if let Err(error) = CacheFormat::named(name) {
                return Err(CaptureError::Inconsistent(error.to_string()));
            }
        }
        for run in &self.runs {
            for quality in &run.quality {
                if let Some(problem) = quality.quality.problem() {
                    return wrong(&run.format, problem);
                }
            }
            if !(run.token_bytes.is_finite() && run.token_bytes > 0.0) {
                return wrong(&run.format, "has no bytes");
            }
        }
        if let Some(run) = self.decode.iter().find(|run| !run.tokens_per_s.is_sound()) {
            return wrong(&run.format, "has a speed that is none");
        }
        match self.retrieval.iter().find(|run| run.right > run.asked || run.asked == 0) {
            Some(run) => wrong(&run.format, "has more right guesses than guesses, or none"),
            None => Ok(()),
        }
    }
}
