//! The exercises of the chapter, and a check of an answer that names the likely mistake.

use std::fmt;

use formats::architecture::{LLAMA31_8B, LLAMA31_70B, QWEN3_8B, QWEN25_7B};
use formats::device::{H100, H200, L40S};
use formats::format::{Format, Grid, Group, Overhead};

use crate::solution::{
    bits_per_weight, concurrency, decode_tokens_per_s, kv_available_bytes, kv_blocks,
    kv_bytes_per_token, kv_tokens, linear_bytes, model_bytes, prefill_tokens_per_s,
};
use crate::{BLOCK_TOKENS, CostError, ModelFormat, Served, UTILIZATION};

/// A question with one number for an answer.
pub struct Exercise {
    /// The question.
    pub question: &'static str,
    /// The unit of the answer.
    pub unit: &'static str,
    /// The answer, through the lab's solution.
    pub answer: fn() -> Result<f64, CostError>,
    /// A wrong answer that many give, if no factor of [`FACTORS`] tells it.
    pub mistake: Option<Mistake>,
}

/// A wrong answer, and what was forgotten.
pub struct Mistake {
    answer: fn() -> Result<f64, CostError>,
    meaning: &'static str,
}

/// The exercises, in the chapter's order.
pub const ALL: [Exercise; 8] = [
    Exercise {
        question: "KV cache of one token of Llama-3.1-70B in 16 bits",
        unit: "bytes",
        answer: || Ok(kv_bytes_per_token(&LLAMA31_70B, Grid::Sixteen)? as f64),
        mistake: None,
    },
    Exercise {
        question: "all weights of Llama-3.1-8B in bf16",
        unit: "GB",
        answer: || Ok(model_bytes(&LLAMA31_8B, &ModelFormat::of(Format::BF16))? as f64 / 1e9),
        mistake: None,
    },
    Exercise {
        question: "a linear weight in AWQ with groups of 64: an f16 scale, a 4-bit zero point",
        unit: "bits",
        answer: || {
            let bytes = linear_bytes(&LLAMA31_8B, &awq(64))?;
            bits_per_weight(bytes, LLAMA31_8B.linear_weights())
        },
        mistake: None,
    },
    Exercise {
        question: "KV cache that fits beside Qwen2.5-7B in FP8 on an L40S, utilization 0.92, \
                   blocks of 16, cache in 16 bits",
        unit: "tokens",
        answer: || {
            let format = ModelFormat::of(Format::FP8);
            let taken = model_bytes(&QWEN25_7B, &format)?;
            let left = kv_available_bytes(L40S.memory_bytes, UTILIZATION, taken)?;
            let per_token = kv_bytes_per_token(&QWEN25_7B, Grid::Sixteen)?;
            Ok(kv_tokens(kv_blocks(left, BLOCK_TOKENS, per_token)?, BLOCK_TOKENS)? as f64)
        },
        mistake: None,
    },
    Exercise {
        question: "the roofline bound of decode of Llama-3.1-8B in W4A16 g128 on an H100, one sequence, \
                   its cache not counted",
        unit: "tokens/s",
        answer: || decode_tokens_per_s(&Served::of(LLAMA31_8B, Format::w4a16(128)), &H100, 1, 0),
        mistake: Some(Mistake {
            answer: || {
                let file = model_bytes(&LLAMA31_8B, &ModelFormat::of(Format::w4a16(128)))?;
                Ok(H100.bytes_per_s / file as f64)
            },
            meaning: "That is the whole file in each step: of the embedding a step reads a row.",
        }),
    },
    Exercise {
        question: "the same of Llama-3.1-70B in FP8 on an H200, 16 sequences of 4,096 tokens, \
                   cache in FP8",
        unit: "tokens/s",
        answer: || {
            let served = Served { kv: Grid::E4M3, ..Served::of(LLAMA31_70B, Format::FP8) };
            decode_tokens_per_s(&served, &H200, 16, 4096)
        },
        mistake: None,
    },
    Exercise {
        question: "sequences of 32,768 tokens beside Qwen3-8B in W4A16 g128 on an H100, \
                   utilization 0.92, cache in 16 bits",
        unit: "sequences",
        answer: || {
            let taken = model_bytes(&QWEN3_8B, &ModelFormat::of(Format::w4a16(128)))?;
            let left = kv_available_bytes(H100.memory_bytes, UTILIZATION, taken)?;
            let per_token = kv_bytes_per_token(&QWEN3_8B, Grid::Sixteen)?;
            concurrency(kv_blocks(left, BLOCK_TOKENS, per_token)?, BLOCK_TOKENS, 32_768)
        },
        mistake: None,
    },
    Exercise {
        question: "the roofline bound of prefill of 2,048 tokens with Llama-3.1-8B in W4A16 \
                   g128 on an H100",
        unit: "tokens/s",
        answer: || prefill_tokens_per_s(&Served::of(LLAMA31_8B, Format::w4a16(128)), &H100, 2048),
        mistake: None,
    },
];

