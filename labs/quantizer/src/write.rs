//! From one checkpoint to another, tensor by tensor.
//!
//! Sizes are known before data, so headers are written first, and all threads write tensors at their
//! offsets in any order. A thread holds one tensor and its parts, so the largest tensors bound the
//! memory, not the model.
//!
//! Everything is written into a folder `.NAME.partial-ID` beside the target, the `config.json` last, and
//! the folder is renamed at the end. An error removes the folder. A program that is killed leaves the
//! folder under that name and without a config, so that no tool takes it for a checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::FormatError;
use formats::bytes::{self, Float};
use formats::checkpoint::{Storage, Tensor, collapse};
use formats::gguf::{TensorType, dequantize};
use formats::registry::{Codes, Decision, File, Granularity, Reason, StoredPart, encode_blocks};
use model::Weights;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::activations::Activations;
use crate::fused::Fused;
use crate::kv_scales::KvScales;
use crate::report::{LayerError, Report};
use crate::safetensors_file::{Sink, shards};
use crate::stages::{Rounding, Transform};
use crate::tokenizer::json_file;
use crate::{Importance, Plan, WriteError, config, gguf_file, tokenizer};

/// Rows of a matrix that become blocks of GGML together.
const BAND: usize = 64;

/// What to write, and where.
pub struct Job<'a> {
    /// The original.
    pub weights: &'a Weights,
    /// The format, and the type of the tensors that stay floats.
    pub plan: Plan,
    /// The first stage; `None` leaves the tensors as they are.
    pub transform: Option<&'a dyn Transform>,
    /// The second stage; `None` takes the nearest codes, by the reader's labs.
    pub rounding: Option<&'a dyn Rounding>,
    /// How much the error of each column counts, for a mix of types.
    pub importance: Option<&'a Importance>,
    /// How the inputs of layers are quantized; `None` takes what the format says.
    pub activations: Option<&'a Activations>,
    /// The scales of an FP8 cache, where the checkpoint shall have one.
    pub kv_scales: Option<&'a KvScales>,
    /// The folder that is made.
    pub out: &'a Path,
    /// The limit of bytes of data in a file; a matrix that is larger has its own file.
    pub shard_bytes: u64,
    /// Whether linear layers that the group size does not divide stay floats; else they are an error.
    pub leave_out: bool,
    /// Whether the input may be quantized already.
    pub requantize: bool,
}

impl Job<'_> {
    /// The tensors of the model that is stored: those of the original, as the transform leaves them.
    pub fn tensors(&self) -> Vec<Tensor> {
        let tensors = self.weights.tensors();
        self.transform.map_or(tensors.to_vec(), |transform| transform.tensors(tensors))
    }
}

/// Learns of the progress, from any thread.
pub trait Progress: Sync {
    /// A tensor of so many bytes of the input is done.
    fn done(&self, name: &str, bytes: u64);
}

/// No progress is shown.
impl Progress for () {
    fn done(&self, _: &str, _: u64) {}
}

/// Writes the checkpoint and returns its sizes and errors.
///
/// # Errors
/// If the target exists, the input is quantized without `requantize`, the group size does not divide a
/// linear layer without `leave_out`, a weight is NaN or infinite (the tensor is named), or a file cannot
/// be read or written.
pub fn write(job: &Job<'_>, progress: &dyn Progress) -> Result<Report, WriteError> {
    let job = &Job { plan: job.plan.of_model(job.weights.tensors()), ..*job };
    check(job)?;
    let partial = Partial::beside(job.out)?;
    let sinks = open(job, &partial.folder)?;
    let tensors = job.tensors();
    let fused = Fused::of(&job.plan, &tensors, |tensor| transformed(job, tensor))?;
    let errors = Mutex::new(BTreeMap::new());
    tensors.par_iter().try_for_each(|tensor| {
        let one = || -> Result<(), WriteError> {
            let error = convert(job, &fused, tensor, sinks.of(&tensor.name)?)?;
            if let Some(error) = error {
                let mut errors = errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let of_kind: &mut LayerError = errors.entry(kind(&tensor.name)).or_default();
                of_kind.add(error);
            }
            Ok(())
        };
        one().map_err(|error| error.within(&tensor.name))?;
        progress.done(&tensor.name, tensor.bytes);
        Ok::<_, WriteError>(())
    })?;
    let cache = job.kv_scales.iter().flat_map(|scales| scales.parts());
    let inputs = job.activations.iter().flat_map(|inputs| inputs.parts());
    let added = added(job)?.into_iter().map(|part| (part.tensor.name, part.bytes));
    for (name, bytes) in cache.chain(inputs).chain(added) {
        sinks.of(&name)?.put(&name, &bytes)?;
    }
    let bytes_after = sinks.finish()?;
    finish(job, partial)?;
    Ok(report(job, bytes_after, errors))
}

