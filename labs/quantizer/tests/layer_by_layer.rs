//! GPTQ on the tiny model, one decoder layer at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use formats::bytes::Float;
use formats::checkpoint::{Dtype, read_header};
use formats::format::Ends;
use formats::registry::{self, part};
use gptq::Hessian;
use model::{Cache, LayerId, Model, Projection, Weights};
use ndarray::Array2;
use quantize_model::file;
use quantizer::layer_by_layer::{LayerByLayer, RoundedMatrix, Watch};
use quantizer::loaded::Checkpoint;
use quantizer::{DecoderLayers, Job, Options, Plan, Scales, WriteError, write};

use crate::tiny::{CHUNK, Nobody, format, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Matrices of a decoder layer.
const MATRICES: usize = Projection::ALL.len();

/// What was seen of each matrix: its Hessian, and how far its values are from the weight under it.
#[derive(Default)]
struct Seen {
    hessians: BTreeMap<String, Hessian>,
    errors: BTreeMap<String, f64>,
    layers: Vec<usize>,
}

impl Watch for Seen {
    fn matrix(&mut self, matrix: &RoundedMatrix<'_>) {
        let RoundedMatrix { name, w, h, values } = matrix;
        self.errors.insert(name.to_string(), h.error(w, values));
        self.hessians.insert(name.to_string(), (*h).clone());
    }

    fn layer(&mut self, done: usize, _: usize) {
        self.layers.push(done);
    }
}

fn calibrate(
    folder: &Path,
    scheme: &str,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<LayerByLayer<'static>, WriteError> {
    let plan = Plan::new(format(scheme, 16), Float::F16);
    LayerByLayer::calibrate(layers(), &plan, &text(3), options, &folder.join("kept"), watch)
}

/// The layers of the tiny model.
fn layers() -> DecoderLayers<'static> {
    static TINY: LazyLock<Weights> =
        LazyLock::new(|| Weights::open(golden("tiny")).expect("the tiny model opens"));
    DecoderLayers { weights: &TINY, transform: None }
}

fn seen(options: &Options) -> Result<(Seen, Model), Box<dyn std::error::Error>> {
    seen_of("w4a16", options)
}

fn seen_of(scheme: &str, options: &Options) -> Result<(Seen, Model), Box<dyn std::error::Error>> {
    let (folder, mut seen) = (tempfile::tempdir()?, Seen::default());
    let model = calibrate(folder.path(), scheme, options, &mut seen)?.model()?;
    Ok((seen, model))
}

/// The tensor `name` of a checkpoint that was written.
fn stored(out: &Path, name: &str) -> Result<Array2<f32>, WriteError> {
    let file = out.join("model.gguf");
    if file.exists() {
        Ok(Weights::open(file)?.read(name)?)
    } else {
        Checkpoint::open(out)?.read(name)
    }
}

fn weight(model: &Model, id: LayerId) -> Array2<f32> {
    let linear = model.linear(id).expect("the layer is there");
    linear.weight().expect("its weights are f32").clone()
}

#[test]
fn files_of_every_scheme_are_read_back_to_the_values_that_were_chosen() -> Outcome {
    let tiny = layers().weights;
    for known in registry::ALL.into_iter().filter(|known| known.refuses_feedback().is_none()) {
        let scheme = known.name;
        let is_gguf = format(scheme, 16).is_gguf();
        let sweeps = if is_gguf { 0 } else { 2 };
        let fitted = Options { scales: Scales::Searched, sweeps, ..Options::LLM_COMPRESSOR };
        let fitted = known.elements().is_none().then_some(fitted);
        for options in [Options::LLM_COMPRESSOR].into_iter().chain(fitted) {
            let folder = tempfile::tempdir()?;
            let layers = calibrate(folder.path(), scheme, &options, &mut Seen::default())?;
            let out = folder.path().join("out");
            write(&Job { rounding: Some(&layers), ..job(tiny, (scheme, 16), &out) }, &())?;
            let model = layers.model()?;
            for id in model.layer_ids().filter(|id| *id != LayerId::Head) {
                let stored = stored(&out, &format!("{id}.weight"))?;
                assert_eq!(stored, weight(&model, id), "{scheme}, {id}");
            }
            layers.forget()?;
            assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "{scheme}: layers are left");
        }
    }
    Ok(())
}

/// Compares each matrix with the nearest codes of a checkpoint, under the Hessian that GPTQ had.
struct Against {
    nearest: PathBuf,
    compared: usize,
}

impl Watch for Against {
    fn matrix(&mut self, &RoundedMatrix { name, w, h, values }: &RoundedMatrix<'_>) {
        let nearest = stored(&self.nearest, name).expect("the matrix is stored");
        let (chosen, nearest) = (h.error(w, values), h.error(w, &nearest));
        assert!(chosen < nearest, "{name}: {chosen} with feedback, {nearest} without");
        self.compared += 1;
    }

