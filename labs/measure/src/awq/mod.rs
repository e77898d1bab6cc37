//! `awq-meters`: methods of four bits on a whole model, each written in every layout and read back.
//!
//! * [`plan`]: the runs.
//! * [`one_percent`]: the experiment with one channel in a hundred in 16 bits.
//! * [`awq_meters`]: what is kept of a run.
//!
//! Runs that the file has already are left alone, so a program that was stopped goes on.

mod awq_meters;
pub mod one_percent;
pub mod plan;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::awq::{Grid, Rounding};
use anyhow::{Context, Result, ensure};
use formats::bytes::Float;
use formats::registry::StorageFormat;
use kit::workspace::target;
use model::Weights;
use quantizer::activation_scales::{ActivationScales, AwqOptions};
use quantizer::layer_by_layer::{LayerByLayer, Watch};
use quantizer::loaded::Checkpoint;
use quantizer::{DecoderLayers, Job, Options, Plan, SHARD_BYTES, Transform, write};

use crate::gptq::{Layers, Other, load};
use crate::subject::Subject;

pub use awq_meters::{AwqMeters, Capture, Choice, File, Kept, Run, Setup};
pub use plan::{Asked, PLAN};

/// Quantize a model with each method of four bits, write every layout, and score what is read back.
#[derive(clap::Args)]
pub struct Args {
    /// Only the runs of these names.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Add the measurement of another program, which a script in `labs/measure/src/zoo/others` wrote, and
    /// nothing else.
    #[arg(long, value_name = "FILE.json", requires = "scored")]
    other: Option<PathBuf>,
    /// The checkpoint that the other program wrote, which is scored.
    #[arg(long, value_name = "DIR", requires = "other")]
    scored: Option<PathBuf>,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/awq.json"))]
    pub out: PathBuf,
    /// List the runs of the plan and those that the file has.
    #[arg(long)]
    list: bool,
}

/// Makes the runs that the capture does not have.
///
/// # Errors
/// If the model was not fetched, a run fails, or the capture cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let mut capture = Capture::begun(&args.out)?;
    if let (Some(path), Some(checkpoint)) = (&args.other, &args.scored) {
        Other::scored(path, checkpoint)?.join(&mut capture.others);
        return Ok(capture.save(&args.out)?);
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let asked: Vec<&Asked> = PLAN.iter().filter(|asked| wanted(asked.name)).collect();
    let one_percent = wanted(one_percent::NAME);
    ensure!(one_percent || !asked.is_empty(), "no run has such a name: --list shows them");
    if args.list {
        for asked in asked {
            let done = capture.run(asked.name).map_or("", |_| ", done");
            println!("{}{done}", asked.name);
        }
        let done = if capture.one_percent.is_empty() { "" } else { ", done" };
        println!("{}{done}", one_percent::NAME);
        return Ok(());
    }
    let subject = Subject::load()?;
    let mut tokens = subject.tokenizer.encode(model::passage::PARADISE_LOST)?;
    tokens.truncate(plan::TOKENS);
    for asked in asked {
        if capture.run(asked.name).is_some() {
            continue;
        }
        println!("{}", asked.name);
        let run = measure(&subject, asked, &tokens)?;
        println!("{}: perplexity {:.3}, {:.0} s", run.name, run.quality.perplexity, run.seconds);
        capture.runs.push(run);
        // In the order of the plan, whichever runs were made first.
        let place = |name: &str| PLAN.iter().position(|asked| asked.name == name);
        capture.runs.sort_by_key(|run| place(&run.name));
        capture.save(&args.out)?;
    }
    if one_percent && capture.one_percent.is_empty() {
        capture.one_percent = one_percent::run(&subject, &tokens)?;
        capture.save(&args.out)?;
    }
    Ok(())
}

