//! Numbers of the GPU captures inside sentences: linear layers of Llama-3.1-8B.

use anyhow::{Context, Result};
use kit::table::{percent, times};

use super::Value;
use crate::tables::captured::{H200, LLAMA, of_gpu, rate};

/// Tokens in a step that stand for reading a prompt.
const PROMPT: usize = 2048;

/// Tokens a second of `format` on `gpu`, with `tokens` in a step.
fn speed(gpu: &str, format: &str, tokens: usize) -> Result<f64> {
    let speed = rate(&of_gpu(gpu)?, LLAMA, format, tokens);
    speed.with_context(|| format!("{format} has no step of {tokens} on the {gpu}"))
}

/// The speed of a format as a multiple of that of bf16.
fn gain(gpu: &str, format: &str, tokens: usize, meaning: &'static str) -> Result<Value> {
    let times_bf16 = speed(gpu, format, tokens)? / speed(gpu, "bf16", tokens)?;
    Ok(Value { text: times(times_bf16), meaning })
}

/// One token, four bits.
pub fn w4a16_one() -> Result<Value> {
    gain(H200, "w4a16-g128", 1, "on an H200, one token a step in W4A16 as a multiple of bf16 is")
}

/// The same on a card with less bandwidth.
pub fn w4a16_one_h100() -> Result<Value> {
    gain("H100", "w4a16-g128", 1, "on an H100, one token a step in W4A16 as a multiple of bf16 is")
}

/// 64 tokens, four bits.
pub fn w4a16_64() -> Result<Value> {
    gain(H200, "w4a16-g128", 64, "on an H200, 64 tokens a step in W4A16 as a multiple of bf16 is")
}

/// 64 tokens, FP8.
pub fn fp8_64() -> Result<Value> {
    gain(H200, "fp8-tensor", 64, "on an H200, 64 tokens a step in FP8 as a multiple of bf16 is")
}

/// A prompt, FP8 with a scale per token and channel.
pub fn fp8_prompt() -> Result<Value> {
    gain(H200, "fp8-channel", PROMPT, "on an H200, a prompt in FP8 as a multiple of bf16 is")
}

/// A prompt, int8.
pub fn int8_prompt() -> Result<Value> {
    gain(H200, "int8", PROMPT, "on an H200, a prompt in int8 as a multiple of bf16 is")
}

/// A prompt, four bits.
pub fn w4a16_prompt() -> Result<Value> {
    gain(H200, "w4a16-g128", PROMPT, "on an H200, a prompt in W4A16 as a multiple of bf16 is")
}

/// The measured bandwidth of one card over that of the other.
pub fn copy_cards() -> Result<Value> {
    let copy = |gpu: &str| -> Result<f64> {
        let capture = of_gpu(gpu)?;
        let mut peaks = capture.peaks();
        let copy = peaks.find(|peak| peak.name == "copy").context("a copy was timed")?;
        Ok(copy.rate.max)
    };
    let text = times(copy(H200)? / copy("H100")?);
    Ok(Value { text, meaning: "the bandwidth of the H200 over that of the H100 is" })
}

/// The same of a format with one token in a step.
fn cards(format: &str, meaning: &'static str) -> Result<Value> {
    Ok(Value { text: times(speed(H200, format, 1)? / speed("H100", format, 1)?), meaning })
}

/// bf16 on one card over the other.
pub fn bf16_cards() -> Result<Value> {
    cards("bf16", "one token a step in bf16 is faster on the H200 than on the H100 by")
}

/// Four bits on one card over the other.
pub fn w4a16_cards() -> Result<Value> {
    cards("w4a16-g128", "one token a step in W4A16 is faster on the H200 than on the H100 by")
}

/// The part of its floor's speed that one token in a format reaches.
fn of_floor(format: &str, meaning: &'static str) -> Result<Value> {
    let capture = of_gpu(H200)?;
    let step = capture.step(LLAMA, format, 1).context("one token was timed")?;
    Ok(Value { text: percent(step.bound_ms / step.time_ms.median), meaning })
}

/// Nothing quantized.
pub fn bf16_of_floor() -> Result<Value> {
    of_floor("bf16", "on an H200, one token a step in bf16 reaches of its floor's speed")
}

/// Four bits.
pub fn w4a16_of_floor() -> Result<Value> {
    of_floor("w4a16-g128", "on an H200, one token a step in W4A16 reaches of its floor's speed")
}

/// The part of a small model's int8 step that goes into quantizing activations.
pub fn small_int8_quantizing() -> Result<Value> {
    let capture = of_gpu(H200)?;
    let step = capture.step("qwen2.5-0.5b", "int8", 1).context("one token was timed")?;
    let quantizing = step.activation_ms.context("its quantizing was timed apart")?;
    Ok(Value {
        text: percent(quantizing.median / step.time_ms.median),
        meaning: "on an H200, of an int8 step of a 0.5B model quantizing the activations takes",
    })
}

/// int8 against bf16 in the small model.
pub fn small_int8_one() -> Result<Value> {
    let capture = of_gpu(H200)?;
    let speed = |format| rate(&capture, "qwen2.5-0.5b", format, 1).context("one token was timed");
    Ok(Value {
        text: times(speed("int8")? / speed("bf16")?),
        meaning: "on an H200, one token a step of a 0.5B model in int8 as a multiple of bf16 is",
    })
}
