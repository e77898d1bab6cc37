//! Rotations of the tiny model: the same function, written, read back and run.

use std::collections::BTreeMap;
use std::path::Path;

use formats::bytes::Float;
use formats::checkpoint::{self, Dtype};
use formats::registry::{ActivationFormat, part};
use model::{Cache, LayerId, Model, Projection, Weights};
use ndarray::Array2;
use quantize_model::file;
use quantizer::activations::Activations;
use quantizer::layer_by_layer::LayerByLayer;
use quantizer::loaded::{Checkpoint, load_quantized};
use quantizer::rotate::{RotationOptions, Rotations};
use quantizer::{DecoderLayers, Job, Options, Plan, Transform, write};
use serde_json::{Value, json};

use crate::tiny::{Nobody, format, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const ALL: RotationOptions = RotationOptions { r1: true, r2: true, r4: true, seed: 3 };
const OFFLINE: RotationOptions = RotationOptions { r4: false, ..ALL };
const NONE: RotationOptions = RotationOptions { r1: false, r2: false, r4: false, seed: 3 };

fn config(folder: &Path) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?)
}

fn logits(model: &Model) -> Result<Array2<f32>, Box<dyn std::error::Error>> {
    let ids = &text(1)[..40];
    Ok(model.forward(ids, &mut Cache::new(model.config(), ids.len())?)?)
}

/// `plain job`, with floats in `f32`, so that nothing is rounded to 16 bits.
fn in_f32<'a>(weights: &'a Weights, out: &'a Path, rotations: &'a Rotations) -> Job<'a> {
    let plan = Plan::new(format("none", 16), Float::F32);
    Job { plan, transform: Some(rotations), ..job(weights, ("none", 16), out) }
}

/// What the function may change by: each of two layers multiplies by three rotations and their inverses, each
/// of which rounds a weight or an input once to `f32` in sums of at most 80 terms.
const BOUND: f64 = 2.0 * 6.0 * 80.0 * f32::EPSILON as f64;

