//! `cargo book capture`: the measured numbers of the book, taken again on the reader's machine.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use xtask::workspace;

use crate::book::succeed;
use crate::fetch;

/// What to capture.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lab 02: three meters of each format on this machine's NVIDIA GPU.
    Gpu(GpuArgs),
    /// Lab 03: products and encoders on this machine's processor, beside what its memory can do.
    Cpu(CpuArgs),
    /// Lab 04: outliers of the fetched model, and what quantizing does to its layers and to it.
    Model(ModelArgs),
}

/// How to run `gpu-meters`.
#[derive(clap::Args)]
struct GpuArgs {
    /// Under a minute: fewer batches, shorter readings.
    #[arg(long)]
    quick: bool,
    /// Where the capture goes.
    #[arg(long, value_name = "FILE.json", default_value = "target/captures/gpu.json")]
    out: PathBuf,
    /// More options for `gpu-meters`, after `--`.
    #[arg(last = true)]
    more: Vec<String>,
}

/// How to run `cpu-meters`.
#[derive(clap::Args)]
struct CpuArgs {
    /// A few seconds: three rounds.
    #[arg(long)]
    quick: bool,
    /// Run this `llama-quantize` of llama.cpp in turn with our encoders.
    #[arg(long, value_name = "PATH")]
    llama_quantize: Option<PathBuf>,
    /// What that `llama-quantize` is: the package it was built from.
    #[arg(long, value_name = "TEXT")]
    llama_version: Option<String>,
    /// Where the capture goes.
    #[arg(long, value_name = "FILE.json", default_value = "target/captures/cpu.json")]
    out: PathBuf,
}

/// How to run `outlier-meters`.
#[derive(clap::Args)]
struct ModelArgs {
    /// A few minutes: the first two chunks of the passage.
    #[arg(long)]
    quick: bool,
    /// Compare with the committed capture, to the tolerances that it states.
    #[arg(long)]
    check: bool,
    /// The model [default: where `cargo book fetch` puts it].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Where the capture goes.
    #[arg(long, value_name = "FILE.json", default_value = "target/captures/model.json")]
    out: PathBuf,
}

/// The capture that the book shows, which `--check` compares with.
const MODEL_CAPTURE: &str =
    "labs/lab-04-activation-outliers-smoothquant/captures/model-epyc-milan-2.json";

/// Runs what was asked for.
///
/// # Errors
/// If a program cannot be started, or the capture cannot be read back.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Gpu(args) => gpu(args),
        What::Cpu(args) => cpu(args),
        What::Model(args) => model(args),
    }
}

/// The meters of a GPU with the options of `cargo book capture gpu`, for whoever has them as words.
///
/// # Errors
/// If an option is none, or as [`run`].
pub fn gpu_with(options: &[OsString]) -> Result<ExitCode> {
    #[derive(clap::Parser)]
    #[command(name = "cargo book measure --engine gpu", no_binary_name = true)]
    struct Options {
        #[command(flatten)]
        gpu: GpuArgs,
    }
    match <Options as clap::Parser>::try_parse_from(options) {
        Ok(options) => gpu(&options.gpu),
        Err(error) => {
            error.print().context("cannot print")?;
            Ok(ExitCode::from(if error.use_stderr() { 2 } else { 0 }))
        }
    }
}

/// Outputs first: a format that is wrong has no speed. Then the meters, then the tables.
fn gpu(args: &GpuArgs) -> Result<ExitCode> {
    let out = workspace::root().join(&args.out);
    let phases: [&[&OsStr]; 2] = [&["--check".as_ref()], &["--out".as_ref(), out.as_ref()]];
    for phase in phases {
        let mut command = gpu_meters();
        command.args(phase).args(args.quick.then_some("--quick")).args(&args.more);
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            // 1: a format failed, and said so; 2: no GPU or no CUDA. `gpu-meters` has told which.
            return Ok(workspace::exit_code(status));
        }
    }
    show("captures", &out)
}

fn gpu_meters() -> Command {
    let mut command = workspace::cargo();
    command.args(["run", "--release", "--quiet", "--package", "lab-02-quantize-and-eval"]);
    command.args(["--bin", "gpu-meters", "--"]);
    command
}

/// The meters, in a release build, then the tables.
fn cpu(args: &CpuArgs) -> Result<ExitCode> {
    let out = workspace::root().join(&args.out);
    let mut meters = workspace::cargo();
    meters.args(["run", "--release", "--quiet", "--package", "lab-03-int4-groups-and-packing"]);
    meters.args(["--features", "meters", "--bin", "cpu-meters", "--"]);
    meters.args(args.quick.then_some("--quick")).arg("--out").arg(&out);
    if let Some(tool) = &args.llama_quantize {
        // A path that is right where the command was typed, from any folder.
        let tool = std::path::absolute(tool).context("there is no working folder")?;
        meters.arg("--llama-quantize").arg(tool);
    }
    if let Some(version) = &args.llama_version {
        meters.arg("--llama-version").arg(version);
    }
    succeed("cpu-meters", &mut meters)?;
    show("cpu-capture", &out)
}

/// The meters of the whole model, in a release build.
fn model(args: &ModelArgs) -> Result<ExitCode> {
    let model = args.model.clone().unwrap_or_else(fetch::default_model);
    ensure!(model.exists(), "there is no model {}: `cargo book fetch` gets it", model.display());
    fetch::MODEL.require(&model)?;
    let root = workspace::root();
    let out = root.join(&args.out);
    let mut meters = workspace::cargo();
    let package = "lab-04-activation-outliers-smoothquant";
    meters.args(["run", "--release", "--quiet", "--package", package]);
    meters.args(["--features", "meters", "--bin", "outlier-meters", "--"]);
    meters.args(args.quick.then_some("--quick")).arg("--out").arg(&out);
    // A path that is right where the command was typed, from any folder.
    let model = std::path::absolute(&model).context("there is no working folder")?;
    meters.arg("--model").arg(model);
    if args.check {
        meters.arg("--check").arg(root.join(MODEL_CAPTURE));
    }
    succeed("outlier-meters", &mut meters)?;
    show("model-capture", &out)
}

/// The tables of the capture `out`, which `mdbook-snippets KIND` makes, and where it lies.
fn show(kind: &str, out: &Path) -> Result<ExitCode> {
    let mut tables = workspace::cargo();
    tables.args(["run", "--quiet", "--package", "snippets", "--bin", "mdbook-snippets", "--"]);
    succeed("mdbook-snippets", tables.arg(kind).arg(out))?;
    println!("The capture is {}", out.display());
    Ok(ExitCode::SUCCESS)
}
