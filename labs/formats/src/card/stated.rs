//! The statements of a card, one for each field, and the words that state them.

use super::error::CardError;
use super::lexer::Numbers;
use super::word::Field::{Layout, Mean, WeightBits};
use super::word::{Field, Word};

/// A word that was found in a text.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) word: &'a Word,
    /// As it stands in the text.
    pub(super) spelled: String,
    /// The numbers in it.
    pub(super) numbers: Numbers,
}

impl Found<'_> {
    /// Whether it names the bits of quantized weights.
    fn quantizes(&self) -> bool {
        let mut facts = self.word.says.iter().chain(&self.word.usual);
        !self.word.computes && facts.any(|(field, _)| [WeightBits, Mean, Layout].contains(field))
    }
}

/// Takes the types to compute in out of `found`, if another word names the bits of the weights. Returns a
/// note about each.
pub(super) fn set_apart(found: &mut Vec<Found>) -> Vec<String> {
    if !found.iter().any(Found::quantizes) {
        return Vec::new();
    }
    let apart = found.extract_if(.., |word| word.word.computes);
    apart
        .map(|word| {
            format!(
                "`{}`: what layers compute in, or what is not quantized, beside the scheme",
                word.spelled
            )
        })
        .collect()
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) value: String,
    /// The word that says it.
    pub(super) by: String,
    /// Whether it is a default of that word.
    pub(super) usual: bool,
}

/// The known facts, one entry for each of [`Field::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    known: [Option<Stated>; Field::ALL.len()],
}

impl Facts {
    /// The facts in `found`: the statements, then the defaults.
    ///
    /// # Errors
    /// [`CardError::Contradiction`] if two words state different things.
    pub(super) fn gather(found: &[Found]) -> Result<Self, CardError> {
        let mut facts = Self::default();
        // Field by field, so that the first contradiction of a card is always the same.
        for field in Field::ALL {
            for word in found {
                for (_, value) in word.word.says.iter().filter(|(said, _)| *said == field) {
                    facts.state(field, fill(value, &word.numbers), &word.spelled)?;
                }
            }
        }
        for word in found {
            for (field, value) in &word.word.usual {
                facts.suppose(*field, &fill(value, &word.numbers), &word.spelled);
            }
        }
        Ok(facts)
    }

    /// Adds a statement of `by`.
    ///
    /// # Errors
    /// [`CardError::Contradiction`] if another word states something else.
    pub(super) fn state(&mut self, field: Field, value: String, by: &str) -> Result<(), CardError> {
        let slot = &mut self.known[field as usize];
        if let Some(before) = slot.as_ref().filter(|before| !before.usual && before.value != value)
        {
            return Err(CardError::Contradiction {
                first: before.by.clone(),
                first_says: before.value.clone(),
                second: by.into(),
                second_says: value,
                field,
            });
        }
        if slot.as_ref().is_none_or(|before| before.usual) {
            *slot = Some(Stated { value, by: by.into(), usual: false });
        }
        Ok(())
    }

    /// Adds a default of `by`, unless the field is known.
    pub(super) fn suppose(&mut self, field: Field, value: &str, by: &str) {
        let slot = &mut self.known[field as usize];
        if slot.is_none() {
            *slot = Some(Stated { value: value.into(), by: by.into(), usual: true });
        }
    }

    /// The fact of `field`.
    pub(super) fn get(&self, field: Field) -> Option<&Stated> {
        self.known[field as usize].as_ref()
    }

    /// The value of `field`.
    pub(super) fn value(&self, field: Field) -> Option<&str> {
        self.get(field).map(|stated| stated.value.as_str())
    }

    /// The value of `field` as a number.
    pub(super) fn number(&self, field: Field) -> Option<u32> {
        self.value(field)?.parse().ok()
    }

    /// Whether a word states `field`, rather than that it is usual.
    pub(super) fn is_stated(&self, field: Field) -> bool {
        self.get(field).is_some_and(|stated| !stated.usual)
    }
}

/// The value with its placeholders replaced. A group of -1 is a channel.
fn fill(value: &str, numbers: &[(char, String)]) -> String {
    let mut value = value.to_owned();
    for (placeholder, number) in numbers {
        let number = if number == "-1" { "channel" } else { without_zeros(number) };
        value = value.replace(&format!("{{{placeholder}}}"), number);
    }
    value
}

/// `08` is 8, and `0` and `0.5` stay.
fn without_zeros(number: &str) -> &str {
    let zeros = number.len() - number.trim_start_matches('0').len();
    let keep = !number[zeros..].starts_with(|c: char| c.is_ascii_digit());
    &number[zeros - usize::from(keep && zeros > 0)..]
}