/// A copy of the tiny model whose head is a matrix of its own, with other values.
fn untied(folder: &Path) -> Result<Weights, Box<dyn std::error::Error>> {
    let tiny = Weights::open(golden("tiny"))?;
    let rotations = Rotations::of(&tiny, RotationOptions { r1: true, ..NONE })?;
    let out = folder.join("untied");
    write(&in_f32(&tiny, &out, &rotations), &())?;
    let file = out.join("model.safetensors");
    let mut bytes = std::fs::read(&file)?;
    // The norms are ones, and a fused norm would be seen by no test: the first one becomes another.
    let header: Value = {
        let length = u64::from_le_bytes(bytes[..8].try_into()?) as usize;
        serde_json::from_slice(&bytes[8..8 + length])?
    };
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into()?) as usize;
    let norms = header.as_object().ok_or("a header")?.iter();
    for (name, tensor) in norms.filter(|(name, _)| name.ends_with("norm.weight")) {
        let begin = data + tensor["data_offsets"][0].as_u64().ok_or("offsets")? as usize;
        for at in 0..64 {
            let value = 0.5 + ((at * 7 + name.len()) % 13) as f32 / 8.0;
            bytes[begin + 4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }
    std::fs::write(&file, bytes)?;
    Ok(Weights::open(&out)?)
}

#[test]
fn the_rotated_model_computes_the_same_with_a_tied_head_an_own_head_and_out_of_a_gguf() -> Outcome {
    let folder = tempfile::tempdir()?;
    let inputs = [
        Weights::open(golden("tiny"))?,
        untied(folder.path())?,
        Weights::open(golden("tiny.gguf"))?,
    ];
    let [r1, r2, r4] = [(true, false, false), (false, true, false), (false, false, true)]
        .map(|(r1, r2, r4)| RotationOptions { r1, r2, r4, ..NONE });
    for (index, weights) in inputs.iter().enumerate() {
        let plain = logits(&Model::load(weights.path())?)?;
        for options in [r1, r2, r4, OFFLINE, ALL, RotationOptions { seed: 4, ..ALL }] {
            let rotations = Rotations::of(weights, options)?;
            let out = folder.path().join(format!("{index}-{}", rotations.settings()));
            write(&in_f32(weights, &out, &rotations), &())?;
            let in_memory = DecoderLayers { weights, transform: Some(&rotations) }.model()?;
            for model in [load_quantized(&out)?, in_memory] {
                let error = kit::meters::relative_error(&plain, &logits(&model)?);
                assert!(error < BOUND, "{index}, {options:?}: {error:.1e}, bound {BOUND:.1e}");
            }
            let written = config(&out)?;
            let tied = written["tie_word_embeddings"] == true;
            assert_eq!(tied, index != 1 && !options.r1, "{index}, {options:?}");
            let says_online = !written["quantization_config"]["transform_config"].is_null();
            assert_eq!(says_online, options.r4, "{index}, {options:?}");
            assert!(checkpoint::inspect(&out)?.problems.is_empty(), "{index}, {options:?}");
            // Offline rotations leave an ordinary checkpoint, which a loader of plain models takes.
            assert_eq!(Model::load(&out).is_ok(), !options.r4, "{index}, {options:?}");
        }
    }
    Ok(())
}

/// A copy of the tiny model whose MLP is 96 wide, which is 12 times 8, with seeded weights there.
fn wide(folder: &Path) -> Result<Weights, Box<dyn std::error::Error>> {
    let tiny = Weights::open(golden("tiny"))?;
    let mut config = config(&golden("tiny"))?;
    config["intermediate_size"] = 96.into();
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let mut parts = Vec::new();
    for (seed, tensor) in tiny.tensors().iter().enumerate() {
        let w = tiny.read(&tensor.name)?;
        let w = match tensor.name.rsplit('.').nth(1) {
            Some("gate_proj" | "up_proj") => kit::data::normal_matrix(seed as u64, 96, 64) / 8.0,
            Some("down_proj") => kit::data::normal_matrix(seed as u64, 64, 96) / 8.0,
            _ => w,
        };
        let module = tensor.name.trim_end_matches(".weight");
        let matrix = [w.nrows() as u64, w.ncols() as u64];
        let shape = if tensor.shape.len() == 1 { &matrix[1..] } else { &matrix };
        parts.push((part(module, "weight", Dtype::F32, shape), w));
    }
    let tensors: Vec<_> = parts.iter().map(|(tensor, _)| tensor.clone()).collect();
    let header = file::header(&tensors);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    for tensor in file::in_order(&tensors) {
        let (_, w) = parts.iter().find(|(known, _)| known.name == tensor.name).ok_or("a tensor")?;
        bytes.extend(w.iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(folder.join("model.safetensors"), bytes)?;
    Ok(Weights::open(folder)?)
}

#[test]
fn a_rotation_that_is_no_power_of_two_is_stored_once_and_read_back() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = wide(folder.path())?;
    let plain = logits(&Model::load(folder.path())?)?;
    let rotations = Rotations::of(&weights, ALL)?;
    let out = folder.path().join("out");
    write(&in_f32(&weights, &out, &rotations), &())?;
    let checkpoint = Checkpoint::open(&out)?;
    let name = "model.layers.0.mlp.down_proj.R4_input.weight";
    let stored = checkpoint.shapes().into_iter().filter(|(name, _)| name.contains("R4"));
    assert_eq!(stored.collect::<Vec<_>>(), [(name.to_string(), vec![96, 96])]);
    let model = checkpoint.model()?;
    assert_eq!(model.down_rotation().map(kernels::Hadamard::block), Some(96));
    let error = kit::meters::relative_error(&plain, &logits(&model)?);
    assert!(error < BOUND, "{error:.1e}, bound {BOUND:.1e}");
    Ok(())
}

#[test]
fn every_rotation_moves_its_weights_and_other_signs_give_other_weights() -> Outcome {
    let weights = Weights::open(golden("tiny"))?;
    let read = |options, name: &str| -> Result<Array2<f32>, Box<dyn std::error::Error>> {
        let rotations = Rotations::of(&weights, options)?;
        Ok(DecoderLayers { weights: &weights, transform: Some(&rotations) }.read(name)?)
    };
    let id = |projection| format!("{}.weight", LayerId::Layer(1, projection));
    for (options, name) in [
        (RotationOptions { r1: true, ..NONE }, id(Projection::Gate)),
        (RotationOptions { r2: true, ..NONE }, id(Projection::V)),
        (RotationOptions { r2: true, ..NONE }, id(Projection::O)),
        (RotationOptions { r4: true, ..NONE }, id(Projection::Down)),
    ] {
        let rotated = read(options, &name)?;
        assert_ne!(rotated, weights.read(&name)?, "{options:?}, {name}");
        // R4 has no signs, because the config of a file has no place for them.
        let other = read(RotationOptions { seed: 9, ..options }, &name)?;
        assert_eq!(other == rotated, options.r4, "{options:?}, {name}");
    }
    // Each layer has signs of its own for its values.
    let r2 = RotationOptions { r2: true, ..NONE };
    let rotations = Rotations::of(&weights, r2)?;
    let ones = Array2::from_shape_fn((32, 64), |(i, j)| (i * 64 + j) as f32);
    let [first, second] = [0, 1].map(|layer| {
        rotations.apply(&format!("{}.weight", LayerId::Layer(layer, Projection::V)), ones.clone())
    });
    assert_ne!(first?, second?);
    Ok(())
}

#[test]
fn norms_are_ones_and_their_weights_are_in_the_layers_behind_them() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = untied(folder.path())?;
    let rotations = Rotations::of(&weights, OFFLINE)?;
    let out = folder.path().join("out");
    write(&in_f32(&weights, &out, &rotations), &())?;
    let written = Weights::open(&out)?;
    let norms = written.tensors().iter().filter(|tensor| tensor.name.ends_with("norm.weight"));
    let mut count = 0;
    for norm in norms {
        assert!(written.read(&norm.name)?.iter().all(|&weight| weight == 1.0), "{}", norm.name);
        count += 1;
    }
    assert_eq!(count, 5);
    Ok(())
}

#[test]
fn a_gguf_keeps_offline_rotations_and_refuses_the_one_that_an_engine_computes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny.gguf"))?;
    let plain = logits(&Model::load(golden("tiny.gguf"))?)?;
    let offline = Rotations::of(&weights, OFFLINE)?;
    let out = folder.path().join("out");
    write(&Job { transform: Some(&offline), ..job(&weights, ("gguf-q8_0", 16), &out) }, &())?;
    let file = out.join("model.gguf");
    let own_head = Weights::open(&file)?.gguf_name("lm_head.weight");
    assert_eq!(own_head.as_deref(), Some("output.weight"));
    let rotated = kit::meters::relative_error(&plain, &logits(&Model::load(&file)?)?);
    // 8 bits of the grid: a wrong rotation is off by more than the signal.
    assert!(rotated < 0.1, "{rotated}");
    let online = Rotations::of(&weights, ALL)?;
    for scheme in [("gguf-q8_0", 16), ("awq", 16), ("gptq", 16)] {
        let out = folder.path().join("refused");
        let refused = write(&Job { transform: Some(&online), ..job(&weights, scheme, &out) }, &());
        let error = refused.map(drop).expect_err(scheme.0).to_string();
        assert!(error.contains("r4") && error.contains(scheme.0), "{error}");
        assert!(!out.exists());
    }
    Ok(())
}

