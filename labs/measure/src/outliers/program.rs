//! `outlier-meters`: what this lab's methods do to a real model, as a whole.

use std::path::{Path, PathBuf};

use crate::capture::CaptureFile;
use crate::outliers::calibration::Calibration;
use crate::outliers::capture::Capture;
use crate::outliers::text::{QUICK_CHUNKS, Text};
use crate::outliers::{Progress, errors, profile, provenance, reorder, residual, scores, variants};
use anyhow::{Result, bail};
use kit::workspace::{fetched_model, target};
use model::{Model, Tokenizer};

/// The chunk that layer errors are measured on: of a full run the one of the held-out window.
const ERRORS_CHUNK: usize = 11;

/// The capture that the book shows, which `--check` compares with.
const COMMITTED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/src/outliers/captures/model-epyc-milan-2.json");

/// How many chunks the residual stream is looked at on.
const RESIDUAL_CHUNKS: usize = 4;

/// Profile the outliers of a model, and measure what quantizing does to its layers and to it.
#[derive(clap::Args)]
pub struct Args {
    /// The model: a GGUF file, or a folder with config.json [default: the fetched one].
    #[arg(long, value_name = "PATH", default_value_os_t = fetched_model())]
    pub model: PathBuf,
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
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/model.json"))]
    pub out: PathBuf,
    /// Compare with the committed capture; fail if they differ by more than the stated tolerances.
    #[arg(long)]
    check: bool,
}

/// Takes the study and writes the capture.
///
/// # Errors
/// If the model cannot be run, the capture cannot be written, or `check` finds a difference.
pub fn run(cli: &Args) -> Result<()> {
    // Read first, because a missing capture would otherwise be found after the whole run.
    let committed = cli.check.then(|| Capture::load(Path::new(COMMITTED))).transpose()?;
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
    // Saved after each chunk, because a stopped run then keeps the chunks that were measured.
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
