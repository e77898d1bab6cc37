//! A card's model on a device: the room for its KV cache, and the roofline bounds of decode and prefill.
//!
//! A dense Llama-like model is computed by lab 02's functions. Mixtures, latents and windows are computed
//! here, by the same roofline.

use anyhow::{Context, Result};
use formats::architecture::Architecture;
use formats::card::{Card, step_bytes, weight_bytes};
use formats::device::Device;
use formats::format::{Format, Grid};
use formats::model_sizes::ModelSizes;
use kit::table::sig3;
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, ModelFormat, Roofline, Served, UTILIZATION, bound_s, concurrency,
    crossover_batch, decode_tokens_per_s, kv_available_bytes, kv_blocks, kv_bytes_per_token,
    operations_per_s, prefill_tokens_per_s,
};

use super::report::{Line, line, number};

/// KV blocks and roofline bounds on a device.
///
/// # Errors
/// If the card leaves the format open, or a number is no number of tokens.
pub(super) fn serving(
    card: &Card,
    model: &ModelSizes,
    name: &str,
    device: &Device,
    context: u64,
) -> Result<Vec<Line>> {
    let format = card.format.clone().context(
        "the card leaves grid or granularity open, so there are no roofline bounds: add words, such as \
         group_size=128, or give the config",
    )?;
    let (format, in_16) = on_device(device, format)?;
    let mut lines = vec![line(&format!("{name}, sequences of {} tokens", number(context)), "")];
    let taken = weight_bytes(card, model).map_or(0, |bytes| bytes.total());
    let available = kv_available_bytes(device.memory_bytes, UTILIZATION, taken);
    match model.dense {
        Some(dense) => {
            let served = served(card, dense, format);
            lines.extend(dense_room(&served, available, context)?);
            lines.extend(dense_bounds(&served, device, context)?);
        }
        None => {
            let other = Other { card, model, device, format, context };
            lines.extend(other.room(available)?);
            lines.extend(other.bounds()?);
        }
    }
    if in_16 {
        let text = format!("{name} has no unit for these activations: multiplied in 16 bits");
        lines.push(line("note", text));
    }
    if card.mean_bits.is_some() {
        lines.push(line(
            "note",
            "roofline bounds count the base type alone: a mix reads more bytes",
        ));
    }
    Ok(lines)
}

/// The format as the device computes it: activations go back to 16 bits where the device has no unit for
/// their grid. Returns whether they do.
fn on_device(device: &Device, mut format: Format) -> Result<(Format, bool)> {
    match operations_per_s(device, &format) {
        Err(CostError::NoRate(_)) => {
            format.activations = Grid::Sixteen;
            Ok((format, true))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok((format, false)),
    }
}

fn served(card: &Card, architecture: Architecture, linear: Format) -> Served {
    let mut format = ModelFormat::of(linear.clone());
    if card.embedding_too {
        format.embedding = linear;
    }
    Served { architecture, format, kv: kv_grid(card.kv_bits) }
}

/// The grid of a KV cache with numbers of so many bits.
fn kv_grid(bits: Option<f64>) -> Grid {
    match bits.map(f64::ceil) {
        None | Some(16.0) => Grid::Sixteen,
        Some(bits) => Grid::Int(bits as u32),
    }
}

/// The cache of a dense model, in blocks.
fn dense_room(
    served: &Served,
    available: Result<u64, CostError>,
    context: u64,
) -> Result<Vec<Line>> {
    let per_token = kv_bytes_per_token(&served.architecture, served.kv)?;
    let mut lines = vec![line("KV cache", format!("{} bytes a token", number(per_token)))];
    match available.and_then(|bytes| kv_blocks(bytes, BLOCK_TOKENS, per_token)) {
        Err(error @ CostError::NoRoom { .. }) => lines.push(line("room", error.to_string())),
        Err(error) => return Err(error.into()),
        Ok(blocks) => {
            let text = format!(
                "{} of {BLOCK_TOKENS} tokens, if nothing else takes memory",
                number(blocks)
            );
            lines.push(line("KV blocks", text));
            lines.push(at_once(concurrency(blocks, BLOCK_TOKENS, context)?));
        }
    }
    Ok(lines)
}

fn at_once(sequences: f64) -> Line {
    let fits = if sequences < 1.0 { ": not one fits" } else { "" };
    line("at once", format!("{} sequences{fits}", sig3(sequences)))
}

/// The sizes of a batch whose bound is printed.
const BATCHES: [u64; 3] = [1, 8, 64];

fn decode(batch: u64, tokens_per_s: f64) -> Line {
    line(&format!("decode, batch {batch}"), per_second(tokens_per_s))
}

fn dense_bounds(served: &Served, device: &Device, context: u64) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for batch in BATCHES {
        lines.push(decode(batch, decode_tokens_per_s(served, device, batch, context)?));
    }
    lines.push(line("prefill", per_second(prefill_tokens_per_s(served, device, context)?)));
    lines.push(line(
        "binding",
        match crossover_batch(served, device, context)? {
            Some(batch) => format!("memory up to batch {}, then arithmetic", sig3(batch)),
            None => "memory at every batch: the KV cache grows with it".into(),
        },
    ));
    Ok(lines)
}

