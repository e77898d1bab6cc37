//! The tables of the three meters, predicted and measured, read from the captures that `cargo book
//! measure` took.

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use kit::table::{Columns, count, percent, sig3, times};
use measure::capture::Spread;
use measure::engines::{Capture, Peaks, meter_tables};

use crate::inputs::{Engines, Gpus};
use crate::meter::{Meter, run_of};
use crate::published::BATCH_CROSSOVER;
use crate::tables::captured;

/// Capacity in an engine's capture.
pub fn capacity(capture: &Capture) -> Result<Table> {
    Ok(meter_tables::capacity(capture, SMOLLM2_135M))
}

/// Throughput in an engine's capture.
pub fn throughput(capture: &Capture) -> Result<Table> {
    Ok(meter_tables::throughput(capture, SMOLLM2_135M))
}

/// Quality in an engine's capture.
pub fn quality(capture: &Capture) -> Result<Table> {
    Ok(meter_tables::quality(capture))
}

/// The formats of the engines that are compared: the bits of the weights, and the names of the formats.
const ALIKE: [(&str, [&str; 3]); 3] = [
    ("32 or 16", ["f32", "none", "f32"]),
    ("8", ["w8a8", "w8a8", "q8_0"]),
    ("4", ["w4a8", "w4a16", "q4_0"]),
];

/// The speeds of the engines side by side, and of each other engine what part of ours its speed is.
pub fn in_turn(of: &Engines) -> Result<Table> {
    let mut rows = Vec::new();
    for (bits, formats) in ALIKE {
        let ours = run_of(&of.ours, formats[0])?;
        for (index, (capture, format)) in of.all().into_iter().zip(formats).enumerate() {
            let other = (index > 0).then_some(ours);
            rows.push((bits, capture.setup.engine, run_of(capture, format)?, other));
        }
    }
    let plan = &of.ours.plan;
    let title = "Tokens per second on one machine, in turn, and the part of this course's speed";
    let mut table = Table::of(title, rows)
        .text("bits", |(bits, ..)| *bits)
        .text("engine", |(_, engine, ..)| engine.to_string())
        .text("format", |(_, _, run, _)| format!("`{}`", run.name));
    let decode = plan.batches.iter().copied().map(Meter::Decode);
    for meter in [Meter::Prefill].into_iter().chain(decode) {
        table = table.number(meter.name(), move |(_, _, run, ours)| {
            let Some(speed) = meter.of(run) else { return "-".into() };
            let part = ours.and_then(|ours| Some(speed / meter.of(ours)?));
            let part = part.map_or_else(String::new, |part| format!(" ({})", percent(part)));
            format!("{}{part}", sig3(speed))
        });
    }
    Ok(table.done())
}

/// What the machine could do at all, in each run.
pub fn peaks(of: &Engines) -> Result<Table> {
    let rows = of.all().map(|of| -> Result<(_, &Peaks)> {
        Ok((of.setup.engine, of.peaks.as_ref().context("the peaks were measured")?))
    });
    let giga = |spread: &Spread| sig3(spread.median / 1e9);
    let title = "Bandwidth and rates of each run, measured in it with this course's kernels";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("run", |(engine, _)| engine.to_string())
        .number("threads", |(_, peaks)| count(peaks.threads))
        .number("reading memory (GB/s)", |(_, peaks)| giga(&peaks.bytes_per_s))
        .number("f32 product (GOP/s)", |(_, peaks)| giga(&peaks.f32_operations_per_s))
        .number("int8 product (GOP/s)", |(_, peaks)| giga(&peaks.int8_operations_per_s))
        .done())
}

/// Eight-bit activations over four-bit weights alone, in one kind of work.
struct Compared {
    run: String,
    formats: [&'static str; 2],
    work: String,
    tokens_per_s: [f64; 2],
    /// Whether the numbers are shown as their source has them.
    published: bool,
}

impl Compared {
    fn shown(&self, format: usize) -> String {
        let speed = self.tokens_per_s[format];
        if self.published { speed.to_string() } else { sig3(speed) }
    }
}

/// Eight-bit activations over four-bit weights alone, as work per weight grows: measured here and
/// published.
pub fn crossing((of, gpus): (&Engines, &Gpus)) -> Result<Table> {
    let mut rows = Vec::new();
    let (eight, four) = (run_of(&of.ours, "w8a8")?, run_of(&of.ours, "w4a16")?);
    let plan = &of.ours.plan;
    let prefill = (Meter::Prefill, format!("reads {}", plan.prefill_tokens));
    let decode = plan.batches.iter().map(|&requests| Meter::Decode(requests));
    for (meter, work) in decode.map(|meter| (meter, meter.name())).chain([prefill]) {
        let speeds = meter.of(eight).zip(meter.of(four)).context("every format was timed")?;
        rows.push(Compared {
            run: format!("ours, {} processors", of.ours.provenance.processors),
            formats: ["`w8a8`", "`w4a16`"],
            work,
            tokens_per_s: speeds.into(),
            published: false,
        });
    }
    for tokens in [1, 16, 64, 2048] {
        let gpu = gpus.of(captured::H200)?;
        let speed = |format| captured::rate(gpu, captured::LLAMA, format, tokens);
        let speeds = speed("fp8-tensor").zip(speed("w4a16-g128")).context("a step was timed")?;
        rows.push(Compared {
            run: "captured: linear layers of 8B, one H200".into(),
            formats: ["`fp8-tensor`", "`w4a16-g128`"],
            work: format!("{} tokens a step", count(tokens)),
            tokens_per_s: speeds.into(),
            published: false,
        });
    }
    for (setting, numbers) in BATCH_CROSSOVER.rows {
        rows.push(Compared {
            run: format!("published: 8B, one H200, {}", BATCH_CROSSOVER.source.link()),
            formats: ["FP8", "INT4 AWQ"],
            work: setting.rsplit(", ").next().unwrap_or_default().to_string(),
            tokens_per_s: [numbers[1].parse()?, numbers[2].parse()?],
            published: true,
        });
    }
    let title = "8-bit weights and activations, as a multiple of 4-bit weights alone";
    Ok(Table::of(title, rows)
        .text("run", |row| row.run.clone())
        .text("8 bits, both", |row| row.formats[0])
        .text("4 bits, weights", |row| row.formats[1])
        .text("work", |row| row.work.clone())
        .number("8 bits (tokens/s)", |row| row.shown(0))
        .number("4 bits (tokens/s)", |row| row.shown(1))
        .number("8 bits is", |row| times(row.tokens_per_s[0] / row.tokens_per_s[1]))
        .done())
}

/// Where and when the captures were made.
pub fn runs(of: &Engines) -> Result<Table> {
    Ok(runs_of(&of.all()).text("command", |of| format!("`{}`", of.provenance.command)).done())
}

/// Where and when captures were made, for chapters of engines.
pub fn runs_of<'c>(captures: &[&'c Capture]) -> Columns<&'c Capture> {
    Table::of("The runs of this chapter", captures.to_vec())
        .text("engine", |of| of.setup.engine.to_string())
        .text("version", |of| of.setup.engine_version.clone())
        .text("machine", |Capture { provenance: of, setup, .. }| {
            format!("{}, {} processors, {}", of.processor, of.processors, setup.instructions)
        })
        .text("date", |of| of.provenance.date.clone())
        .text("commit", |of| of.provenance.short_commit())
}
