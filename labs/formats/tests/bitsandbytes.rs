//! Tables of sixteen values, to the bit as bitsandbytes stores and decodes them.
//!
//! `golden/make_bitsandbytes_golden.py` made the file and names the versions.

use std::error::Error;

use formats::bytes;
use formats::checkpoint::{Dtype, Scheme, Storage, Tensor};
use formats::dequantize::{Layout, dequantize};
use formats::format::Group;
use formats::registry::{StorageFormat, StoredPart, parts};
use half::f16;
use ndarray::Array2;
use serde_json::Value;

use crate::hex::{Outcome, bits, numbers, text};

/// A matrix that the library stored.
struct Case {
    name: String,
    shape: [usize; 2],
    layout: Layout,
    parts: Vec<StoredPart>,
    weights: Array2<f32>,
    every: usize,
    values: Vec<f32>,
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap_or_default() as usize
}

fn data(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(numbers(hex, 2)?.into_iter().map(|byte| byte as u8).collect())
}

fn part((name, json): (&String, &Value)) -> Result<StoredPart, Box<dyn Error>> {
    let dtype = if json["dtype"] == "uint8" { Dtype::U8 } else { Dtype::F32 };
    let shape = json["shape"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let bytes = data(text(json, "hex")?)?;
    let storage = Storage::Elements(dtype);
    let tensor = Tensor { name: format!("m.{name}"), storage, shape, bytes: bytes.len() as u64 };
    Ok(StoredPart { tensor, bytes })
}

fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/bitsandbytes.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let case = |case: &Value| {
        let table = if case["table"] == "nf4" { "nf4" } else { "fp4" };
        let scheme = Scheme::BnbTable { table, double: case["double"] == true };
        let shape = [size(&case["shape"][0]), size(&case["shape"][1])];
        let parts = case["parts"].as_object().ok_or("parts have names")?.iter().map(part);
        let halves = data(text(case, "weights")?)?;
        let halves = halves.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32());
        let halves: Vec<f32> = halves.collect();
        let given = if halves.is_empty() { [0, 0] } else { shape };
        let values = data(text(case, "values")?)?;
        let values = values.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value));
        Ok(Case {
            name: text(case, "name")?.into(),
            shape,
            layout: Layout { scheme, bits: 4, group: Group::Unread },
            parts: parts.collect::<Result<_, _>>()?,
            weights: Array2::from_shape_vec(given, halves)?,
            every: size(&case["every"]),
            values: values.collect(),
        })
    };
    golden["cases"].as_array().into_iter().flatten().map(case).collect()
}

#[test]
fn what_the_library_stored_is_decoded_as_the_library_decodes_it() -> Outcome {
    let cases = cases()?;
    assert_eq!(cases.len(), 4, "NF4, blocks that run on, FP4, double quantization");
    for case in cases {
        let read = dequantize(case.layout, case.shape, &case.parts)?;
        let read: Vec<f32> = read.iter().step_by(case.every).copied().collect();
        assert_eq!(read.len(), case.values.len(), "{}", case.name);
        let (ours, theirs) = (bits(&read), bits(&case.values));
        let differs = (0..ours.len()).find(|&at| ours[at] != theirs[at]);
        let of = differs.map(|at| (case.every * at, read[at], case.values[at]));
        assert_eq!(of, None, "{}: weight, ours, theirs", case.name);
    }
    Ok(())
}

#[test]
fn nf4_is_stored_in_the_bytes_of_the_library() -> Outcome {
    let format = StorageFormat::named("nf4", 64)?;
    let case = cases()?.swap_remove(0);
    let written = format.store(&format.round(&case.weights)?)?;
    let shape = case.shape.map(|axis| axis as u64);
    let matrix = Tensor {
        name: "m.weight".into(),
        storage: Storage::Elements(Dtype::F32),
        shape: shape.to_vec(),
        bytes: 0,
    };
    let planned = parts(&matrix, format, bytes::Float::F16);
    assert_eq!(planned.len(), case.parts.len());
    for (tensor, bytes) in planned.into_iter().zip(written) {
        let theirs = case.parts.iter().find(|part| part.tensor.name == tensor.name);
        let theirs = theirs.ok_or_else(|| format!("the library has no {}", tensor.name))?;
        assert_eq!(tensor, theirs.tensor, "type, shape and bytes");
        let differs = bytes.iter().zip(&theirs.bytes).position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "{}: the first byte that differs", tensor.name);
    }
    Ok(())
}

#[test]
fn a_matrix_whose_parts_do_not_fit_its_quant_state_is_refused() -> Outcome {
    let refused = |case: &Case, change: &dyn Fn(&mut StoredPart), name: &str| {
        let mut parts = case.parts.clone();
        parts.iter_mut().filter(|part| part.is(name)).for_each(change);
        dequantize(case.layout, case.shape, &parts).expect_err(name).to_string()
    };
    let cases = cases()?;
    let (plain, double) = (&cases[1], &cases[3]);
    let state =
        |text: &'static str| move |part: &mut StoredPart| part.bytes = text.as_bytes().to_vec();
    let named = "bitsandbytes__nf4";
    for (text, says) in [
        (r#"{"blocksize": 0, "shape": [6, 80]}"#, "blocks of 0 weights"),
        (r#"{"blocksize": 64, "shape": [80, 6]}"#, "not [6, 80]"),
        (r#"{"blocksize": 64, "shape": [6, 80, 1]}"#, "is no state"),
        ("{", "is no state"),
    ] {
        let error = refused(plain, &state(text), named);
        assert!(error.contains(says) && error.contains("quant_state"), "{error}");
    }
    let error = refused(double, &state(r#"{"blocksize": 64, "shape": [24, 704]}"#), named);
    assert!(error.contains("nested_blocksize"), "{error}");
    let short = |part: &mut StoredPart| drop(part.bytes.drain(..4));
    for (case, name) in [
        (plain, "weight"),
        (plain, "absmax"),
        (plain, "quant_map"),
        (double, "nested_absmax"),
        (double, "nested_quant_map"),
    ] {
        let error = refused(case, &short, name);
        assert!(error.contains(name), "{error}");
    }
    let mut huge = Case { shape: [usize::MAX, 2], ..cases.into_iter().nth(1).ok_or("a case")? };
    let text = format!(r#"{{"blocksize": 64, "shape": [{}, 2]}}"#, usize::MAX);
    huge.parts.iter_mut().filter(|part| part.is(named)).for_each(|part| {
        part.bytes = text.clone().into_bytes();
    });
    let error = dequantize(huge.layout, huge.shape, &huge.parts).expect_err("too large");
    assert!(error.to_string().contains("has the shape"), "{error}");
    Ok(())
}
