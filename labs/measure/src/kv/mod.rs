//! `kv-meters`: a whole model with its keys and values in each format.
//!
//! * [`retrieval`]: whether a text is found again at a distance.
//! * [`speed`]: decode beside caches of several lengths.
//! * [`kv_meters`]: what is kept of a run.
//!
//! Parts that the file has already are left alone, so a program that was stopped goes on.

mod kv_meters;
pub mod retrieval;
pub mod speed;

use std::path::PathBuf;

use anyhow::{Context, Result};
use kit::workspace::{fetched_model, target};
use model::{Cache, CacheFormat, CacheStorage, Model, Tokenizer, passage};

use crate::subject::Subject;

pub use kv_meters::{CHUNKS, Capture, ChunkQuality, Decode, KvMeters, Retrieval, Run, Setup};

/// Run a model with its KV cache in each format.
#[derive(clap::Args)]
pub struct Args {
    /// Only formats of these names.
    #[arg(long, value_name = "NAME", value_parser = CacheFormat::named)]
    only: Vec<&'static CacheFormat>,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/kv.json"))]
    pub out: PathBuf,
}

/// The model with its cache in a format.
fn with_cache(model: &Model, format: &'static CacheFormat) -> Result<Model> {
    let mut model = model.clone();
    model.set_kv_cache(CacheStorage::of(format))?;
    Ok(model)
}

/// Measures what the capture does not have.
///
/// # Errors
/// If the model was not fetched, a run fails, or the capture cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let formats: Vec<&CacheFormat> = CacheFormat::ALL
        .iter()
        .filter(|format| args.only.is_empty() || args.only.contains(format))
        .collect();
    let mut capture = Capture::begun(&args.out)?;
    quality(&formats, &mut capture, args)?;
    let path = fetched_model();
    let (model, text) = (Model::load(&path)?, Tokenizer::load(&path)?.encode(passage::ALICE)?);
    for context in retrieval::CONTEXTS {
        for &format in &formats {
            let is_control = context == 0 && *format != CacheFormat::F32;
            if is_control || capture.retrieval(format.name, context).is_some() {
                continue;
            }
            let found = retrieval::run(&with_cache(&model, format)?, &text, format.name, context)?;
            println!("{}: {} of {} at {context}", found.format, found.right, found.asked);
            capture.retrieval.push(found);
            capture.save(&args.out)?;
        }
    }
    for context in speed::CONTEXTS {
        if formats.iter().all(|format| capture.decode(format.name, context).is_some()) {
            continue;
        }
        // The formats take turns, so one that is missing is measured with all others.
        capture.decode.retain(|run| run.context != context);
        for run in speed::run(&model, &formats, context)? {
            println!("{} beside {context}: {:.1} tokens/s", run.format, run.tokens_per_s.median);
            capture.decode.push(run);
        }
        capture.save(&args.out)?;
    }
    Ok(())
}

/// Scores the passage in chunks of each length.
fn quality(formats: &[&'static CacheFormat], capture: &mut Capture, args: &Args) -> Result<()> {
    for chunk in CHUNKS {
        let missing = |format: &&&CacheFormat| {
            capture.run(format.name).is_none_or(|run| run.quality(chunk).is_none())
        };
        let missing: Vec<_> = formats.iter().filter(missing).copied().collect();
        if missing.is_empty() {
            continue;
        }
        let subject = Subject::load_in_chunks(chunk)?;
        let plain = Model::load(subject.weights.path())?;
        for format in missing {
            let model = with_cache(&plain, format)?;
            let quality = subject.score(&model)?;
            println!("{} in chunks of {chunk}: {:.4}", format.name, quality.perplexity);
            let run = run_of(capture, &model, format)?;
            run.quality.push(ChunkQuality { chunk, quality });
            capture.save(&args.out)?;
        }
    }
    Ok(())
}

/// The format's run in the capture, in the order of all formats.
fn run_of<'c>(
    capture: &'c mut Capture,
    model: &Model,
    format: &CacheFormat,
) -> Result<&'c mut Run> {
    if capture.run(format.name).is_none() {
        let cache = Cache::new(model.config(), capture.setup.capacity)?;
        let token_bytes = cache.bytes() as f64 / cache.capacity() as f64;
        let (format, quality) = (format.name.into(), Vec::new());
        capture.runs.push(Run { format, token_bytes, quality });
        let place = |name: &str| CacheFormat::ALL.iter().position(|format| format.name == name);
        capture.runs.sort_by_key(|run| place(&run.format));
    }
    let mut runs = capture.runs.iter_mut();
    runs.find(|run| run.format == format.name).context("the run was just made")
}
