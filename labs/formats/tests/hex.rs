//! Golden files write numbers in hex, because only bits show that two floats are the same.

use std::error::Error;

use serde_json::Value;

pub type Outcome = Result<(), Box<dyn Error>>;

/// The text under `name`.
pub fn text<'a>(json: &'a Value, name: &str) -> Result<&'a str, Box<dyn Error>> {
    Ok(json[name].as_str().ok_or_else(|| format!("no text `{name}` in {json}"))?)
}

/// Numbers of so many hex digits each, with or without spaces between them.
pub fn numbers(hex: &str, digits: usize) -> Result<Vec<u32>, Box<dyn Error>> {
    let hex: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let numbers = hex.chunks(digits).map(std::str::from_utf8);
    numbers.map(|number| Ok(u32::from_str_radix(number?, 16)?)).collect()
}

pub fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|value| value.to_bits()).collect()
}