/// The tiny folder with another config, and `more` tensors by name.
fn with_config(folder: &Path, change: impl Fn(&mut Value)) -> Outcome {
    let mut config = config(&golden("tiny"))?;
    change(&mut config);
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::copy(golden("tiny").join("model.safetensors"), folder.join("model.safetensors"))?;
    Ok(())
}

#[test]
fn a_width_without_a_matrix_and_a_tensor_that_no_rotation_knows_are_refused_by_name() -> Outcome {
    let refused = |change: fn(&mut Value), options| -> Result<String, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        with_config(folder.path(), change)?;
        let weights = Weights::open(folder.path())?;
        Ok(Rotations::of(&weights, options).map(drop).expect_err("refused").to_string())
    };
    let r1 = RotationOptions { r1: true, ..NONE };
    let r2 = RotationOptions { r2: true, ..NONE };
    let error = refused(|config| config["hidden_size"] = 18.into(), r1)?;
    assert!(error.contains("r1, a residual stream of 18"), "{error}");
    let error = refused(|config| config["hidden_size"] = 28.into(), r1)?;
    assert!(error.contains("r1") && error.contains("order 28"), "{error}");
    let error = refused(|config| config["head_dim"] = 6.into(), r2)?;
    assert!(error.contains("r2, heads of 6"), "{error}");
    let error = refused(|config| config["num_hidden_layers"] = 1.into(), r1)?;
    assert!(error.contains("`model.layers.1."), "{error}");
    Ok(())
}

