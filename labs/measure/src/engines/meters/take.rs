//! Reading the three meters of one format.

use std::time::{Duration, Instant};

use crate::capture::Spread;
use quantize_and_eval::kv_available_bytes;

use super::{Capacity, Engine, KvCache, Loaded, MeterError, Plan, Run, Throughput};

/// The prompt that every model continues: the third meter's first look.
const PROMPT: &str = "The capital of France is";

/// Reads the meters of `format`. What fails is in the run, in the engine's words, with all that was
/// read before.
pub fn take(engine: &mut dyn Engine, format: &str, plan: &Plan, say: &mut dyn FnMut(&str)) -> Run {
    let mut run = Run { format: format.into(), ..Run::default() };
    let read = engine.open(format).and_then(|mut loaded| {
        let read = meters(loaded.as_mut(), plan, &mut run, say);
        // Told afterwards: some kernels are chosen by the first request.
        let told = loaded.told();
        (run.dtype, run.facts) = (told.dtype, told.facts);
        read
    });
    run.error = read.err().map(|error| error.to_string());
    run
}

/// Sanity first: a format that is wrong has no speed.
fn meters(
    loaded: &mut dyn Loaded,
    plan: &Plan,
    run: &mut Run,
    say: &mut dyn FnMut(&str),
) -> Result<(), MeterError> {
    let (answer, quality) = loaded.sanity(PROMPT)?;
    say(&format!("{PROMPT:?} -> {answer:?}; perplexity {:.3}", quality.perplexity));
    (run.answer, run.sanity) = (Some(answer), Some(quality));
    let (weight_bytes, kv) = (loaded.weight_bytes()?, loaded.kv_cache()?);
    let capacity = capacity(weight_bytes, kv, plan)?;
    let megabytes = weight_bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6);
    say(&format!("{megabytes:.1} MB of weights, {} KV blocks", capacity.blocks));
    run.capacity = Some(capacity);
    let samples = loaded.read(plan.prompt)?;
    run.reading = Some(Throughput { requests: 1, tokens_per_s: spread(&samples)? });
    say(&format!("reads {:.0} tokens/s", median(&samples)));
    for &requests in &plan.batches {
        let samples = loaded.serve(plan.load(requests))?;
        run.writing.push(Throughput { requests, tokens_per_s: spread(&samples)? });
        say(&format!("{requests} at once: writes {:.1} tokens/s", median(&samples)));
    }
    Ok(())
}

/// What fits beside the weights; by the engine's count where it counts.
fn capacity(weight_bytes: Option<u64>, kv: KvCache, plan: &Plan) -> Result<Capacity, MeterError> {
    let counted = kv.blocks.is_some();
    let (block_tokens, blocks) = match (kv.blocks, weight_bytes, kv.token_bytes) {
        (Some(blocks), ..) => blocks,
        (None, Some(weights), Some(token_bytes)) if token_bytes > 0.0 => {
            let block = plan.block_tokens as f64 * token_bytes;
            (plan.block_tokens, (kv_bytes(plan, weights)? as f64 / block) as u64)
        }
        _ => return Err("the engine tells neither its blocks nor what a token takes".into()),
    };
    Ok(Capacity { weight_bytes, token_bytes: kv.token_bytes, block_tokens, blocks, counted })
}

/// What the plan's device leaves to the KV cache beside weights of so many bytes.
pub(crate) fn kv_bytes(plan: &Plan, weight_bytes: u64) -> Result<u64, MeterError> {
    Ok(kv_available_bytes(plan.device_bytes, plan.utilization, weight_bytes)?)
}

/// Repeats `once`, which says how many tokens it did, as the plan has it, and gives the tokens per
/// second of each time. The first is not kept: it wakes threads and fills caches.
///
/// # Errors
/// If `once` fails.
pub fn rates(
    plan: &Plan,
    mut once: impl FnMut() -> Result<usize, MeterError>,
) -> Result<Vec<f64>, MeterError> {
    once()?;
    let limit = Duration::from_secs_f64(plan.seconds.clamp(0.0, 3600.0));
    let (start, mut samples) = (Instant::now(), Vec::new());
    while samples.is_empty() || samples.len() < plan.repetitions && start.elapsed() < limit {
        let begun = Instant::now();
        let tokens = once()?;
        samples.push(tokens as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(samples)
}

fn spread(samples: &[f64]) -> Result<Spread, MeterError> {
    let spread = Spread::of(samples).filter(Spread::is_sound);
    spread.ok_or_else(|| format!("no speed in the readings {samples:?}").into())
}

fn median(samples: &[f64]) -> f64 {
    Spread::of(samples).map_or(f64::NAN, |spread| spread.median)
}