fn measure(subject: &Subject, asked: &Asked, tokens: &[u32]) -> Result<Run> {
    let plan = |name| -> Result<Plan> {
        Ok(Plan::new(StorageFormat::named(name, plan::GROUP_SIZE as u64)?, Float::F16))
    };
    let rounding = Rounding::new(asked.grid, plan::GROUP_SIZE);
    let layouts: &[&str] = if asked.grid == Grid::Asymmetric {
        &["awq", "w4a16-asym"]
    } else {
        &["w4a16", "gptq", "awq"]
    };
    let first = plan(layouts[0])?;
    let (load, started) = (load(), Instant::now());
    let mut layers = Layers(started);
    let options = asked.feedback.zip(plan::ends(asked.grid));
    let options = options.map(|(options, ends)| Options { ends, ..options });
    let scales = asked.scales.map(|plan::Search { duo, clip, with_feedback }| {
        let feedback = options.filter(|_| with_feedback);
        let options = AwqOptions { rounding, feedback, duo, clip };
        let mut watch = |done, all| layers.layer(done, all);
        ActivationScales::calibrate(&subject.weights, &first, tokens, &options, &mut watch)
    });
    let scales = scales.transpose()?;
    let transform = scales.as_ref().map(|scales| scales as &dyn Transform);
    let folder = target("captures").join(format!(".{}", asked.name.replace([' ', ','], "-")));
    let feedback = options.map(|options| {
        let kept = folder.with_extension("kept");
        let of = DecoderLayers { weights: &subject.weights, transform };
        LayerByLayer::calibrate(of, &first, tokens, &options, &kept, &mut layers)
    });
    let feedback = feedback.transpose()?;
    let seconds = started.elapsed().as_secs_f64();
    let rounding: &dyn quantizer::Rounding = match &feedback {
        Some(codes) => codes,
        None => &rounding,
    };
    let written = Written { folder: folder.clone(), subject, transform, rounding };
    let files = layouts.iter().map(|layout| written.file(layout, layouts[0], plan(layout)?));
    let files = files.collect::<Result<Vec<_>>>()?;
    let quality = subject.score(&Checkpoint::open(folder.join(layouts[0]))?.model()?)?;
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    feedback.map_or(Ok(()), LayerByLayer::forget)?;
    let choices = scales.iter().flat_map(ActivationScales::choices).map(|choice| Choice {
        layer: choice.id.to_string(),
        ratio: choice.search.best.ratio,
        left: left(&choice.search.errors),
    });
    Ok(Run { name: asked.name.into(), seconds, load, quality, files, choices: choices.collect() })
}

/// The files of a run.
struct Written<'a> {
    folder: PathBuf,
    subject: &'a Subject,
    transform: Option<&'a dyn Transform>,
    rounding: &'a dyn quantizer::Rounding,
}

impl Written<'_> {
    /// Writes a layout, and compares what is read back with the layout `first`.
    fn file(&self, layout: &str, first: &str, plan: Plan) -> Result<File> {
        let (weights, out) = (&self.subject.weights, self.folder.join(layout));
        if out.exists() {
            std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
        }
        let (transform, rounding) = (self.transform, Some(self.rounding));
        let job = Job {
            weights,
            plan,
            transform,
            rounding,
            importance: None,
            activations: None,
            kv_scales: None,
            out: &out,
            shard_bytes: SHARD_BYTES,
            leave_out: false,
            requantize: true,
        };
        let bytes = write(&job, &())?.bytes_after;
        let same_values = same(weights, &out, &self.folder.join(first))?;
        Ok(File { layout: layout.into(), bytes, same_values })
    }
}

/// Whether two checkpoints are read back to the same bits.
fn same(weights: &Weights, one: &Path, other: &Path) -> Result<bool> {
    if one == other {
        return Ok(true);
    }
    let (one, other) = (Checkpoint::open(one)?, Checkpoint::open(other)?);
    for tensor in weights.tensors() {
        if one.read(&tensor.name)? != other.read(&tensor.name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The least of some errors over the first, to four digits.
fn left(errors: &[f64]) -> f64 {
    let first = errors.first().copied().unwrap_or(1.0);
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    (least / first * 1e4).round() / 1e4
}
