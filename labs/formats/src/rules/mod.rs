//! One name, many rules: how libraries turn a group of weights into codes and a scale.
//!
//! "Symmetric int4" is `absmax / 7` to one library, `absmax / 7.5` to the next and a scale with a
//! sign to the third. Each [`Rule`] here is one of them, to the bit: the order of the operations is
//! the library's, because `x / s` and `x * (1 / s)` do not always round to the same code.
//! `golden/make_rules_golden.py` runs the libraries, `tests/rules_golden.rs` compares.
//!
//! All arithmetic is in `f32`. A library that quantizes a model in `bf16` or `f16` does the same
//! operations in that type, and some of its codes differ for that reason alone.

mod compressed_tensors;
mod course;
mod encoded;
pub(crate) mod ggml;
mod torch_style;
mod vllm;

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use crate::magnitude::{absmax, extremes};

pub use compressed_tensors::{
    COMPRESSED_TENSORS_ASYMMETRIC, COMPRESSED_TENSORS_INT8, COMPRESSED_TENSORS_SYMMETRIC,
};
pub use course::{INT3, LAB_01, LAB_03};
pub use encoded::{Encoded, Zero};
pub use ggml::{GGML_Q4_0, GGML_Q4_1, GGML_Q8_0};
pub use torch_style::{
    AUTOAWQ_SYMMETRIC, AUTOAWQ_ZERO_POINT, GPTQ_ASYMMETRIC, GPTQ_SYMMETRIC, SMOOTHQUANT,
};
pub use vllm::{VLLM_DYNAMIC, VLLM_GROUP, VLLM_TRITON};

/// Every rule of four bits: the symmetric ones, then those with a zero point or a minimum.
pub const INT4: [&Rule; 9] = [
    &LAB_03,
    &AUTOAWQ_SYMMETRIC,
    &COMPRESSED_TENSORS_SYMMETRIC,
    &GPTQ_SYMMETRIC,
    &GGML_Q4_0,
    &AUTOAWQ_ZERO_POINT,
    &COMPRESSED_TENSORS_ASYMMETRIC,
    &GPTQ_ASYMMETRIC,
    &GGML_Q4_1,
];

/// Every rule of eight bits; all are symmetric.
pub const INT8: [&Rule; 7] = [
    &LAB_01,
    &SMOOTHQUANT,
    &VLLM_DYNAMIC,
    &VLLM_TRITON,
    &VLLM_GROUP,
    &GGML_Q8_0,
    &COMPRESSED_TENSORS_INT8,
];

/// Every rule of the chapter on rules: [`INT4`], then [`INT8`]. A rule of another width is in no list, and
/// the description that rounds by the rule names the rule.
pub const ALL: [&Rule; 16] = {
    let mut all = [INT4[0]; 16];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < INT4.len() { INT4[at] } else { INT8[at - INT4.len()] };
        at += 1;
    }
    all
};

/// [`Rule::encode`] refuses a group whose absmax is smaller than this and not 0, because a step
/// between two of its weights, divided by 255, may be so small that its inverse is no `f32`.
///
/// The smallest normal `f32`, times 255 codes, times the 2^24 steps of an `f32`'s significand:
/// about 5e-29.
pub const SMALLEST_ABSMAX: f32 = f32::MIN_POSITIVE * 255.0 * 16_777_216.0;

/// How one library turns a group of weights into codes and a scale.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What this book calls it: `AutoAWQ symmetric`.
    pub name: &'static str,
    /// The library and its version, or its commit.
    pub library: &'static str,
    /// The function in it that the rule is.
    pub function: &'static str,
    /// Bits of a code.
    pub bits: u32,
    /// Whether 0 has one fixed code, so that no zero point or minimum is computed.
    pub symmetric: bool,
    /// The scale as a formula. `absmax`, `min` and `max` are those of the group.
    pub scale: &'static str,
    /// Where a value exactly between two codes goes.
    pub ties: Ties,
    /// What happens to a scale that would be 0.
    pub zero_guard: &'static str,
    /// The codes that may be stored.
    pub codes: RangeInclusive<i32>,
    /// How sure this book is of the rule.
    pub evidence: Evidence,
    encode: fn(&[f32]) -> Encoded,
}

/// Where a value exactly between two codes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// To the even code: `torch.round`.
    ToEven,
    /// To the code of larger magnitude: C's `roundf`.
    AwayFromZero,
    /// To the larger code: a half is added and the sum is truncated.
    Up,
    /// There is no rounding: everything goes toward zero, a tie too.
    Truncated,
}

impl Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToEven => "to even",
            Self::AwayFromZero => "away from 0",
            Self::Up => "up",
            Self::Truncated => "all toward 0",
        })
    }
}

/// How sure this book is of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The library's own code ran on the rows of `golden/rules.json`, and the bits are equal.
    Ran,
    /// A rule of this course: the labs are its only source.
    Course,
    /// Only read in the library's source.
    Read,
}

/// Why a group has no codes.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error("a group of 0 weights has no scale: give {rule} at least one weight")]
    Empty { rule: &'static str },
    #[error("weight {index} of the group is {value}: only finite values have a place on a grid")]
    NotFinite { index: usize, value: f32 },
    #[error(
        "the largest magnitude of the group is {absmax:e}, below {SMALLEST_ABSMAX:e}: its steps have no \
         inverse in f32. Multiply the weights by a constant, or set the group to 0"
    )]
    AbsmaxTooSmall { absmax: f32 },
    #[error(
        "the largest magnitude of the group is {absmax:e}: the scale of {rule}, or a value on its \
         grid, overflows. Divide the weights by a constant"
    )]
    AbsmaxTooLarge { rule: &'static str, absmax: f32 },
}

impl Rule {
    /// The codes, the scale and the way back of one group of weights.
    ///
    /// # Errors
    /// [`RuleError`] for no weights, for NaN or infinity, and for an absmax too small or too large
    /// for the rule's arithmetic. A group of zeros is no error, because each rule has a zero guard.
    pub fn encode(&self, weights: &[f32]) -> Result<Encoded, RuleError> {
        if weights.is_empty() {
            return Err(RuleError::Empty { rule: self.name });
        }
        if let Some(index) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(RuleError::NotFinite { index, value: weights[index] });
        }
        let absmax = absmax(weights);
        if absmax > 0.0 && absmax < SMALLEST_ABSMAX {
            return Err(RuleError::AbsmaxTooSmall { absmax });
        }
        let encoded = (self.encode)(weights);
        if encoded.is_finite() {
            Ok(encoded)
        } else {
            Err(RuleError::AbsmaxTooLarge { rule: self.name, absmax })
        }
    }
}

/// The rules, of those with codes of `bits` bits, that give these weights exactly these codes: the
/// rules that may have written the codes.
///
/// The codes are those that the rule stores. Rules that agree on the group are all listed.
///
/// # Errors
/// [`RuleError`] if the weights cannot be encoded.
pub fn candidates(
    bits: u32,
    weights: &[f32],
    codes: &[i32],
) -> Result<Vec<&'static Rule>, RuleError> {
    let mut who = Vec::new();
    for rule in ALL.into_iter().filter(|rule| rule.bits == bits) {
        if rule.encode(weights)?.codes == codes {
            who.push(rule);
        }
    }
    Ok(who)
}

#[cfg(test)]
mod tests;