/// Checks the job before a tensor is read, because a model takes minutes.
fn check(job: &Job<'_>) -> Result<(), WriteError> {
    let Job { weights, plan, out, .. } = job;
    if out.symlink_metadata().is_ok() {
        return Err(WriteError::Exists { path: out.to_path_buf() });
    }
    let format = plan.format;
    if job.kv_scales.is_some() && !format.takes_kv_scales() {
        return Err(WriteError::Unsupported(format!(
            "the scales of a cache are a part of compressed-tensors' config, and {format} has another: \
             take a format of compressed-tensors, or --scheme none"
        )));
    }
    if job.importance.is_some() && job.rounding.is_some() {
        return Err(WriteError::Unsupported(
            "a Hessian has the importance on its diagonal: leave out --imatrix with --method gptq, and take \
             --scales search"
                .into(),
        ));
    }
    if job.importance.is_some() && !matches!(format.description.file, File::Mixed(_)) {
        return Err(WriteError::Unsupported(format!(
            "--imatrix is for the mixes of k-quants, as gguf-q4_k_m, not {format}"
        )));
    }
    job.transform.map_or(Ok(()), |transform| transform.check(format))?;
    job.rounding.map_or(Ok(()), |rounding| rounding.check(format))?;
    if let Some((kind, _)) = quantized(weights.tensors()).first().filter(|_| !job.requantize) {
        let (path, kind) = (weights.path().into(), kind.clone());
        return Err(WriteError::AlreadyQuantized { path, kind });
    }
    if job.leave_out { Ok(()) } else { refuse_indivisible(&job.tensors(), plan) }
}

/// The types in which tensors of the input are quantized, and how many tensors have each.
fn quantized(tensors: &[Tensor]) -> Vec<(String, usize)> {
    let mut kinds = BTreeMap::new();
    for tensor in tensors {
        match tensor.storage {
            Storage::Blocks(TensorType::F32 | TensorType::F16) | Storage::Elements(_) => {}
            Storage::Blocks(kind) => *kinds.entry(kind.to_string()).or_default() += 1,
        }
    }
    kinds.into_iter().collect()
}

/// Refuses linear layers that the format does not divide, and names what helps.
fn refuse_indivisible(tensors: &[Tensor], plan: &Plan) -> Result<(), WriteError> {
    let mut names = Vec::new();
    let mut because = None;
    for tensor in tensors {
        if let Decision::Keep(reason @ Reason::Indivisible { .. }) = plan.decide(tensor) {
            names.push(tensor.name.as_str());
            because = because.or(Some(reason));
        }
    }
    let Some(reason) = because else { return Ok(()) };
    let by_group = matches!(reason, Reason::Indivisible { axis: "in_features", .. });
    let helps = match plan.format.description.granularity {
        Granularity::ChosenGroup if by_group => {
            let sizes = sizes_that_divide_all(tensors, plan);
            format!("Group sizes that divide every row of this model: {sizes:?}")
        }
        Granularity::FixedGroup(size) => {
            format!("The groups of this format are fixed at {size}, so take another format")
        }
        _ => "Take another format".into(),
    };
    let (format, names) = (plan.format, collapse(names).join(", "));
    let problem = format!(
        "{format} cannot be had for {names}: {reason}. {helps}; or leave these layers in floats with \
         --leave-out"
    );
    Err(WriteError::LeftOut { problem })
}