    fn layer(&mut self, _: usize, _: usize) {}
}

#[test]
fn under_the_scales_of_the_nearest_codes_the_error_of_every_matrix_is_below_theirs() -> Outcome {
    let of_blocks = |name: &str| format(name, 16).is_gguf();
    let has_scales = |known: &&registry::Description| {
        known.elements().is_some() || (of_blocks(known.name) && known.refuses_feedback().is_none())
    };
    for known in registry::ALL.into_iter().filter(has_scales) {
        let (folder, scheme) = (tempfile::tempdir()?, known.name);
        let out = folder.path().join("nearest");
        // Blocks of 32 do not divide every row, and the rows that they do not divide stay floats.
        let report = write(&job(layers().weights, (scheme, 16), &out), &())?;
        let of_layers =
            report.errors.iter().filter(|(kind, _)| *kind != "embed_tokens" && *kind != "lm_head");
        let quantized: usize = of_layers.map(|(_, of)| of.matrices).sum();
        assert!(quantized > MATRICES, "{scheme}: {quantized} matrices");
        for (act_order, sequential) in [(false, false), (true, true)] {
            let mut against = Against { nearest: out.clone(), compared: 0 };
            let options = Options { act_order, sequential, ..Options::LLM_COMPRESSOR };
            calibrate(folder.path(), scheme, &options, &mut against)?;
            assert_eq!(against.compared, quantized, "{scheme}");
        }
    }
    Ok(())
}

/// The bytes of the parts of a checkpoint whose names end so.
fn parts(out: &Path, end: &str) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(out.join("model.safetensors"))?;
    let header = read_header(&mut std::io::Cursor::new(&bytes))?;
    let named =
        header.tensors.into_iter().zip(header.begins).filter(|(of, _)| of.name.ends_with(end));
    let named = named.map(|(of, begin)| {
        let begin = begin as usize;
        (of.name, bytes[begin..begin + of.bytes as usize].to_vec())
    });
    Ok(named.collect())
}

#[test]
fn the_scales_of_floats_are_those_of_the_nearest_codes_also_where_layers_share_one() -> Outcome {
    let folder = tempfile::tempdir()?;
    let [nearest, chosen] = ["nearest", "chosen"].map(|name| folder.path().join(name));
    write(&job(layers().weights, ("nvfp4", 16), &nearest), &())?;
    let rounding =
        calibrate(folder.path(), "nvfp4", &Options::LLM_COMPRESSOR, &mut Seen::default())?;
    let with = Job { rounding: Some(&rounding), ..job(layers().weights, ("nvfp4", 16), &chosen) };
    write(&with, &())?;
    for part in ["_scale", "_packed"] {
        let [nearest, chosen] = [parts(&nearest, part)?, parts(&chosen, part)?];
        assert!(!nearest.is_empty(), "no part ends in {part}");
        assert_eq!(nearest == chosen, part == "_scale", "{part}");
    }
    let globals = parts(&chosen, "weight_global_scale")?;
    let of = |module: &str| &globals[&format!("model.layers.0.{module}.weight_global_scale")];
    assert_eq!(of("self_attn.q_proj"), of("self_attn.v_proj"));
    assert_eq!(of("mlp.gate_proj"), of("mlp.up_proj"));
    Ok(())
}

#[test]
fn a_hessian_is_that_of_the_inputs_which_the_layers_before_give_when_they_are_rounded() -> Outcome {
    for sequential in [false, true] {
        let (seen, rounded) = seen(&Options { sequential, ..Options::LLM_COMPRESSOR })?;
        let original = Model::load(golden("tiny"))?;
        // Of each projection of layer 1, the model in which the projections before it are rounded.
        let mut so_far = original.clone();
        for id in original.layer_ids().filter(|id| *id != LayerId::Head) {
            if id == LayerId::Layer(1, Projection::Q) {
                let mut of_layer = so_far.clone();
                for id in original.layer_ids().filter(|id| matches!(id, LayerId::Layer(1, _))) {
                    let mut h = Hessian::new(original.linear(id)?.in_features());
                    for chunk in text(3).chunks(CHUNK) {
                        let mut cache = Cache::new(original.config(), CHUNK)?;
                        let mut added = Ok(());
                        of_layer.hidden(chunk, &mut cache, &mut |at, x| {
                            if at == id {
                                added = gptq::add_batch(&mut h, x);
                            }
                        })?;
                        added?;
                    }
                    let name = format!("{id}.weight");
                    let found = &seen.hessians[&name];
                    assert_eq!(found.tokens, h.tokens, "{name}");
                    // Sums of a chunk are f32 in the kernel: by Cauchy and Schwarz an element is off by at
                    // most 256 * 2^-24 of the roots of its two diagonal elements, and the products before
                    // it are off by sums in another order.
                    let bound = 4.0 * CHUNK as f64 * 2f64.powi(-24);
                    for ((row, column), found) in found.matrix.indexed_iter() {
                        let size = (h.matrix[(row, row)] * h.matrix[(column, column)]).sqrt();
                        let error = (found - h.matrix[(row, column)]).abs();
                        assert!(
                            error <= bound * size,
                            "{name}, {row}, {column}: {error:e} of {size:e}"
                        );
                    }
                    if sequential {
                        of_layer.replace(id, rounded.linear(id)?.clone())?;
                    }
                }
            }
            so_far.replace(id, rounded.linear(id)?.clone())?;
        }
    }
    Ok(())
}

