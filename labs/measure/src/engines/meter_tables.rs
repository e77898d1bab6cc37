//! Predictions and measurements side by side, one table for each meter.

use formats::architecture::Architecture;
use kit::Table;
use kit::table::{count, percent, sig3};

use super::engine_meters::{Capture, Quality, Run, Throughput};
use super::plan::Meter;
use super::prediction::{Predicted, blocks, predict, served};
use quantize_and_eval::Served;

/// The meters that were taken, each with its prediction: capacity, throughput, quality.
pub fn all(capture: &Capture, architecture: Architecture) -> Vec<Table> {
    let table = |meter| match meter {
        Meter::Capacity => capacity(capture, architecture),
        Meter::Throughput => throughput(capture, architecture),
        Meter::Quality => quality(capture),
    };
    let order = [Meter::Capacity, Meter::Throughput, Meter::Quality];
    order.into_iter().filter(|&meter| capture.plan.takes(meter)).map(table).collect()
}

/// The prediction of a run; `None` for a format that the cost model does not know, and where the peaks
/// were not measured.
pub fn predicted(capture: &Capture, run: &Run, architecture: Architecture) -> Option<Predicted> {
    predict(&served_as(capture, run, architecture)?, capture.peaks.as_ref()?, &capture.plan).ok()
}

/// The blocks of KV cache that are predicted for a run; `None` for a format of weights or cache that the
/// cost model does not know.
pub fn predicted_blocks(capture: &Capture, run: &Run, architecture: Architecture) -> Option<u64> {
    blocks(&served_as(capture, run, architecture)?, &capture.plan).ok()
}

fn served_as(capture: &Capture, run: &Run, architecture: Architecture) -> Option<Served> {
    let (engine, kv_cache) = (capture.setup.engine, capture.plan.kv_cache.as_deref());
    served(engine, &run.name, run.dtype.as_deref(), kv_cache, architecture)
}

fn dash() -> String {
    "-".into()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn name(run: &Run) -> String {
    format!("`{}`", run.name)
}

/// The runs with their predictions: the rows of the tables.
fn rows(capture: &Capture, architecture: Architecture) -> Vec<(&Run, Option<Predicted>)> {
    let row = |run| (run, predicted(capture, run, architecture));
    capture.runs.iter().map(row).collect()
}

/// Bytes of weights and blocks of KV cache.
pub fn capacity(capture: &Capture, architecture: Architecture) -> Table {
    let gib = capture.plan.device_bytes as f64 / f64::from(1 << 30);
    let title = format!(
        "Capacity, {}: blocks of {} tokens in {gib} GiB at a utilization of {}",
        capture.setup.engine, capture.plan.block_tokens, capture.plan.utilization,
    );
    let number = |value: Option<u64>| value.map_or_else(dash, |value| count(value as usize));
    Table::of(title, rows(capture, architecture))
        .text("format", |(run, _)| name(run))
        .number("weights predicted (MB)", |(_, predicted)| {
            predicted.as_ref().map_or_else(dash, |predicted| megabytes(predicted.weight_bytes))
        })
        .number("weights (MB)", |(run, _)| run.weight_bytes.map_or_else(dash, megabytes))
        .number("KV blocks predicted", |(_, predicted)| {
            number(predicted.as_ref().map(|p| p.blocks))
        })
        .number("KV blocks", |(run, _)| number(run.kv_cache.as_ref().map(|kv| kv.blocks)))
        .number("KV tokens", |(run, _)| {
            number(run.kv_cache.as_ref().map(|kv| kv.blocks * kv.block_tokens))
        })
        .done()
}

/// Tokens per second, and the part of the roofline bound that each is.
pub fn throughput(capture: &Capture, architecture: Architecture) -> Table {
    let plan = &capture.plan;
    let title = format!(
        "Throughput, {}: tokens per second, and the part of the predicted roofline bound",
        capture.setup.engine
    );
    let speed = |of: Option<&Throughput>| of.map_or_else(dash, |of| sig3(of.tokens_per_s.median));
    let part = |measured: Option<&Throughput>, bound: Option<f64>| {
        let of_bound = measured.zip(bound).map(|(of, bound)| of.tokens_per_s.median / bound);
        of_bound.map_or_else(dash, percent)
    };
    let mut table = Table::of(title, rows(capture, architecture))
        .text("format", |(run, _)| name(run))
        .number(format!("reads {}", plan.prefill_tokens), |(run, _)| speed(run.prefill.as_ref()))
        .number("of bound", |(run, predicted)| {
            part(run.prefill.as_ref(), predicted.as_ref().map(|predicted| predicted.prefill))
        });
    for (index, &requests) in plan.batches.iter().enumerate() {
        let who = if requests == 1 { "1 writes".into() } else { format!("{requests} write") };
        table = table.number(who, |(run, _)| speed(run.decode_of(requests)));
        table = table.number("of bound", |(run, predicted)| {
            let bound = predicted.as_ref().and_then(|p| p.decode.get(index)).copied();
            part(run.decode_of(requests), bound)
        });
    }
    table.done()
}

/// How the passage is predicted.
pub fn quality(capture: &Capture) -> Table {
    let chunks = capture.runs.iter().find_map(|run| run.quality.as_ref()).map(|q| q.chunks);
    let title = format!(
        "Output sanity, {}: {} chunks of the passage, against the first format",
        capture.setup.engine,
        chunks.unwrap_or_default(),
    );
    let of = |run: &&Run, shown: fn(&Quality) -> Option<String>| {
        run.quality.as_ref().and_then(shown).unwrap_or_else(dash)
    };
    Table::of(title, &capture.runs)
        .text("format", |run| name(run))
        .number("perplexity", |run| of(run, |quality| Some(format!("{:.2}", quality.perplexity))))
        .number("divergence (nats)", |run| {
            of(run, |quality| quality.kl_divergence.map(|nats| format!("{nats:.4}")))
        })
        .number("top-1 agreement", |run| of(run, |quality| quality.top1_agreement.map(percent)))
        .text("\"The capital of France is\"", |run| match run.answers.first() {
            Some(answer) => format!("`\"{}\"`", answer.replace('\n', "⏎")),
            None if run.served => dash(),
            None => "failed".into(),
        })
        .done()
}
