//! Inference engines, asked the same questions: this course's own model, llama.cpp and vLLM.
//!
//! A checkpoint is right when engines that others wrote serve it, and a format is worth what the meters
//! of an engine say. Every engine is a [`Backend`], and what it has loaded a [`Loaded`]. What they are
//! asked is the [`Plan`], [`ask()`] asks it of one checkpoint, and what came is a [`Run`] of the
//! capture. The predictions of the cost model are in [`prediction`], and [`meter_tables`] shows both. `cargo book measure` is the command.
//!
//! * [`course`]: this course's own model.
//! * [`vllm`]: vLLM's server, through OpenAI's protocol and `/metrics`.
//! * [`llama_cpp`]: the tools of llama.cpp, through what they print.
//! * [`vllm_map`]: the map of vLLM's quantization folder, a file that was written by hand.
//!
//! ```no_run
//! # fn main() -> Result<(), measure::engines::EngineError> {
//! use measure::engines::vllm::{Options, Server};
//! use std::path::Path;
//!
//! let program = Path::new("target/engines/vllm/venv/bin/vllm");
//! let checkpoint = Path::new("target/checkpoints/w8a8");
//! let server = Server::start(&Options::new(program, checkpoint, Path::new("target/vllm.log")))?;
//! println!("{}", server.client().complete("The capital of France is", 14)?.text);
//! println!("{:?}", server.client().kv_cache()?);
//! # Ok(())
//! # }
//! ```
//!
//! Whatever goes wrong is an [`EngineError`] that says what the engine said. A program that was
//! started ends with the value that holds it, and its processes with it.

mod asked;
mod backend;
pub mod checkpoints;
pub mod course;
mod engine;
mod engine_error;
mod engine_meters;
mod engine_words;
mod host_peaks;
mod http;
pub mod installed;
pub mod llama_cpp;
pub mod meter_tables;
mod old_captures;
mod plan;
pub mod prediction;
mod process;
mod resident;
pub mod vllm;
pub mod vllm_map;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use kit::workspace::target;

use crate::capture::Provenance;
use checkpoints::Checkpoint;
use course::Course;
use llama_cpp::{LlamaCpp, Tools};
use vllm::{Client, KvMemory, Options, Vllm, Where};

pub use asked::ask;
pub use backend::{Backend, Loaded};
pub use engine::Engine;
pub use engine_error::EngineError;
pub use engine_meters::{
    Capture, EngineMeters, KvCache, OwnMemory, Peaks, Quality, Run, Setup, Throughput,
};
pub use plan::{Load, Meter, Plan};

