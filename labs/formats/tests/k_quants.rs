//! The k-quants against llama.cpp's own functions, to the bit. `golden/make_k_quants_golden.py` makes the
//! file.

use std::error::Error;

use formats::gguf::k_quants::layout::{ALL, Layout};
use formats::gguf::k_quants::{decode, encode};
use serde_json::Value as Json;

use crate::hex::{Outcome, bits, numbers, text};

const GOLDEN: &str = include_str!("../golden/k-quants.json");

fn golden() -> Result<Json, Box<dyn Error>> {
    Ok(serde_json::from_str(GOLDEN)?)
}

fn layout(name: &str) -> Result<&'static Layout, Box<dyn Error>> {
    let named = ALL.iter().find(|layout| layout.kind.to_string() == name);
    Ok(named.ok_or_else(|| format!("no layout {name}"))?)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(numbers(hex, 2)?.into_iter().map(|byte| byte as u8).collect())
}

/// Little-endian floats in hex.
fn floats(hex: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(bytes(hex)?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn cases<'a>(golden: &'a Json, name: &str) -> Result<&'a Vec<Json>, Box<dyn Error>> {
    Ok(golden[name].as_array().ok_or_else(|| format!("no {name}"))?)
}

#[test]
fn blocks_of_arbitrary_bytes_decode_to_the_bits_that_the_gguf_package_gives() -> Outcome {
    let golden = golden()?;
    for case in cases(&golden, "decoded")? {
        let mut values = Vec::new();
        let kind = text(case, "type")?;
        decode(layout(kind)?, &bytes(text(case, "bytes")?)?, &mut values);
        assert_eq!(bits(&values), bits(&floats(text(case, "f32")?)?), "{kind}");
    }
    Ok(())
}

#[test]
fn rows_become_the_bytes_that_llama_cpp_writes() -> Outcome {
    let golden = golden()?;
    let importance = floats(text(&golden, "importance")?)?;
    let mut wrong = Vec::new();
    for case in cases(&golden, "encoded")? {
        let (kind, name) = (text(case, "type")?, text(case, "row")?);
        let row = floats(text(&golden["rows"], name)?)?;
        let is_weighted = case["weighted"] == true;
        let found = encode(layout(kind)?, &row, is_weighted.then_some(&importance[..]))
            .map_err(|overflow| format!("{kind}, {name}: {overflow:?}"))?;
        let expected = bytes(text(case, "bytes")?)?;
        assert_eq!(found.len(), expected.len(), "{kind}, {name}");
        let differ = found.iter().zip(&expected).filter(|(found, expected)| found != expected);
        let differ = differ.count();
        if differ > 0 {
            wrong.push(format!("{kind}, {name}, weighted {is_weighted}: {differ} bytes"));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
