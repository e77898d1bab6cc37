//! What the format of the KV cache costs this book's model, inside sentences, from the capture of
//! `kv-meters`.

use anyhow::{Context, Result};
use kit::table::sig3;
use measure::kv::{CHUNKS, Capture};
use measure::subject::Quality;

use super::{Shown, Value, number};
use crate::Entry;
use crate::inputs::KV;

/// Every value of this kind: the name, the format, how the number is written and which number.
pub fn all() -> Vec<Entry<Value>> {
    let perplexity = |name, format| quality(name, format, two_places, |of| of.perplexity);
    vec![
        perplexity("kv.f32", "f32").means("with a cache in 32 bits, the model's perplexity is"),
        perplexity("kv.fp8", "fp8").means("with a cache in FP8, the model's perplexity is"),
        perplexity("kv.int8", "int8").means("with a cache in int8, the model's perplexity is"),
        quality("kv.fp8_nats", "fp8", sig3, |of| of.kl_divergence)
            .means("with a cache in FP8, the predictions diverge, in nats, by"),
        quality("kv.int8_nats", "int8", sig3, |of| of.kl_divergence)
            .means("with a cache in int8, the predictions diverge, in nats, by"),
        quality("kv.kivi4_sinks_nats", "kivi4-sinks", sig3, |of| of.kl_divergence)
            .means("with a cache in kivi4-sinks, the predictions diverge, in nats, by"),
    ]
}

fn two_places(x: f64) -> String {
    format!("{x:.2}")
}

/// A number of the quality of a format in the longer chunks.
fn quality(
    name: &'static str,
    format: &'static str,
    shown: Shown,
    of: impl Fn(&Quality) -> f64 + Send + Sync + 'static,
) -> Entry<String> {
    number(name, &KV, shown, move |capture: &Capture| -> Result<f64> {
        let run = capture.run(format).with_context(|| format!("no run of {format}"))?;
        Ok(of(run.quality(CHUNKS[1]).with_context(|| format!("{format} was not scored"))?))
    })
}
