//! The tables of captured GPU numbers. Every row is made of [`Measured`] records, and so knows the
//! GPU it was taken on; the table of runs says the rest of its provenance.

use std::collections::BTreeSet;

use anyhow::Result;
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::gpu::{Capture, Measured, StepTime};

use crate::inputs::Gpus;

/// The card that chapters speak of where one is enough, as [`Gpus::of`] takes it.
pub const H200: &str = "H200";

/// The larger of the two models, as the captures name it.
pub const LLAMA: &str = "llama-3.1-8b";

/// Tokens a second of `model` in `format` with `tokens` in a step.
pub fn rate(capture: &Capture, model: &str, format: &str, tokens: usize) -> Option<f64> {
    capture.step(model, format, tokens).map(|step| step.tokens_per_s)
}

/// Every table of captures.
///
/// # Errors
/// If a table cannot be made of them.
pub fn all(of: &Gpus) -> Result<Vec<Table>> {
    let tables = [runs, peaks, throughput, gains, capacity, output_checks, readings];
    tables.into_iter().map(|table| table(of)).collect()
}

/// Where, when and with what each run was made.
pub fn runs(of: &Gpus) -> Result<Table> {
    Ok(Table::of("The captured runs", &of.0)
        .text("GPU", |of| of.setup.gpu.clone())
        .text("driver", |of| of.setup.driver.clone())
        .text("CUDA", |of| of.setup.cuda.clone())
        .text("cuBLASLt", |of| of.setup.cublaslt.clone())
        .text("machine", |of| format!("{}, {}", of.provenance.processor, of.provenance.system))
        .text("date", |of| of.provenance.date.clone())
        .text("commit", |of| of.provenance.short_commit())
        .text("command", |of| of.provenance.command.clone())
        .done())
}

/// The peaks of each device, measured in the same run as everything else.
pub fn peaks(of: &Gpus) -> Result<Table> {
    let title = "What the device can do, measured in the same run";
    let tera = |rate: f64, unit: &str| format!("{} T{unit}", sig3(rate / 1e12));
    Ok(Table::of(title, of.0.iter().flat_map(Capture::peaks))
        .text("GPU", |peak| peak.setup().gpu.clone())
        .text("rate", |peak| peak.name.clone())
        .number("best reading", |peak| tera(peak.rate.max, &peak.unit))
        .number("median", |peak| tera(peak.rate.median, &peak.unit))
        .text("how", |peak| peak.how.clone())
        .done())
}

/// Meter 1: every step, with its spread and its roofline bound.
pub fn throughput(of: &Gpus) -> Result<Table> {
    let title = "Meter 1, throughput: the linear layers of one step";
    Ok(Table::of(title, of.0.iter().flat_map(Capture::steps))
        .text("GPU", |step| step.setup().gpu.clone())
        .text("model", |step| step.model)
        .text("format", |step| step.format)
        .number("tokens in a step", |step| count(step.tokens))
        .number("time (ms), median", |step| sig3(step.time_ms.median))
        .number("min to max (ms)", |step| {
            format!("{} to {}", sig3(step.time_ms.min), sig3(step.time_ms.max))
        })
        .number("tokens/s", |step| sig3(step.tokens_per_s))
        .number("quantizing activations (ms)", |step| {
            step.activation_ms.map_or("–".into(), |spread| sig3(spread.median))
        })
        .number("bound (ms)", |step| sig3(step.bound_ms))
        .number("bound over time", |step| percent(step.bound_ms / step.time_ms.median))
        .text("bound by", |step| step.bound_by.clone())
        .done())
}

/// Meter 1 as a multiple of the first format: one column for each number of tokens in a step.
pub fn gains(of: &Gpus) -> Result<Table> {
    let sizes: BTreeSet<usize> =
        of.0.iter().flat_map(Capture::steps).map(|step| step.tokens).collect();
    let rows = of.0.iter().flat_map(|capture| {
        pairs(capture).into_iter().map(move |(model, format)| (capture, model, format))
    });
    let title = "Tokens/s as a multiple of the first format's, by tokens in a step";
    let mut table = Table::of(title, rows)
        .text("GPU", |(capture, ..)| capture.setup.gpu.clone())
        .text("model", |(_, model, _)| *model)
        .text("format", |(.., format)| *format);
    for tokens in sizes {
        table = table.number(count(tokens), |&(capture, model, format)| {
            let first = pairs(capture).into_iter().find(|pair| pair.0 == model);
            let base = first.map_or(format, |pair| pair.1);
            let of = |format| rate(capture, model, format, tokens);
            of(format).zip(of(base)).map_or("–".into(), |(own, base)| times(own / base))
        });
    }
    Ok(table.done())
}

