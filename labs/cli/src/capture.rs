//! Measuring: the programs of `measure`, then the tables and the figure of the capture they wrote.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use formats::architecture::SMOLLM2_135M;
use kit::workspace::fetched_model;
use measure::capture::CaptureFile;
use measure::engines::{meters, serve_check};
use measure::{cpu, gpu, outliers};
use snippets::tables;
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
    Gpu(gpu::program::Args),
    /// Lab 03: products and encoders on this machine's processor, beside what its memory can do.
    Cpu(cpu::program::Args),
    /// Lab 04: outliers of the fetched model, and what quantizing does to its layers and to it.
    Model(outliers::program::Args),
}

/// Runs what was asked for, and prints the tables of its capture.
///
/// # Errors
/// If the program fails, or the capture cannot be read back.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.what {
        What::Gpu(args) => return gpu(args),
        What::Cpu(args) => {
            cpu::program::run(&args)?;
            let capture = cpu::capture::Capture::load(&args.out)?;
            show(tables::dequantization::all(&capture)?, &args.out);
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
            outliers::program::run(&args)?;
            let capture = outliers::capture::Capture::load(&args.out)?;
            show(tables::outliers::all(&capture)?, &args.out);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Outputs first, because a format that is wrong has no speed. Then the meters, then the tables.
fn gpu(args: gpu::program::Args) -> Result<ExitCode> {
    let out = args.out.clone();
    let code = gpu::program::run(args);
    if let (Some(out), true) = (out, code == ExitCode::SUCCESS) {
        let mut captures = vec![gpu::capture::Capture::load(&out)?];
        captures.extend(tables::captured::committed()?);
        show(tables::captured::all(&captures), &out);
    }
    Ok(code)
}

/// Takes the three meters of an engine, and draws the figure of the capture.
///
/// # Errors
/// If the engine cannot be set up, or the capture cannot be written.
pub fn measure(args: &measure::engines::measure::Args) -> Result<()> {
    let (capture, out) = measure::engines::measure::run(args)?;
    for table in meters::table::all(&capture, SMOLLM2_135M) {
        println!("\n{table}");
    }
    let figure = out.with_extension("svg");
    let svg = snippets::figures::measured::of(&capture)?.to_file();
    std::fs::write(&figure, svg).with_context(|| figure.display().to_string())?;
    println!("The capture is {}, its figure {}", out.display(), figure.display());
    Ok(())
}

/// Serves checkpoints with an engine, and prints what the engine made of each.
///
/// # Errors
/// As [`serve_check::run`].
pub fn serve_check(args: &serve_check::Args) -> Result<()> {
    println!("{}", serve_check::summary(&serve_check::run(args)?));
    Ok(())
}

fn show(tables: impl std::fmt::Display, out: &Path) {
    print!("{tables}");
    println!("The capture is {}", out.display());
}
