//! What an engine has to be able to do to be measured.

use anyhow::Result;

use super::checkpoints::Checkpoint;
use super::engine_meters::{KvCache, OwnMemory, Quality, Run};
use super::plan::Load;

/// An engine that can be asked.
pub trait Backend {
    /// Loads a checkpoint; the others are compared with the one that `is_original`. What is known of
    /// the loading goes into `run`, also where it fails.
    ///
    /// # Errors
    /// If there is no such checkpoint, or the engine refuses it.
    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        is_original: bool,
        run: &mut Run,
    ) -> Result<Box<dyn Loaded + '_>>;
}

/// A checkpoint that an engine has loaded. Every method fails if the engine does.
pub trait Loaded {
    /// How the engine continues `prompt`, the likeliest token each time, `tokens` at most.
    fn complete(&mut self, prompt: &str, tokens: usize) -> Result<String>;

    /// The meter of quality: how the passage is predicted.
    fn quality(&mut self, say: &mut dyn FnMut(&str)) -> Result<Quality>;

    /// The capacity meter, its first half: bytes of the weights; `None` if the engine does not tell.
    fn weight_bytes(&mut self) -> Result<Option<u64>>;

    /// The capacity meter, its second half: the KV cache that the engine sets up. Blocks that the
    /// engine does not count are 0.
    fn kv_cache(&mut self) -> Result<KvCache>;

    /// The throughput meter of prefill: tokens per second of the prompt of `load`, one request, one
    /// number for each time.
    fn prefill(&mut self, load: Load) -> Result<Vec<f64>>;

    /// The throughput meter of decode: all requests of `load` at once. Tokens generated per second of
    /// wall time, from the first request sent to the last answer, one number for each time.
    fn decode(&mut self, load: Load) -> Result<Vec<f64>>;

    /// What tells of the engine's own memory; `None` if nothing does. Asked after the requests, because
    /// some buffers come with the first one.
    fn own_memory(&mut self) -> Option<OwnMemory> {
        None
    }

    /// Writes into `run` how the engine reads the weights. Asked last, because some kernels are chosen
    /// by the first request.
    fn tell(&mut self, run: &mut Run);
}
