//! `cargo book quantize`: writes a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arguments::quantize::{Args, Method, Rotate};
use formats::format::Ends;
use formats::gguf::TensorType;
use formats::registry::StorageFormat;
use indicatif::{ProgressBar, ProgressStyle};
use model::{Tokenizer, Weights, passage};
use quantizer::activation_scales::{ActivationScales, AwqOptions};
use quantizer::activations::Activations;
use quantizer::kv_scales::KvScales;
use quantizer::layer_by_layer::{LayerByLayer, Watch};
use quantizer::rotate::{RotationOptions, Rotations};
use quantizer::smooth::Smoothing;
use quantizer::{
    CHUNK, DecoderLayers, Importance, Job, Options, Plan, Progress, Rounding, SHARD_BYTES,
    ScaleSearch, Scales, Transform, budget, sensitivity, write,
};

use crate::perplexity;

/// Writes the checkpoint, and prints its sizes and errors.
///
/// # Errors
/// Those of [`write()`]; an input that was not fetched.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let format = args.format()?;
    let (input, out) = (args.input(), args.out());
    let weights = Weights::open(&input).with_context(|| input.display().to_string())?;
    let plan = Plan::new(format, args.float()?);
    let plan = match args.bits {
        Some(bits) => plan.with_kinds(kinds_within(args, &weights, bits, &out)?),
        None => plan,
    };
    let smoothing = args.smooth.map(|alpha| smoothing(args, &weights, alpha)).transpose()?;
    let awq = args.method.is_awq().then(|| activation_scales(args, &weights, &plan)).transpose()?;
    let rotations = rotations(args, &weights)?;
    // At most one of the three is asked.
    let smoothing = smoothing.as_ref().map(|smoothing| smoothing as &dyn Transform);
    let rotations = rotations.as_ref().map(|rotations| rotations as &dyn Transform);
    let scaling = awq.as_ref().map(|scales| scales as &dyn Transform);
    let transform = scaling.or(smoothing).or(rotations);
    let layers = DecoderLayers { weights: &weights, transform };
    let changed = layers;
    let layers = args.method.is_gptq().then(|| layer_by_layer(args, layers, &plan, &out));
    let layers = layers.transpose()?;
    let kv_scales = args.kv.is_some().then(|| kv_scales(args, changed)).transpose()?;
    let activations = activations(args, changed, &plan)?;
    let importance = args.imatrix.as_deref().map(Importance::read).transpose()?;
    let nearest = awq_options(args, format)?.rounding;
    let job = Job {
        weights: &weights,
        plan: plan.clone(),
        transform,
        rounding: match args.method {
            Method::Search => Some(&ScaleSearch),
            Method::Awq => Some(&nearest),
            _ => layers.as_ref().map(|layers| layers as &dyn Rounding),
        },
        importance: importance.as_ref(),
        activations: activations.as_ref(),
        kv_scales: kv_scales.as_ref(),
        out: &out,
        shard_bytes: args.shard_bytes.unwrap_or(SHARD_BYTES),
        leave_out: args.leave_out,
        requantize: args.requantize || args.input.is_none(),
    };
    let bar = Bar::new(job.tensors().iter().map(|tensor| tensor.bytes).sum());
    let report = write(&job, &bar)?;
    bar.0.finish_and_clear();
    let tensors = job.tensors();
    layers.map_or(Ok(()), LayerByLayer::forget)?;
    for line in report.left_alone() {
        println!("{line}");
    }
    println!("\n{}", report.codes());
    if let Some(note) = report.quantized_input() {
        println!("{note}");
    }
    println!("\n{}", report.sizes());
    if !report.errors.is_empty() {
        println!("\n{}", report.errors());
    }
    if !format.is_gguf() {
        let predicted = plan.predicted_bytes(&tensors);
        let without = if args.kv.is_some() { " and without the scales of the cache" } else { "" };
        let written = report.bytes_after;
        println!("\npredicted, as one file{without}: {predicted} bytes; written: {written}");
    }
    println!("{} in {:.1} s{}", out.display(), started.elapsed().as_secs_f64(), peak());
    if args.perplexity { perplexity::print(&out, weights.path(), None) } else { Ok(()) }
}

