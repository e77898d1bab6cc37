//! The layouts, byte for byte as the formats' own libraries write them.
//!
//! `golden/make_layouts_golden.py` made the file and names the versions. Every case is held both
//! ways: pack gives the library's words, and unpack gives back what the library was given.

use std::error::Error;

use formats::gguf::TensorType;
use formats::layouts::compressed_tensors::CompressedTensors;
use formats::layouts::gptq::{GptqTensors, Version};
use formats::layouts::{Grouped, LayoutError, awq, compressed_tensors, ggml, gptq};
use half::f16;
use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::hex::{Outcome, numbers};

/// The golden file.
fn golden() -> Result<Value, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/layouts.json");
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// The cases that `library` packed; at least one.
fn cases(library: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let golden = golden()?;
    let cases: Vec<Value> = list(&golden["grouped"]).filter(|c| !c[library].is_null()).collect();
    assert!(!cases.is_empty(), "the golden file has no case of {library}");
    Ok(cases)
}

fn list(value: &Value) -> impl Iterator<Item = Value> {
    value.as_array().cloned().unwrap_or_default().into_iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn size(value: &Value) -> usize {
    value.as_u64().unwrap_or_default() as usize
}

/// Bits of a code of a case.
fn bits(case: &Value) -> u32 {
    size(&case["bits"]) as u32
}

fn digits(value: &Value) -> Vec<u8> {
    text(value).chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect()
}

fn matrix(rows: &Value) -> Result<Array2<u8>, Box<dyn Error>> {
    let rows: Vec<Vec<u8>> = list(rows).map(|row| digits(&row)).collect();
    let shape = (rows.len(), rows.first().map_or(0, Vec::len));
    Ok(Array2::from_shape_vec(shape, rows.concat())?)
}

fn shaped<T>(value: &Value, elements: Vec<T>) -> Result<Array2<T>, Box<dyn Error>> {
    Ok(Array2::from_shape_vec((size(&value["shape"][0]), size(&value["shape"][1])), elements)?)
}

fn words(value: &Value) -> Result<Array2<i32>, Box<dyn Error>> {
    shaped(value, numbers(text(&value["i32"]), 8)?.into_iter().map(u32::cast_signed).collect())
}

fn halves(value: &Value) -> Result<Array2<f16>, Box<dyn Error>> {
    let half = |bits| f16::from_bits(bits as u16);
    shaped(value, numbers(text(&value["f16"]), 4)?.into_iter().map(half).collect())
}

/// What the libraries were given.
fn grouped(case: &Value) -> Result<Grouped, Box<dyn Error>> {
    let g_idx = digits(&case["g_idx"]).into_iter().map(usize::from).collect();
    let (codes, zeros) = (matrix(&case["codes"])?, matrix(&case["zeros"])?);
    Ok(Grouped::with_g_idx(codes, zeros, halves(&case["scales"])?, g_idx)?)
}

fn awq_tensors(value: &Value) -> Result<awq::AwqTensors, Box<dyn Error>> {
    Ok(awq::AwqTensors {
        qweight: words(&value["qweight"])?,
        qzeros: words(&value["qzeros"])?,
        scales: halves(&value["scales"])?,
    })
}

fn gptq_tensors(value: &Value) -> Result<GptqTensors, Box<dyn Error>> {
    Ok(GptqTensors {
        qweight: words(&value["qweight"])?,
        qzeros: words(&value["qzeros"])?,
        scales: halves(&value["scales"])?,
        g_idx: digits(&value["g_idx"]).into_iter().map(i32::from).collect::<Array1<_>>(),
    })
}

fn packed_tensors(value: &Value) -> Result<CompressedTensors, Box<dyn Error>> {
    let zeros = &value["weight_zero_point"];
    Ok(CompressedTensors {
        weight_packed: words(&value["weight_packed"])?,
        weight_scale: halves(&value["weight_scale"])?,
        weight_shape: [0, 1].map(|axis| value["weight_shape"][axis].as_i64().unwrap_or(-1)),
        weight_zero_point: if zeros.is_null() { None } else { Some(words(zeros)?) },
    })
}

#[test]
fn autoawq_packs_the_same_words_and_its_words_unpack_to_what_it_was_given() -> Outcome {
    for case in cases("awq")? {
        let (w, theirs) = (grouped(&case)?, awq_tensors(&case["awq"])?);
        assert_eq!(awq::pack(&w)?, theirs, "pack: {}", case["name"]);
        assert_eq!(awq::unpack(&theirs)?, w, "unpack: {}", case["name"]);
    }
    Ok(())
}

#[test]
fn auto_gptq_packs_the_same_v1_words_where_no_zero_point_is_0() -> Outcome {
    for case in cases("gptq_v1")?.iter().filter(|case| case["name"] != "counting") {
        let (w, theirs) = (grouped(case)?, gptq_tensors(&case["gptq_v1"])?);
        assert_eq!(gptq::pack_bits(&w, bits(case), Version::V1)?, theirs, "pack: {}", case["name"]);
        if bits(case) == 4 {
            assert_eq!(gptq::unpack(&theirs, Version::V1)?, w, "unpack: {}", case["name"]);
        }
    }
    Ok(())
}

#[test]
fn gptqmodel_packs_the_same_v2_words_also_in_act_order() -> Outcome {
    let cases = cases("gptq_v2")?;
    assert!(cases.iter().any(|case| case["name"] == "act-order"), "act-order must be among them");
    for case in cases {
        let (w, theirs) = (grouped(&case)?, gptq_tensors(&case["gptq_v2"])?);
        assert_eq!(
            gptq::pack_bits(&w, bits(&case), Version::V2)?,
            theirs,
            "pack: {}",
            case["name"]
        );
        if bits(&case) == 4 {
            assert_eq!(gptq::unpack(&theirs, Version::V2)?, w, "unpack: {}", case["name"]);
        }
    }
    Ok(())
}

#[test]
fn gptqmodel_saves_v1_by_the_same_subtraction_of_words_borrow_and_all() -> Outcome {
    for case in cases("gptq_v1_by_gptqmodel")? {
        let (v2, v1) = (words(&case["gptq_v2"]["qzeros"])?, words(&case["gptq_v1_by_gptqmodel"])?);
        let ours = v2.mapv(|word| gptq::word_v2_to_v1(word.cast_unsigned()).cast_signed());
        assert_eq!(ours, v1, "v2 to v1: {}", case["name"]);
        let back = v1.mapv(|word| gptq::word_v1_to_v2(word.cast_unsigned()).cast_signed());
        assert_eq!(back, v2, "v1 to v2: {}", case["name"]);
        if case["name"] == "counting" {
            let error = gptq::qzeros_v2_to_v1(&v2).unwrap_err();
            assert_eq!(error, LayoutError::ZeroMinusOne { row: 0, group: 0 }, "{error}");
        } else {
            assert_eq!(gptq::qzeros_v2_to_v1(&v2)?, v1, "{}", case["name"]);
            assert_eq!(gptq::qzeros_v1_to_v2(&v1)?, v2, "{}", case["name"]);
        }
    }
    Ok(())
}

#[test]
fn a_zero_point_of_0_destroyed_its_word_in_auto_gptq_and_is_refused_here() -> Outcome {
    let cases = cases("gptq_v1")?;
    let case = cases.iter().find(|case| case["name"] == "counting").ok_or("no counting case")?;
    let damaged = words(&case["gptq_v1"]["qzeros"])?;
    // The zero points are 0, 1, .. 15: each minus one would be -1, 0, .. 14.
    assert_eq!(damaged[(0, 0)], -1, "auto-gptq ORs -1 unmasked: {:08x}", damaged[(0, 0)]);
    assert_eq!(damaged[(0, 1)].cast_unsigned(), 0xedcb_a987, "a word without a 0 is whole");
    let error = gptq::pack(&grouped(case)?, Version::V1).unwrap_err();
    assert_eq!(error, LayoutError::ZeroMinusOne { row: 0, group: 0 });
    assert!(error.to_string().contains("gptq_v2"), "the message names the way out: {error}");
    // And what reads the damaged file gets 16 for all eight.
    let read = gptq::unpack(&gptq_tensors(&case["gptq_v1"])?, Version::V1)?;
    assert!((0..8).all(|row| read.zeros()[(row, 0)] == 16), "{:?}", read.zeros());
    Ok(())
}

#[test]
fn compressed_tensors_packs_the_same_words_ragged_widths_included() -> Outcome {
    let cases = cases("compressed_tensors")?;
    assert!(
        cases.iter().any(|case| !size(&case["in_features"]).is_multiple_of(8)),
        "a ragged case is missing"
    );
    for case in cases {
        let (w, theirs) = (grouped(&case)?, packed_tensors(&case["compressed_tensors"])?);
        assert_eq!(compressed_tensors::pack(&w)?, theirs, "pack: {}", case["name"]);
        assert_eq!(compressed_tensors::unpack(&theirs)?, w, "unpack: {}", case["name"]);
    }
    Ok(())
}

#[test]
fn gguf_encodes_the_same_blocks() -> Outcome {
    let golden = golden()?;
    let mut blocks = 0;
    for row in list(&golden["ggml"]) {
        let values = numbers(text(&row["f32"]), 8)?.into_iter().map(f32::from_bits);
        let values: Vec<f32> = values.collect();
        for (kind, name) in
            [(TensorType::Q4_0, "q4_0"), (TensorType::Q4_1, "q4_1"), (TensorType::Q8_0, "q8_0")]
        {
            let ours = hex(&ggml::encode(kind, &values)?);
            assert_eq!(ours, text(&row[name]), "{kind} of {}", row["name"]);
            blocks += values.len() / 32;
        }
    }
    assert!(blocks >= 30, "only {blocks} blocks were compared");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Codes and zero points that count, as a document about a layout would print them.
#[test]
fn counting_codes_make_the_words_that_documents_print() -> Outcome {
    let count = Array2::from_shape_fn((32, 32), |(row, column)| ((row + column) % 16) as u8);
    let zeros = Array2::from_shape_fn((32, 1), |(row, _)| (row % 16) as u8);
    let w = Grouped::new(count, zeros, Array2::from_elem((32, 1), f16::ONE))?;
    let hex = |word: i32| format!("{word:08x}");

    let awq = awq::pack(&w)?;
    assert_eq!([0, 1].map(|i| hex(awq.qweight[(0, i)])), ["75316420", "fdb9eca8"]);
    assert_eq!([0, 1].map(|i| hex(awq.qzeros[(0, i)])), ["75316420", "fdb9eca8"]);
    let gptq = gptq::pack(&w, Version::V2)?;
    assert_eq!([0, 1].map(|i| hex(gptq.qweight[(i, 0)])), ["76543210", "fedcba98"]);
    assert_eq!([0, 1].map(|i| hex(gptq.qzeros[(0, i)])), ["76543210", "fedcba98"]);
    let packed = compressed_tensors::pack(&w)?;
    assert_eq!([0, 1].map(|i| hex(packed.weight_packed[(0, i)])), ["76543210", "fedcba98"]);
    Ok(())
}

#[test]
fn symmetric_zero_points_are_sevens_in_v1_eights_in_v2_and_absent_in_compressed_tensors() -> Outcome
{
    let codes = Array2::from_elem((8, 8), 3);
    let w = Grouped::new(codes, Array2::from_elem((8, 1), 8), Array2::from_elem((8, 1), f16::ONE))?;
    assert_eq!(gptq::pack(&w, Version::V1)?.qzeros[(0, 0)], 0x7777_7777);
    assert_eq!(gptq::pack(&w, Version::V2)?.qzeros[(0, 0)].cast_unsigned(), 0x8888_8888);
    assert_eq!(compressed_tensors::pack(&w)?.weight_zero_point, None);
    Ok(())
}

#[test]
fn signed_codes_of_compressed_tensors_are_stored_plus_8_also_as_zero_points() -> Outcome {
    let signed = [-8i8, -7, -1, 0, 1, 2, 6, 7];
    let plus_8 = signed.map(|code| (code + 8) as u8);
    let codes = Array2::from_shape_fn((8, 8), |(_, column)| plus_8[column]);
    let zeros = Array2::from_shape_fn((8, 1), |(row, _)| plus_8[row]);
    let w = Grouped::new(codes, zeros, Array2::from_elem((8, 1), f16::ONE))?;
    let packed = compressed_tensors::pack(&w)?;
    assert_eq!(packed.weight_packed[(0, 0)].cast_unsigned(), 0xfea9_8710);
    let zeros = packed.weight_zero_point.ok_or("asymmetric has zero points")?;
    assert_eq!(zeros[(0, 0)].cast_unsigned(), 0xfea9_8710);
    // Four columns only: the idle nibbles are zero bits.
    let codes = Array2::from_shape_vec((1, 4), plus_8[..4].to_vec())?;
    let one = |value| Array2::from_elem((1, 1), value);
    let four = Grouped::new(codes, one(8), Array2::from_elem((1, 1), f16::ONE))?;
    assert_eq!(compressed_tensors::pack(&four)?.weight_packed[(0, 0)], 0x0000_8710);
    Ok(())
}
