//! The tables of captured GPU numbers. Every row is made of [`Measured`] records, and so knows the
//! GPU it was taken on; the table of runs says the rest of its provenance.
//!
//! While the repository holds no capture, none of these exists and no chapter can embed one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::gpu::{Capture, Measured, StepTime};

use crate::Entry;

/// The folder that committed captures lie in.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/gpu/captures");

/// The card that chapters speak of where one is enough, as [`of_gpu`] takes it.
pub const H200: &str = "H200";

/// The larger of the two models, as the captures name it.
pub const LLAMA: &str = "llama-3.1-8b";

/// The tables that can be made, if there is anything to make them of.
pub const ALL: &[Entry<Table>] = &[
    Entry { name: "gpu_runs", make: || Ok(runs(&committed()?)) },
    Entry { name: "gpu_ceilings", make: || Ok(ceilings(&committed()?)) },
    Entry { name: "gpu_gains", make: || Ok(gains(&committed()?)) },
    Entry { name: "gpu_throughput", make: || Ok(throughput(&committed()?)) },
    Entry { name: "gpu_capacity", make: || Ok(capacity(&committed()?)) },
    Entry { name: "gpu_sanity", make: || Ok(sanity(&committed()?)) },
    Entry { name: "gpu_readings", make: || Ok(readings(&committed()?)) },
];

/// The committed capture files, by name.
pub fn files() -> Vec<PathBuf> {
    crate::capture_files::json_in(FOLDER)
}

/// The tables that a chapter can embed: all of them, or none while there is no capture.
pub fn available() -> &'static [Entry<Table>] {
    if files().is_empty() { &[] } else { ALL }
}

/// The committed captures.
///
/// # Errors
/// If one cannot be read; the message names it.
pub fn committed() -> Result<Vec<Capture>> {
    files().iter().map(|path| Capture::load(path).context(path.display().to_string())).collect()
}

/// The committed capture of the GPU whose name has `part` in it.
///
/// # Errors
/// If there is none, or a file cannot be read.
pub fn of_gpu(part: &str) -> Result<Capture> {
    let mut captures = committed()?.into_iter();
    let found = captures.find(|capture| capture.setup.gpu.contains(part));
    found.with_context(|| format!("there is no capture of an {part} in {FOLDER}"))
}

/// Tokens a second of `model` in `format` with `tokens` in a step.
pub fn rate(capture: &Capture, model: &str, format: &str, tokens: usize) -> Option<f64> {
    capture.step(model, format, tokens).map(|step| step.tokens_per_s)
}

/// Every table of `captures`, as text for a terminal.
pub fn all(captures: &[Capture]) -> String {
    let tables = [runs, ceilings, throughput, gains, capacity, sanity, readings];
    tables.map(|table| table(captures).to_string()).join("\n")
}

/// Where, when and with what each run was made.
fn runs(captures: &[Capture]) -> Table {
    let mut table = Table::new("The captured runs")
        .text("GPU")
        .text("driver")
        .text("CUDA")
        .text("cuBLASLt")
        .text("machine")
        .text("date")
        .text("commit")
        .text("command");
    for capture in captures {
        let Capture { provenance: run, setup, .. } = capture;
        let machine = format!("{}, {}", run.processor, run.system);
        let cells = [&setup.gpu, &setup.driver, &setup.cuda, &setup.cublaslt];
        let more = [&machine, &run.date, &run.short_commit(), &run.command];
        table.row(cells.into_iter().chain(more).map(String::as_str));
    }
    table
}

/// The peaks of each device, measured in the same run as everything else.
fn ceilings(captures: &[Capture]) -> Table {
    let mut table = Table::new("What the device can do, measured in the same run")
        .text("GPU")
        .text("ceiling")
        .number("best reading")
        .number("median")
        .text("how");
    for peak in captures.iter().flat_map(Capture::peaks) {
        let tera = |rate: f64| format!("{} T{}", sig3(rate / 1e12), peak.unit);
        table.row([
            peak.setup().gpu.clone(),
            peak.name.clone(),
            tera(peak.rate.max),
            tera(peak.rate.median),
            peak.how.clone(),
        ]);
    }
    table
}

/// Meter 1: every step, with its spread and its roofline bound.
fn throughput(captures: &[Capture]) -> Table {
    let mut table = Table::new("Meter 1, throughput: the linear layers of one step")
        .text("GPU")
        .text("model")
        .text("format")
        .number("tokens in a step")
        .number("time (ms), median")
        .number("min to max (ms)")
        .number("tokens/s")
        .number("quantizing activations (ms)")
        .number("floor (ms)")
        .number("floor over time")
        .text("bound by");
    for step in captures.iter().flat_map(Capture::steps) {
        let dash = || "–".to_string();
        table.row([
            step.setup().gpu.clone(),
            step.model.to_string(),
            step.format.to_string(),
            count(step.tokens),
            sig3(step.time_ms.median),
            format!("{} to {}", sig3(step.time_ms.min), sig3(step.time_ms.max)),
            sig3(step.tokens_per_s),
            step.activation_ms.map_or_else(dash, |spread| sig3(spread.median)),
            sig3(step.bound_ms),
            percent(step.bound_ms / step.time_ms.median),
            step.bound_by.clone(),
        ]);
    }
    table
}

