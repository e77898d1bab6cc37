//! A model whose keys and values are in codes.

use std::fs;

use crate::golden::{path, relative, tiny};
use model::{Cache, CacheFormat, CacheStorage, Model, ModelError};
use ndarray::Array2;

/// The golden model cut into two heads of 32 channels instead of four of 16, because codes are packed 32
/// at a time. Its weights fit both.
fn wide() -> Model {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = fs::read_to_string(path("tiny/config.json")).expect("committed");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["num_attention_heads"] = 2.into();
    config["num_key_value_heads"] = 1.into();
    config["head_dim"] = 32.into();
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a new file");
    let weights = folder.path().join("model.safetensors");
    fs::copy(path("tiny/model.safetensors"), weights).expect("a new file");
    Model::load(folder.path()).expect("a model")
}

fn with(mut model: Model, name: &str) -> Result<Model, ModelError> {
    let format = CacheFormat::named(name)?;
    model.set_kv_cache(CacheStorage::of(format))?;
    Ok(model)
}

/// The logits of all tokens, so many at once.
fn in_passes(model: &Model, ids: &[u32], pass: usize) -> Result<Array2<f32>, ModelError> {
    let mut cache = Cache::new(model.config(), ids.len())?;
    let mut all = Array2::zeros((0, model.config().vocab_size));
    for ids in ids.chunks(pass) {
        let logits = model.forward(ids, &mut cache)?;
        all.append(ndarray::Axis(0), logits.view()).expect("rows of one width");
    }
    Ok(all)
}

#[test]
fn prefill_and_decode_read_the_same_codes() -> Result<(), ModelError> {
    let ids = tiny().tied.ids;
    let plain = in_passes(&wide(), &ids, ids.len())?;
    for name in ["int8", "int8-g32", "fp8", "int4", "int4-g32"] {
        let model = with(wide(), name)?;
        let [prefill, decode] = [ids.len(), 1].map(|pass| in_passes(&model, &ids, pass));
        let (prefill, decode) = (prefill?, decode?);
        let (of_codes, of_passes) = (relative(&prefill, &plain), relative(&prefill, &decode));
        // The sums differ in their order, which changes a code only where a number lies beside a tie.
        assert!(
            0.0 < of_codes && of_passes < of_codes / 5.0,
            "{name}: codes change {of_codes:.2e}, passes {of_passes:.2e}"
        );
    }
    Ok(())
}

#[test]
fn fewer_bits_change_the_logits_more() -> Result<(), ModelError> {
    let ids = tiny().tied.ids;
    let plain = in_passes(&wide(), &ids, ids.len())?;
    let change = |name| Ok(relative(&in_passes(&with(wide(), name)?, &ids, 1)?, &plain));
    let [int8, fp8, int4] =
        ["int8", "fp8", "int4"].map(change).map(|change: Result<_, ModelError>| change);
    let (int8, fp8, int4) = (int8?, fp8?, int4?);
    assert!(int8 < fp8 && fp8 < int4, "int8 {int8:.2e}, fp8 {fp8:.2e}, int4 {int4:.2e}");
    Ok(())
}

#[test]
fn a_text_shorter_than_the_window_is_not_coded() -> Result<(), ModelError> {
    let ids = tiny().tied.ids;
    assert!(ids.len() <= 128, "{} tokens", ids.len());
    let decode = |model| in_passes(&model, &ids, 1);
    let (plain, kivi) = (decode(wide())?, decode(with(wide(), "kivi2")?)?);
    // The scores of a window are added to none of codes, so not a bit changes.
    assert_eq!(plain, kivi);
    Ok(())
}

#[test]
fn heads_that_are_no_whole_units_are_refused_by_width_and_format() {
    let error = with(crate::golden::load("tiny"), "int4").map(drop).expect_err("16 channels");
    let message = error.to_string();
    assert!(message.contains("heads of 16 channels") && message.contains("int4"), "{message}");
    assert!(with(crate::golden::load("tiny"), "f32").is_ok(), "f32 has no codes");
}
