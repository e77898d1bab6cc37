//! The decoder against the `gguf` Python package, to the bit. `golden/make_gguf_golden.py` makes
//! the files.

use std::error::Error;

use formats::gguf::{Gguf, TensorType, Value, dequantize};
use serde_json::Value as Json;

use crate::hex::{Outcome, bits, numbers, text};

const BLOCKS: &str = include_str!("../golden/gguf-blocks.json");
const SMALL: &[u8] = include_bytes!("../golden/small.gguf");
const SMALL_READ: &str = include_str!("../golden/small.json");

const TYPES: [TensorType; 5] =
    [TensorType::F32, TensorType::F16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0];

fn kind(name: &Json) -> Result<TensorType, Box<dyn Error>> {
    let named = TYPES.into_iter().find(|kind| name == &kind.to_string());
    Ok(named.ok_or_else(|| format!("no type {name}"))?)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(numbers(hex, 2)?.into_iter().map(|byte| byte as u8).collect())
}

#[test]
fn every_block_decodes_to_the_bits_that_the_gguf_package_gives() -> Outcome {
    let golden: Json = serde_json::from_str(BLOCKS)?;
    let cases = golden["blocks"].as_array().ok_or("no blocks")?;
    for case in cases {
        let values = dequantize(kind(&case["type"])?, &bytes(text(case, "bytes")?)?)?;
        let label = format!("{} {}", case["type"], case["name"]);
        assert_eq!(bits(&values), numbers(text(case, "f32")?, 8)?, "{label}");
    }
    for kind in TYPES {
        let of_kind = cases.iter().filter(|case| case["type"] == kind.to_string().as_str());
        assert!(of_kind.count() > 0, "no golden block of type {kind}");
    }
    Ok(())
}

#[test]
fn a_whole_file_has_the_names_shapes_and_values_that_the_gguf_package_reads() -> Outcome {
    let golden: Json = serde_json::from_str(SMALL_READ)?;
    let tensors = golden["tensors"].as_array().ok_or("no tensors")?;
    let mut file = Gguf::from_bytes(SMALL)?;
    assert_eq!(file.tensors().len(), tensors.len());
    for (index, golden) in tensors.iter().enumerate() {
        let info = file.tensors()[index].clone();
        assert_eq!(info.name, text(golden, "name")?);
        assert_eq!(info.kind, kind(&golden["type"])?, "{}", info.name);
        assert_eq!(serde_json::to_value(&info.shape)?, golden["shape"], "{}", info.name);
        let weights = file.tensor(&info.name)?;
        assert_eq!(weights.ncols(), *info.shape.last().ok_or("no axis")?);
        assert_eq!(bits(&weights), numbers(text(golden, "f32")?, 8)?, "{}", info.name);
    }
    Ok(())
}

/// The type of a value as the gguf package lists it, and the value.
fn listed(value: &Value) -> (&'static str, Json) {
    match value {
        Value::U8(v) => ("UINT8", (*v).into()),
        Value::I8(v) => ("INT8", (*v).into()),
        Value::U16(v) => ("UINT16", (*v).into()),
        Value::I16(v) => ("INT16", (*v).into()),
        Value::U32(v) => ("UINT32", (*v).into()),
        Value::I32(v) => ("INT32", (*v).into()),
        Value::U64(v) => ("UINT64", (*v).into()),
        Value::I64(v) => ("INT64", (*v).into()),
        Value::F32(v) => ("FLOAT32", f64::from(*v).into()),
        Value::F64(v) => ("FLOAT64", (*v).into()),
        Value::Bool(v) => ("BOOL", (*v).into()),
        Value::Text(v) => ("STRING", v.as_str().into()),
        Value::Array(count) => ("ARRAY", (*count).into()),
    }
}

#[test]
fn a_whole_file_has_the_metadata_that_the_gguf_package_reads() -> Outcome {
    let golden: Json = serde_json::from_str(SMALL_READ)?;
    let golden = golden["metadata"].as_object().ok_or("no metadata")?;
    let mut file = Gguf::from_bytes(SMALL)?;
    assert_eq!(
        file.metadata().keys().collect::<Vec<_>>(),
        std::collections::BTreeMap::from_iter(golden).into_keys().collect::<Vec<_>>()
    );
    for (key, entry) in golden {
        let value = file.value(key)?;
        let (kind, read) = listed(value);
        assert_eq!(kind, entry["types"][0], "{key}");
        let read = match entry["types"][1].as_str() {
            Some("STRING") => serde_json::to_value(file.texts(key)?)?,
            _ => read,
        };
        let elements = entry["value"].as_array().filter(|_| read.is_number());
        let wanted = elements.map_or(entry["value"].clone(), |elements| elements.len().into());
        assert_eq!(read, wanted, "{key}");
    }
    Ok(())
}

#[test]
fn metadata_is_asked_for_by_type() -> Outcome {
    let file = Gguf::from_bytes(SMALL)?;
    assert_eq!(file.u64("golden.uint16")?, 65535);
    assert_eq!(file.f64("golden.float64")?, 1e-5);
    assert_eq!(file.text("general.architecture")?, "llama");
    assert_eq!(file.value("golden.yes")?.as_bool(), Some(true));
    assert_eq!(file.value("golden.tokens")?, &Value::Array(3));
    let error = file.u64("golden.int8").unwrap_err().to_string();
    assert!(error.contains("golden.int8") && error.contains("a signed integer"), "{error}");
    let error = file.text("golden.missing").unwrap_err().to_string();
    assert!(error.contains("golden.missing"), "{error}");
    Ok(())
}

#[test]
fn a_file_on_disk_reads_like_the_one_in_memory() -> Outcome {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/small.gguf");
    let (mut disk, mut memory) = (Gguf::open(path)?, Gguf::from_bytes(SMALL)?);
    for name in ["q8_0.weight", "norm.weight", "q4_1.weight"] {
        assert_eq!(disk.tensor(name)?, memory.tensor(name)?);
    }
    Ok(())
}
