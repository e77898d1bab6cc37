//! Any tensors and any config: a verdict, never a panic, and no byte lost.
//!
//! The input is two pieces of JSON with a zero byte between them: an object of shapes by name, as
//! `{"m.qweight": ["I32", 64, 8]}`, and the quantization config. Shapes need not fit a file here, so the
//! arithmetic sees numbers that no header reader lets through.

#![no_main]

use formats::checkpoint::{
    Checkpoint, Dtype, Inspection, QuantConfig, Storage, Tensor, inspection_report,
};
use formats::gguf::TensorType;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let mut pieces = data.splitn(2, |&byte| byte == 0);
    let mut json = || serde_json::from_slice::<Value>(pieces.next()?).ok();
    let Some(Value::Object(shapes)) = json() else { return };
    let tensors: Vec<Tensor> =
        shapes.iter().filter_map(|(name, shape)| tensor(name, shape)).collect();
    let config = json().and_then(|json| QuantConfig::parse("quant_config.json", &json));
    let count = tensors.len() as u64;
    let (files, problems) = (Vec::new(), Vec::new());
    let inspection = Inspection::of(Checkpoint { files, tensors, config, problems });
    let (_, _, total) = inspection_report::sums(&inspection);
    assert_eq!(total.bytes, count, "every tensor is counted once");
    let _ = inspection_report::summary(&inspection);
    let _ = inspection_report::quantized(&inspection, false);
    let _ = inspection_report::parts(&inspection);
    let _ = inspection_report::unknown(&inspection, false);
    let _ = inspection_report::plain(&inspection, true);
    let _ = inspection_report::verdict(&inspection);
    let _ = inspection_report::to_json(&inspection);
});

/// A tensor of one byte, whatever its shape says: so that bytes count tensors.
fn tensor(name: &str, json: &Value) -> Option<Tensor> {
    let (kind, shape) = json.as_array()?.split_first()?;
    let storage = match kind {
        Value::String(name) => Storage::Elements(Dtype::named(name)?),
        other => Storage::Blocks(TensorType::from_id(u32::try_from(other.as_u64()?).ok()?)),
    };
    let shape = shape.iter().filter_map(Value::as_u64).collect();
    Some(Tensor { name: name.into(), storage, shape, bytes: 1 })
}
