//! What an engine has to be able to do to be metered.

use super::Load;
use crate::engines::capture::Quality;

/// Tokens that a model writes to show that it can.
pub const WRITTEN: usize = 14;

/// What an engine says when it fails: an error of any engine.
pub type MeterError = Box<dyn std::error::Error + Send + Sync>;

/// An engine, whichever it is.
pub trait Engine {
    /// Loads the model in `format`, one of those that the engine was made with.
    ///
    /// # Errors
    /// If there is no such format, or the engine refuses it.
    fn open(&mut self, format: &str) -> Result<Box<dyn Loaded + '_>, MeterError>;
}

/// A model that an engine has loaded in one format.
pub trait Loaded {
    /// What the engine tells of it besides the meters.
    fn told(&mut self) -> Told;

    /// The capacity meter, its first half: bytes of the weights; `None` if nobody tells.
    ///
    /// # Errors
    /// If the engine fails.
    fn weight_bytes(&mut self) -> Result<Option<u64>, MeterError>;

    /// The capacity meter, its second half: the KV cache that the engine sets up.
    ///
    /// # Errors
    /// If the engine does not tell.
    fn kv_cache(&mut self) -> Result<KvCache, MeterError>;

    /// The throughput meter for prompts: reads one of `tokens` tokens, several times, and gives the
    /// tokens per second of each.
    ///
    /// # Errors
    /// If the engine fails.
    fn read(&mut self, tokens: usize) -> Result<Vec<f64>, MeterError>;

    /// The throughput meter under a load: runs its requests at once, several times, and gives the
    /// tokens written per second of wall time, from the first request sent to the last answer, of
    /// each.
    ///
    /// # Errors
    /// If the engine fails.
    fn serve(&mut self, load: Load) -> Result<Vec<f64>, MeterError>;

    /// The meter of output sanity: how it continues `prompt` by [`WRITTEN`] tokens, and how it
    /// predicts the passage.
    ///
    /// # Errors
    /// If the engine fails.
    fn sanity(&mut self, prompt: &str) -> Result<(String, Quality), MeterError>;
}

/// What an engine tells of a model besides the meters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The type of activations and of what is not quantized.
    pub dtype: Option<String>,
    /// Lines that say how it reads the weights.
    pub facts: Vec<String>,
}

/// The KV cache that an engine has set up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KvCache {
    /// Bytes of a token, keys and values of all layers, if the engine tells.
    pub token_bytes: Option<f64>,
    /// Blocks, if the engine counts them: of how many tokens, and how many there are.
    pub blocks: Option<(u64, u64)>,
}
