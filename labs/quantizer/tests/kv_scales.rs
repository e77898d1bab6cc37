//! The scales of an FP8 cache, written, read back and run.

use std::path::Path;

use formats::checkpoint;
use model::{Cache, Model, Weights};
use ndarray::Array2;
use quantizer::kv_scales::KvScales;
use quantizer::loaded::load_quantized;
use quantizer::{Job, write};
use serde_json::{Value, json};

use crate::tiny::{CHUNK, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The tiny model cut into two heads of 32 channels instead of four of 16, because codes of a cache are
/// packed 32 at a time. Its weights fit both.
fn wide(folder: &Path) -> Result<Weights, Box<dyn std::error::Error>> {
    let mut config = config(&golden("tiny"))?;
    config["num_attention_heads"] = 2.into();
    config["num_key_value_heads"] = 1.into();
    config["head_dim"] = 32.into();
    std::fs::write(folder.join("config.json"), config.to_string())?;
    for name in ["tokenizer.json", "model.safetensors"] {
        std::fs::copy(golden("tiny").join(name), folder.join(name))?;
    }
    Ok(Weights::open(folder)?)
}

fn config(folder: &Path) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?)
}

fn logits(model: &Model) -> Result<Array2<f32>, Box<dyn std::error::Error>> {
    let ids = &text(1)[..40];
    Ok(model.forward(ids, &mut Cache::new(model.config(), ids.len())?)?)
}

#[test]
fn a_checkpoint_brings_its_scales_along_and_is_run_with_them() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = wide(folder.path())?;
    let model = Model::load(folder.path())?;
    let scales = KvScales::calibrate(&model, &text(2), CHUNK)?;
    for (scheme, format) in [("none", "dense"), ("w4a16", "pack-quantized")] {
        let out = folder.path().join(scheme);
        write(&Job { kv_scales: Some(&scales), ..job(&weights, (scheme, 16), &out) }, &())?;
        let quantization = &config(&out)?["quantization_config"];
        assert_eq!(quantization["format"], format);
        assert_eq!(quantization["kv_cache_scheme"]["type"], "float");
        let inspection = checkpoint::inspect(&out)?;
        assert!(inspection.problems.is_empty(), "{scheme}: {:?}", inspection.problems);
        let read = load_quantized(&out)?;
        let storage = &read.config().kv_cache;
        assert_eq!(storage.format.name, "fp8", "{scheme}");
        // The largest number of each layer fills the grid.
        let mut cache = Cache::new(model.config(), CHUNK)?;
        let mut largest = [[0.0_f32; 2]; 2];
        for chunk in text(2).chunks(CHUNK) {
            cache.truncate(0);
            model.forward(chunk, &mut cache)?;
            for (largest, now) in largest.iter_mut().zip(cache.absmax()) {
                *largest = [largest[0].max(now[0]), largest[1].max(now[1])];
            }
        }
        let filled: Vec<[f32; 2]> =
            largest.iter().map(|largest| largest.map(|x| x / 448.0)).collect();
        assert_eq!(storage.scales.to_vec(), filled, "{scheme}");
        let plain = folder.path().join(format!("{scheme}-plain"));
        write(&job(&weights, (scheme, 16), &plain), &())?;
        let (with, without) = (logits(&read)?, logits(&load_quantized(&plain)?)?);
        assert_ne!(with, without, "{scheme}: the cache has FP8 codes");
    }
    Ok(())
}

#[test]
fn a_config_of_another_library_has_no_place_for_the_scales() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = wide(folder.path())?;
    let scales = KvScales::calibrate(&Model::load(folder.path())?, &text(1), CHUNK)?;
    for scheme in ["awq", "gptq"] {
        let out = folder.path().join(scheme);
        let job = Job { kv_scales: Some(&scales), ..job(&weights, (scheme, 16), &out) };
        let error = write(&job, &()).map(drop).expect_err(scheme).to_string();
        assert!(error.contains("compressed-tensors") && error.contains(scheme), "{error}");
        assert!(!out.exists(), "{scheme}: nothing is left");
    }
    Ok(())
}

#[test]
fn a_scheme_that_is_not_run_here_is_refused_in_its_own_words() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = wide(folder.path())?;
    let scales = KvScales::calibrate(&Model::load(folder.path())?, &text(1), CHUNK)?;
    let out = folder.path().join("out");
    write(&Job { kv_scales: Some(&scales), ..job(&weights, ("none", 16), &out) }, &())?;
    let written = config(&out)?;
    for (key, value) in
        [("type", json!("int")), ("strategy", json!("attn_head")), ("num_bits", json!(4))]
    {
        let mut config = written.clone();
        config["quantization_config"]["kv_cache_scheme"][key] = value;
        std::fs::write(out.join("config.json"), config.to_string())?;
        let error = load_quantized(&out).map(drop).expect_err(key).to_string();
        assert!(error.contains("kv_cache_scheme") && error.contains(key), "{error}");
    }
    Ok(())
}
