//! Numbers of the three meters inside sentences, from the captures of `cargo book measure`.

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use kit::table::{percent, times};
use measure::engines::{Capture, Engine, Run, meter_tables};

use super::Value;
use crate::tables::measured::committed;

const OURS: Engine = Engine::Course;
const VLLM: Engine = Engine::Vllm;
/// Requests at once that stand for many.
const MANY: usize = 64;
/// The same in vLLM.
const VLLM_MANY: usize = 16;

fn run<'c>(capture: &'c Capture, format: &str) -> Result<&'c Run> {
    let engine = capture.setup.engine;
    capture.named(format).with_context(|| format!("the capture of {engine} has no {format}"))
}

fn reads(run: &Run) -> Option<f64> {
    run.prefill.as_ref().map(|prefill| prefill.tokens_per_s.median)
}

fn writes(run: &Run, requests: usize) -> Option<f64> {
    run.decode_of(requests).map(|decode| decode.tokens_per_s.median)
}

/// What a meter says of one format as a multiple of what it says of another.
fn gain(
    engine: Engine,
    formats: [&str; 2],
    meter: impl Fn(&Run) -> Option<f64>,
    meaning: &'static str,
) -> Result<Value> {
    let capture = committed(engine)?;
    let of = |format| meter(run(&capture, format)?).with_context(|| format!("{format} is timed"));
    Ok(Value { text: times(of(formats[0])? / of(formats[1])?), meaning })
}

/// Activations in 8 bits, reading.
pub fn w8a8_reads() -> Result<Value> {
    gain(OURS, ["w8a8", "w8a16"], reads, "in ours, w8a8 reads a prompt faster than w8a16 by")
}

/// Weights alone in 4 bits, reading.
pub fn w4a16_reads() -> Result<Value> {
    gain(OURS, ["w4a16", "f32"], reads, "in ours, the rate of w4a16 over that of f32 in reading is")
}

/// Four bits over eight, one request.
pub fn w4a8_one() -> Result<Value> {
    let one = |run: &Run| writes(run, 1);
    gain(OURS, ["w4a8", "w8a8"], one, "in ours, one request writes faster in w4a8 than w8a8 by")
}

/// Four bits over nothing, one request.
pub fn w4a16_one() -> Result<Value> {
    let one = |run: &Run| writes(run, 1);
    gain(OURS, ["w4a16", "f32"], one, "in ours, one request writes faster in w4a16 than f32 by")
}

/// Eight bits over four, many requests.
pub fn w8a8_many() -> Result<Value> {
    let many = |run: &Run| writes(run, MANY);
    gain(OURS, ["w8a8", "w4a16"], many, "in ours, 64 requests write faster in w8a8 than w4a16 by")
}

/// vLLM, one request in four bits.
pub fn vllm_w4a16_one() -> Result<Value> {
    let one = |run: &Run| writes(run, 1);
    gain(
        VLLM,
        ["w4a16", "none"],
        one,
        "in vLLM, one request writes in w4a16 as a multiple of 16 bits",
    )
}

/// vLLM, reading in four bits.
pub fn vllm_w4a16_reads() -> Result<Value> {
    gain(VLLM, ["w4a16", "none"], reads, "in vLLM, w4a16 reads as a multiple of 16 bits")
}

/// vLLM, reading.
pub fn vllm_w8a8_reads() -> Result<Value> {
    gain(VLLM, ["w8a8", "none"], reads, "in vLLM, w8a8 reads as a multiple of 16 bits")
}

/// vLLM, many requests.
pub fn vllm_w8a8_many() -> Result<Value> {
    let many = |run: &Run| writes(run, VLLM_MANY);
    gain(
        VLLM,
        ["w8a8", "none"],
        many,
        "in vLLM, 16 requests write in w8a8 as a multiple of 16 bits",
    )
}

/// The part of its ceiling that one request of a format reaches in ours.
fn of_ceiling(format: &str, meaning: &'static str) -> Result<Value> {
    let capture = committed(OURS)?;
    let run = run(&capture, format)?;
    let at = capture.plan.batches.iter().position(|&requests| requests == 1);
    let predicted =
        meter_tables::predicted(&capture, run, SMOLLM2_135M).context("it is predicted")?;
    let ceiling = at.and_then(|at| predicted.decode.get(at)).context("one request is timed")?;
    let measured = writes(run, 1).context("one request is timed")?;
    Ok(Value { text: percent(measured / ceiling), meaning })
}

/// Four bits.
pub fn one_of_ceiling() -> Result<Value> {
    of_ceiling("w4a8", "in ours, one request in w4a8 reaches of its ceiling")
}

/// Nothing quantized.
pub fn f32_one_of_ceiling() -> Result<Value> {
    of_ceiling("f32", "in ours, one request in f32 reaches of its ceiling")
}

/// Blocks of 4-bit weights over those of none.
pub fn blocks() -> Result<Value> {
    let blocks = |run: &Run| run.kv_cache.as_ref().map(|kv| kv.blocks as f64);
    gain(OURS, ["w4a16", "f32"], blocks, "in ours, w4a16 leaves more blocks than f32 by")
}

fn nats(format: &str, meaning: &'static str) -> Result<Value> {
    let capture = committed(OURS)?;
    let quality = run(&capture, format)?.quality.as_ref();
    let nats = quality.and_then(|quality| quality.kl_divergence).context("it was compared")?;
    Ok(Value { text: format!("{nats:.4} nats"), meaning })
}

/// Weights alone.
pub fn w8a16_nats() -> Result<Value> {
    nats("w8a16", "in ours, w8a16 diverges from the original by")
}

/// Both.
pub fn w8a8_nats() -> Result<Value> {
    nats("w8a8", "in ours, w8a8 diverges from the original by")
}
