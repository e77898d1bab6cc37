//! `outlier-meters`: what the methods of lab 04 do to a real model, as a whole.
//!
//! * [`text`]: what is scored, and what scales are chosen on.
//! * [`calibration`]: the largest magnitudes that the `f32` model shows on the calibration text.
//! * [`profile`]: where outliers are, in which channels and tokens; [`residual`] looks between layers.
//! * [`layer`]: a quantized layer as a [`model::Linear`], fast and held to the lab's reference.
//! * [`folding`]: smoothing folded into the norms, and into the layers before `o_proj` and `down_proj`.
//! * [`errors`]: what each method does to each layer by itself.
//! * [`variants`] and [`scores`]: what each method does to the whole model.
//! * [`reorder`]: the same model with other roundings, to learn how far two machines may be apart.

pub mod calibration;
pub mod errors;
pub mod folding;
pub mod layer;
mod outlier_meters;
pub mod profile;
pub mod reorder;
pub mod residual;
pub mod scores;
pub mod text;
pub mod variants;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kit::workspace::{fetched_model, target};
use model::{Model, Tokenizer};

use crate::capture::Provenance;
use calibration::Calibration;
use text::{CALIBRATION_NAME, CONVENTION, PASSAGE_NAME, QUICK_CHUNKS, Text};

pub use outlier_meters::{
    Capture, Error, Input, LayerErrors, OutlierMeters, Peak, Residual, Setup, Tolerance, Variant,
};

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
    let (provenance, body) = (Provenance::of_this_run(cli.quick), OutlierMeters::default());
    let setup = setup(&cli.model, &text, errors_chunk)?;
    let mut capture = Capture { provenance, setup, body };
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
        capture.setup.chunks = done;
        capture.variants = variants.iter().map(|variant| variant.record.clone()).collect();
        Ok(capture.save(&cli.out)?)
    })?;
    report(&capture);
    committed.map_or(Ok(()), |committed| compare(&capture, &committed, &cli.out))
}

/// The model and the texts; layer errors are measured on the chunk `errors_chunk`.
fn setup(model: &Path, text: &Text, errors_chunk: usize) -> Result<Setup> {
    let name = model.file_name().map(|name| name.to_string_lossy().into_owned());
    let bytes = std::fs::read(model).with_context(|| format!("cannot read {}", model.display()))?;
    Ok(Setup {
        model: name.unwrap_or_default(),
        model_sha256: crate::sha256::sha256(&bytes),
        passage: PASSAGE_NAME.into(),
        chunk: CONVENTION.chunk,
        chunks: text.passage.len(),
        calibration: CALIBRATION_NAME.into(),
        calibration_tokens: text.calibration.iter().map(Vec::len).sum(),
        errors_chunk,
    })
}

/// One line for each variant on the terminal.
fn report(capture: &Capture) {
    println!("{:<42} {:>10} {:>11} {:>9}", "variant", "perplexity", "divergence", "agreement");
    for variant in &capture.variants {
        let (perplexity, kl_divergence) = (variant.perplexity(), variant.mean_kl_divergence());
        let top1_agreement = 100.0 * variant.top1_agreement();
        println!(
            "{:<42} {perplexity:>10.3} {kl_divergence:>11.5} {top1_agreement:>8.2}%",
            variant.name
        );
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

/// Lines to the terminal, with the time since the start.
pub struct Progress(Instant);

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Says what is being done.
    pub fn say(&self, what: &str) {
        eprintln!("[{:5.0} s] {what}", self.0.elapsed().as_secs_f64());
    }

    /// Says which part of a step is done, and when the rest will be.
    pub fn part(&self, what: &str, since: Instant, done: usize, of: usize) {
        let spent = since.elapsed().as_secs_f64();
        let left = spent / done.max(1) as f64 * of.saturating_sub(done) as f64;
        self.say(&format!("{what}: {done} of {of}, about {:.1} min left", left / 60.0));
    }
}
