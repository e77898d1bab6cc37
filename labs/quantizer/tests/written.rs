//! The writer, the reader and smoothing, with the plan of lab 05.

use std::collections::BTreeMap;

use formats::bytes::Float;
use formats::checkpoint::{self, Dtype};
use formats::gguf::Gguf;
use formats::registry::{self, Reader, part};
use model::{Cache, Config, Model, Weights};
use ndarray::Array2;
use quantize_model::file;
use quantizer::loaded::{Checkpoint, load_quantized};
use quantizer::smooth::Smoothing;
use quantizer::{Job, Plan, Report, ScaleSearch, Transform, WriteError, write};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tiny::{format, golden, job};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn refusal(result: Result<Report, WriteError>) -> String {
    match result {
        Ok(_) => panic!("it was written"),
        Err(error) => error.to_string(),
    }
}

/// A copy of the tiny folder with its file of weights changed.
fn changed(change: impl Fn(&mut Vec<u8>)) -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let mut bytes = std::fs::read(golden("tiny").join(name))?;
        if name == "model.safetensors" {
            change(&mut bytes);
        }
        std::fs::write(folder.path().join(name), bytes)?;
    }
    Ok(folder)
}

/// SHA-256 of the values, minus zero counted as zero.
fn digest(values: &Array2<f32>) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| (value + 0.0).to_le_bytes()).collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn other_peoples_code_decodes_the_files_to_the_same_bits() -> Outcome {
    let verified: Value = serde_json::from_str(include_str!("../golden/verified.json"))?;
    let folder = tempfile::tempdir()?;
    let tiny = Weights::open(golden("tiny"))?;
    let tiny_gguf = Weights::open(golden("tiny.gguf"))?;
    for name in registry::ALL.map(|known| known.name).into_iter().filter(|name| *name != "none") {
        let (out, scheme) = (folder.path().join(name), (name, 16));
        let digests = verified["sha256"].get(name).ok_or_else(|| {
            format!("no other code decoded {name} yet: name it in golden/verify_checkpoints.py, and run that")
        })?;
        let expected: BTreeMap<String, String> = serde_json::from_value(digests.clone())?;
        let mut found = BTreeMap::new();
        if format(name, 16).is_gguf() {
            write(&job(&tiny_gguf, scheme, &out), &())?;
            let mut gguf = Gguf::open(out.join("model.gguf"))?;
            for name in expected.keys() {
                found.insert(name.clone(), digest(&gguf.tensor(name)?));
            }
        } else {
            write(&job(&tiny, scheme, &out), &())?;
            let checkpoint = Checkpoint::open(&out)?;
            for name in expected.keys() {
                found.insert(name.clone(), digest(&checkpoint.read(name)?));
            }
        }
        assert!(!expected.is_empty(), "{name}");
        assert!(found == expected, "{name}: other numbers than its library's");
    }
    Ok(())
}

#[test]
fn a_folder_has_the_predicted_size_and_is_read_back_in_the_format_that_wrote_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let tiny = Weights::open(golden("tiny"))?;
    let module = "model.layers.0.self_attn.q_proj";
    let name = format!("{module}.weight");
    let w = tiny.read(&name)?;
    let folders = registry::ALL.map(|known| format(known.name, 16)).into_iter();
    for format in folders.filter(|format| !format.is_gguf()).skip(1) {
        let out = folder.path().join(format.description.name);
        let job = job(&tiny, (format.description.name, 16), &out);
        let report = write(&job, &())?;
        let predicted = job.plan.predicted_bytes(tiny.tensors());
        assert_eq!(report.bytes_after, predicted, "{format}: bytes of the file");

        let inspection = checkpoint::inspect(&out)?;
        let mut found = inspection.inventory.quantized.iter();
        let found = found.find(|matrix| matrix.module == module).ok_or("it is quantized")?;
        assert_eq!(Some(found.scheme), format.description.scheme, "`scheme` of {format}");
        let bits = u64::from(format.description.weights.bits());
        assert_eq!(found.bits, Some(bits), "{format}: bits, by the inspector");

        let stored = format.values([w.nrows(), w.ncols()], &format.round(&w)?)?;
        let checkpoint = Checkpoint::open(&out)?;
        assert_eq!(checkpoint.read(&name)?, stored, "{format}: weights of {name}");
        checkpoint.model().map_err(|error| format!("{format} does not run: {error}"))?;
        let course = format.description.read_by.contains(&Reader::Course);
        assert!(course, "`read_by` of {format} has no Reader::Course, and the course just read it");
    }
    Ok(())
}