#[test]
fn a_config_that_asks_for_another_rotation_is_refused_in_its_own_words() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny"))?;
    let rotations = Rotations::of(&weights, ALL)?;
    let out = folder.path().join("out");
    write(&in_f32(&weights, &out, &rotations), &())?;
    let written = config(&out)?;
    let schemes = "/quantization_config/transform_config/config_groups";
    for (at, value, says) in [
        ("/R4/type", json!("random-matrix"), "neither"),
        ("/R4/type", json!("random-hadamard"), "not in the file"),
        ("/R4/head_dim", json!(12), "12"),
        ("/R4/head_dim", json!(32), "80"),
        ("/R4/head_dim", json!(null), "80"),
        ("/R4/apply/0/inverse", json!(true), "inverse"),
        ("/R4/apply/0/location", json!("q_attn"), "down_proj"),
        ("/R4/apply/0/targets", json!(["re:.*o_proj$"]), "down_proj"),
        ("/R4/apply/0/ignore", json!(["x"]), "ignores"),
        (
            "/R4/apply/1",
            json!({"targets": ["re:.*down_proj$"], "location": "input", "inverse": false}),
            "another",
        ),
    ] {
        let mut config = written.clone();
        let place = config.pointer_mut(&format!("{schemes}{at}")).ok_or(at)?;
        *place = value;
        std::fs::write(out.join("config.json"), config.to_string())?;
        let error = load_quantized(&out).map(drop).expect_err(at).to_string();
        assert!(error.contains(says), "{at}: {error}");
    }
    // Rotations that are in the weights are nothing to do.
    let mut config = written;
    let place = config.pointer_mut(schemes).ok_or("no schemes")?;
    place["R1"] = json!({"type": "random-hadamard", "apply": [
        {"targets": ["re:.*q_proj$"], "location": "weight_input", "inverse": true, "ignore": []}]});
    std::fs::write(out.join("config.json"), config.to_string())?;
    load_quantized(&out)?;
    Ok(())
}

