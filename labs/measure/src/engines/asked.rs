//! Takes the meters of the plan of one checkpoint in one engine.
//!
//! A checkpoint that an engine refuses is a result, not a mistake. The refusal is recorded in the
//! engine's own words, with all that was read before.

use anyhow::{Result, bail};
use quantize_and_eval::kv_available_bytes;

use super::backend::{Backend, Loaded};
use super::checkpoints::Checkpoint;
use super::engine_meters::{Run, Throughput};
use super::plan::{Meter, Plan};
use crate::capture::Spread;

/// Takes the meters of the plan. `run` holds the facts that are known of the checkpoint before.
pub fn ask(
    backend: &mut dyn Backend,
    checkpoint: &Checkpoint,
    is_original: bool,
    plan: &Plan,
    mut run: Run,
    say: &mut dyn FnMut(&str),
) -> Run {
    let mut asked = || {
        let mut loaded = backend.load(checkpoint, is_original, &mut run)?;
        let taken = take(loaded.as_mut(), plan, &mut run, say);
        loaded.tell(&mut run);
        taken
    };
    let error = asked().err().map(|error| format!("{error:#}"));
    run.ended(error.as_deref());
    run
}

/// Quality first, because a checkpoint that is wrong has no speed.
fn take(
    loaded: &mut dyn Loaded,
    plan: &Plan,
    run: &mut Run,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    if plan.takes(Meter::Quality) {
        for prompt in &plan.prompts {
            let answer = loaded.complete(prompt, plan.answer_tokens)?;
            say(&format!("{prompt:?} -> {answer:?}"));
            run.answers.push(answer);
        }
        let quality = loaded.quality(say)?;
        say(&format!("perplexity {:.4} of {} chunks", quality.perplexity, quality.chunks));
        run.quality = Some(quality);
    }
    if plan.takes(Meter::Capacity) {
        capacity(loaded, plan, run, say)?;
    }
    if plan.takes(Meter::Throughput) {
        let tokens_per_s = Spread::sound(&loaded.prefill(plan.prefill())?)?;
        say(&format!("prefill: {:.0} tokens/s", tokens_per_s.median));
        run.prefill = Some(Throughput { requests: 1, tokens_per_s });
        for &requests in &plan.batches {
            let tokens_per_s = Spread::sound(&loaded.decode(plan.decode(requests))?)?;
            say(&format!("decode, {requests} at once: {:.1} tokens/s", tokens_per_s.median));
            run.decode.push(Throughput { requests, tokens_per_s });
        }
    }
    if plan.takes(Meter::Capacity) {
        run.own_memory = loaded.own_memory();
    }
    Ok(())
}

/// The KV cache that the weights leave room for, by the engine's own count where the engine counts.
fn capacity(
    loaded: &mut dyn Loaded,
    plan: &Plan,
    run: &mut Run,
    say: &mut dyn FnMut(&str),
) -> Result<()> {
    run.weight_bytes = loaded.weight_bytes()?;
    let mut kv = loaded.kv_cache()?;
    if !kv.counted {
        let (Some(weights), Some(token)) = (run.weight_bytes, kv.token_bytes.filter(|&b| b > 0.0))
        else {
            bail!("the engine tells neither its blocks nor what a token takes");
        };
        let block = plan.block_tokens as f64 * token;
        kv.block_tokens = plan.block_tokens;
        kv.blocks = (kv_bytes(plan, weights)? as f64 / block) as u64;
    }
    let megabytes = run.weight_bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6);
    say(&format!("{megabytes:.1} MB of weights, {} KV blocks", kv.blocks));
    run.kv_cache = Some(kv);
    Ok(())
}

/// Bytes that weights of so many bytes leave to the KV cache on the plan's device.
pub(super) fn kv_bytes(plan: &Plan, weight_bytes: u64) -> Result<u64> {
    Ok(kv_available_bytes(plan.device_bytes, plan.utilization, weight_bytes)?)
}
