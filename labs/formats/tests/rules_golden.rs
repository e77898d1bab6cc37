//! The rules against the libraries themselves, to the bit. `golden/make_rules_golden.py` runs the
//! libraries.

use std::error::Error;

use formats::rules::{ALL, Encoded, Evidence, Rule, Zero};
use serde_json::{Map, Value as Json};

use crate::hex::{Outcome, bits, numbers, text};

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

fn floats(hex: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(numbers(hex, 8)?.into_iter().map(f32::from_bits).collect())
}

/// The codes of the rule, a byte each, in two's complement where the rule counts from below 0.
fn codes(hex: &str, rule: &Rule) -> Result<Vec<i32>, Box<dyn Error>> {
    let signed = *rule.codes.start() < 0;
    let code = |byte| if signed { i32::from(byte as i8) } else { byte as i32 };
    Ok(numbers(hex, 2)?.into_iter().map(code).collect())
}

fn zero(json: &Json) -> Result<Zero, Box<dyn Error>> {
    Ok(match json {
        Json::Null => Zero::Nowhere,
        Json::String(bits) => Zero::Minimum(f32::from_bits(u32::from_str_radix(bits, 16)?)),
        number => Zero::Point(number.as_i64().ok_or("no zero point")?.try_into()?),
    })
}

/// Holds one answer to the library's.
fn compare(rule: &Rule, name: &str, ours: &Encoded, golden: &Json) -> Outcome {
    let label = format!("{} on «{name}»", rule.name);
    assert_eq!(ours.codes, codes(text(golden, "codes")?, rule)?, "the codes of {label}");
    let scale = numbers(text(golden, "scale")?, 8)?;
    assert_eq!(bits(&[ours.scale]), scale, "the scale of {label}");
    assert_eq!(ours.zero, zero(&golden["zero"])?, "the zero of {label}");
    assert_eq!(bits(&ours.values), numbers(text(golden, "values")?, 8)?, "the values of {label}");
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
                assert_eq!((ours.scale, numbers(text(golden, "scale")?, 8)?), (0.0, vec![0]));
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
