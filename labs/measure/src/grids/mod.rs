//! `grid-meters`: a whole model in each format of four and of eight bits.
//!
//! * [`stored`]: the formats; the chapter's table of errors takes the same list.
//! * [`plan`]: the runs.
//! * [`grid_meters`]: what is kept of a run.
//!
//! Runs that the file has already are left alone, so a program that was stopped goes on.

mod grid_meters;
pub mod plan;
pub mod stored;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use formats::bytes::Float;
use formats::magnitude::absmax;
use formats::registry::StorageFormat;
use kit::workspace::target;
use model::{Dense, LayerId, Model, READERS, passage};
use ndarray::Array2;
use quantizer::layer_by_layer::LayerByLayer;
use quantizer::{DecoderLayers, Plan};
use rayon::prelude::*;

use crate::gptq::Layers;
use crate::subject::Subject;
use plan::{Asked, Feedback};
use stored::Stored;

pub use grid_meters::{Capture, GridMeters, Run};

/// Tokens of calibration: those at which the chapter on calibration compares choices of GPTQ.
const TOKENS: usize = 8192;

/// Put the weights of a model on each grid, and score the results.
#[derive(clap::Args)]
pub struct Args {
    /// Only formats whose names contain one of these.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/grids.json"))]
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
    let wanted = |asked: &Asked| {
        args.only.is_empty() || args.only.iter().any(|name| asked.name().contains(name.as_str()))
    };
    let asked: Vec<Asked> = plan::all().filter(wanted).collect();
    ensure!(!asked.is_empty(), "no run has such a name: --list shows them");
    if args.list {
        for asked in asked {
            let done = capture.run(asked.name()).map_or("", |_| ", done");
            println!("{}{done}", asked.name());
        }
        return Ok(());
    }
    let subject = Subject::load()?;
    for asked in asked {
        if capture.run(asked.name()).is_some() {
            continue;
        }
        let run = match asked {
            Asked::Nearest(stored) => nearest(&subject, stored)?,
            Asked::Feedback(feedback) => with_feedback(&subject, feedback)?,
        };
        println!("{}: perplexity {:.3}", run.format, run.quality.perplexity);
        capture.runs.push(run);
        // In the order of the plan, whichever runs were made first.
        capture.runs.sort_by_key(|run| plan::place(&run.format));
        capture.save(&args.out)?;
    }
    Ok(())
}

/// The model with the nearest codes of a format.
fn nearest(subject: &Subject, stored: &Stored) -> Result<Run> {
    let mut model = Model::load(subject.weights.path())?;
    let ids: Vec<_> = model.layer_ids().filter(|id| id.layer().is_some()).collect();
    let rounded = ids.par_iter().with_max_len(1).map(|&id| {
        let largest = readers(id).map(|id| Ok(absmax(weight(&model, id)?)));
        let largest = largest.collect::<Result<Vec<_>>>()?.into_iter().fold(0.0, f32::max);
        (stored.back)(weight(&model, id)?, largest).with_context(|| id.to_string())
    });
    let rounded = rounded.collect::<Result<Vec<_>>>()?;
    for (id, rounded) in ids.into_iter().zip(rounded) {
        model.replace(id, Arc::new(Dense::new(rounded)))?;
    }
    scored(subject, stored.name, None, &model)
}

/// The matrices that read the same input, `id` among them.
fn readers(id: LayerId) -> impl Iterator<Item = LayerId> {
    let of = match id {
        LayerId::Layer(layer, projection) => {
            let readers = READERS.into_iter().find(|readers| readers.contains(&projection));
            readers.map(|readers| (layer, readers))
        }
        LayerId::Head => None,
    };
    of.into_iter()
        .flat_map(|(layer, readers)| readers.iter().map(move |&of| LayerId::Layer(layer, of)))
}

fn weight(model: &Model, id: LayerId) -> Result<&Array2<f32>> {
    model.linear(id)?.weight().with_context(|| format!("{id} has codes"))
}

/// The model with codes that GPTQ chose.
fn with_feedback(subject: &Subject, feedback: &Feedback) -> Result<Run> {
    let mut tokens = subject.tokenizer.encode(passage::PARADISE_LOST)?;
    ensure!(tokens.len() >= TOKENS, "the text has {} tokens", tokens.len());
    tokens.truncate(TOKENS);
    let format = StorageFormat::named(feedback.scheme, plan::GROUP_SIZE)?;
    let rounded = LayerByLayer::calibrate(
        DecoderLayers { weights: &subject.weights, transform: None },
        &Plan::new(format, Float::F16),
        &tokens,
        &plan::OPTIONS,
        &target("captures").join(format!(".grids-{}", feedback.scheme)),
        &mut Layers(Instant::now()),
    )?;
    let run = scored(subject, feedback.name, Some(TOKENS), &rounded.model()?)?;
    rounded.forget()?;
    Ok(run)
}

fn scored(
    subject: &Subject,
    name: &str,
    calibration_tokens: Option<usize>,
    model: &Model,
) -> Result<Run> {
    let (mut error, mut norm) = (0.0, 0.0);
    let squares = |w: &Array2<f32>| w.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
    for id in model.layer_ids().filter(|id| id.layer().is_some()) {
        let w = subject.weights.read(&format!("{id}.weight"))?;
        error += squares(&(weight(model, id)? - &w));
        norm += squares(&w);
    }
    let quality = subject.score(model)?;
    Ok(Run {
        format: name.into(),
        calibration_tokens,
        weight_error: (error / norm).sqrt(),
        quality,
    })
}
