//! `cargo book capture` and `measure`: a measuring program, then the tables and the figure of its capture.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use kit::workspace::fetched_model;
use measure::engines::{self, Engine};
use measure::{awq, cpu, gptq, gpu, grids, kv, outliers, rotations, zoo};
use snippets::captures;
use xtask::fetch;

/// What to capture.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lab 02: three meters of each format on this machine's NVIDIA GPU.
    Gpu(gpu::Args),
    /// Lab 03: products and encoders on this machine's processor, beside what its memory can do.
    Cpu(cpu::Args),
    /// Lab 04: outliers of the fetched model, and what quantizing does to its layers and to it.
    Model(outliers::Args),
    /// Lab 06: what each choice of GPTQ does to the fetched model, and what the choice costs.
    Gptq(gptq::Args),
    /// Lab 07: methods of four bits on the fetched model, each written in every layout.
    Awq(awq::Args),
    /// Lab 08: the fetched model in each format of four and of eight bits.
    Grids(grids::Args),
    /// Lab 09: the fetched model with its KV cache in each format.
    Kv(kv::Args),
    /// Lab 10: the fetched model rotated, in each format.
    Rotations(rotations::Args),
}

/// Runs a measuring program, and prints the tables of its capture.
///
/// # Errors
/// If the program fails, or the capture cannot be read back.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.what {
        What::Gpu(args) => return gpu(args),
        What::Gptq(args) => {
            gptq::run(&args)?;
            println!("The capture is {}", args.out.display());
        }
        What::Awq(args) => {
            awq::run(&args)?;
            println!("The capture is {}", args.out.display());
        }
        What::Grids(args) => {
            grids::run(&args)?;
            show(&args.out)?;
        }
        What::Kv(args) => {
            kv::run(&args)?;
            show(&args.out)?;
        }
        What::Rotations(args) => {
            rotations::run(&args)?;
            show(&args.out)?;
        }
        What::Cpu(args) => {
            cpu::run(&args)?;
            show(&args.out)?;
        }
        What::Model(args) => {
            let fetched = fetched_model();
            if args.model == fetched {
                ensure!(
                    fetched.exists(),
                    "there is no {}: run `cargo book fetch`",
                    fetched.display()
                );
                fetch::MODEL.require(&fetched)?;
            }
            outliers::run(&args)?;
            show(&args.out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Outputs first, because a format that is wrong has no speed. Then the meters, then the tables.
fn gpu(args: gpu::Args) -> Result<ExitCode> {
    let out = args.out.clone();
    let code = gpu::run(args);
    if let (Some(out), true) = (out, code == ExitCode::SUCCESS) {
        show(&out)?;
    }
    Ok(code)
}

/// Takes the meters of an engine, prints their tables, and draws the figure of the capture.
///
/// # Errors
/// If the engine cannot be set up, or the capture cannot be written.
pub fn measure(args: &engines::Args) -> Result<ExitCode> {
    let out = args.out();
    if args.engine == Engine::Gpu {
        return gpu(gpu::Args::whole(out));
    }
    engines::run(args)?;
    show(&out)?;
    if let Some(svg) = captures::figure(&out)? {
        let figure = out.with_extension("svg");
        std::fs::write(&figure, svg).with_context(|| figure.display().to_string())?;
        println!("The figure is {}", figure.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the files of the zoo, and prints the tables of its capture.
///
/// # Errors
/// If a file cannot be made or scored, or the capture cannot be read back.
pub fn zoo(args: &zoo::Args) -> Result<()> {
    zoo::run(args)?;
    if args.out.exists() { show(&args.out) } else { Ok(()) }
}

/// The tables of a capture, and where it lies.
fn show(out: &Path) -> Result<()> {
    print!("{}", captures::show(out)?);
    println!("The capture is {}", out.display());
    Ok(())
}
