//! The rules against the libraries themselves, to the bit. `golden/make_rules_golden.py` runs the
//! libraries.

use std::error::Error;

use formats::rules::{ALL, Encoded, Evidence, Rule, Zero};
use serde_json::{Map, Value as Json};

type Outcome = Result<(), Box<dyn Error>>;

const GOLDEN: &str = include_str!("../golden/rules.json");

/// The only golden case that a rule here does not follow, and why.
///
/// vLLM's operator for x86 (AVX2) divides 127 by an absmax of 0 and multiplies 0 by that infinity:
/// NaN, which it casts to -128. The CUDA kernel of the same operator asks for 0 first and gives
/// code 0. The rule is the kernel's. Both scales are 0, so both are read back as 0.
const NOT_FOLLOWED: (&str, &str) = ("vLLM dynamic per token", "zeros");

fn object(json: &Json) -> Result<&Map<String, Json>, Box<dyn Error>> {
    Ok(json.as_object().ok_or_else(|| format!("not an object: {json}"))?)
}

fn text<'a>(json: &'a Json, name: &str) -> Result<&'a str, Box<dyn Error>> {
    Ok(json[name].as_str().ok_or_else(|| format!("no text `{name}` in {json}"))?)
}

/// The bits of f32 values, 8 hex digits each.
fn words(hex: &str) -> Result<Vec<u32>, Box<dyn Error>> {
    let digits = hex.as_bytes().chunks(8).map(std::str::from_utf8);
    digits.map(|word| Ok(u32::from_str_radix(word?, 16)?)).collect()
}

fn floats(hex: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(words(hex)?.into_iter().map(f32::from_bits).collect())
}

/// The codes of the rule, a byte each, in two's complement where the rule counts from below 0.
fn codes(hex: &str, rule: &Rule) -> Result<Vec<i32>, Box<dyn Error>> {
    let bytes = hex.as_bytes().chunks(2).map(std::str::from_utf8);
    let signed = *rule.codes.start() < 0;
    bytes
        .map(|byte| {
            let byte = u8::from_str_radix(byte?, 16)?;
            Ok(if signed { byte.cast_signed().into() } else { byte.into() })
        })
        .collect()
}

fn zero(json: &Json) -> Result<Zero, Box<dyn Error>> {
    Ok(match json {
        Json::Null => Zero::Nowhere,
        Json::String(bits) => Zero::Minimum(f32::from_bits(u32::from_str_radix(bits, 16)?)),
        number => Zero::Point(number.as_i64().ok_or("no zero point")?.try_into()?),
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Holds one answer to the library's.
fn compare(rule: &Rule, name: &str, ours: &Encoded, golden: &Json) -> Outcome {
    let label = format!("{} on «{name}»", rule.name);
    assert_eq!(ours.codes, codes(text(golden, "codes")?, rule)?, "the codes of {label}");
    let scale = words(text(golden, "scale")?)?;
    assert_eq!(bits(&[ours.scale]), scale, "the scale of {label}");
    assert_eq!(ours.zero, zero(&golden["zero"])?, "the zero of {label}");
    assert_eq!(bits(&ours.values), words(text(golden, "values")?)?, "the values of {label}");
    Ok(())
}

#[test]
fn every_rule_that_ran_gives_the_codes_scales_and_values_of_its_library() -> Outcome {
    let golden: Json = serde_json::from_str(GOLDEN)?;
    let rows = object(&golden["rows"])?;
    for rule in ALL.into_iter().filter(|rule| rule.evidence == Evidence::Ran) {
        let cases = object(&golden["rules"][rule.name])?;
        assert!(cases.len() >= 10, "{} has {} golden rows", rule.name, cases.len());
        for (name, golden) in cases {
            let row = floats(rows[name].as_str().ok_or("a row is no text")?)?;
            let ours = rule.encode(&row)?;
            if (rule.name, name.as_str()) == NOT_FOLLOWED {
                assert!(codes(text(golden, "codes")?, rule)?.iter().all(|&code| code == -128));
                assert!(ours.codes.iter().all(|&code| code == 0));
                assert_eq!((ours.scale, words(text(golden, "scale")?)?), (0.0, vec![0]));
                continue;
            }
            compare(rule, name, &ours, golden)?;
        }
    }
    Ok(())
}

#[test]
fn every_golden_rule_is_one_of_the_rules_that_ran() -> Outcome {
    let golden: Json = serde_json::from_str(GOLDEN)?;
    let ran: Vec<&str> = ALL
        .into_iter()
        .filter(|rule| rule.evidence == Evidence::Ran)
        .map(|rule| rule.name)
        .collect();
    let named: Vec<&String> = object(&golden["rules"])?.keys().collect();
    assert_eq!(named.len(), ran.len(), "{named:?} against {ran:?}");
    assert!(named.iter().all(|name| ran.contains(&name.as_str())), "{named:?} against {ran:?}");
    Ok(())
}
