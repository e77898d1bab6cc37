//! The zoo: sizes from headers, and the files of other programs.

use std::path::{Path, PathBuf};

use formats::bytes::Float;
use formats::gguf::TensorType;
use formats::registry::StorageFormat;
use measure::zoo::{others, size};
use model::Weights;
use quantizer::{Job, Plan, write};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Weights of the down projection of the tiny model, whose width is 64 and whose MLP is 80 wide.
const DOWN: f64 = 64.0 * 80.0;
/// Weights of one of its decoder layers: q and o, k and v of half as many heads, gate, up and down.
const LAYER: f64 = 2.0 * 64.0 * 64.0 + 2.0 * 32.0 * 64.0 + 3.0 * DOWN;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/golden/tiny")
}

/// The tiny model in a format, and the bits that the writer's report has.
fn written(scheme: &str, out: &Path) -> Result<Option<f64>, Box<dyn std::error::Error>> {
    let weights = Weights::open(tiny())?;
    let job = Job {
        weights: &weights,
        plan: Plan::new(StorageFormat::named(scheme, 16)?, Float::F16),
        transform: None,
        rounding: None,
        importance: None,
        activations: None,
        kv_scales: None,
        out,
        shard_bytes: u64::MAX,
        leave_out: true,
        requantize: true,
    };
    Ok(write(&job, &())?.bits_per_weight)
}

#[test]
fn bits_are_those_of_the_decoder_layers_with_everything_that_is_stored_for_them() -> Outcome {
    let folder = tempfile::tempdir()?;
    // AWQ takes outputs by 32, so the 80 of the gate and up projections leave these in 16 bits.
    for (scheme, left) in [("w8a16", 0.0), ("w4a16", 0.0), ("awq", 2.0 * DOWN), ("gptq", 0.0)] {
        let out = folder.path().join(scheme);
        let report = written(scheme, &out)?.ok_or("something is quantized")?;
        let wanted = (report * (LAYER - left) + 16.0 * left) / LAYER;
        let (bits, kinds) = size::of(&out)?;
        assert!((bits - wanted).abs() < 1e-9, "{scheme}: {bits}, not {wanted}");
        assert!(kinds.is_empty(), "{scheme}: {kinds:?}");
    }
    Ok(())
}

#[test]
fn a_gguf_file_says_which_blocks_its_layers_have_and_floats_count_as_they_are() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("q4");
    written("gguf-q4_0", &out)?;
    let (bits, kinds) = size::of(&out.join("model.gguf"))?;
    // The rows of 80 weights of the down projections are no whole blocks, and stay in 16 bits.
    assert_eq!(kinds, [TensorType::F16, TensorType::Q4_0]);
    let wanted = (4.5 * (LAYER - DOWN) + 16.0 * DOWN) / LAYER;
    assert!((bits - wanted).abs() < 1e-9, "{bits}, not {wanted}");
    Ok(())
}

#[test]
fn the_files_of_other_programs_are_those_with_a_measurement_in_the_order_of_programs() -> Outcome {
    let folder = tempfile::tempdir()?;
    assert!(others::found(&folder.path().join("none"))?.is_empty());
    let put = |name: &str, program: &str| {
        let json = format!(
            r#"{{"name": "{name}", "program": "{program}", "version": "1", "command": "x.py {name} --out here",
                "seconds": 1.5, "load": 0.1}}"#
        );
        std::fs::write(folder.path().join(format!("{name}.json")), json)
    };
    put("a", "second")?;
    put("c", "first")?;
    put("b", "first")?;
    std::fs::create_dir(folder.path().join("unmeasured"))?;
    let names: Vec<String> = others::found(folder.path())?.into_iter().map(|of| of.name).collect();
    assert_eq!(names, ["b", "c", "a"]);
    std::fs::write(folder.path().join("d.json"), "{}")?;
    let error = format!("{:#}", others::found(folder.path()).unwrap_err());
    assert!(error.contains("d.json"), "{error}");
    Ok(())
}