/// Take the meters of an engine: quality, capacity, throughput.
#[derive(clap::Args)]
pub struct Args {
    /// The engine; vllm and llama.cpp are set up under target/engines if they are not there.
    #[arg(value_enum, default_value_t = Engine::Course)]
    pub engine: Engine,
    /// These meters alone [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "METER,...")]
    only: Vec<Meter>,
    /// The formats, the one that the others are compared with first [default: all that the engine
    /// makes of the fetched model]. ours: f32, w8a16, w8a8, w4a16, w4a8; vllm: none, w8a8,
    /// w8a8-smooth, fp8, w4a16, awq, gptq; llama.cpp: f32, q8_0, q4_0 and the mixes of k-quants.
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,...")]
    formats: Vec<String>,
    /// A checkpoint and what to call it, instead of formats; the first is the original that the
    /// others are compared with.
    #[arg(long = "checkpoint", value_name = "NAME=PATH", conflicts_with = "formats")]
    named: Vec<Checkpoint>,
    /// All in target/checkpoints that the engine reads, instead of formats.
    #[arg(long, conflicts_with_all = ["formats", "named"])]
    checkpoints: bool,
    /// Requests at once, one number for each reading.
    #[arg(long, value_delimiter = ',', value_name = "N,...", default_values_t = Plan::default().batches)]
    batches: Vec<usize>,
    /// A reading is repeated for so many seconds, five times at most.
    #[arg(long, default_value_t = Plan::default().seconds)]
    seconds: f64,
    /// Score the whole passage instead of its first four chunks.
    #[arg(long)]
    whole: bool,
    /// How keys and values are stored, by the engine's own name. ours: f32, int8, fp8, int4, kivi4,
    /// kivi2 and others; vllm: a value of --kv-cache-dtype; llama.cpp: one of -ctk and -ctv.
    #[arg(long, value_name = "FORMAT")]
    kv_cache: Option<String>,
    /// The memory that weights and KV cache are to share, GiB.
    #[arg(long, default_value_t = 1.0)]
    memory_gib: f64,
    /// Where the capture goes [default: target/captures/measured-ENGINE.json].
    #[arg(long, value_name = "FILE.json")]
    pub out: Option<PathBuf>,
    /// vLLM: the type of activations and of what is not quantized. Where a method has no kernel for
    /// float32, bfloat16 is taken.
    #[arg(long, default_value = "bfloat16")]
    dtype: String,
    /// vLLM: GiB for the KV cache, whatever the weights take.
    #[arg(long, conflicts_with = "own_memory")]
    kv_gib: Option<u32>,
    /// vLLM: let it ask the device how much memory there is, as on a GPU.
    #[arg(long)]
    own_memory: bool,
    /// vLLM: ask a server that runs already, at this address; name its format.
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

impl Args {
    /// Where the capture goes.
    pub fn out(&self) -> PathBuf {
        let file = || format!("captures/measured-{}.json", self.engine.file_name());
        self.out.clone().unwrap_or_else(|| target(&file()))
    }

    fn plan(&self) -> Result<Plan> {
        let Self { seconds, memory_gib, batches, .. } = self;
        ensure!(!batches.contains(&0), "--batches: 0 requests take no time");
        ensure!(seconds.is_finite() && *seconds > 0.0, "--seconds: {seconds} is no time");
        let bytes = memory_gib * f64::from(1 << 30);
        ensure!((1.0..1e15).contains(&bytes), "--memory-gib: {memory_gib} is no memory");
        let plan = Plan::default();
        Ok(Plan {
            meters: if self.only.is_empty() { plan.meters } else { self.only.clone() },
            batches: batches.clone(),
            seconds: *seconds,
            device_bytes: bytes as u64,
            chunks: if self.whole { None } else { plan.chunks },
            kv_cache: self.kv_cache.clone(),
            ..plan
        })
    }