/// The text of `--calibration`, or `default`.
///
/// # Errors
/// If the file cannot be read, or is a part of the passage that is scored.
pub fn calibration(given: Option<&Path>, default: &str) -> Result<String> {
    let text = perplexity::text_or(given, default)?;
    if let Some(path) = given {
        refuse_the_passage(&text).with_context(|| path.display().to_string())?;
    }
    Ok(text)
}

/// Refuses the text on which perplexity is measured, because such a perplexity says nothing.
fn refuse_the_passage(text: &str) -> Result<()> {
    let words =
        |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>().join(" ");
    let passage = words(passage::ALICE);
    // Words of several places, because a text may be a part of the passage and may have other lines.
    let text = words(text);
    let parts =
        passage.as_bytes().chunks_exact(4000).map(|part| String::from_utf8_lossy(&part[..200]));
    let shared = parts.filter(|part| text.contains(part.as_ref())).count();
    ensure!(
        shared == 0,
        "this is the passage on which perplexity is measured: calibrate on another text"
    );
    Ok(())
}

/// Chooses the codes of each decoder layer, with a line for each layer.
fn layer_by_layer<'a>(
    args: &Args,
    layers: DecoderLayers<'a>,
    plan: &Plan,
    out: &Path,
) -> Result<LayerByLayer<'a>> {
    let tokens = calibration_tokens(args, layers.weights)?;
    let options = options(args, plan.format)?;
    println!("GPTQ on {} tokens, in chunks of {CHUNK}", tokens.len());
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let kept = out.with_file_name(format!(".{name}.gptq"));
    let mut lines = Lines(Instant::now());
    Ok(LayerByLayer::calibrate(layers, plan, &tokens, &options, &kept, &mut lines)?)
}

/// The type of each matrix within so many bits a weight, with a line for each layer that is measured.
fn kinds_within(
    args: &Args,
    weights: &Weights,
    bits: f64,
    out: &Path,
) -> Result<BTreeMap<String, TensorType>> {
    let tokens = calibration_tokens(args, weights)?;
    println!("what the model minds, on {} tokens, in chunks of {CHUNK}", tokens.len());
    let folder = out.parent().unwrap_or(Path::new("."));
    let matrices = sensitivity::measure(weights, &tokens, folder, &mut Lines(Instant::now()))?;
    let kinds = budget::within(&matrices, bits);
    let least = || {
        let least = budget::least_bits(&matrices);
        format!("--bits {bits} is too few: the smallest types of this model take {least:.3}")
    };
    kinds.with_context(least)
}

/// The tokens of the text that labs 06 and 07 calibrate on.
fn calibration_tokens(args: &Args, weights: &Weights) -> Result<Vec<u32>> {
    let text = calibration(args.calibration.as_deref(), passage::PARADISE_LOST)?;
    let mut tokens = Tokenizer::load(weights.path())?.encode(&text)?;
    tokens.truncate(args.gptq.tokens);
    Ok(tokens)
}

/// Searches the scales of each decoder layer, with a line for each layer.
fn activation_scales(args: &Args, weights: &Weights, plan: &Plan) -> Result<ActivationScales> {
    let tokens = calibration_tokens(args, weights)?;
    println!("AWQ on {} tokens, in chunks of {CHUNK}", tokens.len());
    let mut lines = Lines(Instant::now());
    let mut watch = |done, layers| lines.layer(done, layers);
    Ok(ActivationScales::calibrate(
        weights,
        plan,
        &tokens,
        &awq_options(args, plan.format)?,
        &mut watch,
    )?)
}

/// The rotations that are asked for.
fn rotations(args: &Args, weights: &Weights) -> Result<Option<Rotations>> {
    if args.rotate.is_empty() {
        return Ok(None);
    }
    let [r1, r2, r4] = [Rotate::R1, Rotate::R2, Rotate::R4].map(|rotation| args.rotates(rotation));
    let options = RotationOptions { r1, r2, r4, seed: args.rotate_seed };
    Ok(Some(Rotations::of(weights, options)?))
}

