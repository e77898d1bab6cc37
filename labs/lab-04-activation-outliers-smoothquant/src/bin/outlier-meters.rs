//! `outlier-meters`: what this lab's methods do to a real model, as a whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use kit::capture::CaptureFile;
use model::{Model, Tokenizer};
use smoothquant::capture::Capture;
use smoothquant::meters::calibration::Calibration;
use smoothquant::meters::text::{QUICK_CHUNKS, Text};
use smoothquant::meters::{
    Progress, errors, profile, provenance, reorder, residual, scores, variants,
};

/// The chunk that layer errors are measured on: of a full run the one of the held-out window.
const ERRORS_CHUNK: usize = 11;

/// How many chunks the residual stream is looked at on.
const RESIDUAL_CHUNKS: usize = 4;

/// Profile the outliers of a model, and measure what quantizing does to its layers and to it.
#[derive(Parser)]
#[command(name = "outlier-meters", version, about)]
struct Cli {
    /// The model: a GGUF file, or a folder with config.json.
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// The first chunks of the passage only.
    #[arg(long)]
    quick: bool,
    /// This many chunks of the passage, of 512 tokens each [default: all 22].
    #[arg(long, conflicts_with = "quick")]
    chunks: Option<usize>,
    /// Sum the products of every down_proj in the reverse order: the same function, other roundings,
    /// as on another processor. It tells what the tolerances have to allow.
    #[arg(long)]
    reverse: bool,
    /// Where the capture goes.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    /// Compare with this capture; fail if they differ by more than the stated tolerances.
    #[arg(long, value_name = "FILE.json")]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    match meter(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn meter(cli: &Cli) -> Result<()> {
    // Read first: nobody should wait for a run to hear that there is nothing to compare with.
    let committed = cli.check.as_deref().map(Capture::load).transpose()?;
    let progress = Progress::start();
    let (mut model, tokenizer) = (Model::load(&cli.model)?, Tokenizer::load(&cli.model)?);
    if cli.reverse {
        model = reorder::reverse_inner(&model)?;
    }
    let chunks = cli.chunks.unwrap_or(if cli.quick { QUICK_CHUNKS } else { usize::MAX });
    let text = Text::new(&tokenizer, chunks)?;
    let errors_chunk = ERRORS_CHUNK.min(text.passage.len() - 1);
    let mut capture = Capture::new(provenance::of_run(&cli.model, &text, cli.quick, errors_chunk)?);
    progress.say("calibrating");
    let calibration = Calibration::of(&model, &text.calibration)?;
    let chunks = &text.passage;
    capture.inputs = profile::measure((&model, &tokenizer), chunks, &calibration, &progress)?;
    let few = &chunks[..RESIDUAL_CHUNKS.min(chunks.len())];
    capture.residuals = residual::measure(&model, &tokenizer, few)?;
    let chunk = &chunks[errors_chunk];
    capture.layers = errors::measure(&model, chunk, &calibration, &progress)?;
    progress.say("quantizing and smoothing");
    let mut variants = variants::all(&model, &calibration)?;
    // Saved after each chunk: a run that is stopped leaves the capture of the chunks it has done.
    scores::measure(&mut variants, chunks, &progress, |variants, done| {
        capture.provenance.chunks = done;
        capture.variants = variants.iter().map(|variant| variant.record.clone()).collect();
        capture.check()?;
        Ok(capture.save(&cli.out)?)
    })?;
    report(&capture);
    committed.map_or(Ok(()), |committed| compare(&capture, &committed, &cli.out))
}

/// One line per variant, for who waited.
fn report(capture: &Capture) {
    println!("{:<42} {:>10} {:>11} {:>9}", "variant", "perplexity", "divergence", "agreement");
    for variant in &capture.variants {
        let (perplexity, divergence) = (variant.perplexity(), variant.mean_divergence());
        let agreement = 100.0 * variant.agreement();
        println!("{:<42} {perplexity:>10.3} {divergence:>11.5} {agreement:>8.2}%", variant.name);
    }
}

fn compare(capture: &Capture, committed: &Capture, out: &Path) -> Result<()> {
    let lines = capture.differences(committed);
    if lines.is_empty() {
        println!("every variant is within the stated tolerance of the committed capture");
        return Ok(());
    }
    bail!("{} is not the committed capture:\n{}", out.display(), lines.join("\n"))
}
