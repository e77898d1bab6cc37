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

/// A safetensors file with these parts, and zeros for data.
pub fn safetensors(parts: &str) -> Vec<u8> {
    let (mut header, mut end) = (json!({ "__metadata__": null }), 0);
    for Tensor { name, storage, shape, bytes } in tensors(parts) {
        let (dtype, offsets) = (storage.to_string(), [end, end + bytes]);
        header[name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        end += bytes;
    }
    safetensors_of(&header.to_string(), end as usize)
}

/// A safetensors file with this JSON, and so many bytes of data.
pub fn safetensors_of(json: &str, data: usize) -> Vec<u8> {
    let length = (json.len() as u64).to_le_bytes();
    [&length[..], json.as_bytes(), &vec![0; data]].concat()
}

/// What is said of a checkpoint with these parts and this quantization config, which may be `null`.
pub fn inspected(parts: &str, config: &Value) -> Inspection {
    let config = QuantConfig::parse("config.json", &json!({ "quantization_config": config }));
    let (files, problems) = (Vec::new(), Vec::new());
    Inspection::of(Checkpoint { files, tensors: tensors(parts), config, problems })
}