#[test]
fn a_target_that_exists_is_refused_and_left_as_it_was() -> Outcome {
    let folder = tempfile::tempdir()?;
    let weights = Weights::open(golden("tiny"))?;
    std::fs::write(folder.path().join("mine"), "precious")?;
    let error = refusal(write(&job(&weights, ("w8a8", 8), folder.path()), &()));
    assert!(error.contains("is there already"), "{error}");
    assert_eq!(std::fs::read_to_string(folder.path().join("mine"))?, "precious");
    Ok(())
}

#[test]
fn a_nan_is_refused_by_the_name_of_its_tensor_and_nothing_is_left_behind() -> Outcome {
    // The data ends with the file: the last two bytes are a bf16 of the last tensor.
    let input = changed(|bytes| {
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&0x7fc0u16.to_le_bytes());
    })?;
    let weights = Weights::open(input.path())?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    for scheme in [("w8a8", 8), ("fp8", 8), ("w4a16", 16), ("none", 8)] {
        let error = refusal(write(&job(&weights, scheme, &out), &()));
        assert!(error.contains("tensor `model.") && error.contains("NaN"), "{scheme:?}: {error}");
        let left: Vec<_> = folder.path().read_dir()?.collect();
        assert!(left.is_empty(), "{scheme:?}: {left:?}");
    }
    Ok(())
}

#[test]
fn a_group_that_does_not_divide_is_refused_with_those_that_would() -> Outcome {
    let weights = Weights::open(golden("tiny"))?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let job = Job { leave_out: false, ..job(&weights, ("w4a16", 32), &out) };
    let error = refusal(write(&job, &()));
    // Rows are of 64 and of 80: 8 and 16 divide both.
    for word in ["down_proj", "80", "32", "[8, 16]", "--leave-out"] {
        assert!(error.contains(word), "no {word} in: {error}");
    }
    Ok(())
}

#[test]
fn a_fixed_group_that_does_not_divide_is_refused_without_a_choice_of_sizes() -> Outcome {
    let weights = Weights::open(golden("tiny.gguf"))?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let job = Job { leave_out: false, ..job(&weights, ("gguf-q4_0", 8), &out) };
    let error = refusal(write(&job, &()));
    for word in ["down_proj", "80", "fixed at 32", "another format", "--leave-out"] {
        assert!(error.contains(word), "no {word} in: {error}");
    }
    assert!(!error.contains("Group sizes"), "{error}");
    Ok(())
}

#[test]
fn an_input_that_is_quantized_is_refused_unless_told() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let weights = Weights::open(golden("tiny.gguf"))?;
    write(&job(&weights, ("gguf-q4_0", 8), &first), &())?;
    let quantized = Weights::open(&first)?;
    let told = job(&quantized, ("w8a8", 8), &second);
    let error = refusal(write(&Job { requantize: false, ..told }, &()));
    assert!(error.contains("quantized already (Q4_0)"), "{error}");
    write(&job(&quantized, ("w8a8", 8), &second), &())?;
    let again = Weights::open(&second).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(again.contains("quantization_config"), "a folder says so in its config: {again}");
    Ok(())
}

#[test]
fn smoothing_without_quantized_activations_is_refused() -> Outcome {
    let weights = Weights::open(golden("tiny"))?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let smoothing = Smoothing::default();
    let smooth = Job { transform: Some(&smoothing), ..job(&weights, ("w8a16", 8), &out) };
    let error = refusal(write(&smooth, &()));
    assert!(error.contains("for w8a8"), "{error}");
    Ok(())
}