/// The format of the inputs, with calibrated scales where the format has them.
fn activations(args: &Args, layers: DecoderLayers<'_>, plan: &Plan) -> Result<Option<Activations>> {
    let Some(format) = args.activation_format() else { return Ok(None) };
    let tokens = calibration_tokens(args, layers.weights)?;
    if format.is_calibrated() {
        println!("inputs of {} tokens, in chunks of {CHUNK}", tokens.len());
    }
    Ok(Some(Activations::calibrate(format, layers, plan, &tokens)?))
}

/// Runs the model on the calibration text, for the largest keys and values.
fn kv_scales(args: &Args, layers: DecoderLayers<'_>) -> Result<KvScales> {
    let tokens = calibration_tokens(args, layers.weights)?;
    println!("keys and values of {} tokens, in chunks of {CHUNK}", tokens.len());
    // A rotation changes the values, so the model is that which is written.
    Ok(KvScales::calibrate(&layers.model()?, &tokens, CHUNK)?)
}

fn awq_options(args: &Args, format: StorageFormat) -> Result<AwqOptions> {
    let grid = match (args.awq.zero_point, args.ends(format)?) {
        (true, _) => awq::Grid::Asymmetric,
        (false, Ends::Equal) => awq::Grid::Lab03,
        (false, Ends::AllCodes) => awq::Grid::LlmCompressor,
    };
    let group_size = usize::try_from(args.group_size).unwrap_or(usize::MAX);
    Ok(AwqOptions {
        rounding: awq::Rounding::new(grid, group_size),
        feedback: args.method.is_gptq().then(|| options(args, format)).transpose()?,
        duo: args.awq.duo,
        clip: !args.awq.no_clip && !args.method.is_gptq(),
    })
}

/// A line for each decoder layer.
struct Lines(Instant);

impl Watch for Lines {
    fn layer(&mut self, done: usize, layers: usize) {
        println!("layer {done} of {layers}, {:.0} s", self.0.elapsed().as_secs_f64());
    }
}

fn options(args: &Args, format: StorageFormat) -> Result<Options> {
    let given = &args.gptq;
    Ok(Options {
        ends: args.ends(format)?,
        scales: match given.scales {
            arguments::quantize::Scales::Static => Scales::Static,
            arguments::quantize::Scales::Fresh => Scales::Fresh,
            arguments::quantize::Scales::Search => Scales::Searched,
        },
        sweeps: given.sweeps,
        act_order: given.act_order,
        damping: given.damping,
        sequential: given.sequential,
    })
}

/// Runs the model on the calibration text.
fn smoothing(args: &Args, weights: &Weights, alpha: f32) -> Result<Smoothing> {
    let text = calibration(args.calibration.as_deref(), passage::CALIBRATION)?;
    println!("calibrating on chunks of {CHUNK} tokens, alpha {alpha}");
    Ok(Smoothing::on_text(weights, &text, alpha)?)
}

/// The progress in bytes of the input.
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64) -> Self {
        let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        let bar = ProgressBar::new(bytes);
        // A style that does not parse leaves the bar as it is.
        bar.set_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }
}

impl Progress for Bar {
    fn done(&self, name: &str, bytes: u64) {
        self.0.set_message(name.to_string());
        self.0.inc(bytes);
    }
}

/// The most memory that this process had, if the system says so (Linux only).
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(String::new(), |peak| format!(", at most {} of memory", peak.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passage_is_refused_as_a_calibration_text_whatever_its_lines() {
        let other_lines = passage::ALICE.replace(' ', "\n");
        let half = &passage::ALICE[passage::ALICE.len() / 2..];
        for text in [passage::ALICE, &other_lines, half] {
            let error = refuse_the_passage(text).expect_err("it is the passage").to_string();
            assert!(error.contains("another text"), "{error}");
        }
        for text in [passage::PARADISE_LOST, passage::CALIBRATION] {
            refuse_the_passage(text).expect("no sentence is shared");
        }
    }
}