/// An f16 scale and a 4-bit zero point for each group.
fn awq(group_size: u64) -> Format {
    let per = Group::Size(group_size);
    Format {
        name: "AWQ".into(),
        weights: Grid::Int(4),
        activations: Grid::Sixteen,
        overhead: vec![Overhead { bits: 16, per }, Overhead { bits: 4, per }].into(),
    }
}

/// The verdict on an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Within one percent, because a calculation by hand with three digits loses less.
    Right(f64),
    /// An answer that a known mistake gives, or off by a factor that one has.
    Known(f64, &'static str),
    /// Off by another factor.
    Off(f64),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right(answer) => write!(f, "right: it is {answer}"),
            Self::Known(ratio, meaning) => write!(f, "not yet: {ratio:.4} times it. {meaning}"),
            Self::Off(ratio) => write!(f, "not yet: {ratio:.4} times it"),
        }
    }
}

/// Factors between a wrong answer and the right one, each with the mistakes that have the factor.
/// The inverse of a factor has the same mistakes.
const FACTORS: [(f64, &str); 4] = [
    (1.073_741_824, "That is the factor between GiB and GB."),
    (2.0, "That is a factor of 2: a key and a value, two operations, two bytes in 16 bits?"),
    (4.0, "That is a factor of 4: query heads for key-value heads, or 4 bits for 16?"),
    (8.0, "That is a factor of 8: bits for bytes, or query heads for key-value heads?"),
];

/// Whether two numbers agree to one percent.
fn agree(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() <= 0.01
}

/// The verdict on `answer`.
///
/// # Errors
/// Those of the lab's functions. The exercises here have none, because a test computes their
/// answers.
pub fn check(exercise: &Exercise, answer: f64) -> Result<Verdict, CostError> {
    let right = (exercise.answer)()?;
    if agree(answer, right) {
        return Ok(Verdict::Right(right));
    }
    let ratio = answer / right;
    if let Some(Mistake { answer: wrong, meaning }) = &exercise.mistake
        && agree(answer, wrong()?)
    {
        return Ok(Verdict::Known(ratio, meaning));
    }
    let known =
        FACTORS.iter().find(|(factor, _)| agree(ratio, *factor) || agree(ratio, 1.0 / factor));
    Ok(known.map_or(Verdict::Off(ratio), |(_, meaning)| Verdict::Known(ratio, meaning)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_known_or_off() -> Result<(), CostError> {
        assert_eq!(check(&ALL[0], 327_680.0)?, Verdict::Right(327_680.0));
        assert_eq!(check(&ALL[0], 163_840.0)?, Verdict::Known(0.5, FACTORS[1].1));
        assert_eq!(check(&ALL[0], 8.0 * 327_680.0)?, Verdict::Known(8.0, FACTORS[3].1));
        assert_eq!(check(&ALL[0], 3.0 * 327_680.0)?, Verdict::Off(3.0));
        let gib = 16.060_522_496 / 1.073_741_824;
        assert!(
            matches!(check(&ALL[1], gib)?, Verdict::Known(_, meaning) if meaning.contains("GiB"))
        );
        assert!(matches!(check(&ALL[1], f64::NAN)?, Verdict::Off(_)));
        assert!(
            matches!(check(&ALL[4], 588.0)?, Verdict::Known(_, meaning) if meaning.contains("embedding"))
        );
        Ok(())
    }

    #[test]
    fn every_exercise_has_an_answer() -> Result<(), CostError> {
        for exercise in &ALL {
            let answer = (exercise.answer)()?;
            println!("{}: {answer} {}", exercise.question, exercise.unit);
            assert!(answer.is_finite() && answer > 0.0, "{}: {answer}", exercise.question);
            assert_eq!(check(exercise, answer)?, Verdict::Right(answer), "{}", exercise.question);
        }
        Ok(())
    }
}
