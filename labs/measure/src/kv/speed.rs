//! Decode beside caches of several lengths.

use std::time::Instant;

use anyhow::Result;
use model::{Cache, CacheFormat, Model};

use super::{Decode, with_cache};
use crate::capture::Spread;
use crate::engines::Load;
use crate::gptq::load;

/// Tokens in the cache.
pub const CONTEXTS: [usize; 4] = [128, 512, 2048, 7936];
/// Tokens that are generated for one reading. The cache keeps them, so the last reading is of more.
const STEPS: usize = 16;
/// Readings of each format.
const READINGS: usize = 7;

/// The formats beside `context` tokens. A reading of each is taken before the next reading of any, because
/// a machine that slows down then slows all of them down.
///
/// # Errors
/// If the model fails.
pub fn run(model: &Model, formats: &[&'static CacheFormat], context: usize) -> Result<Vec<Decode>> {
    let prompt = Load { requests: 1, prompt: context, generated: 1 };
    let prompt = prompt.prompt_of(0, model.config().vocab_size);
    let mut ready = Vec::new();
    for &format in formats {
        let model = with_cache(model, format)?;
        let mut cache = Cache::new(model.config(), context + (1 + READINGS) * STEPS)?;
        model.hidden(&prompt, &mut cache, &mut |_, _| ())?;
        ready.push((format, model, [cache], Vec::new()));
    }
    let load = load();
    // The first turn is not kept, because it wakes threads and fills caches.
    for turn in 0..=READINGS {
        for (_, model, cache, readings) in &mut ready {
            let start = Instant::now();
            for step in 0..STEPS {
                model.step(&prompt[step..=step], cache)?;
            }
            if turn > 0 {
                readings.push(STEPS as f64 / start.elapsed().as_secs_f64());
            }
        }
    }
    let decode = |(format, _, _, readings): (&CacheFormat, _, _, Vec<f64>)| {
        let tokens_per_s = Spread::sound(&readings)?;
        Ok(Decode { format: format.name.into(), context, tokens_per_s, load })
    };
    ready.into_iter().map(decode).collect()
}
