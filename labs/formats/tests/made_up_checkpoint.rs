//! Checkpoints that are nothing but names, types and shapes, written as a text:
//! `m.qweight I32 16x96, m.scales F16 2x96, m.input_scale F32`.

use formats::checkpoint::{Checkpoint, Dtype, Inspection, QuantConfig, Storage, Tensor};
use serde_json::{Value, json};

/// The tensors in `parts`. One without a shape is a scalar.
pub fn tensors(parts: &str) -> Vec<Tensor> {
    parts.split(", ").map(tensor).collect()
}

fn tensor(part: &str) -> Tensor {
    let mut words = part.split_whitespace();
    let name = words.next().expect("a name");
    let dtype = words.next().and_then(Dtype::named).unwrap_or_else(|| panic!("no type: {part}"));
    let axes = words.next().into_iter().flat_map(|shape| shape.split('x'));
    let shape: Vec<u64> = axes.map(|axis| axis.parse().expect(part)).collect();
    let bytes = shape.iter().product::<u64>() * dtype.bits() / 8;
    Tensor { name: name.into(), storage: Storage::Elements(dtype), shape, bytes }
}

/// What is said of a checkpoint with these parts and this quantization config, which may be `null`.
pub fn inspected(parts: &str, config: &Value) -> Inspection {
    let config = QuantConfig::parse("config.json", &json!({ "quantization_config": config }));
    let (files, problems) = (Vec::new(), Vec::new());
    Inspection::of(Checkpoint { files, tensors: tensors(parts), config, problems })
}
