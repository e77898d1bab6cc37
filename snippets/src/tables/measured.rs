//! The tables of the three meters, read from the captures that `cargo book measure` took: predicted
//! beside measured.

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use kit::table::{count, sig3, times};
use measure::capture::Spread;
use measure::engines::{Capture, Engine, Run, meter_tables};

use crate::inputs::{Engines, Gpus};
use crate::published::BATCH_CROSSOVER;
use crate::tables::captured;

/// Capacity in an engine's capture.
pub fn capacity(capture: &Capture) -> Result<Table> {
    Ok(table::capacity(capture, SMOLLM2_135M))
}

/// Throughput in an engine's capture.
pub fn throughput(capture: &Capture) -> Result<Table> {
    Ok(table::throughput(capture, SMOLLM2_135M))
}

/// Output sanity in an engine's capture.
pub fn sanity(capture: &Capture) -> Result<Table> {
    Ok(table::sanity(capture))
}

/// What the machine could do at all, in each run.
pub fn ceilings(of: &Engines<Capture>) -> Result<Table> {
    let giga = |spread: &Spread| sig3(spread.median / 1e9);
    let title = "The ceilings of each run, measured in it with this course's kernels";
    Ok(Table::of(title, of.all())
        .text("run", |of| of.provenance.engine.clone())
        .number("threads", |of| count(of.ceilings.threads))
        .number("reading memory (GB/s)", |of| giga(&of.ceilings.bytes_per_s))
        .number("f32 product (Gop/s)", |of| giga(&of.ceilings.f32_operations_per_s))
        .number("int8 product (Gop/s)", |of| giga(&of.ceilings.int8_operations_per_s))
        .done())
}

/// Eight-bit activations over four-bit weights alone, as work per weight grows: measured here and
/// published.
pub fn crossing((of, gpus): (&Engines<Capture>, &Gpus)) -> Result<Table> {
    let mut table =
        Table::new("8-bit weights and activations, as a multiple of 4-bit weights alone")
            .text("run")
            .text("8 bits, both")
            .text("4 bits, weights")
            .text("work")
            .number("8 bits (tokens/s)")
            .number("4 bits (tokens/s)")
            .number("8 bits is");
    let capture = &of.ours;
    let run = |format: &str| {
        capture.named(format).with_context(|| format!("the capture of ours has no {format}"))
    };
    let (eight, four) = (run("w8a8")?, run("w4a16")?);
    let mut row =
        |run: String, formats: [&str; 2], work: String, speeds: [f64; 2], source: bool| {
            let shown = speeds.map(|speed| if source { speed.to_string() } else { sig3(speed) });
            let [eight, four] = formats.map(String::from);
            let [fast, slow] = shown;
            table.row([run, eight, four, work, fast, slow, times(speeds[0] / speeds[1])]);
        };
    let here = format!("ours, {} processors", capture.provenance.processors);
    for &requests in &capture.plan.batches {
        let speed = |run: &Run| run.decode_of(requests).map(|w| w.tokens_per_s.median);
        let speeds = speed(eight).zip(speed(four)).context("every format was timed")?;
        let work = if requests == 1 { "1 writes".into() } else { format!("{requests} write") };
        row(here.clone(), ["`w8a8`", "`w4a16`"], work, speeds.into(), false);
    }
    let prefill = |run: &Run| run.prefill.as_ref().map(|prefill| prefill.tokens_per_s.median);
    let speeds = prefill(eight).zip(prefill(four)).context("every format was timed")?;
    let work = format!("reads {}", capture.plan.prefill_tokens);
    row(here.clone(), ["`w8a8`", "`w4a16`"], work, speeds.into(), false);
    let gpu = gpus.of(captured::H200)?;
    for tokens in [1, 16, 64, 2048] {
        let speed = |format| captured::rate(gpu, captured::LLAMA, format, tokens);
        let speeds = speed("fp8-tensor").zip(speed("w4a16-g128")).context("a step was timed")?;
        let run = "captured: linear layers of 8B, one H200".to_string();
        let work = format!("{} tokens a step", count(tokens));
        row(run, ["`fp8-tensor`", "`w4a16-g128`"], work, speeds.into(), false);
    }
    for (setting, numbers) in BATCH_CROSSOVER.rows {
        let batch = setting.rsplit(", ").next().unwrap_or_default().to_string();
        let number = |index: usize| -> Result<f64> { Ok(numbers[index].parse()?) };
        let run = format!("published: 8B, one H200, {}", BATCH_CROSSOVER.source.link());
        row(run, ["FP8", "INT4 AWQ"], batch, [number(1)?, number(2)?], true);
    }
    Ok(table)
}

/// Where and when the captures were made.
pub fn runs(of: &Engines<Capture>) -> Result<Table> {
    Ok(Table::of("The runs of this chapter", of.all().map(|capture| &capture.provenance))
        .text("engine", |of| of.engine.clone())
        .text("version", |of| of.engine_version.clone())
        .text("machine", |of| {
            format!("{}, {} processors, {}", of.processor, of.processors, of.instructions)
        })
        .text("date", |of| of.date.clone())
        .text("commit", |of| of.commit.chars().take(12).collect::<String>())
        .text("command", |of| format!("`{}`", of.command))
        .done())
}
