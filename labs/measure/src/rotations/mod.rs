//! `rotation-meters`: a whole model with and without rotations, in each format, with the nearest codes and
//! with GPTQ.
//!
//! * [`plan`]: the runs.
//! * [`massive`]: what a rotation does to the first token.
//! * [`noise`]: what R1 does to the error of rounded weights.
//! * [`speed`]: what the online rotation costs.
//! * [`rotation_meters`]: what is kept of a run.
//!
//! Parts that the file has already are left alone, so a program that was stopped goes on.

pub mod massive;
pub mod noise;
pub mod plan;
mod remembered;
mod rotation_meters;
pub mod speed;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use formats::bytes::Float;
use formats::registry::{ActivationFormat, StorageFormat};
use kit::workspace::target;
use model::{CacheFormat, CacheStorage, perplexity};
use quantizer::activations::Activations;
use quantizer::layer_by_layer::LayerByLayer;
use quantizer::loaded::Checkpoint;
use quantizer::rotate::{RotationOptions, Rotations};
use quantizer::{DecoderLayers, Job, Plan, Rounding, SHARD_BYTES, Transform, write};

use crate::gptq::{Layers, load};
use crate::subject::Subject;
use remembered::Remembered;

pub use plan::{Case, DRAWS, FORMATS, Group, Rotated, groups};
pub use rotation_meters::{Capture, Massive, Noise, RotationMeters, Run, Setup, Speed};

/// Rotate a model, write each format, and score what is read back.
#[derive(clap::Args)]
pub struct Args {
    /// Only runs whose name has one of these texts: "GPTQ", "r1,r2", "seed 3".
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// The cost of the online rotation alone, on a machine on which nothing else runs.
    #[arg(long)]
    speed: bool,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/rotations.json"))]
    pub out: PathBuf,
}

/// Measures what the capture does not have.
///
/// # Errors
/// If the model was not fetched, a run fails, or the capture cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let mut capture = Capture::begun(&args.out)?;
    if args.speed {
        capture.speed = speed::run()?;
        return Ok(capture.save(&args.out)?);
    }
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.contains(only));
    let subject = Subject::load()?;
    let text = subject.tokenizer.encode(model::passage::PARADISE_LOST)?;
    let (tokens, behind) = text.split_at(plan::TOKENS.min(text.len()));
    let held_out = &behind[..plan::HELD_OUT.min(behind.len())];
    if args.only.is_empty() && capture.massive.is_empty() {
        capture.massive = massive::run(&subject)?;
        capture.save(&args.out)?;
    }
    if capture.noise.is_empty() {
        capture.noise = noise::run(&subject)?;
        capture.save(&args.out)?;
    }
    for group in groups() {
        let missing = |case: &&Case| capture.run(&case.name()).is_none() && wanted(&case.name());
        let cases: Vec<Case> = group.cases.iter().filter(missing).copied().collect();
        if cases.is_empty() {
            continue;
        }
        let rotations =
            group.rotated.options().map(|options| Rotations::of(&subject.weights, options));
        let rotations = rotations.transpose()?;
        let rotations = rotations.map(Remembered::new);
        let transform = rotations.as_ref().map(|rotations| rotations as &dyn Transform);
        let layers = DecoderLayers { weights: &subject.weights, transform };
        let feedback = group.with_gptq.then(|| feedback(&group, layers, tokens)).transpose()?;
        for case in cases {
            let started = Instant::now();
            let rounding = feedback.as_ref().map(|codes| codes as &dyn Rounding);
            let run = measure(&subject, case, layers, rounding, [tokens, held_out])?;
            let seconds = started.elapsed().as_secs_f64();
            println!("{}: perplexity {:.3}, {seconds:.0} s", run.name, run.quality.perplexity);
            capture.runs.push(run);
            // In the order of the plan, whichever runs were made first.
            let names: Vec<String> = plan::names();
            capture.runs.sort_by_key(|run| names.iter().position(|name| *name == run.name));
            capture.save(&args.out)?;
        }
        feedback.map_or(Ok(()), LayerByLayer::forget)?;
    }
    Ok(())
}

/// The codes of GPTQ for the rotated model.
fn feedback<'a>(
    group: &Group,
    layers: DecoderLayers<'a>,
    tokens: &[u32],
) -> Result<LayerByLayer<'a>> {
    let kept = target("captures").join(format!(".rotations-{}.kept", group.rotated.letters));
    let plan = Plan::new(StorageFormat::named("w4a16", plan::GROUP_SIZE)?, Float::F16);
    let mut watch = Layers(Instant::now());
    Ok(LayerByLayer::calibrate(layers, &plan, tokens, &plan::FEEDBACK, &kept, &mut watch)?)
}

/// Writes a case, reads it back, and scores it.
fn measure(
    subject: &Subject,
    case: Case,
    layers: DecoderLayers<'_>,
    rounding: Option<&dyn Rounding>,
    [tokens, held_out]: [&[u32]; 2],
) -> Result<Run> {
    let out = target("captures").join(".rotations");
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    let plan = Plan::new(StorageFormat::named(case.format.scheme, plan::GROUP_SIZE)?, Float::F16);
    let format = case.format.activations.and_then(ActivationFormat::named);
    let calibrate = |format| Activations::calibrate(format, layers, &plan, tokens);
    let activations = format.map(calibrate).transpose()?;
    let job = Job {
        weights: layers.weights,
        plan,
        transform: layers.transform,
        rounding,
        importance: None,
        activations: activations.as_ref(),
        kv_scales: None,
        out: &out,
        shard_bytes: SHARD_BYTES,
        leave_out: false,
        requantize: true,
    };
    write(&job, &())?;
    let mut model = read_back(&out)?;
    if let Some(cache) = case.format.cache {
        model.set_kv_cache(CacheStorage::of(CacheFormat::named(cache)?))?;
    }
    let per_token = activations.map_or(Vec::new(), |activations| activations.per_token().to_vec());
    let quality = subject.score(&model)?;
    let is_a_draw =
        DRAWS.into_iter().any(|draws| draws.with_gptq && draws.cases().any(|draw| draw == case));
    let behind = || perplexity(&model, held_out, subject.convention(), &mut |_, _| ());
    let behind = is_a_draw.then(behind).transpose()?.map(|score| score.perplexity());
    std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    Ok(Run { name: case.name(), quality, held_out: behind, per_token, load: load() })
}

fn read_back(out: &Path) -> Result<model::Model> {
    Ok(Checkpoint::open(out)?.model()?)
}

/// The rotations of a capture, from their letters.
impl Rotated {
    /// What the quantizer is asked; `None` for the model as it is.
    pub fn options(self) -> Option<RotationOptions> {
        let has = |letter: &str| self.letters.contains(letter);
        let options =
            RotationOptions { r1: has("r1"), r2: has("r2"), r4: has("r4"), seed: self.seed };
        (!self.letters.is_empty()).then_some(options)
    }
}
