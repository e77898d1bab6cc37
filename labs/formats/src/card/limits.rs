//! Refuses numbers out of range, and answers that exclude each other.

use super::arithmetic::{is_float, is_plain};
use super::error::CardError;
use super::stated::Facts;
use super::word::Field;

/// Fills in defaults, and refuses schemes that do not exist.
///
/// # Errors
/// [`CardError::Number`] for a number that no scheme has, [`CardError::Contradiction`] for a scale of
/// activations that stay in 16 bits.
pub(super) fn complete(facts: &mut Facts) -> Result<(), CardError> {
    let up_to_8 = [1, 2, 3, 4, 5, 6, 7, 8, 16, 32];
    let bits = "bits of a weight are 1 to 8, or 16; 32 where nothing is quantized";
    let zero_point = "a zero point has up to 8 bits, or 16; 0 is none";
    number(facts, Field::WeightBits, &up_to_8, bits)?;
    number(facts, Field::ActBits, &[4, 6, 8, 16, 32], "bits of an activation are 4, 6, 8 or 16")?;
    number(facts, Field::ScaleBits, &[8, 16, 32], "a scale has 8, 16 or 32 bits")?;
    number(facts, Field::ZeroBits, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 16], zero_point)?;
    group(facts, Field::Group)?;
    group(facts, Field::ActGroup)?;
    kv(facts)?;
    mean(facts)?;
    // The checks below are between fields, so the defaults come first.
    suppose(facts);
    floats(facts, Field::WeightKind, Field::WeightBits, &[4, 6, 8, 16, 32])?;
    floats(facts, Field::ActKind, Field::ActBits, &[4, 6, 8, 16, 32])?;
    zero_points(facts)?;
    activations(facts)
}

fn refuse(facts: &Facts, field: Field, problem: &str) -> CardError {
    let word = facts.get(field).map_or(String::new(), |stated| stated.by.clone());
    CardError::Number { word, problem: problem.into() }
}

fn number(facts: &Facts, field: Field, known: &[u32], problem: &str) -> Result<(), CardError> {
    match facts.value(field) {
        None | Some("w") => Ok(()),
        Some(_) if facts.number(field).is_some_and(|bits| known.contains(&bits)) => Ok(()),
        Some(_) => Err(refuse(facts, field, problem)),
    }
}

/// Whether a group may have so many weights. Kernels read codes in words, and rows of other lengths than
/// powers of two have groups that divide them.
fn is_group(size: u32) -> bool {
    (8..=1 << 14).contains(&size) && size.is_multiple_of(8)
}

fn group(facts: &Facts, field: Field) -> Result<(), CardError> {
    let Some(value) = facts.value(field) else { return Ok(()) };
    let sides = value.split_once('x').map(|(rows, columns)| (rows.parse(), columns.parse()));
    match (value, sides) {
        ("tensor" | "channel" | "token", _) => Ok(()),
        (_, Some((Ok(rows), Ok(columns)))) if is_side(rows) && is_side(columns) => Ok(()),
        (_, Some(_)) => Err(refuse(facts, field, "the sides of a block are 1 to 1024 weights")),
        (_, None) if facts.number(field).is_some_and(is_group) => Ok(()),
        _ => Err(refuse(
            facts,
            field,
            "a group has 8, 16, 24 or another multiple of 8 weights, up to 16384, or -1: the whole row",
        )),
    }
}

fn is_side(side: u32) -> bool {
    (1..=1024).contains(&side)
}

fn kv(facts: &Facts) -> Result<(), CardError> {
    match facts.value(Field::Kv).and_then(|kind| kind.strip_prefix("int")) {
        Some(bits) if bits.parse().is_ok_and(|bits: u32| ![4, 8, 16].contains(&bits)) => {
            Err(refuse(facts, Field::Kv, "keys and values are kept in 4, 8 or 16 bits"))
        }
        _ => Ok(()),
    }
}

fn mean(facts: &Facts) -> Result<(), CardError> {
    match facts.value(Field::Mean).map(str::parse::<f64>) {
        None => Ok(()),
        Some(Ok(mean)) if (1.0..=16.0).contains(&mean) => Ok(()),
        Some(_) => Err(refuse(facts, Field::Mean, "mean bits of a weight are between 1 and 16")),
    }
}

/// The defaults that hold for all words.
fn suppose(facts: &mut Facts) {
    let by = |facts: &Facts| facts.get(Field::WeightBits).map(|stated| stated.by.clone());
    let Some(by) = by(facts) else { return };
    let bits = facts.value(Field::WeightBits).unwrap_or_default().to_owned();
    let kind = if is_plain(&bits) { "float" } else { "int" };
    facts.suppose(Field::WeightKind, kind, &by);
    let speaks_of_activations = [Field::ActKind, Field::ActWhen, Field::ActGroup]
        .into_iter()
        .any(|field| facts.is_stated(field));
    // A card that names the scale of the activations quantizes them, to the bits of the weights where it
    // names no others.
    let both = speaks_of_activations && ["4", "8"].contains(&bits.as_str());
    facts.suppose(Field::ActBits, if both { &bits } else { "16" }, &by);
    let kind = match (facts.value(Field::ActBits), facts.value(Field::WeightKind)) {
        (Some("16" | "32"), _) => return,
        (_, kind) if is_float(kind) => "float",
        _ => "int",
    };
    facts.suppose(Field::ActKind, kind, &by);
}

/// There are floats of 4, 6, 8 and 16 bits, and no others.
fn floats(facts: &Facts, kind: Field, bits: Field, known: &[u32]) -> Result<(), CardError> {
    let is_float = facts.value(kind) == Some("float");
    match facts.number(bits) {
        Some(number) if is_float && !known.contains(&number) => {
            let list: Vec<String> = known.iter().map(u32::to_string).collect();
            let problem =
                format!("no float of {number} bits is known, only of {}", list.join(", "));
            Err(refuse(facts, bits, &problem))
        }
        _ => Ok(()),
    }
}

/// Floats have a sign of their own and no zero point.
fn zero_points(facts: &Facts) -> Result<(), CardError> {
    let (kind, symmetric) = (facts.get(Field::WeightKind), facts.get(Field::Symmetric));
    match (kind, symmetric) {
        (Some(kind), Some(no)) if is_float(Some(&kind.value)) && !no.usual && no.value == "no" => {
            Err(CardError::Contradiction {
                first: kind.by.clone(),
                first_says: "yes".into(),
                second: no.by.clone(),
                second_says: "no".into(),
                field: Field::Symmetric,
            })
        }
        _ => Ok(()),
    }
}

/// Activations in 16 bits have no scale.
fn activations(facts: &Facts) -> Result<(), CardError> {
    let Some(bits) = facts.get(Field::ActBits).filter(|bits| is_plain(&bits.value)) else {
        return Ok(());
    };
    for field in [Field::ActKind, Field::ActWhen, Field::ActGroup] {
        if let Some(scale) = facts.get(field).filter(|scale| !scale.usual && scale.value != "float")
        {
            return Err(CardError::Contradiction {
                first: bits.by.clone(),
                first_says: "none".into(),
                second: scale.by.clone(),
                second_says: scale.value.clone(),
                field,
            });
        }
    }
    Ok(())
}
