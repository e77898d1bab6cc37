//! Predicted beside measured, one table for each meter.

use formats::architecture::Architecture;
use kit::Table;
use kit::table::{count, percent, sig3};

use super::engine_meters::{Capture, Run, Throughput};
use super::plan::Meter;
use super::prediction::{Predicted, predict, served};

/// The meters that were taken, each beside its prediction: capacity, throughput, quality.
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
    let served = served(capture.setup.engine, &run.name, run.dtype.as_deref(), architecture)?;
    predict(&served, capture.peaks.as_ref()?, &capture.plan).ok()
}

fn dash() -> String {
    "-".into()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Bytes of weights and blocks of KV cache.
pub fn capacity(capture: &Capture, architecture: Architecture) -> Table {
    let gib = capture.plan.device_bytes as f64 / f64::from(1 << 30);
    let title = format!(
        "Capacity, {}: blocks of {} tokens in {gib} GiB at a utilization of {}",
        capture.setup.engine, capture.plan.block_tokens, capture.plan.utilization,
    );
    let mut table = Table::new(title)
        .text("format")
        .number("weights predicted (MB)")
        .number("weights (MB)")
        .number("KV blocks predicted")
        .number("KV blocks")
        .number("KV tokens");
    for run in &capture.runs {
        let predicted = predicted(capture, run, architecture);
        let blocks = run.kv_cache.as_ref().map(|kv| kv.blocks);
        let tokens = run.kv_cache.as_ref().map(|kv| kv.blocks * kv.block_tokens);
        let number = |value: Option<u64>| value.map_or_else(dash, |value| count(value as usize));
        table.row([
            format!("`{}`", run.name),
            predicted.as_ref().map_or_else(dash, |predicted| megabytes(predicted.weight_bytes)),
            run.weight_bytes.map_or_else(dash, megabytes),
            number(predicted.as_ref().map(|predicted| predicted.blocks)),
            number(blocks),
            number(tokens),
        ]);
    }
    table
}

/// Tokens per second, and the part of the roofline bound that each is.
pub fn throughput(capture: &Capture, architecture: Architecture) -> Table {
    let plan = &capture.plan;
    let title = format!(
        "Throughput, {}: tokens per second, and the part of the predicted ceiling",
        capture.setup.engine
    );
    let mut table = Table::new(title).text("format");
    table = table.number(format!("reads {}", plan.prefill_tokens)).number("of ceiling");
    for requests in &plan.batches {
        let who = if *requests == 1 { "1 writes".into() } else { format!("{requests} write") };
        table = table.number(who).number("of ceiling");
    }
    for run in &capture.runs {
        let predicted = predicted(capture, run, architecture);
        let mut cells = vec![format!("`{}`", run.name)];
        let bound = predicted.as_ref().map(|predicted| predicted.prefill);
        cells.extend(speed(run.prefill.as_ref(), bound));
        for (index, &requests) in plan.batches.iter().enumerate() {
            let bound = predicted.as_ref().and_then(|p| p.decode.get(index)).copied();
            cells.extend(speed(run.decode_of(requests), bound));
        }
        table.row(cells);
    }
    table
}

/// A speed and the part of its bound.
fn speed(measured: Option<&Throughput>, bound: Option<f64>) -> [String; 2] {
    let Some(measured) = measured else { return [dash(), dash()] };
    let median = measured.tokens_per_s.median;
    [sig3(median), bound.map_or_else(dash, |bound| percent(median / bound))]
}

/// How the passage is predicted.
pub fn quality(capture: &Capture) -> Table {
    let chunks = capture.runs.iter().find_map(|run| run.quality.as_ref()).map(|q| q.chunks);
    let title = format!(
        "Output sanity, {}: {} chunks of the passage, against the first format",
        capture.setup.engine,
        chunks.unwrap_or_default(),
    );
    let mut table = Table::new(title)
        .text("format")
        .number("perplexity")
        .number("divergence (nats)")
        .number("same next token")
        .text("\"The capital of France is\"");
    for run in &capture.runs {
        let quality = run.quality.as_ref();
        let nats = quality.and_then(|quality| quality.kl_divergence);
        let same = quality.and_then(|quality| quality.top1_agreement);
        let answer =
            run.answers.first().map(|answer| format!("`\"{}\"`", answer.replace('\n', "⏎")));
        let failed = || if run.served { dash() } else { "failed".into() };
        table.row([
            format!("`{}`", run.name),
            quality.map_or_else(dash, |quality| format!("{:.2}", quality.perplexity)),
            nats.map_or_else(dash, |nats| format!("{nats:.4}")),
            same.map_or_else(dash, percent),
            answer.unwrap_or_else(failed),
        ]);
    }
    table
}
