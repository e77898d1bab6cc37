//! Predicted beside measured, one table for each meter.

use formats::architecture::Architecture;
use kit::Table;
use kit::table::{count, percent, sig3};

use super::predict::{Predicted, predict, served};
use super::{Capture, Run, Throughput};

/// Every meter of a capture beside its prediction: capacity, throughput, output sanity.
pub fn all(capture: &Capture, architecture: Architecture) -> [Table; 3] {
    [capacity(capture, architecture), throughput(capture, architecture), sanity(capture)]
}

/// The prediction of a run; `None` for a format that the cost model does not know.
pub fn predicted(capture: &Capture, run: &Run, architecture: Architecture) -> Option<Predicted> {
    let served =
        served(&capture.provenance.engine, &run.format, run.dtype.as_deref(), architecture)?;
    predict(&served, &capture.ceilings, &capture.plan).ok()
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
        capture.provenance.engine, capture.plan.block_tokens, capture.plan.utilization,
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
        let measured = run.capacity.as_ref();
        let blocks = measured.map(|capacity| capacity.blocks);
        let tokens = measured.map(|capacity| capacity.blocks * capacity.block_tokens);
        let number = |value: Option<u64>| value.map_or_else(dash, |value| count(value as usize));
        let weights = measured.and_then(|capacity| capacity.weight_bytes);
        table.row([
            format!("`{}`", run.format),
            predicted.as_ref().map_or_else(dash, |predicted| megabytes(predicted.weight_bytes)),
            weights.map_or_else(dash, megabytes),
            number(predicted.as_ref().map(|predicted| predicted.blocks)),
            number(blocks),
            number(tokens),
        ]);
    }
    table
}

/// Tokens per second, and the part of the ceiling that each is.
pub fn throughput(capture: &Capture, architecture: Architecture) -> Table {
    let plan = &capture.plan;
    let title = format!(
        "Throughput, {}: tokens per second, and the part of the predicted ceiling",
        capture.provenance.engine
    );
    let mut table = Table::new(title).text("format");
    table = table.number(format!("reads {}", plan.prompt)).number("of ceiling");
    for requests in &plan.batches {
        let who = if *requests == 1 { "1 writes".into() } else { format!("{requests} write") };
        table = table.number(who).number("of ceiling");
    }
    for run in &capture.runs {
        let predicted = predicted(capture, run, architecture);
        let mut cells = vec![format!("`{}`", run.format)];
        let reading = predicted.as_ref().map(|predicted| predicted.reading);
        cells.extend(speed(run.reading.as_ref(), reading));
        for (index, &requests) in plan.batches.iter().enumerate() {
            let writing = predicted.as_ref().and_then(|p| p.writing.get(index)).copied();
            cells.extend(speed(run.writing_of(requests), writing));
        }
        table.row(cells);
    }
    table
}

/// A speed and the part of its ceiling.
fn speed(measured: Option<&Throughput>, ceiling: Option<f64>) -> [String; 2] {
    let Some(measured) = measured else { return [dash(), dash()] };
    let median = measured.tokens_per_s.median;
    [sig3(median), ceiling.map_or_else(dash, |ceiling| percent(median / ceiling))]
}

/// How the passage is predicted.
pub fn sanity(capture: &Capture) -> Table {
    let chunks = capture.runs.iter().find_map(|run| run.sanity.as_ref()).map(|q| q.chunks);
    let title = format!(
        "Output sanity, {}: {} chunks of the passage, against the first format",
        capture.provenance.engine,
        chunks.unwrap_or_default(),
    );
    let mut table = Table::new(title)
        .text("format")
        .number("perplexity")
        .number("divergence (nats)")
        .number("same next token")
        .text("\"The capital of France is\"");
    for run in &capture.runs {
        let quality = run.sanity.as_ref();
        let nats = quality.and_then(|quality| quality.mean_kl);
        let same = quality.and_then(|quality| quality.same_top);
        let answer =
            run.answer.as_ref().map(|answer| format!("`\"{}\"`", answer.replace('\n', "⏎")));
        let failed = || run.error.as_ref().map_or_else(dash, |_| "failed".into());
        table.row([
            format!("`{}`", run.format),
            quality.map_or_else(dash, |quality| format!("{:.2}", quality.perplexity)),
            nats.map_or_else(dash, |nats| format!("{nats:.4}")),
            same.map_or_else(dash, percent),
            answer.unwrap_or_else(failed),
        ]);
    }
    table
}