#[test]
fn a_value_beyond_f16_is_refused_and_bf16_takes_it() -> Outcome {
    let input = changed(|bytes| {
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&half::bf16::from_f32(1e6).to_le_bytes());
    })?;
    let weights = Weights::open(input.path())?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let error = refusal(write(&job(&weights, ("none", 8), &out), &()));
    assert!(error.contains("beyond float16") && error.contains("--dtype bf16"), "{error}");
    let wide = Plan::new(format("none", 8), Float::Bf16);
    write(&Job { plan: wide, ..job(&weights, ("none", 8), &out) }, &())?;
    Ok(())
}

#[test]
fn a_config_that_the_copy_would_change_is_refused() -> Outcome {
    let input = changed(|_| ())?;
    let path = input.path().join("config.json");
    let config = std::fs::read_to_string(&path)?;
    std::fs::write(&path, config.replacen('{', "{\"time_step_limit\": [0.0, Infinity],", 1))?;
    let (weights, folder) = (Weights::open(input.path())?, tempfile::tempdir()?);
    let error = refusal(write(&job(&weights, ("w8a8", 8), &folder.path().join("out")), &()));
    assert!(error.contains("`Infinity` are not JSON: write numbers"), "{error}");
    Ok(())
}

#[test]
fn shards_hold_the_same_tensors_as_one_file() -> Outcome {
    let weights = Weights::open(golden("tiny-sharded"))?;
    let folder = tempfile::tempdir()?;
    let (one, many) = (folder.path().join("one"), folder.path().join("many"));
    write(&job(&weights, ("gptq", 16), &one), &())?;
    write(&Job { shard_bytes: 20_000, ..job(&weights, ("gptq", 16), &many) }, &())?;
    let files = many.read_dir()?.filter(|entry| {
        entry.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|end| end == "safetensors"))
    });
    assert!(files.count() > 2, "20,000 bytes a shard make several");
    let (one, many) = (Checkpoint::open(&one)?, Checkpoint::open(&many)?);
    assert_eq!(one.shapes(), many.shapes());
    for (name, _) in one.shapes() {
        assert_eq!(one.read(&name)?, many.read(&name)?, "{name}");
    }
    Ok(())
}

/// The logits of a few tokens.
fn logits(model: &Model) -> Result<Array2<f32>, Box<dyn std::error::Error>> {
    let tokens = [1, 17, 200, 45, 9, 300, 2];
    let mut cache = Cache::new(model.config(), tokens.len())?;
    Ok(model.forward(&tokens, &mut cache)?)
}

#[test]
fn what_was_written_runs_and_eight_bits_stay_close() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (input, schemes) in [
        ("tiny", vec![("none", 8), ("w8a8", 8), ("w8a16", 8), ("fp8", 8), ("awq", 16)]),
        ("tiny.gguf", vec![("w8a8", 8), ("gguf-q8_0", 8)]),
    ] {
        let weights = Weights::open(golden(input))?;
        let original = logits(&Model::load(golden(input))?)?;
        let mut errors = BTreeMap::new();
        for scheme in schemes {
            let out = folder.path().join(format!("{input}-{}", scheme.0));
            write(&job(&weights, scheme, &out), &())?;
            let found = logits(&load_quantized(&out)?)?;
            let error = kit::meters::relative_error(&original, &found);
            errors.insert(scheme.0, error);
        }
        // An order and no tolerance: fewer bits have more error, and every error is below the signal.
        // The tiny weights are bf16, whose 8 significant bits fit into f16: a plain export is exact.
        assert!(errors.values().all(|&error| error < 1.0), "{errors:?}");
        assert!(errors.get("none").is_none_or(|&error| error == 0.0), "{errors:?}");
        if let (Some(plain), Some(eight), Some(four)) =
            (errors.get("none"), errors.get("w8a16"), errors.get("awq"))
        {
            assert!(plain < eight && eight < four, "{errors:?}");
        }
    }
    Ok(())
}

