//! The layout of a safetensors file of this lab, which is a rule so that the size can be predicted.
//!
//! A safetensors file has 8 bytes with the length of a JSON text as a little-endian `u64`, the
//! JSON, and the data. The order of the tensors and the white space are free. In this lab:
//!
//! * wide elements first (as the reference implementation does, so that each tensor is aligned to its
//!   elements), and by name among equals;
//! * JSON without spaces, `__metadata__` first, padded with spaces to a multiple of 8 bytes.

use formats::checkpoint::{Storage, Tensor};
use serde_json::{Value, json};

/// Bytes of the length before the JSON.
pub const LENGTH: u64 = 8;

/// The tensors in the order in which their data lies in the file.
pub fn in_order(tensors: &[Tensor]) -> Vec<&Tensor> {
    let mut ordered: Vec<&Tensor> = tensors.iter().collect();
    ordered.sort_by(|a, b| width(b).cmp(&width(a)).then_with(|| a.name.cmp(&b.name)));
    ordered
}

fn width(tensor: &Tensor) -> u64 {
    match tensor.storage {
        Storage::Elements(dtype) => dtype.bits(),
        Storage::Blocks(_) => 0,
    }
}

/// The JSON of the header of a file with these tensors, with the padding of spaces.
pub fn header(tensors: &[Tensor]) -> String {
    let mut text = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut begin = 0;
    for tensor in in_order(tensors) {
        let end = begin + tensor.bytes;
        let entry = json!(tensor.storage.to_string());
        let (name, shape) = (Value::from(tensor.name.as_str()), json!(tensor.shape));
        text += &format!(
            r#",{name}:{{"dtype":{entry},"shape":{shape},"data_offsets":[{begin},{end}]}}"#
        );
        begin = end;
    }
    text.push('}');
    // Padded, because the data then begins at a multiple of 8 and wide elements stay aligned.
    let padded = text.len().next_multiple_of(LENGTH as usize);
    text.extend(std::iter::repeat_n(' ', padded - text.len()));
    text
}
