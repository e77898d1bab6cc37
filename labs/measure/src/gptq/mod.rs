//! `gptq-meters`: what each choice of GPTQ does to a whole model, and what the choice costs.
//!
//! * [`plan`]: the runs, each an answer to a question of the chapter.
//! * [`texts`]: what is calibrated on.
//! * [`gptq_meters`]: what is kept of a run.
//!
//! Runs that the file has already are left alone, so a program that was stopped goes on, and a file that
//! another version wrote can be completed.

mod gptq_meters;
pub mod plan;
pub mod texts;

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::gptq::{GptqError, Grid, Hessian, group_scales};
use anyhow::{Context, Result, bail, ensure};
use formats::bytes::Float;
use formats::registry::StorageFormat;
use kit::workspace::target;
use ndarray::Array2;
use quantizer::layer_by_layer::{LayerByLayer, RoundedMatrix, Watch};
use quantizer::loaded::load_quantized;
use quantizer::{DecoderLayers, Plan};

use crate::subject::Subject;

pub use gptq_meters::{Capture, Choices, GptqMeters, Loss, Other, Run};
pub use plan::{Asked, PLAN};

/// Round a model with each choice of GPTQ, and score the results.
#[derive(clap::Args)]
pub struct Args {
    /// Only runs whose names contain one of these.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A folder with the texts beside the course's own: alice29.txt, asyoulik.txt and lcet10.txt of the
    /// Canterbury corpus. Without it, runs on them are left out.
    #[arg(long, value_name = "DIR")]
    texts: Option<PathBuf>,
    /// Add the measurement of another program, which a script in `labs/measure/src/zoo/others` wrote, and
    /// nothing else.
    #[arg(long, value_name = "FILE.json", requires = "scored")]
    other: Option<PathBuf>,
    /// The checkpoint that the other program wrote, which is scored.
    #[arg(long, value_name = "DIR", requires = "other")]
    scored: Option<PathBuf>,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/gptq.json"))]
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
    let wanted = |asked: &&Asked| {
        args.only.is_empty() || args.only.iter().any(|name| asked.name.contains(name.as_str()))
    };
    let asked: Vec<&Asked> = PLAN.iter().filter(wanted).collect();
    ensure!(!asked.is_empty(), "no run has such a name: --list shows them");
    if args.list {
        for asked in asked {
            let done = capture.run(asked.name).map_or("", |_| ", done");
            println!("{}{done}", asked.name);
        }
        return Ok(());
    }
    let subject = Subject::load()?;
    for asked in asked {
        if capture.run(asked.name).is_some() {
            continue;
        }
        let Some(tokens) = subject.calibration(asked, args)? else {
            println!("{}: left out, because its text is not there: name --texts DIR", asked.name);
            continue;
        };
        println!("{}", asked.name);
        let run = subject.measure(asked, &tokens)?;
        println!("{}: perplexity {:.3}, {:.0} s", run.name, run.quality.perplexity, run.seconds);
        capture.runs.push(run);
        // In the order of the plan, whichever runs were made first.
        let place = |name: &str| PLAN.iter().position(|asked| asked.name == name);
        capture.runs.sort_by_key(|run| place(&run.name));
        capture.save(&args.out)?;
    }
    Ok(())
}

impl Other {
    /// The measurement in a file, with the perplexity of the checkpoint that belongs to it.
    pub(crate) fn scored(path: &Path, checkpoint: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut other: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let model = load_quantized(checkpoint).with_context(|| checkpoint.display().to_string())?;
        other.perplexity = Some(Subject::load()?.score(&model)?.perplexity);
        Ok(other)
    }

    /// Takes its place among `others`, instead of one of the same name.
    pub(crate) fn join(self, others: &mut Vec<Self>) {
        others.retain(|known| known.name != self.name);
        others.push(self);
    }
}

