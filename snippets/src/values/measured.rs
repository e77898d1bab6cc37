//! Numbers of the three meters inside sentences, from the captures of `cargo book measure`.

use anyhow::{Context, Result};
use kit::table::{percent, times};
use measure::engines::Capture;

use super::{Value, number};
use crate::Entry;
use crate::inputs::{Engines, METERS};
use crate::meter::Meter::{self, Blocks, Decode, Prefill};
use crate::meter::run_of;

/// The capture of an engine.
type Of = fn(&Engines) -> &Capture;
const OURS: Of = |of| &of.ours;
const VLLM: Of = |of| &of.vllm;

/// Every value of this kind.
pub fn all() -> Vec<Entry<Value>> {
    vec![
        gain("measured.w8a8_reads", OURS, ["w8a8", "w8a16"], Prefill)
            .means("in ours, w8a8 reads a prompt faster than w8a16 by"),
        gain("measured.w4a16_reads", OURS, ["w4a16", "f32"], Prefill)
            .means("in ours, the rate of w4a16 over that of f32 in reading is"),
        gain("measured.w4a8_one", OURS, ["w4a8", "w8a8"], Decode(1))
            .means("in ours, one request writes faster in w4a8 than w8a8 by"),
        gain("measured.w8a8_many", OURS, ["w8a8", "w4a16"], Decode(64))
            .means("in ours, 64 requests write faster in w8a8 than w4a16 by"),
        gain("measured.w4a16_one", OURS, ["w4a16", "f32"], Decode(1))
            .means("in ours, one request writes faster in w4a16 than f32 by"),
        share_of_bound("measured.one_of_bound", "w4a8")
            .means("in ours, one request in w4a8 reaches of its roofline bound"),
        share_of_bound("measured.f32_one_of_bound", "f32")
            .means("in ours, one request in f32 reaches of its roofline bound"),
        gain("measured.blocks", OURS, ["w4a16", "f32"], Blocks)
            .means("in ours, w4a16 leaves more blocks than f32 by"),
        kl_divergence("measured.w8a16_nats", "w8a16")
            .means("in ours, w8a16 diverges from the original by"),
        kl_divergence("measured.w8a8_nats", "w8a8")
            .means("in ours, w8a8 diverges from the original by"),
        gain("measured.vllm_w4a16_one", VLLM, ["w4a16", "none"], Decode(1))
            .means("in vLLM, one request writes in w4a16 as a multiple of 16 bits"),
        gain("measured.vllm_w4a16_reads", VLLM, ["w4a16", "none"], Prefill)
            .means("in vLLM, w4a16 reads as a multiple of 16 bits"),
        gain("measured.vllm_w8a8_reads", VLLM, ["w8a8", "none"], Prefill)
            .means("in vLLM, w8a8 reads as a multiple of 16 bits"),
        gain("measured.vllm_w8a8_many", VLLM, ["w8a8", "none"], Decode(16))
            .means("in vLLM, 16 requests write in w8a8 as a multiple of 16 bits"),
    ]
}

/// What a meter says of one format as a multiple of what it says of another.
fn gain(name: &'static str, engine: Of, formats: [&'static str; 2], meter: Meter) -> Entry<String> {
    number(name, &METERS, times, move |of| {
        let measured = |format| -> Result<f64> {
            meter.of(run_of(engine(of), format)?).with_context(|| format!("{format} is timed"))
        };
        Ok(measured(formats[0])? / measured(formats[1])?)
    })
}

/// The share of the roofline bound that one request of a format reaches in ours.
fn share_of_bound(name: &'static str, format: &'static str) -> Entry<String> {
    number(name, &METERS, percent, move |of| {
        let run = run_of(&of.ours, format)?;
        let bound = Decode(1).predicted(&of.ours, run).context("one request is predicted")?;
        Ok(Decode(1).of(run).context("one request is timed")? / bound)
    })
}

/// The KL divergence of a format of ours from the original.
fn kl_divergence(name: &'static str, format: &'static str) -> Entry<String> {
    let shown = |nats| format!("{nats:.4} nats");
    number(name, &METERS, shown, move |of| {
        let quality = run_of(&of.ours, format)?.quality.as_ref();
        quality.and_then(|quality| quality.kl_divergence).context("it was compared")
    })
}
