//! Blocks with scales of one byte: against lab 08, and against what other libraries wrote.

use float_grids::{E2M1, E4M3, ScaleRule, solution};
use formats::checkpoint::golden::path as golden;
use formats::checkpoint::{Dtype, Scheme, inspect};
use formats::e8m0;
use formats::format::Group;
use formats::gguf::{self, TensorType};
use formats::layouts::ggml;
use formats::magnitude::absmax;
use formats::microscaling::{Element, nvfp4_global, quantize_mx, quantize_nvfp4};
use formats::registry::{StorageFormat, StoredPart, parts};
use formats::{bytes::Float, float4, float8};
use kit::data::normal_matrix;
use ndarray::{Array2, s};
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A matrix with a block of zeros, tiny blocks, and blocks of very different size.
fn uneven() -> Array2<f32> {
    let mut w = normal_matrix(8, 12, 256);
    w.slice_mut(s![3, 64..96]).fill(0.0);
    for (row, mut weights) in w.rows_mut().into_iter().enumerate() {
        weights *= 2f32.powi(row as i32 * 9 - 60);
    }
    w
}

#[test]
fn the_fast_blocks_are_those_of_the_lab() -> Outcome {
    let w = uneven();
    for (element, grid) in [(Element::E2M1, E2M1), (Element::E4M3, E4M3)] {
        let readable = solution::quantize_mx(&w, &grid, ScaleRule::CompressedTensors)?;
        let (codes, scales) = quantize_mx(&w, element)?;
        assert!(codes == readable.codes() && scales == readable.scales(), "MX of {element:?}");
    }
    for global in [nvfp4_global(absmax(&w)), 0.01, 1e6] {
        let readable = solution::quantize_nvfp4(&w, global)?;
        let (codes, scales) = quantize_nvfp4(&w, global)?;
        assert!(codes == readable.codes() && scales == readable.scales(), "NVFP4 by {global}");
    }
    for absmax in [0.0, 3.0, 0.17, 1e-38] {
        assert_eq!(nvfp4_global(absmax), solution::nvfp4_global(absmax), "{absmax}");
    }
    for code in 0..=255 {
        assert_eq!(e8m0::decode(code), Some(solution::decode_e8m0(code)).filter(|v| !v.is_nan()));
        let (fast, readable) = (float8::decode(code), solution::decode(&E4M3, code));
        assert!(fast == readable || fast.is_nan() && readable.is_nan(), "E4M3 {code:#x}");
    }
    for &value in w.iter() {
        assert_eq!(float8::encode(value), solution::encode(&E4M3, value), "E4M3 of {value:e}");
    }
    Ok(())
}

/// What the libraries wrote for one matrix.
fn written() -> Value {
    let json = include_str!("../../lab-08-float-grids/golden/floats.json");
    serde_json::from_str(json).unwrap_or_else(|error| panic!("floats.json: {error}"))
}

fn numbers(json: &Value) -> Vec<u32> {
    let numbers = json.as_array().into_iter().flatten();
    numbers.map(|number| number.as_u64().unwrap_or_default() as u32).collect()
}

fn bytes(json: &Value) -> Vec<u8> {
    numbers(json).into_iter().map(|number| number as u8).collect()
}

fn matrix(bits: &Value) -> Array2<f32> {
    let values: Vec<f32> = numbers(bits).into_iter().map(f32::from_bits).collect();
    Array2::from_shape_vec((4, values.len() / 4), values).expect("four rows")
}

#[test]
fn the_parts_of_a_format_are_the_bytes_of_its_library_and_decode_to_its_values() -> Outcome {
    let written = written();
    // Without the row that holds a block of zeros, whose NVFP4 scale is 0.125 there.
    let rows = s![..2, ..];
    let w = matrix(&written["w"]);
    for name in ["mxfp4", "mxfp8", "nvfp4"] {
        let (format, theirs) = (StorageFormat::named(name, 32)?, &written[name]);
        let shared = format.description.shared.map(|shared| shared.round);
        let ours = match shared {
            Some(round) => round(&w.slice(rows).to_owned(), absmax(&w))?,
            None => format.round(&w.slice(rows).to_owned())?,
        };
        let data = format.store(&ours)?;
        let [codes, scales] = ["codes", "scales"].map(|key| bytes(&theirs[key]));
        // The sign of a 0 is lost in compressed-tensors if it is that of a weight -0.
        let value = |byte: u8| match name {
            "mxfp8" => [float8::decode(byte) + 0.0; 2],
            _ => [float4::decode(byte) + 0.0, float4::decode(byte >> 4) + 0.0],
        };
        let values = |bytes: &[u8]| bytes.iter().map(|&byte| value(byte)).collect::<Vec<_>>();
        assert!(values(&data[0]) == values(&codes[..codes.len() / 2]), "{name}: codes");
        assert_eq!(data[1], scales[..scales.len() / 2], "{name}: scales");
        let tensor = formats::registry::part("m", "weight", Dtype::F16, &[2, 128]);
        let stored = parts(&tensor, format, Float::F16).into_iter().zip(data);
        let stored = stored.map(|(tensor, bytes)| StoredPart { tensor, bytes });
        let back = format.decode([2, 128], &stored.collect::<Vec<_>>())?;
        let theirs = matrix(&theirs["values"]);
        assert!(
            back.mapv(|value| value + 0.0) == theirs.slice(rows).mapv(|value| value + 0.0),
            "{name}: values"
        );
    }
    Ok(())
}

#[test]
fn gguf_mxfp4_is_written_as_gguf_py_writes_it() -> Outcome {
    let written = written();
    let w: Vec<f32> = matrix(&written["w"]).iter().copied().collect();
    let ours = ggml::encode(TensorType::Mxfp4, &w)?;
    assert!(ours == bytes(&written["gguf_mxfp4"]), "the blocks");
    let back = gguf::dequantize(TensorType::Mxfp4, &ours)?;
    let error: f64 = back.iter().zip(&w).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = w.iter().map(|&w| f64::from(w).powi(2)).sum();
    assert!(error < 0.02 * norm, "{error} of {norm}");
    Ok(())
}

#[test]
fn checkpoints_of_compressed_tensors_are_told_apart_and_read() -> Outcome {
    let of_32 = Group::Size(32);
    for (name, scheme, bits, group) in [
        ("ct-mxfp4", Scheme::Mxfp4, 4, of_32),
        ("ct-mxfp8", Scheme::Mxfp8, 8, of_32),
        ("ct-fp8-tensor", Scheme::Fp8, 8, Group::Tensor),
        ("ct-nvfp4", Scheme::Nvfp4, 4, Group::Size(16)),
    ] {
        let inspection = inspect(golden(name))?;
        assert_eq!(inspection.problems, [], "{name}");
        assert_eq!(inspection.inventory.quantized.len(), 4, "{name}");
        for matrix in &inspection.inventory.quantized {
            assert_eq!(
                (matrix.scheme, matrix.bits, matrix.group),
                (scheme, Some(bits), group),
                "{name}"
            );
        }
    }
    Ok(())
}