/// Meter 1 beside the first format: one column for each number of tokens in a step.
fn gains(captures: &[Capture]) -> Table {
    let all: BTreeSet<usize> =
        captures.iter().flat_map(Capture::steps).map(|step| step.tokens).collect();
    let mut table = Table::new("Tokens/s as a multiple of the first format's, by tokens in a step")
        .text("GPU")
        .text("model")
        .text("format");
    for &tokens in &all {
        table = table.number(count(tokens));
    }
    for capture in captures {
        for (model, format) in pairs(capture) {
            let first = pairs(capture).into_iter().find(|pair| pair.0 == model);
            let base = first.map_or(format, |pair| pair.1);
            let gain = |&tokens: &usize| {
                let of = |format| rate(capture, model, format, tokens);
                of(format).zip(of(base)).map_or("–".into(), |(own, base)| times(own / base))
            };
            let gpu = capture.setup.gpu.clone();
            let cells = [gpu, model.to_string(), format.to_string()];
            table.row(cells.into_iter().chain(all.iter().map(gain)));
        }
    }
    table
}

/// Meter 2: what the weights take and what is left.
fn capacity(captures: &[Capture]) -> Table {
    let mut table = Table::new("Meter 2, capacity: what is left for the KV cache")
        .text("GPU")
        .text("model")
        .text("format")
        .number("linear layers (GB)")
        .number("embedding and head (GB)")
        .number("free before (GB)")
        .number("free after (GB)")
        .number("KV blocks of 16")
        .number("requests of 4,096 tokens");
    let gigabytes = |bytes: u64| sig3(bytes as f64 / 1e9);
    for room in captures.iter().flat_map(Capture::capacity) {
        table.row([
            room.setup().gpu.clone(),
            room.model.to_string(),
            room.format.to_string(),
            gigabytes(room.weight_bytes),
            gigabytes(room.embedding_bytes),
            gigabytes(room.free_before),
            gigabytes(room.free_after),
            count(room.kv_blocks as usize),
            sig3(room.concurrency),
        ]);
    }
    table
}

/// Meter 3: the check that came closest to its bound, for each model and format.
fn sanity(captures: &[Capture]) -> Table {
    let mut table = Table::new("Meter 3, output sanity: errors against f64, and their bounds")
        .text("GPU")
        .text("model")
        .text("format")
        .number("checks passed")
        .text("closest to its bound")
        .number("error")
        .number("bound");
    for capture in captures {
        for (model, format) in pairs(capture) {
            let of_pair = |m: &str, f: &str| m == model && f == format;
            let checks: Vec<_> = capture.checks().filter(|c| of_pair(c.model, c.format)).collect();
            let share = |error: Option<f64>, bound: f64| error.map_or(f64::INFINITY, |e| e / bound);
            // The code that is farthest from its weight is half a step away in every sound format.
            let closest = checks
                .iter()
                .filter(|check| check.meter != "grid")
                .max_by(|a, b| share(a.error, a.bound).total_cmp(&share(b.error, b.bound)));
            let Some(closest) = closest else { continue };
            let passed = checks.iter().filter(|check| check.passed).count();
            table.row([
                closest.setup().gpu.clone(),
                model.to_string(),
                format.to_string(),
                format!("{passed} of {}", checks.len()),
                format!("{}, {}, {} tokens", closest.what, closest.data, closest.tokens),
                closest.error.map_or("not a number".into(), sig3),
                sig3(closest.bound),
            ]);
        }
    }
    table
}

/// What the numbers say, computed from them: who wins what, and where.
fn readings(captures: &[Capture]) -> Table {
    let mut table = Table::new("What the captured numbers say")
        .text("GPU")
        .text("model")
        .text("question")
        .text("answer");
    for capture in captures {
        let models: BTreeSet<&str> = capture.runs().map(|run| run.model).collect();
        for model in models {
            let mut say = |question: String, answer: String| {
                let gpu = capture.setup.gpu.clone();
                table.row([gpu, model.to_string(), question, answer]);
            };
            for tokens in batches(capture, model) {
                if let Some(answer) = fastest(capture, model, tokens) {
                    say(format!("fastest with {} tokens in a step", count(tokens)), answer);
                }
            }
            if let Some(answer) = roomiest(capture, model) {
                say("most KV blocks".into(), answer);
            }
        }
    }
    table
}

/// Model and format of each run, the formats of a model together, in the order of the file.
fn pairs(capture: &Capture) -> Vec<(&str, &str)> {
    let mut pairs: Vec<_> = capture.runs().map(|run| (run.model, run.format)).collect();
    pairs.sort_by_key(|pair| pair.0);
    pairs
}

