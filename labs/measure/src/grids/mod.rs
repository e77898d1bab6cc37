//! `grid-meters`: a whole model in each format of four and of eight bits.
//!
//! * [`stored`]: the formats; the chapter's table of errors takes the same list.
//! * [`feedback`]: GPTQ on grids that are not of integers.
//! * [`plan`]: the runs.
//! * [`grid_meters`]: what is kept of a run.
//!
//! Runs that the file has already are left alone, so a program that was stopped goes on.

pub mod feedback;
mod grid_meters;
pub mod plan;
pub mod stored;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kit::workspace::target;
use model::{Dense, Model, passage};
use ndarray::Array2;
use rayon::prelude::*;

use crate::subject::Subject;
use feedback::Feedback;
use plan::Asked;
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
        let w = model.linear(id)?.weight().with_context(|| format!("{id} has codes"))?;
        (stored.back)(w).with_context(|| id.to_string())
    });
    let rounded = rounded.collect::<Result<Vec<_>>>()?;
    for (id, rounded) in ids.into_iter().zip(rounded) {
        model.replace(id, Arc::new(Dense::new(rounded)))?;
    }
    scored(subject, stored.name, None, &model)
}

/// The model with codes that GPTQ chose.
fn with_feedback(subject: &Subject, feedback: &Feedback) -> Result<Run> {
    let mut tokens = subject.tokenizer.encode(passage::PARADISE_LOST)?;
    ensure!(tokens.len() >= TOKENS, "the text has {} tokens", tokens.len());
    tokens.truncate(TOKENS);
    let mut model = Model::load(subject.weights.path())?;
    let chunks: Vec<&[u32]> = tokens.chunks_exact(quantizer::CHUNK).collect();
    let layers = model.config().layers;
    feedback.round_model(&mut model, &chunks, |done| println!("  layer {done} of {layers}"))?;
    scored(subject, feedback.name, Some(TOKENS), &model)
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
        let rounded = model.linear(id)?.weight().with_context(|| format!("{id} has codes"))?;
        error += squares(&(rounded - &w));
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