#[test]
fn activations_are_read_back_as_they_were_asked_and_fewer_bits_err_more() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny"))?;
    let rotations = Rotations::of(&weights, ALL)?;
    for transform in [None, Some(&rotations as &dyn Transform)] {
        let layers = DecoderLayers { weights: &weights, transform };
        let plain = logits(&layers.model()?)?;
        let mut errors = Vec::new();
        for (scheme, activations) in [
            ("w8a16", None),
            ("w8a8", None),
            ("w8a8", Some("int8-static")),
            ("w8a8", Some("int4")),
            ("w8a8", Some("int8-mixed")),
        ] {
            let job = job(&weights, (scheme, 16), Path::new(""));
            let format = activations.and_then(ActivationFormat::named);
            let calibrate = |format| Activations::calibrate(format, layers, &job.plan, &text(2));
            let activations = format.map(calibrate).transpose()?;
            let name = format!("{scheme}-{activations:?}-{}", transform.is_some()).len();
            let out = folder.path().join(format!("{scheme}-{name}-{}", errors.len()));
            write(&Job { activations: activations.as_ref(), transform, out: &out, ..job }, &())?;
            assert!(checkpoint::inspect(&out)?.problems.is_empty(), "{scheme}, {format:?}");
            errors.push(kit::meters::relative_error(&plain, &logits(&load_quantized(&out)?)?));
        }
        assert!(errors[0] < errors[1] && errors[1] < errors[3], "{errors:?}");
        assert!(errors[2] < errors[3], "a scale for all tokens still has 8 bits: {errors:?}");
        assert!(errors[4] < errors[3], "{errors:?}");
        let four = ActivationFormat::named("int4").ok_or("no int4")?;
        for (scheme, size) in [("fp8", 16), ("awq", 16), ("none", 16), ("gguf-q8_0", 16)] {
            let error = four.check(format(scheme, size)).expect_err(scheme).to_string();
            assert!(error.contains("--activations int4") && error.contains(scheme), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_static_scale_is_the_largest_input_of_its_layer_over_127() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny"))?;
    let rotations = Rotations::of(&weights, ALL)?;
    let layers = DecoderLayers { weights: &weights, transform: Some(&rotations) };
    let model = layers.model()?;
    let tokens = text(2);
    let mut largest = BTreeMap::<LayerId, [f32; 2]>::new();
    for chunk in tokens.chunks(256) {
        let mut cache = Cache::new(model.config(), chunk.len())?;
        model.hidden(chunk, &mut cache, &mut |id, x| {
            for (token, x) in x.rows().into_iter().enumerate() {
                let now = x.fold(0.0, |max: f32, x| max.max(x.abs()));
                let [first, others] = largest.entry(id).or_default();
                let known = if token == 0 { first } else { others };
                *known = known.max(now);
            }
        })?;
    }
    for name in ["int8-static", "int8-clipped", "int8-mixed"] {
        let out = folder.path().join(name);
        let job = job(&weights, ("w8a8", 16), &out);
        let format = ActivationFormat::named(name).ok_or("no such format")?;
        let scales = Activations::calibrate(format, layers, &job.plan, &tokens)?;
        write(&Job { transform: Some(&rotations), activations: Some(&scales), ..job }, &())?;
        let written = Checkpoint::open(&out)?;
        for (id, &[first, others]) in &largest {
            let is_per_token = scales.per_token().contains(&id.to_string());
            assert_eq!(is_per_token, name == "int8-mixed" && first > 2.0 * others, "{name}, {id}");
            let scale = written.read(&format!("{id}.input_scale"));
            match is_per_token {
                true => assert!(scale.is_err(), "{name}, {id}"),
                false => {
                    let clips = name == "int8-clipped" && first > 2.0 * others;
                    let top = first.max(others) * if clips { 0.25 } else { 1.0 };
                    assert_eq!(scale?[(0, 0)], top / 127.0, "{name}, {id}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn gptq_sees_the_rotated_inputs_and_goes_on_after_a_stop() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny"))?;
    let plan = Plan::new(format("w4a16", 16), Float::F16);
    let mut models = Vec::new();
    for options in [ALL, RotationOptions { seed: 4, ..ALL }, ALL] {
        let rotations = Rotations::of(&weights, options)?;
        let layers = DecoderLayers { weights: &weights, transform: Some(&rotations) };
        let kept = folder.path().join("kept");
        let gptq = Options::LLM_COMPRESSOR;
        let calibrated =
            LayerByLayer::calibrate(layers, &plan, &text(3), &gptq, &kept, &mut Nobody)?;
        let out = folder.path().join(format!("out-{}", models.len()));
        let job = job(&weights, ("w4a16", 16), &out);
        write(&Job { transform: Some(&rotations), rounding: Some(&calibrated), ..job }, &())?;
        let feedback = kit::meters::relative_error(
            &logits(&layers.model()?)?,
            &logits(&load_quantized(&out)?)?,
        );
        assert!(feedback < 1.0, "{feedback}");
        models.push(calibrated.model()?);
    }
    // Two folders: the third run goes on in that of the first, and the second has its own.
    assert_eq!(
        std::fs::read_dir(folder.path())?
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().starts_with("kept") })
            .count(),
        2
    );
    for id in models[0].layer_ids().filter(|id| *id != LayerId::Head) {
        let [first, other, again] =
            [0, 1, 2].map(|at| models[at].linear(id).map(|l| l.weight().cloned()));
        let (first, other, again) = (first?, other?, again?);
        assert_eq!(first, again, "{id}");
        assert_ne!(first, other, "{id}");
    }
    Ok(())
}