#[test]
fn fitting_scales_and_codes_again_lowers_the_error_of_every_matrix() -> Outcome {
    // k, v and o of the tiny model do not fill the words of three bits.
    let all = [("w4a16", MATRICES), ("gptq-3bit", 4)].map(|of| Ends::ALL.map(|ends| (of, ends)));
    for ((scheme, matrices), ends) in all.as_flattened() {
        for scales in [Scales::Static, Scales::Searched] {
            let once = Options { ends: *ends, scales, ..Options::LLM_COMPRESSOR };
            let (before, _) = seen_of(scheme, &once)?;
            let (after, _) = seen_of(scheme, &Options { sweeps: 3, ..once })?;
            // Of layer 0 alone, because a later layer has other inputs.
            let first = |name: &&String| name.contains("layers.0.");
            assert_eq!(before.errors.keys().filter(first).count(), *matrices, "{scheme}");
            for name in before.errors.keys().filter(first) {
                let (before, after) = (before.errors[name], after.errors[name]);
                let of = format!("{scheme}, {name}, {ends:?}, {scales:?}");
                assert!(after < before, "{of}: {after} against {before}");
            }
        }
    }
    Ok(())
}

/// The folder of layers of a child, and the layers after which it dies.
const FOLDER: &str = "CALIBRATE_IN";
const LAYERS: &str = "DIE_AFTER_LAYERS";

/// Kills the program after so many layers.
struct Deadline(usize);

impl Watch for Deadline {
    fn layer(&mut self, done: usize, _: usize) {
        if done == self.0 {
            std::process::abort();
        }
    }
}

#[test]
fn a_child_calibrates() -> Outcome {
    let Some(folder) = std::env::var_os(FOLDER) else { return Ok(()) };
    let layers = std::env::var(LAYERS)?.parse()?;
    let options = Options::LLM_COMPRESSOR;
    calibrate(Path::new(&folder), "w4a16", &options, &mut Deadline(layers)).map(drop)?;
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_goes_on_behind_the_layers_that_are_done_and_gives_the_same_codes() -> Outcome
{
    use crate::interrupted::{again, names};
    let (_, whole) = seen(&Options::LLM_COMPRESSOR)?;
    for killed in 1..=2 {
        let folder = tempfile::tempdir()?;
        let test = "layer_by_layer::a_child_calibrates";
        let output = again(test, "ulimit -c 0", |command| {
            command.env(FOLDER, folder.path()).env(LAYERS, killed.to_string())
        })?;
        assert!(!output.status.success(), "the child outlived layer {killed}");
        let left = names(folder.path())?;
        assert!(left.len() == 1 && left[0].starts_with("kept-"), "{left:?}");
        // A file that was being written when the program died.
        let partial = folder.path().join(&left[0]).join(format!("layer-{killed:05}.partial"));
        std::fs::write(partial, "half a layer")?;

        // A run with other settings makes every layer itself.
        let mut other = Seen::default();
        let options = Options { damping: 0.02, ..Options::LLM_COMPRESSOR };
        calibrate(folder.path(), "w4a16", &options, &mut other)?.forget()?;
        assert_eq!(other.errors.len(), 2 * MATRICES, "after layer {killed}");

        let mut rest = Seen::default();
        let layers = calibrate(folder.path(), "w4a16", &Options::LLM_COMPRESSOR, &mut rest)?;
        assert_eq!(rest.errors.len(), (2 - killed) * MATRICES, "after layer {killed}");
        assert_eq!(rest.layers, [1, 2], "progress counts the layers that were done before");
        let model = layers.model()?;
        for id in whole.layer_ids().filter(|id| *id != LayerId::Head) {
            assert_eq!(weight(&model, id), weight(&whole, id), "{id}");
        }
    }
    Ok(())
}

#[test]
fn a_kept_layer_that_is_damaged_is_named() -> Outcome {
    let folder = tempfile::tempdir()?;
    let again =
        || calibrate(folder.path(), "w4a16", &Options::LLM_COMPRESSOR, &mut Seen::default());
    again()?;
    let kept = std::fs::read_dir(folder.path())?.next().ok_or("nothing is kept")??.path();
    let layer = kept.join("layer-00001.safetensors");
    let whole = std::fs::read(&layer)?;
    std::fs::write(&layer, &whole[..whole.len() / 2])?;
    let error = again().map(drop).expect_err("half a file is no layer").to_string();
    assert!(error.contains("layer-00001.safetensors"), "{error}");
    Ok(())
}

#[test]
fn a_text_or_a_format_that_is_not_for_gptq_is_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let fitted = Options { sweeps: 1, ..Options::LLM_COMPRESSOR };
    for (scheme, options, says) in [
        ("none", Options::LLM_COMPRESSOR, "not for none, because nothing is rounded"),
        (
            "gguf-mxfp4",
            Options::LLM_COMPRESSOR,
            "not for gguf-mxfp4, because its codes are not even",
        ),
        ("gguf-q4_0", fitted, "the scales of the blocks of gguf-q4_0 are there before"),
        ("nvfp4", fitted, "the scales of nvfp4 are those of its nearest codes"),
    ] {
        let done = calibrate(folder.path(), scheme, &options, &mut Seen::default());
        let error = done.map(drop).expect_err(scheme).to_string();
        assert!(error.contains(says), "{error}");
    }
    let plan = Plan::new(format("w4a16", 16), Float::F16);
    let (options, kept) = (Options::LLM_COMPRESSOR, folder.path().join("kept"));
    let short = &text(1)[..CHUNK - 1];
    let done =
        LayerByLayer::calibrate(layers(), &plan, short, &options, &kept, &mut Seen::default());
    let error = done.map(drop).expect_err("a short text").to_string();
    assert!(error.contains("255 tokens are no whole chunk of 256"), "{error}");
    Ok(())
}