/// A model that lab 02's `Architecture` cannot describe.
struct Other<'a> {
    card: &'a Card,
    model: &'a ModelSizes,
    device: &'a Device,
    format: Format,
    context: u64,
}

impl Other<'_> {
    /// Bytes of the cache of a sequence of `tokens` tokens.
    fn cache_bytes(&self, tokens: u64) -> f64 {
        let bits = kv_grid(self.card.kv_bits).bits();
        self.model.cache_numbers(tokens) as f64 * f64::from(bits) / 8.0
    }

    /// The cache by the token and by the sequence: windows are full at some length.
    fn room(&self, available: Result<u64, CostError>) -> Result<Vec<Line>> {
        let whole = |bytes: f64| number(bytes as u64);
        let mut text = format!("{} bytes a token", whole(self.cache_bytes(1)));
        let full = self.model.cache.iter().filter_map(|part| part.window).max();
        if let Some(window) = full {
            let more = self.cache_bytes(window + 1) - self.cache_bytes(window);
            text += &format!(", {} beyond {} tokens: windows", whole(more), number(window));
        }
        let mut lines = vec![line("KV cache", text)];
        let sequence = self.cache_bytes(self.context);
        if sequence == 0.0 {
            return Err(CostError::Zero("the context").into());
        }
        lines.push(match available {
            Err(error @ CostError::NoRoom { .. }) => line("room", error.to_string()),
            Err(error) => return Err(error.into()),
            Ok(bytes) => at_once(bytes as f64 / sequence),
        });
        Ok(lines)
    }

    /// The least bytes of weights of a step, of decode or of prefill: the experts of one token. A batch may
    /// pass more of them, so no engine is faster than these bounds, and many are far slower.
    fn bounds(&self) -> Result<Vec<Line>> {
        let weights = step_bytes(self.card, self.model).context("the bytes of a step")?;
        let mut lines = Vec::new();
        for batch in BATCHES {
            let cache = batch as f64 * self.cache_bytes(self.context);
            let roofline = self.roofline(weights as f64 + cache, batch as f64 * self.token_s()?);
            lines.push(decode(batch, batch as f64 / bound_s(roofline)?));
        }
        let tokens = self.context as f64;
        let pairs = tokens * (tokens + 1.0) / 2.0;
        let attention = 2.0 * self.model.attention as f64 * pairs;
        // A window cuts attention short, so it is left out of the bound there.
        let windowed = self.model.cache.iter().any(|part| part.window.is_some());
        let attention = if windowed { 0.0 } else { attention };
        // The head runs for the last token of a prompt alone. Two bytes a weight are the most it has.
        let linear_s = tokens * (self.token_s()? - self.head_s()?);
        let attention_s = attention / operations_per_s(self.device, &Format::BF16)?;
        let bytes = weights as f64 - 2.0 * self.head_weights();
        let prefill = self.roofline(bytes.max(0.0), linear_s + attention_s);
        lines.push(line("prefill", per_second(tokens / bound_s(prefill)?)));
        if self.model.is_mixture() {
            let note = "roofline bounds count the experts of one token: a batch and a prompt pass more of them";
            lines.push(line("note", note));
        }
        Ok(lines)
    }

    fn roofline(&self, bytes: f64, arithmetic_s: f64) -> Roofline {
        Roofline { memory_s: bytes / self.device.bytes_per_s, arithmetic_s }
    }

    fn head_weights(&self) -> f64 {
        let [vocabulary, hidden] = self.model.table;
        (vocabulary * hidden) as f64
    }

    fn head_s(&self) -> Result<f64> {
        let format = if self.card.embedding_too { &self.format } else { &Format::BF16 };
        Ok(2.0 * self.head_weights() / operations_per_s(self.device, format)?)
    }

    /// Seconds of arithmetic of a token. All linear layers count at the rate of the card's format.
    fn token_s(&self) -> Result<f64> {
        let [_, active] = self.model.linear_weights();
        let rate = operations_per_s(self.device, &self.format)?;
        Ok(2.0 * active as f64 / rate + self.head_s()?)
    }
}

fn per_second(tokens: f64) -> String {
    format!("at most {} tokens a second", number(tokens as u64))
}