#[test]
fn folding_the_smoothing_in_changes_no_logit_beyond_rounding() -> Outcome {
    let weights = Weights::open(golden("tiny"))?;
    let tokens: Vec<u32> = (3..60).collect();
    let smoothing = Smoothing::calibrate(&weights, &[&tokens], 0.5)?;
    let shapes = weights.tensors().iter().map(|tensor| {
        (tensor.name.clone(), tensor.shape.iter().map(|&axis| axis as usize).collect())
    });
    let smoothed =
        Model::from_tensors(Config::load(golden("tiny"))?, shapes.collect(), &mut |name| {
            let w = weights.read(name)?;
            Ok(smoothing.apply(name, w.clone()).unwrap_or(w))
        })?;
    let name = "model.layers.0.self_attn.q_proj.weight";
    let moved = smoothing.apply(name, weights.read(name)?)?;
    assert_ne!(moved, weights.read(name)?, "nothing moved");
    let error =
        kit::meters::relative_error(&logits(&Model::load(golden("tiny"))?)?, &logits(&smoothed)?);
    // Each of the 2 layers rounds a few times more in f32: 2^-24 each, over sums of 64 to 80 terms.
    let bound = 2.0 * 80.0 * f64::from(f32::EPSILON);
    assert!(error < bound, "relative error {error:e}, bound {bound:e}");
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_number_of_layers() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (rows, columns) = (256, 256);
    let largest = 4 * rows * columns;
    // One thread, and this one: the counter counts a thread's allocations.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    let mut peaks = Vec::new();
    for matrices in [8u64, 32] {
        let input = folder.path().join(format!("in-{matrices}"));
        std::fs::create_dir(&input)?;
        let module = |i| format!("model.layers.{i}.mlp.up_proj");
        let matrix = |i| part(&module(i), "weight", Dtype::F16, &[rows, columns]);
        let tensors: Vec<_> = (0..matrices).map(matrix).collect();
        let header = file::header(&tensors);
        let data = vec![0; (2 * matrices * rows * columns) as usize];
        let length = (header.len() as u64).to_le_bytes();
        let bytes = [&length, header.as_bytes(), &data].concat();
        std::fs::write(input.join("model.safetensors"), bytes)?;
        std::fs::write(input.join("config.json"), "{}")?;
        let weights = Weights::open(&input)?;
        let out = folder.path().join(format!("out-{matrices}"));
        let mut written = None;
        let counted = allocation_counter::measure(|| {
            written = Some(pool.install(|| write(&job(&weights, ("w4a16", 32), &out), &())));
        });
        written.ok_or("nothing ran")??;
        peaks.push(counted.bytes_max);
        assert!(counted.bytes_max > largest, "the counter saw no matrix: {}", counted.bytes_max);
    }
    let grown = peaks[1].saturating_sub(peaks[0]);
    assert!(
        grown < largest,
        "24 matrices of {largest} bytes more took {grown} bytes more at the peak ({peaks:?}): \
         something holds on to them"
    );
    Ok(())
}

#[test]
fn a_searched_scale_lowers_the_error_of_every_kind_of_layer_at_the_same_bytes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let tiny = Weights::open(golden("tiny"))?;
    for name in ["w4a16", "awq", "gptq", "gptq-3bit"] {
        let nearest = folder.path().join(name);
        let searched = folder.path().join(format!("{name}-search"));
        let of_nearest = write(&job(&tiny, (name, 16), &nearest), &())?;
        let by_search = Job { rounding: Some(&ScaleSearch), ..job(&tiny, (name, 16), &searched) };
        let of_searched = write(&by_search, &())?;
        assert_eq!(of_searched.bytes_after, of_nearest.bytes_after, "{name}");
        for (kind, nearest) in &of_nearest.errors {
            let searched = &of_searched.errors[kind];
            assert!(
                searched.relative() < nearest.relative(),
                "{name}, {kind}: {searched:?} against {nearest:?}"
            );
        }
        let configs = [&nearest, &searched].map(|out| std::fs::read(out.join("config.json")));
        let [nearest, searched] = configs;
        assert_eq!(nearest?, searched?, "{name}: a rounding changes no config");
    }
    Ok(())
}

#[test]
fn a_rounding_refuses_a_format_that_it_is_not_for_before_anything_is_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let tiny = Weights::open(golden("tiny"))?;
    for name in ["none", "w8a8", "fp8"] {
        let out = folder.path().join(name);
        let error = refusal(write(
            &Job { rounding: Some(&ScaleSearch), ..job(&tiny, (name, 16), &out) },
            &(),
        ));
        assert!(error.contains("in groups of a chosen size, not for"), "{error}");
        assert!(error.contains(name) && !out.exists(), "{error}");
    }
    Ok(())
}
