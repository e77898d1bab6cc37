//! Numbers of the GPU captures inside sentences: linear layers of Llama-3.1-8B.

use anyhow::{Context, Result};
use kit::table::{percent, times};
use measure::gpu::Capture;

use super::{Value, number};
use crate::Entry;
use crate::inputs::{GPU, Gpus};
use crate::tables::captured::{H200, LLAMA, rate};

/// Tokens in a step that stand for the prefill of a prompt.
const PROMPT: usize = 2048;
/// The smaller of the two models, as the captures name it.
const SMALL: &str = "qwen2.5-0.5b";

/// Speeds as a multiple of bf16's: card, format, tokens in a step.
const GAINS: [(&str, &str, &str, usize); 7] = [
    ("gpu.w4a16_one", H200, "w4a16-g128", 1),
    ("gpu.w4a16_one_h100", "H100", "w4a16-g128", 1),
    ("gpu.w4a16_64", H200, "w4a16-g128", 64),
    ("gpu.fp8_64", H200, "fp8-tensor", 64),
    ("gpu.fp8_prompt", H200, "fp8-channel", PROMPT),
    ("gpu.int8_prompt", H200, "int8", PROMPT),
    ("gpu.w4a16_prompt", H200, "w4a16-g128", PROMPT),
];

/// Formats of which one card's speed is compared with the other's, one token in a step.
const CARDS: [(&str, &str); 2] = [("gpu.bf16_cards", "bf16"), ("gpu.w4a16_cards", "w4a16-g128")];

/// Formats whose speed at one token is compared with the roofline bound.
const OF_BOUND: [(&str, &str); 2] =
    [("gpu.bf16_of_bound", "bf16"), ("gpu.w4a16_of_bound", "w4a16-g128")];

/// Every value of this kind.
pub fn all() -> Vec<Entry<Value>> {
    let gains = GAINS.map(|(name, card, format, tokens)| {
        let what = match tokens {
            1 => "one token a step".to_string(),
            PROMPT => "a prompt".into(),
            tokens => format!("{tokens} tokens a step"),
        };
        number(name, &GPU, times, move |of| gain(of.of(card)?, LLAMA, format, tokens))
            .means(format!("on an {card}, {what} in {} as a multiple of bf16 is", shown(format)))
    });
    let copies =
        number("gpu.copy_cards", &GPU, times, |of| Ok(copy(of, H200)? / copy(of, "H100")?))
            .means("the bandwidth of the H200 over that of the H100 is");
    let cards = CARDS.map(|(name, format)| {
        number(name, &GPU, times, move |of| {
            Ok(speed(of.of(H200)?, LLAMA, format, 1)? / speed(of.of("H100")?, LLAMA, format, 1)?)
        })
        .means(format!(
            "one token a step in {} is faster on the H200 than on the H100 by",
            shown(format)
        ))
    });
    let of_bound = OF_BOUND.map(|(name, format)| {
        number(name, &GPU, percent, move |of| {
            let step = of.of(H200)?.step(LLAMA, format, 1).context("one token was timed")?;
            Ok(step.bound_ms / step.time_ms.median)
        })
        .means(format!(
            "on an H200, one token a step in {} reaches of the speed of its roofline bound",
            shown(format)
        ))
    });
    let small = [
        number("gpu.small_int8_quantizing", &GPU, percent, |of| {
            let step = of.of(H200)?.step(SMALL, "int8", 1).context("one token was timed")?;
            let quantizing = step.activation_ms.context("its quantizing was timed apart")?;
            Ok(quantizing.median / step.time_ms.median)
        })
        .means("on an H200, of an int8 step of a 0.5B model quantizing the activations takes"),
        number("gpu.small_int8_one", &GPU, times, |of| gain(of.of(H200)?, SMALL, "int8", 1))
            .means("on an H200, one token a step of a 0.5B model in int8 as a multiple of bf16 is"),
    ];
    gains.into_iter().chain([copies]).chain(cards).chain(of_bound).chain(small).collect()
}

/// A format as a sentence names it.
fn shown(format: &str) -> &str {
    match format {
        "w4a16-g128" => "W4A16",
        "fp8-tensor" | "fp8-channel" => "FP8",
        other => other,
    }
}

/// Tokens a second of `format`, with `tokens` in a step.
fn speed(capture: &Capture, model: &str, format: &str, tokens: usize) -> Result<f64> {
    rate(capture, model, format, tokens).with_context(|| {
        let gpu = &capture.setup.gpu;
        format!("{format} has no step of {tokens} on the {gpu}")
    })
}

/// The speed of a format as a multiple of that of bf16.
fn gain(capture: &Capture, model: &str, format: &str, tokens: usize) -> Result<f64> {
    Ok(speed(capture, model, format, tokens)? / speed(capture, model, "bf16", tokens)?)
}

/// The measured bandwidth of a card.
fn copy(of: &Gpus, card: &str) -> Result<f64> {
    let mut peaks = of.of(card)?.peaks();
    Ok(peaks.find(|peak| peak.name == "copy").context("a copy was timed")?.rate.max)
}