/// A copy of the tiny model in which its layers are repeated, `times` each.
fn repeated(folder: &Path, times: usize) -> Result<Weights, Box<dyn std::error::Error>> {
    let tiny = layers().weights;
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden("tiny").join("config.json"))?)?;
    config["num_hidden_layers"] = (2 * times).into();
    let of_layers = tiny.tensors().iter().filter(|tensor| tensor.name.starts_with("model.layers."));
    let mut tensors = Vec::new();
    for tensor in of_layers {
        let rest = tensor.name.trim_start_matches("model.layers.");
        let (layer, rest) = rest.split_once('.').ok_or("a layer has a number")?;
        let layer: usize = layer.parse()?;
        for copy in 0..times {
            tensors.push((format!("model.layers.{}.{rest}", 2 * copy + layer), tensor));
        }
    }
    let others = tiny.tensors().iter().filter(|tensor| !tensor.name.starts_with("model.layers."));
    tensors.extend(others.map(|tensor| (tensor.name.clone(), tensor)));
    let header = tensors.iter().map(|(name, tensor)| {
        part(name.trim_end_matches(".weight"), "weight", Dtype::F32, &tensor.shape)
    });
    let header: Vec<_> = header.collect();
    let header = file::header(&header);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    for (_, tensor) in &tensors {
        bytes.extend(tiny.read(&tensor.name)?.iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(folder.join("model.safetensors"), bytes)?;
    std::fs::write(folder.join("config.json"), config.to_string())?;
    Ok(Weights::open(folder)?)
}

#[test]
fn the_memory_is_that_of_one_layer_however_many_there_are() -> Outcome {
    let plan = Plan::new(format("w4a16", 16), Float::F16);
    // The counter sees the thread of the test alone.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    let tiny = Model::load(golden("tiny"))?;
    let of_first = tiny.layer_ids().filter(|id| id.layer() == Some(0));
    let layer: usize = of_first.map(|id| size_of::<f32>() * weight(&tiny, id).len()).sum();
    let mut peaks = Vec::new();
    for times in [1, 4] {
        let folder = tempfile::tempdir()?;
        let weights = repeated(folder.path(), times)?;
        let layers = DecoderLayers { weights: &weights, transform: None };
        let (text, kept) = (text(1), folder.path().join("kept"));
        let options = Options::LLM_COMPRESSOR;
        let mut done = Ok(());
        let counted = allocation_counter::measure(|| {
            done = pool.install(|| {
                let mut nobody = Nobody;
                LayerByLayer::calibrate(layers, &plan, &text, &options, &kept, &mut nobody)
                    .map(drop)
            });
        });
        done?;
        peaks.push(counted.bytes_max as usize);
    }
    assert!(peaks[0] > layer, "the counter saw no layer: {peaks:?}");
    let grown = peaks[1].saturating_sub(peaks[0]);
    assert!(
        4 * grown < layer,
        "six layers of {layer} bytes more took {grown} bytes more at the peak ({peaks:?}): something \
         holds on to layers that are done"
    );
    Ok(())
}
