//! `serve-check`: real engines serve checkpoints, answer three prompts and score a passage.

mod checkpoints;
mod ours;

use std::path::{Path, PathBuf};

use crate::capture::CaptureFile;
use crate::engines::capture::{Capture, Checkpoint, Provenance, Questions};
use crate::engines::check;
use crate::engines::checkpoints::Named;
use crate::engines::llama_cpp::Tools;
use crate::engines::provenance::without_folders;
use crate::engines::ready::{Ready, Which};
use crate::engines::vllm::Options;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use kit::workspace::root;
use model::{Tokenizer, passage};

/// What every checkpoint continues.
const PROMPTS: [&str; 3] =
    ["The capital of France is", "Once upon a time, there was a", "The opposite of hot is"];
/// Tokens that it writes.
const WRITTEN: usize = 14;
/// llama.cpp's chunk.
const CHUNK: usize = 512;
/// Chunks of a short run.
const QUICK_CHUNKS: usize = 4;

/// Serve checkpoints with a real engine, ask each the same, and write down what came.
#[derive(clap::Args)]
pub struct Args {
    /// The engine; it is set up under target/engines if it is not there.
    engine: Engine,
    /// A checkpoint and what to call it; the first is the original that the others are compared
    /// with. Without it, all in target/checkpoints that the engine can read.
    #[arg(long = "checkpoint", value_name = "NAME=PATH")]
    checkpoints: Vec<Named>,
    /// Four chunks of the passage instead of all 22.
    #[arg(long)]
    quick: bool,
    /// Where the capture goes [default: target/captures/ENGINE.json].
    #[arg(long, value_name = "FILE.json")]
    out: Option<PathBuf>,
    /// vLLM: the type of activations. Where a method has no kernel for float32, bfloat16 is taken.
    #[arg(long, default_value = "float32")]
    dtype: String,
    /// vLLM: GiB for the KV cache.
    #[arg(long, default_value_t = 1)]
    kv_gib: u32,
    /// Use this `vllm` instead of setting one up.
    #[arg(long, value_name = "PROGRAM")]
    vllm: Option<PathBuf>,
    /// Use the llama.cpp tools in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    llama_bin: Option<PathBuf>,
    /// What the engine given by `--vllm` or `--llama-bin` is: the package it came from.
    #[arg(long, value_name = "TEXT")]
    engine_version: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The model of this course, in f32: the numbers that the others stand beside.
    Ours,
    Vllm,
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl Engine {
    /// The name of its capture.
    fn folder(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Vllm => Which::Vllm.folder(),
            Self::LlamaCpp => Which::LlamaCpp.folder(),
        }
    }

    /// What captures call it.
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "this course",
            Self::Vllm => Which::Vllm.name(),
            Self::LlamaCpp => Which::LlamaCpp.name(),
        }
    }
}

/// The engine that was given, or set up.
fn ready(cli: &Args) -> Result<Ready> {
    let (which, given) = match cli.engine {
        Engine::Ours => {
            let version = env!("CARGO_PKG_VERSION").into();
            return Ok(Ready { program: PathBuf::new(), version });
        }
        Engine::Vllm => (Which::Vllm, &cli.vllm),
        Engine::LlamaCpp => (Which::LlamaCpp, &cli.llama_bin),
    };
    Ok(which.ready(given.as_deref(), cli.engine_version.as_deref())?)
}

/// Runs, and writes the capture after each checkpoint.
///
/// # Errors
/// If the engine cannot be set up, or the capture cannot be written.
pub fn run(cli: &Args) -> Result<Capture> {
    let ready = ready(cli)?;
    let checkpoints = checkpoints::of(cli, &ready)?;
    let provenance = Provenance::of_this_run(cli.engine.name(), &ready.version, cli.quick);
    let mut capture = Capture::new(provenance, questions(cli));
    let default = root().join("target/captures").join(format!("{}.json", cli.engine.folder()));
    let out = cli.out.clone().unwrap_or(default);
    let mut each = |mut checkpoint: Checkpoint| -> Result<()> {
        checkpoint.error.iter_mut().for_each(without_folders);
        checkpoint.facts.iter_mut().for_each(without_folders);
        if let Some(error) = &checkpoint.error {
            eprintln!("  {}", error.replace('\n', "\n  "));
        }
        capture.checkpoints.push(checkpoint);
        // After each: minutes of work are not lost when a later one is interrupted.
        capture.check()?;
        Ok(capture.save(&out)?)
    };
    match cli.engine {
        Engine::Ours => ours(cli, &checkpoints, &mut each)?,
        Engine::Vllm => vllm(cli, &ready.program, &checkpoints, &mut each)?,
        Engine::LlamaCpp => llama_cpp(cli, &ready.program, &checkpoints, &mut each)?,
    }
    println!("The capture is {}", out.display());
    Ok(capture)
}

