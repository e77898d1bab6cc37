//! Any bytes as a config: a verdict on a checkpoint of many formats, a card and the sizes of a model, or
//! an error; never a panic, and nothing raw of the config in what is printed.

#![no_main]

use formats::card::{read, step_bytes, weight_bytes};
use formats::checkpoint::config::{FILES, parse_json};
use formats::checkpoint::{Checkpoint, Dtype, Inspection, QuantConfig, Tensor, inspection_report};
use formats::model_sizes::ModelSizes;
use formats::registry::part;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let json = parse_json(data);
    if let Ok(strict) = serde_json::from_slice::<Value>(data) {
        assert_eq!(json.as_ref().ok(), Some(&strict), "valid JSON is read as it is");
    }
    let Ok(json) = json else { return };
    for file in FILES {
        let Some(config) = QuantConfig::parse(file, &json) else { continue };
        let (files, problems) = (Vec::new(), Vec::new());
        let checkpoint = Checkpoint { files, tensors: tensors(), config: Some(config), problems };
        for line in inspection_report::verdict(&Inspection::of(checkpoint)) {
            assert!(!line.contains(char::is_control), "raw text of the config: {line:?}");
        }
    }
    let (model, card) = (ModelSizes::from_config(&json), read(&String::from_utf8_lossy(data)));
    if let (Ok(model), Ok(card)) = (model, card) {
        let _ = (weight_bytes(&card, &model), step_bytes(&card, &model));
    }
});

/// Matrices of every way to name parts, 64 outputs of 128 inputs each, and some that stayed plain.
fn tensors() -> Vec<Tensor> {
    use Dtype::{BF16, F8E4M3, F16, F32, I8, I32, U8, U32};
    let layer = |index: u64, module: &str, parts: &[(&str, Dtype, &[u64])]| -> Vec<Tensor> {
        let module = format!("model.layers.{index}.{module}");
        parts.iter().map(|(name, dtype, shape)| part(&module, name, *dtype, shape)).collect()
    };
    let (scales, groups) = (("scales", F16, &[4, 64][..]), ("weight_scale", BF16, &[64, 4][..]));
    [
        layer(0, "mlp.up_proj", &[("qweight", I32, &[16, 64]), ("qzeros", I32, &[4, 8]), scales]),
        layer(1, "mlp.up_proj", &[("qweight", I32, &[128, 8]), ("qzeros", I32, &[4, 8]), scales]),
        layer(2, "mlp.up_proj", &[("weight_packed", I32, &[64, 16]), groups]),
        layer(3, "mlp.up_proj", &[("weight", I8, &[64, 128]), ("weight_scale", F32, &[64, 1])]),
        layer(4, "mlp.up_proj", &[("weight", F8E4M3, &[64, 128]), ("weight_scale", F32, &[])]),
        layer(
            5,
            "mlp.up_proj",
            &[
                ("weight", U8, &[64, 64]),
                ("weight_scale", F8E4M3, &[64, 8]),
                ("weight_scale_2", F32, &[]),
            ],
        ),
        layer(6, "mlp.up_proj", &[("weight", U32, &[64, 16]), ("scales", F16, &[64, 2])]),
        layer(7, "mlp.experts", &[("blocks", U8, &[2, 64, 4, 16]), ("scales", U8, &[2, 64, 4])]),
        layer(0, "mlp.down_proj", &[("weight", BF16, &[128, 64])]),
        layer(0, "input_layernorm", &[("weight", BF16, &[128])]),
    ]
    .concat()
}