/// Meter 2: what the weights take and what is left.
pub fn capacity(of: &Gpus) -> Result<Table> {
    let title = "Meter 2, capacity: what is left for the KV cache";
    let gigabytes = |bytes: u64| sig3(bytes as f64 / 1e9);
    Ok(Table::of(title, of.0.iter().flat_map(Capture::capacity))
        .text("GPU", |room| room.setup().gpu.clone())
        .text("model", |room| room.model)
        .text("format", |room| room.format)
        .number("linear layers (GB)", |room| gigabytes(room.weight_bytes))
        .number("embedding and head (GB)", |room| gigabytes(room.embedding_bytes))
        .number("total (GB)", |room| gigabytes(room.total_bytes))
        .number("free before (GB)", |room| gigabytes(room.free_before))
        .number("free after (GB)", |room| gigabytes(room.free_after))
        .number("KV blocks of 16", |room| count(room.kv_blocks as usize))
        .number("requests of 4,096 tokens", |room| sig3(room.concurrency))
        .done())
}

/// Meter 3: the check that came closest to its bound, for each model and format.
pub fn output_checks(of: &Gpus) -> Result<Table> {
    let mut rows = Vec::new();
    for capture in &of.0 {
        for (model, format) in pairs(capture) {
            let of_pair = |m: &str, f: &str| m == model && f == format;
            let checks: Vec<_> = capture.checks().filter(|c| of_pair(c.model, c.format)).collect();
            let share = |error: Option<f64>, bound: f64| error.map_or(f64::INFINITY, |e| e / bound);
            let passed = checks.iter().filter(|check| check.passed).count();
            let passed = format!("{passed} of {}", checks.len());
            // The code that is farthest from its weight is half a step away in every sound format.
            let closest = checks
                .into_iter()
                .filter(|check| check.meter != "grid")
                .max_by(|a, b| share(a.error, a.bound).total_cmp(&share(b.error, b.bound)));
            rows.extend(closest.map(|closest| (closest, passed)));
        }
    }
    Ok(Table::of("Meter 3, output sanity: errors against f64, and their bounds", rows)
        .text("GPU", |(check, _)| check.setup().gpu.clone())
        .text("model", |(check, _)| check.model)
        .text("format", |(check, _)| check.format)
        .number("checks passed", |(_, passed)| passed.clone())
        .text("closest to its bound", |(check, _)| {
            format!("{}, {}, {} tokens", check.what, check.data, check.tokens)
        })
        .number("error", |(check, _)| check.error.map_or("not a number".into(), sig3))
        .number("bound", |(check, _)| sig3(check.bound))
        .done())
}

/// What the numbers say, computed from them: who wins what, and where.
pub fn readings(of: &Gpus) -> Result<Table> {
    let mut table = Table::new("What the captured numbers say")
        .text("GPU")
        .text("model")
        .text("question")
        .text("answer");
    for capture in &of.0 {
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
    Ok(table)
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

    /// A made-up capture, for these tests alone.
    fn made_up(formats: &[(&str, f64, u64)]) -> Gpus {
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
        Gpus(vec![Capture::parse(&text).expect("the made-up capture is sound")])
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
    fn every_table_names_the_gpu_in_every_row() -> Result<()> {
        for table in all(&made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)]))? {
            let text = table.to_markdown();
            assert!(text.lines().count() > 2, "a table without rows: {text}");
            for row in text.lines().skip(2) {
                assert!(row.starts_with("| G"), "a row without its GPU: {row}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_readings_name_who_leads_and_by_how_much() -> Result<()> {
        let text = readings(&made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)]))?.to_markdown();
        assert!(text.contains("int8: 1.50x the tokens/s of bf16"), "{text}");
        assert!(text.contains("int8: 1.20x those of bf16"), "{text}");
        Ok(())
    }

    #[test]
    fn a_gain_is_a_multiple_of_the_first_format() -> Result<()> {
        let text = gains(&made_up(&[("bf16", 100.0, 50), ("int8", 150.0, 60)]))?.to_markdown();
        assert!(text.contains("1.00x") && text.contains("1.50x"), "{text}");
        Ok(())
    }

    #[test]
    fn a_step_is_shown_with_its_roofline_bound() -> Result<()> {
        let text = throughput(&made_up(&[("bf16", 100.0, 50)]))?.to_markdown();
        assert!(text.contains("50.0 %"), "{text}");
        Ok(())
    }
}