    /// The checkpoints; `of_format` says where a format's is, or that it is in memory alone.
    fn checkpoints(
        &self,
        of_format: impl Fn(&str) -> Result<Option<PathBuf>>,
    ) -> Result<Vec<Checkpoint>> {
        if !self.named.is_empty() {
            return Ok(self.named.clone());
        }
        if self.checkpoints {
            return checkpoints::all(self.engine);
        }
        let known = checkpoints::formats(self.engine);
        if let Some(other) = self.formats.iter().find(|format| !known.contains(format)) {
            bail!("{} has no format `{other}`; it has: {}", self.engine, known.join(", "));
        }
        let names = if self.formats.is_empty() { known } else { self.formats.clone() };
        let checkpoint = |name: String| Ok(Checkpoint { path: of_format(&name)?, name });
        names.into_iter().map(checkpoint).collect()
    }
}

/// An engine that is ready, its version, and the checkpoints that it is asked about.
type Ready = (Box<dyn Backend>, String, Vec<Checkpoint>);

/// Asks the engine, and writes the capture after each checkpoint.
///
/// # Errors
/// If the engine cannot be set up, or the capture cannot be written.
pub fn run(args: &Args) -> Result<Capture> {
    let plan = args.plan()?;
    let (mut backend, version, checkpoints) = match args.engine {
        Engine::Course => course(args, &plan)?,
        Engine::Vllm => vllm(args, &plan)?,
        Engine::LlamaCpp => llama_cpp(args, &plan)?,
        Engine::Gpu => bail!("the GPU's meters are those of `cargo book capture gpu`"),
    };
    // Quality has no prediction that peaks would be needed for.
    let timed = plan.meters.iter().any(|&meter| meter != Meter::Quality);
    let peaks = timed.then(host_peaks::measure).transpose()?;
    let mut capture = Capture {
        provenance: Provenance::of_this_run(!args.whole),
        setup: Setup::of(args.engine, version),
        body: EngineMeters { peaks, plan, runs: Vec::new() },
    };
    let out = args.out();
    for (index, checkpoint) in checkpoints.iter().enumerate() {
        eprintln!("{}, {}", args.engine, checkpoint.name);
        let say = &mut |line: &str| eprintln!("  {line}");
        let known = checkpoint.run()?;
        let run = ask(backend.as_mut(), checkpoint, index == 0, &capture.plan, known, say);
        run.reason.iter().for_each(|reason| eprintln!("  {reason}"));
        capture.runs.push(run);
        // Saved after each checkpoint, because a run that is interrupted then keeps minutes of work.
        capture.save(&out)?;
    }
    Ok(capture)
}

fn course(args: &Args, plan: &Plan) -> Result<Ready> {
    let checkpoints = args.checkpoints(|_| Ok(None))?;
    let backend = Course::new(&checkpoints, plan)?;
    Ok((Box::new(backend), env!("CARGO_PKG_VERSION").into(), checkpoints))
}

fn vllm(args: &Args, plan: &Plan) -> Result<Ready> {
    if let Some(url) = &args.url {
        ensure!(args.formats.len() == 1, "a server at --url serves one format: name that one");
        let checkpoints = args.checkpoints(|_| Ok(None))?;
        let backend = Vllm::new(Where::Attach(url.clone()), None, plan)?;
        let told = || Client::new(url, "").version().ok();
        let version = args.engine_version.clone().or_else(told).unwrap_or("not told".into());
        return Ok((Box::new(backend), version, checkpoints));
    }
    let installed = Engine::Vllm.installed(args.vllm.as_deref(), args.engine_version.as_deref())?;
    let checkpoints = args.checkpoints(|format| checkpoints::written(format).map(Some))?;
    // The model is that of each checkpoint.
    let log = target("engines/logs/vllm.log");
    let mut options = Options::new(&installed.program, Path::new(""), &log);
    options.dtype.clone_from(&args.dtype);
    let memory = match (args.kv_gib, args.own_memory) {
        (Some(gib), _) => KvMemory::Gib(gib),
        (None, true) => KvMemory::OfDevice,
        (None, false) => KvMemory::Rest,
    };
    let original = checkpoints.first().and_then(|checkpoint| checkpoint.path.as_deref());
    let backend = Vllm::new(Where::Start(Box::new(options), memory), original, plan)?;
    Ok((Box::new(backend), installed.version, checkpoints))
}

fn llama_cpp(args: &Args, plan: &Plan) -> Result<Ready> {
    let given = args.llama_bin.as_deref();
    let installed = Engine::LlamaCpp.installed(given, args.engine_version.as_deref())?;
    let tools = Tools::new(&installed.program, plan.kv_cache.as_deref());
    let of_format = |format: &str| llama_cpp::made(&tools, format).map(Some);
    let mut checkpoints = args.checkpoints(of_format)?;
    // Without an original there is nothing to compare with, and a folder of checkpoints may lack one.
    if args.checkpoints && !checkpoints.iter().any(checkpoints::is_plain) {
        checkpoints.insert(0, Checkpoint { name: "original".into(), path: of_format("f32")? });
    }
    let backend = LlamaCpp::new(tools.clone(), plan)?;
    Ok((Box::new(backend), installed.version, checkpoints))
}