impl Subject {
    /// The tokens to calibrate on; `None` if the text is not there.
    fn calibration(&self, asked: &Asked, args: &Args) -> Result<Option<Vec<u32>>> {
        let Some(text) = texts::text(asked.text, args.texts.as_deref())? else { return Ok(None) };
        let mut tokens = self.tokenizer.encode(&text)?;
        if tokens.len() < asked.tokens {
            bail!("{} has {} tokens, and {} are asked", asked.text, tokens.len(), asked.tokens);
        }
        tokens.truncate(asked.tokens);
        Ok(Some(tokens))
    }

    fn measure(&self, asked: &Asked, tokens: &[u32]) -> Result<Run> {
        let format = StorageFormat::named(asked.scheme, asked.group_size)?;
        let plan = Plan::new(format, Float::F16);
        let kept = target("captures").join(format!(".{}", asked.name.replace([' ', ','], "-")));
        let bits = format.description.weights.bits();
        let mut losses = Losses {
            grid: quantizer::grid(asked.options.ends, bits),
            size: format.group_size,
            seen: Vec::new(),
        };
        let mut watch =
            Watched { losses: asked.losses.then_some(&mut losses), layers: Layers(Instant::now()) };
        let (load, started, before) = (load(), Instant::now(), processor_seconds());
        let rounded = LayerByLayer::calibrate(
            DecoderLayers { weights: &self.weights, transform: None },
            &plan,
            tokens,
            &asked.options,
            &kept,
            &mut watch,
        )?;
        let seconds = started.elapsed().as_secs_f64();
        let processor_seconds = processor_seconds().zip(before).map(|(now, before)| now - before);
        let quality = self.score(&rounded.model()?)?;
        rounded.forget()?;
        Ok(Run {
            name: asked.name.into(),
            text: asked.text.into(),
            tokens: tokens.len(),
            group_size: asked.group_size,
            choices: Choices::of(&asked.options, bits),
            seconds,
            processor_seconds,
            load,
            quality,
            losses: losses.seen,
        })
    }
}

/// The processes that were ready to run before a run, by the system's mean over a minute.
pub(crate) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The time of processors that this program took so far, in `/proc`'s ticks of a hundredth of a second.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may have spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

/// Shows layers, and keeps losses where they are asked.
struct Watched<'a> {
    losses: Option<&'a mut Losses>,
    layers: Layers,
}

impl Watch for Watched<'_> {
    fn matrix(&mut self, matrix: &RoundedMatrix<'_>) {
        if let Some(losses) = &mut self.losses {
            losses.add(matrix);
        }
    }

    fn layer(&mut self, done: usize, layers: usize) {
        self.layers.layer(done, layers);
    }
}

/// Shows the layers that are done since a time.
pub(crate) struct Layers(pub(crate) Instant);

impl Watch for Layers {
    fn layer(&mut self, done: usize, layers: usize) {
        println!("  layer {done} of {layers}, {:.0} s", self.0.elapsed().as_secs_f64());
    }
}

/// The loss of each matrix, and what the nearest codes would have lost under the same Hessian.
struct Losses {
    grid: Grid,
    size: u64,
    seen: Vec<Loss>,
}

impl Losses {
    fn add(&mut self, matrix: &RoundedMatrix<'_>) {
        let RoundedMatrix { name, w, h, values } = matrix;
        let size = usize::try_from(self.size).unwrap_or(1);
        let Ok(nearest) = nearest(w, size, &self.grid) else { return };
        self.seen.push(Loss {
            name: (*name).into(),
            nearest: loss(h, w, &nearest),
            chosen: loss(h, w, values),
        });
    }
}

/// `tr(D H D^T) / tr(W H W^T)`.
fn loss(h: &Hessian, w: &Array2<f32>, values: &Array2<f32>) -> f64 {
    h.relative_error(w, values).powi(2)
}

/// The values of the nearest codes with the scales of the largest weights.
fn nearest(w: &Array2<f32>, size: usize, grid: &Grid) -> Result<Array2<f32>, GptqError> {
    let scales = group_scales(w.mapv(f64::from).view(), size, grid)?;
    Ok(Array2::from_shape_fn(w.dim(), |(row, column)| {
        let scale = scales[(row, column / size)];
        grid.value(grid.code(w[(row, column)].into(), scale), scale) as f32
    }))
}