/// The batch sizes that `model` was measured at.
fn batches(capture: &Capture, model: &str) -> BTreeSet<usize> {
    capture.steps().filter(|step| step.model == model).map(|step| step.tokens).collect()
}

/// The format with the most tokens per second, and by how much it leads the next one.
fn fastest(capture: &Capture, model: &str, tokens: usize) -> Option<String> {
    let mut steps: Vec<Measured<'_, StepTime>> =
        capture.steps().filter(|step| step.model == model && step.tokens == tokens).collect();
    steps.sort_by(|a, b| b.tokens_per_s.total_cmp(&a.tokens_per_s));
    let (first, second) = (steps.first()?, steps.get(1)?);
    let lead = times(first.tokens_per_s / second.tokens_per_s);
    Some(format!("{}: {lead} the tokens/s of {}", first.format, second.format))
}

/// The format that leaves the most KV blocks, and how many times those of the roomiest other.
fn roomiest(capture: &Capture, model: &str) -> Option<String> {
    let mut rooms: Vec<_> = capture.capacity().filter(|room| room.model == model).collect();
    rooms.sort_by_key(|room| std::cmp::Reverse(room.kv_blocks));
    let (first, last) = (rooms.first()?, rooms.last()?);
    let lead = times(first.kv_blocks as f64 / last.kv_blocks as f64);
    Some(format!("{}: {lead} those of {}", first.format, last.format))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture that nobody took, for these tests alone.
    fn made_up(formats: &[(&str, f64, u64)]) -> Capture {
        let runs: Vec<String> = formats.iter().map(|run| made_up_run(*run)).collect();
        let text = format!(
            r#"{{"schema": "gpu-meters", "version": 1, "provenance": {{"machine": "M", "gpu": "G",
            "compute_capability": "9.0", "multiprocessors": 1, "l2_bytes": 1, "memory_bytes": 1,
            "driver": "D", "cuda": "C", "nvrtc": "N", "cublaslt": "L", "clocks": "?",
            "commit": "abc", "date": "2000-01-01T00:00:00Z", "command": "made up", "seed": 1,
            "quick": false}}, "ceilings": [{{"name": "copy", "unit": "bytes/s", "how": "H",
            "rate": {{"median": 3e12, "min": 2e12, "max": 4e12, "samples": 3}}}}],
            "runs": [{}], "notes": []}}"#,
            runs.join(",")
        );
        Capture::parse(&text).expect("the made-up capture is sound")
    }

    fn made_up_run((format, tokens_per_s, kv_blocks): (&str, f64, u64)) -> String {
        let ms = 1e3 / tokens_per_s;
        format!(
            r#"{{"model": "tiny", "format": "{format}", "error": null, "products": [],
            "capacity": {{"weight_bytes": 10, "embedding_bytes": 5, "total_bytes": 100,
            "free_before": 99, "free_after": 80, "kv_bytes": 70, "kv_blocks": {kv_blocks},
            "concurrency": 2.5}},
            "sanity": [{{"what": "o_proj", "data": "random", "tokens": 1, "meter": "kernel",
            "error": 0.002, "bound": 0.004, "passed": true}}],
            "steps": [{{"tokens": 1, "time_ms": {{"median": {ms}, "min": {ms}, "max": {ms},
            "samples": 9}}, "tokens_per_s": {tokens_per_s}, "activation_ms": null,
            "floor_ms": {}, "bound_by": "bytes", "launched": "graph"}}]}}"#,
            ms / 2.0
        )
    }

    #[test]
    fn every_table_names_the_gpu_in_every_row() {
        let captures = [made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)])];
        for table in [runs, ceilings, throughput, gains, capacity, sanity, readings] {
            let text = table(&captures).to_markdown();
            assert!(text.lines().count() > 2, "a table without rows: {text}");
            for row in text.lines().skip(2) {
                assert!(row.starts_with("| G"), "a row without its GPU: {row}");
            }
        }
    }

    #[test]
    fn the_readings_name_who_leads_and_by_how_much() {
        let text = readings(&[made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)])]).to_markdown();
        assert!(text.contains("int8: 1.50x the tokens/s of bf16"), "{text}");
        assert!(text.contains("int8: 1.20x those of bf16"), "{text}");
    }

    #[test]
    fn a_gain_is_a_multiple_of_the_first_format() {
        let text = gains(&[made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)])]).to_markdown();
        assert!(text.contains("1.00x") && text.contains("1.50x"), "{text}");
    }

    #[test]
    fn a_step_stands_beside_its_floor() {
        let text = throughput(&[made_up(&[("bf16", 100.0, 50)])]).to_markdown();
        assert!(text.contains("50.0 %"), "{text}");
    }

    #[test]
    fn without_a_committed_capture_no_table_is_offered() {
        assert_eq!(available().is_empty(), files().is_empty());
    }
}
