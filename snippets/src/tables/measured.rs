//! The tables of the three meters, read from the captures that `cargo book measure` took: predicted
//! beside measured.

use std::path::PathBuf;

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use kit::table::{count, sig3, times};
use measure::capture::Spread;
use measure::engines::{Capture, Engine, Run, meter_tables};

use crate::capture_files::of_engine;
use crate::published::BATCH_CROSSOVER;
use crate::tables::captured;

/// The folder that the committed captures lie in.
const FOLDER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/engines/captures/meters");

const OURS: Engine = Engine::Course;
const VLLM: Engine = Engine::Vllm;
const LLAMA_CPP: Engine = Engine::LlamaCpp;

/// The committed capture files.
pub fn files() -> Vec<PathBuf> {
    crate::capture_files::json_in(FOLDER)
}

/// The committed capture of an engine.
///
/// # Errors
/// If there is not exactly one, or one cannot be read.
pub fn committed(engine: Engine) -> Result<Capture> {
    of_engine(FOLDER, engine)
}

fn capacity(engine: Engine) -> Result<Table> {
    Ok(meter_tables::capacity(&committed(engine)?, SMOLLM2_135M))
}

fn throughput(engine: Engine) -> Result<Table> {
    Ok(meter_tables::throughput(&committed(engine)?, SMOLLM2_135M))
}

fn quality(engine: Engine) -> Result<Table> {
    Ok(meter_tables::quality(&committed(engine)?))
}

/// Capacity of this course's model.
pub fn capacity_ours() -> Result<Table> {
    capacity(OURS)
}

/// Capacity of vLLM.
pub fn capacity_vllm() -> Result<Table> {
    capacity(VLLM)
}

/// Capacity of llama.cpp.
pub fn capacity_llama_cpp() -> Result<Table> {
    capacity(LLAMA_CPP)
}

/// Throughput of this course's model.
pub fn throughput_ours() -> Result<Table> {
    throughput(OURS)
}

/// Throughput of vLLM.
pub fn throughput_vllm() -> Result<Table> {
    throughput(VLLM)
}

/// Throughput of llama.cpp.
pub fn throughput_llama_cpp() -> Result<Table> {
    throughput(LLAMA_CPP)
}

/// Quality of this course's model.
pub fn sanity_ours() -> Result<Table> {
    quality(OURS)
}

/// Quality of vLLM.
pub fn sanity_vllm() -> Result<Table> {
    quality(VLLM)
}

/// Quality of llama.cpp.
pub fn sanity_llama_cpp() -> Result<Table> {
    quality(LLAMA_CPP)
}

/// What the machine could do at all, in each run.
pub fn ceilings() -> Result<Table> {
    let mut table =
        Table::new("The ceilings of each run, measured in it with this course's kernels")
            .text("run")
            .number("threads")
            .number("reading memory (GB/s)")
            .number("f32 product (Gop/s)")
            .number("int8 product (Gop/s)");
    let giga = |spread: &Spread| sig3(spread.median / 1e9);
    for engine in Engine::SERVING {
        let capture = committed(engine)?;
        let peaks = capture.peaks.as_ref().context("the peaks were measured")?;
        table.row([
            engine.to_string(),
            count(peaks.threads),
            giga(&peaks.bytes_per_s),
            giga(&peaks.f32_operations_per_s),
            giga(&peaks.int8_operations_per_s),
        ]);
    }
    Ok(table)
}

/// Eight-bit activations over four-bit weights alone, as work per weight grows: measured here and
/// published.
pub fn crossing() -> Result<Table> {
    let mut table =
        Table::new("8-bit weights and activations, as a multiple of 4-bit weights alone")
            .text("run")
            .text("8 bits, both")
            .text("4 bits, weights")
            .text("work")
            .number("8 bits (tokens/s)")
            .number("4 bits (tokens/s)")
            .number("8 bits is");
    let capture = committed(OURS)?;
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
    let gpu = captured::of_gpu(captured::H200)?;
    for tokens in [1, 16, 64, 2048] {
        let speed = |format| captured::rate(&gpu, captured::LLAMA, format, tokens);
        let speeds = speed("fp8-tensor").zip(speed("w4a16-g128")).context("a step was timed")?;
        let run = "captured: linear layers of 8B, one H200".to_string();
        let work = format!("{} tokens a step", count(tokens));
        row(run, ["`fp8-tensor`", "`w4a16-g128`"], work, speeds.into(), false);
    }
    for published in &BATCH_CROSSOVER {
        let batch = published.setting.rsplit(", ").next().unwrap_or_default().to_string();
        let number = |index: usize| -> Result<f64> { Ok(published.numbers[index].parse()?) };
        let source = published.source;
        let run = format!("published: 8B, one H200, [{}]({})", source.name, source.url);
        row(run, ["FP8", "INT4 AWQ"], batch, [number(1)?, number(2)?], true);
    }
    Ok(table)
}

/// Where and when the captures were made.
pub fn runs() -> Result<Table> {
    let mut table = Table::new("The runs of this chapter")
        .text("engine")
        .text("version")
        .text("machine")
        .text("date")
        .text("commit")
        .text("command");
    for engine in Engine::SERVING {
        let Capture { provenance: of, setup, .. } = committed(engine)?;
        table.row([
            engine.to_string(),
            setup.engine_version,
            format!("{}, {} processors, {}", of.processor, of.processors, setup.instructions),
            of.date.clone(),
            of.short_commit(),
            format!("`{}`", of.command),
        ]);
    }
    Ok(table)
}
