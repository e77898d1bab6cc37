//! `measure`: the three meters of an engine on this machine, beside what the cost model predicts.

mod ceilings;
mod llama_cpp;
mod ours;
mod vllm;

use std::path::PathBuf;

use crate::capture::CaptureFile;
use crate::engines::capture::Provenance;
use crate::engines::meters::{Capture, Engine, Plan, Run, take};
use crate::engines::provenance::without_folders;
use crate::engines::ready::Which;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use kit::workspace::target;

/// Take the three meters of each format: throughput, capacity, output sanity.
#[derive(clap::Args)]
pub struct Args {
    /// Whose meters.
    #[arg(long, value_enum, default_value_t = Name::Ours)]
    engine: Name,
    /// The formats, the one that the others are compared with first [default: all that the engine
    /// has]. ours: f32, w8a16, w8a8, w4a16, w4a8; vllm: none, w8a8, w8a8-smooth, fp8, w4a16, awq,
    /// gptq; llama.cpp: f32, q8_0, q4_0.
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,...")]
    formats: Vec<String>,
    /// Requests at once, one number for each reading.
    #[arg(long, value_delimiter = ',', value_name = "N,...", default_values_t = Plan::new().batches)]
    batches: Vec<usize>,
    /// A reading is repeated for so many seconds, five times at most.
    #[arg(long, default_value_t = Plan::new().seconds)]
    seconds: f64,
    /// Score the whole passage instead of its first four chunks.
    #[arg(long)]
    whole: bool,
    /// The memory that weights and KV cache are to share, GiB.
    #[arg(long, default_value_t = 1.0)]
    memory_gib: f64,
    /// Where the capture goes [default: target/captures/measured-ENGINE.json].
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// vLLM: the type of activations and of what is not quantized.
    #[arg(long, default_value = "bfloat16")]
    dtype: String,
    /// vLLM: let it ask the device how much memory there is, as on a GPU.
    #[arg(long)]
    own_memory: bool,
    /// vLLM: take the meters of a server that runs already, at this address; name its format.
    #[arg(long, value_name = "URL", requires = "formats")]
    url: Option<String>,
    /// Use this `vllm` instead of setting one up.
    #[arg(long, value_name = "PROGRAM")]
    vllm: Option<PathBuf>,
    /// Use the llama.cpp tools in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    llama_bin: Option<PathBuf>,
    /// What the engine given by `--vllm`, `--url` or `--llama-bin` is: the package it came from.
    #[arg(long, value_name = "TEXT")]
    engine_version: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// This course's own model: nothing to install.
    Ours,
    Vllm,
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl Name {
    /// What captures and predictions call it.
    fn shown(self) -> &'static str {
        match self {
            Self::Ours => "this course",
            Self::Vllm => Which::Vllm.name(),
            Self::LlamaCpp => Which::LlamaCpp.name(),
        }
    }

    /// The capture's file, where none is named.
    fn file(self) -> PathBuf {
        let name = match self {
            Self::Ours => "ours",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama-cpp",
        };
        target("captures").join(format!("measured-{name}.json"))
    }
}

/// Runs, and writes the capture after each checkpoint.
///
/// # Errors
/// If the engine cannot be set up, or the capture cannot be written.
pub fn run(cli: &Args) -> Result<(Capture, PathBuf)> {
    let plan = plan(cli)?;
    let (mut engine, version, formats) = engine(cli, &plan)?;
    eprintln!("what this machine can do at all");
    let ceilings = ceilings::measure()?;
    let provenance = Provenance::of_this_run(cli.engine.shown(), &version, !cli.whole);
    let mut capture = Capture::new(provenance, ceilings, plan);
    let out = cli.out.clone().unwrap_or_else(|| cli.engine.file());
    for format in &formats {
        eprintln!("{}, {format}", cli.engine.shown());
        let say = &mut |line: &str| eprintln!("  {line}");
        let run = take(engine.as_mut(), format, &capture.plan, say);
        capture.runs.push(without_paths(run));
        // After each: minutes of work are not lost when a later one is interrupted.
        capture.check()?;
        capture.save(&out)?;
    }
    Ok((capture, out))
}

fn plan(cli: &Args) -> Result<Plan> {
    ensure!(!cli.batches.contains(&0), "--batches: 0 requests take no time");
    ensure!(cli.seconds.is_finite() && cli.seconds > 0.0, "--seconds: {} is no time", cli.seconds);
    let bytes = cli.memory_gib * f64::from(1 << 30);
    ensure!((1.0..1e15).contains(&bytes), "--memory-gib: {} is no memory", cli.memory_gib);
    let plan = Plan::new();
    Ok(Plan {
        batches: cli.batches.clone(),
        seconds: cli.seconds,
        device_bytes: bytes as u64,
        chunks: if cli.whole { None } else { plan.chunks },
        ..plan
    })
}

/// The engine, its version, and the formats that it is asked for.
fn engine(cli: &Args, plan: &Plan) -> Result<(Box<dyn Engine>, String, Vec<String>)> {
    let (known, which): (&[&str], _) = match cli.engine {
        Name::Ours => (&ours::FORMATS, None),
        Name::Vllm => (&vllm::FORMATS, Some((Which::Vllm, &cli.vllm))),
        Name::LlamaCpp => (&llama_cpp::FORMATS, Some((Which::LlamaCpp, &cli.llama_bin))),
    };
    let formats = if cli.formats.is_empty() {
        known.iter().map(ToString::to_string).collect()
    } else {
        cli.formats.clone()
    };
    if let Some(other) = formats.iter().find(|format| !known.contains(&format.as_str())) {
        anyhow::bail!(
            "{} has no format `{other}`; it has: {}",
            cli.engine.shown(),
            known.join(", ")
        );
    }
    let version = cli.engine_version.as_deref();
    let Some((which, given)) = which else {
        let engine = ours::open(plan)?;
        return Ok((Box::new(engine), env!("CARGO_PKG_VERSION").into(), formats));
    };
    if let Some(url) = &cli.url {
        ensure!(which == Which::Vllm, "--url attaches to a vLLM server");
        let engine = vllm::attach(url, &formats, plan)?;
        return Ok((Box::new(engine), version.unwrap_or("not told").into(), formats));
    }
    let ready = which.ready(given.as_deref(), version)?;
    let engine: Box<dyn Engine> = match which {
        Which::Vllm => Box::new(vllm::open(cli, &ready.program, &formats, plan)?),
        Which::LlamaCpp => Box::new(llama_cpp::open(&ready.program, &formats, plan)?),
    };
    Ok((engine, ready.version, formats))
}

fn without_paths(mut run: Run) -> Run {
    run.error.iter_mut().for_each(without_folders);
    run.facts.iter_mut().for_each(without_folders);
    run
}