/// The group sizes that divide each row of the linear layers.
fn sizes_that_divide_all(tensors: &[Tensor], plan: &Plan) -> Vec<usize> {
    let widths = tensors.iter().filter(|tensor| {
        let decision = plan.decide(tensor);
        matches!(decision, Decision::Quantize | Decision::Keep(Reason::Indivisible { .. }))
    });
    let common = widths.filter_map(|tensor| tensor.shape.last()).copied().fold(0, gcd);
    kit::int4::sizes_that_divide(usize::try_from(common).unwrap_or(0))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The open files, and the file of each tensor of the input.
struct Sinks {
    files: Vec<Sink>,
    file_of: BTreeMap<String, usize>,
}

impl Sinks {
    fn of(&self, name: &str) -> Result<&Sink, WriteError> {
        let file = self.file_of.get(name).and_then(|&file| self.files.get(file));
        file.ok_or_else(|| WriteError::Plan(format!("`{name}` has no file")))
    }

    fn finish(self) -> Result<u64, WriteError> {
        self.files.into_iter().map(Sink::finish).sum()
    }
}

/// Opens every file and writes its header; writes an index if there are several files.
fn open(job: &Job<'_>, folder: &Path) -> Result<Sinks, WriteError> {
    let tensors = &job.tensors();
    let parts = |tensor: &Tensor| {
        let mut parts = job.plan.parts(tensor);
        // A GGUF file has GGML's names.
        if let (true, Some(name)) = (job.plan.format.is_gguf(), job.weights.gguf_name(&tensor.name))
        {
            parts.iter_mut().for_each(|part| part.name.clone_from(&name));
        }
        parts
    };
    if let Some(kind) = gguf_file::file_type(&job.plan.format.description.file) {
        let parts: Vec<Tensor> = tensors.iter().flat_map(parts).collect();
        let file = gguf_file::create(&folder.join("model.gguf"), job.weights.path(), kind, &parts)?;
        let file_of = tensors.iter().map(|tensor| (tensor.name.clone(), 0)).collect();
        return Ok(Sinks { files: vec![file], file_of });
    }
    let mut others = job.kv_scales.map_or(Vec::new(), KvScales::tensors);
    others.extend(job.activations.iter().flat_map(|inputs| inputs.tensors()));
    others.extend(added(job)?.into_iter().map(|part| part.tensor));
    let of_tensors =
        tensors.iter().map(parts).chain(others.iter().map(|scale| vec![scale.clone()]));
    let shards = shards(of_tensors.collect(), job.shard_bytes)?;
    let count = shards.len();
    let name = |index: usize| match count {
        0 | 1 => "model.safetensors".to_string(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    };
    let files = shards.iter().enumerate();
    let files = files.map(|(index, shard)| Sink::safetensors(&folder.join(name(index)), shard));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let placed = shards
        .iter()
        .enumerate()
        .flat_map(|(index, shard)| shard.iter().map(move |part| (part.name.as_str(), index)));
    let placed: BTreeMap<&str, usize> = placed.collect();
    if count > 1 {
        let map: BTreeMap<&str, String> =
            placed.iter().map(|(part, &i)| (*part, name(i))).collect();
        let total: u64 = shards.iter().flatten().map(|part| part.bytes).sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        json_file(&folder.join("model.safetensors.index.json"), &index)?;
    }
    let mut file_of = BTreeMap::new();
    for tensor in tensors {
        let first = job.plan.parts(tensor).into_iter().next();
        let file = first.and_then(|part| placed.get(part.name.as_str()).copied());
        let none = || WriteError::Plan(format!("`{}` becomes nothing", tensor.name));
        file_of.insert(tensor.name.clone(), file.ok_or_else(none)?);
    }
    file_of.extend(others.into_iter().filter_map(|scale| {
        let file = *placed.get(scale.name.as_str())?;
        Some((scale.name, file))
    }));
    Ok(Sinks { files, file_of })
}

/// What the transform puts beside the tensors of the model.
fn added(job: &Job<'_>) -> Result<Vec<StoredPart>, WriteError> {
    job.transform.map_or(Ok(Vec::new()), |transform| transform.added(job.plan.float))
}

/// Reads one tensor, as the first stage leaves it.
fn transformed(job: &Job<'_>, tensor: &Tensor) -> Result<Array2<f32>, WriteError> {
    let origin = job.transform.map_or(tensor.name.as_str(), |change| change.origin(&tensor.name));
    let w = match job.plan.format.is_gguf() {
        true => job.weights.read_for_gguf(origin)?,
        false => job.weights.read(origin)?,
    };
    match job.transform {
        Some(transform) => transform.apply(&tensor.name, w),
        None => Ok(w),
    }
}

/// Reads one tensor and writes its parts. The result is the error of a quantized tensor, which is decoded
/// from the written bytes, so that an error of the encoder counts too.
fn convert(
    job: &Job<'_>,
    fused: &Fused,
    tensor: &Tensor,
    sink: &Sink,
) -> Result<Option<LayerError>, WriteError> {
    let Job { weights, plan, .. } = job;
    let w = transformed(job, tensor)?;
    let parts = plan.parts(tensor);
    let name = |part: &Tensor| match plan.format.is_gguf() {
        true => weights.gguf_name(&part.name).unwrap_or_default(),
        false => part.name.clone(),
    };
    if plan.decide(tensor) != Decision::Quantize {
        let [part] = parts.as_slice() else {
            return Err(WriteError::Plan(format!("it is kept as {} parts", parts.len())));
        };
        sink.put(&name(part), &bytes::of_floats(&w, float_of(part)?)?)?;
        return Ok(None);
    }
    let chosen = job.rounding.map(|rounding| rounding.round(&tensor.name, &w, plan.format));
    let (data, error) = match (chosen.transpose()?.flatten(), plan.mixed(tensor)) {
        (Some(Codes::Blocks { kind, bytes }), _) => {
            let (data, error) = in_rows_of_gguf(weights, &tensor.name, &w, kind, bytes)?;
            (vec![data], Some(error))
        }
        (Some(codes), _) => (plan.format.store(&codes)?, None),
        (None, Some(kind)) => {
            let importance = job.importance.and_then(|all| all.of(&name(tensor)));
            let (data, error) = blocks(kind, &w, importance)?;
            (vec![data], Some(error))
        }
        (None, None) => (plan.round_and_store(&w, fused.absmax(&tensor.name))?, None),
    };
    if data.len() != parts.len() {
        let problem = format!("{} parts are planned, {} were made", parts.len(), data.len());
        return Err(WriteError::Plan(problem));
    }
    for (part, data) in parts.iter().zip(&data) {
        sink.put(&name(part), data)?;
    }
    if error.is_some() {
        return Ok(error);
    }
    let stored = parts.into_iter().zip(data);
    let stored: Vec<_> = stored.map(|(tensor, bytes)| StoredPart { tensor, bytes }).collect();
    let decoded = plan.format.decode([w.nrows(), w.ncols()], &stored)?;
    Ok(Some(LayerError::of(&w, &decoded)))
}

/// Blocks that were chosen in the order of rows in which the model runs, in that of a GGUF file, which `w` has,
/// with their error.
fn in_rows_of_gguf(
    weights: &Weights,
    name: &str,
    w: &Array2<f32>,
    kind: TensorType,
    blocks: Vec<u8>,
) -> Result<(Vec<u8>, LayerError), WriteError> {
    let rows = Array2::from_shape_vec((w.nrows(), blocks.len() / w.nrows().max(1)), blocks);
    let rows = rows.map_err(|_| WriteError::Plan("its rows are no whole blocks".into()))?;
    let blocks: Vec<u8> = weights.rows_for_gguf(name, rows)?.into_iter().collect();
    let decoded = dequantize(kind, &blocks).map_err(FormatError::from)?;
    let decoded = Array2::from_shape_vec(w.dim(), decoded);
    let decoded = decoded.map_err(|_| WriteError::Plan("it has another shape".into()))?;
    Ok((blocks, LayerError::of(w, &decoded)))
}

/// The blocks of a matrix and their error, some rows at a time, so that what is decoded stays in the cache.
fn blocks(
    kind: TensorType,
    w: &Array2<f32>,
    importance: Option<&[f32]>,
) -> Result<(Vec<u8>, LayerError), WriteError> {
    let encoded = |rows: ArrayView2<f32>| -> Result<_, WriteError> {
        let bytes = encode_blocks(kind, rows, importance)?;
        let decoded = dequantize(kind, &bytes).map_err(FormatError::from)?;
        let rows = rows.as_standard_layout();
        let error = LayerError::of_part(rows.as_slice().unwrap_or_default(), &decoded);
        Ok((bytes, error))
    };
    let bands: Vec<_> = w.axis_chunks_iter(Axis(0), BAND).collect();
    let Ok(bands) = bands.into_par_iter().map(encoded).collect::<Result<Vec<_>, _>>() else {
        // The error of the whole matrix names the place in the matrix, and not in the band.
        return encoded(w.view());
    };
    let mut sums = LayerError { matrices: 1, ..LayerError::default() };
    bands.iter().for_each(|(_, error)| sums.add(*error));
    let bytes: Vec<&[u8]> = bands.iter().map(|(bytes, _)| &bytes[..]).collect();
    Ok((bytes.concat(), sums))
}

/// The float that a kept tensor is stored as.
fn float_of(part: &Tensor) -> Result<Float, WriteError> {
    use formats::checkpoint::Dtype;
    match part.storage {
        Storage::Elements(Dtype::F16) | Storage::Blocks(TensorType::F16) => Ok(Float::F16),
        Storage::Elements(Dtype::BF16) => Ok(Float::Bf16),
        Storage::Elements(Dtype::F32) | Storage::Blocks(TensorType::F32) => Ok(Float::F32),
        other => Err(WriteError::Plan(format!("it is kept as {other}, which is no float"))),
    }
}

/// The last word of a module's name, for example `q_proj`.
fn kind(name: &str) -> String {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    module.rsplit('.').next().unwrap_or(module).into()
}

/// Writes the tokenizer, then the config, and renames the folder.
fn finish(job: &Job<'_>, partial: Partial) -> Result<(), WriteError> {
    let Job { weights, plan, .. } = job;
    if !plan.format.is_gguf() {
        tokenizer::write(weights, &partial.folder)?;
        let mut quantization = plan.config(&job.tensors());
        if let (Some(activations), Some(quantization)) = (job.activations, &mut quantization) {
            activations.config(quantization);
        }
        if job.kv_scales.is_some() {
            quantization = Some(KvScales::config(quantization));
        }
        let mut config = config::config_json(weights, plan.float, quantization)?;
        job.transform.iter().for_each(|transform| transform.config(&mut config));
        json_file(&partial.folder.join("config.json"), &Value::Object(config))?;
    }
    partial.rename(job.out)
}

fn report(job: &Job<'_>, bytes_after: u64, errors: Mutex<BTreeMap<String, LayerError>>) -> Report {
    let tensors = &job.tensors();
    let original = job.weights.tensors();
    let kept = tensors.iter().filter_map(|tensor| match job.plan.decide(tensor) {
        Decision::Keep(reason) => Some((tensor.name.clone(), reason)),
        Decision::Quantize => None,
    });
    let mut labs = job.plan.labs();
    labs.extend(job.transform.map(Transform::lab));
    labs.extend(job.rounding.and_then(|rounding| rounding.lab(job.plan.format)));
    labs.sort_unstable();
    labs.dedup();
    Report {
        format: job.plan.format,
        labs,
        input: quantized(original),
        weights: tensors.iter().map(Tensor::elements).sum(),
        bytes_before: original.iter().map(|tensor| tensor.bytes).sum(),
        bytes_after,
        bits_per_weight: job.plan.bits_per_weight(tensors),
        kept: kept.collect(),
        errors: errors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
    }
}

/// A folder that is being filled, removed unless it is renamed.
struct Partial {
    folder: PathBuf,
    finished: bool,
}

impl Partial {
    fn beside(out: &Path) -> Result<Self, WriteError> {
        let name = out.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| {
            WriteError::Unsupported(format!("{} is no name for a folder", out.display()))
        })?;
        let parent = out.parent().unwrap_or(Path::new(""));
        if !parent.as_os_str().is_empty() {
            std::fs::create_dir_all(parent).map_err(WriteError::io(parent))?;
        }
        let folder = parent.join(format!(".{name}.partial-{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(WriteError::io(&folder))?;
        Ok(Self { folder, finished: false })
    }

    fn rename(mut self, out: &Path) -> Result<(), WriteError> {
        // Checked again, because a rename may replace an empty folder that another program has made.
        if out.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path: out.into() });
        }
        std::fs::rename(&self.folder, out).map_err(WriteError::io(out))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            // An error is ignored, because the name of the folder says that it is partial.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