fn questions(cli: &Args) -> Questions {
    Questions {
        prompts: PROMPTS.map(String::from).to_vec(),
        written_tokens: WRITTEN,
        passage: "labs/model/passage/alice.txt".into(),
        chunk: CHUNK,
        chunks: cli.quick.then_some(QUICK_CHUNKS),
    }
}

type Each<'a> = &'a mut dyn FnMut(Checkpoint) -> Result<()>;

fn ours(cli: &Args, checkpoints: &[Named], each: Each) -> Result<()> {
    let (first, questions) =
        (checkpoints.first().context("there is no checkpoint")?, questions(cli));
    let ours = ours::Ours::new(first, &questions)?;
    for (index, named) in checkpoints.iter().enumerate() {
        eprintln!("{}: the model of this course", named.name);
        let mut checkpoint = named.checkpoint()?;
        ours.check(named, &questions, index == 0, &mut checkpoint);
        each(checkpoint)?;
    }
    Ok(())
}

fn vllm(cli: &Args, program: &Path, checkpoints: &[Named], each: Each) -> Result<()> {
    let original = checkpoints.first().context("there is no checkpoint")?;
    let tokenizer = Tokenizer::load(&original.path)
        .with_context(|| format!("no tokenizer of {}", original.name))?;
    let tokens = tokenizer.encode(passage::ALICE)?;
    let text = (tokens.as_slice(), tokenizer.bos_in_front());
    let questions = questions(cli);
    let mut base = None;
    for named in checkpoints {
        eprintln!("{}: vLLM starts, about two minutes", named.name);
        let log = root().join("target/engines/logs").join(format!("vllm-{}.log", named.name));
        let mut options = Options::new(program, &named.path, &log);
        options.dtype = cli.dtype.clone();
        options.kv_gib = Some(cli.kv_gib);
        let mut checkpoint = named.checkpoint()?;
        let say = &mut |line: &str| eprintln!("  {line}");
        let scored = check::vllm(&options, &questions, text, base.as_ref(), &mut checkpoint, say);
        // Only the first is the original: where it failed, the others have nothing to agree with.
        if named.name == original.name {
            base = scored;
        }
        each(checkpoint)?;
    }
    Ok(())
}

fn llama_cpp(cli: &Args, bin: &Path, checkpoints: &[Named], each: Each) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tools = Tools::new(bin, threads);
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let (text, base) = (folder.path().join("passage.txt"), folder.path().join("base"));
    std::fs::write(&text, passage::ALICE).context("cannot write a temporary file")?;
    let questions = questions(cli);
    let repetitions = if cli.quick { 2 } else { 5 };
    for (index, named) in checkpoints.iter().enumerate() {
        eprintln!("{}: llama.cpp, {threads} threads", named.name);
        let mut checkpoint = named.checkpoint()?;
        let say = &mut |line: &str| eprintln!("  {line}");
        let files = (text.as_path(), base.as_path());
        check::llama_cpp(
            &tools,
            &named.gguf()?,
            &questions,
            files,
            repetitions,
            &mut checkpoint,
            say,
        );
        if index == 0 && checkpoint.error.is_some() {
            bail!(
                "the original failed, and the others are compared with it:\n{:?}",
                checkpoint.error
            );
        }
        each(checkpoint)?;
    }
    Ok(())
}

/// A line for each checkpoint.
pub fn summary(capture: &Capture) -> String {
    let Provenance { engine, engine_version, .. } = &capture.provenance;
    let table =
        kit::Table::new(format!("What {engine} ({engine_version}) made of each checkpoint"));
    let table = table.text("checkpoint").number("weights, MB").number("perplexity");
    let table = table.number("same likeliest token").number("KL, nats");
    let mut table = table.text("first answer");
    for checkpoint in &capture.checkpoints {
        let quality = checkpoint.quality.as_ref();
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".into(), |value| format!("{value:.digits$}"))
        };
        let answer = checkpoint.answers.first().map(|answer| format!("{answer:?}"));
        table.row([
            checkpoint.name.clone(),
            number(Some(checkpoint.weight_bytes as f64 / 1e6), 1),
            number(quality.map(|quality| quality.perplexity), 6),
            number(quality.and_then(|quality| quality.same_top), 4),
            number(quality.and_then(|quality| quality.mean_kl), 6),
            answer.unwrap_or_else(|| "failed: see the capture".into()),
        ]);
    }
    table.to_string()
}
