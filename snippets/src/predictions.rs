//! The predictions of the chapters whose answer is a number, and the verdict on a reader's number.
//!
//! An answer is a cell of a table or a value that the chapter shows folded, or an exercise of lab 02. So the
//! number comes from the code that makes the book, and none is typed here.

use anyhow::{Context, Result};
use quantize_and_eval::exercises;

use crate::{tables, values};

/// A question with a number for an answer.
pub struct Prediction {
    /// The name by which a reader answers.
    pub name: String,
    /// The chapter, from `src`.
    pub chapter: &'static str,
    /// The question.
    pub question: &'static str,
    /// The unit of the answer.
    pub unit: &'static str,
    answer: Answer,
    /// The factor by which a good prediction may be off.
    within: f64,
}

/// Where the answer stands.
enum Answer {
    /// In the row that has all these cells, in this column.
    Cell(&'static str, &'static [&'static str], &'static str),
    Value(&'static str),
    Exercise(usize),
}
use Answer::{Cell, Value};

/// The tables' rows and values: name, chapter, question, unit, answer, factor.
type Row = (&'static str, &'static str, &'static str, &'static str, Answer, f64);

const ROWS: [Row; 21] = [
    (
        "decibels",
        "start/mental-model.md",
        "the SQNR of layer 29 q_proj at 4 bits, one scale per row; at 8 bits it is 40.3",
        "dB",
        Cell("bits_ladder", &["4"], "SQNR (dB)"),
        1.1,
    ),
    (
        "other-rows",
        "primitive/lab-01.md",
        "one row of 64 is multiplied by 100; with one scale for all, the other 63 lose of their norm",
        "percent",
        Value("lab_01.others_per_tensor"),
        1.3,
    ),
    (
        "sum-bits",
        "primitive/lab-01.md",
        "the bits of the largest sum of 576 products of int8 codes, without its sign",
        "bits",
        Value("lab_01.sum_bits"),
        1.0,
    ),
    (
        "truncation",
        "primitive/rounding.md",
        "the error of truncation, over the error of rounding to nearest",
        "times",
        Value("rounding.truncation_cost"),
        1.1,
    ),
    (
        "int4-rows",
        "four-bits/lab-03.md",
        "int4 with one scale per row costs a real matrix, of its norm",
        "percent",
        Value("lab_03.row_errors"),
        1.1,
    ),
    (
        "survivors",
        "four-bits/lab-03.md",
        "of 511 normal weights beside one that is 20 times as large, those whose code is not 0",
        "weights",
        Value("lab_03.survivors"),
        1.3,
    ),
    (
        "g128",
        "four-bits/lab-03.md",
        "bytes of a weight in groups of 128 with f16 scales",
        "bytes",
        Value("lab_03.bytes_per_weight"),
        1.005,
    ),
    (
        "best-candidate",
        "four-bits/lab-03.md",
        "the best scale of 100, 99, ..., 81 for 700 and seven times ±62",
        "the scale",
        Value("lab_03.best_candidate"),
        1.0,
    ),
    (
        "searched",
        "four-bits/lab-03.md",
        "the error of layer 10 q_proj with the searched scales; with the scale of the maximum 11.2",
        "percent",
        Cell("lab_03_search", &["layer 10 q_proj"], "with the search"),
        1.05,
    ),
    (
        "int4-matvec",
        "four-bits/dequantization.md",
        "by bytes alone, a product with int4 in groups of 128 over one with f32",
        "times as fast",
        Value("dequantization.int4_predicted"),
        1.05,
    ),
    (
        "zeros",
        "activations/lab-04.md",
        "four of 256 channels are 80 times as large; with one scale, of the others round to 0",
        "percent",
        Cell(
            "lab_04_cliff",
            &["four outlier channels", "one for the tensor"],
            "other entries that round to 0",
        ),
        1.1,
    ),
    (
        "sides",
        "activations/lab-04.md",
        "at alpha 0.5, the largest absmax of a channel of the activation over the median one; 104 at alpha 0",
        "times",
        Cell("lab_04_two_sides", &["0.50"], "activation"),
        1.1,
    ),
    (
        "file",
        "measure/cost-model.md",
        "Llama-3.1-8B in W4A16 g128 is smaller than in bf16",
        "times",
        Cell("cost_weights", &["Llama-3.1-8B"], "W4A16 is smaller by"),
        1.1,
    ),
    (
        "sequences",
        "measure/cost-model.md",
        "sequences of 8,192 tokens beside Llama-3.1-8B in W4A16 g128 on an H100; in bf16 53.6",
        "sequences",
        Cell("cost_capacity", &["H100 SXM", "Llama-3.1-8B", "W4A16 g128"], "sequences of 8,192"),
        1.05,
    ),
    (
        "crossover",
        "measure/cost-model.md",
        "the batch at which arithmetic takes over: Llama-3.1-8B in bf16 on an H100, empty cache",
        "sequences",
        Value("cost_model.bf16_crossover"),
        1.05,
    ),
    (
        "divisible",
        "real-model/lab-05.md",
        "of 210 matrices of SmolLM2-135M, those that groups of 128 divide",
        "matrices",
        Cell("lab_05_plan", &["w4a16, groups of 128"], "quantized"),
        1.0,
    ),
    (
        "checkpoint",
        "real-model/lab-05.md",
        "model.safetensors of SmolLM2-135M in W4A16, groups of 64, f16 for the rest",
        "bytes",
        Cell("lab_05_bytes", &["w4a16, groups of 64"], "bytes of the file"),
        1.02,
    ),
    (
        "correlated",
        "two-moves/why.md",
        "what feedback takes off the error of two weights whose inputs have a correlation of 0.6",
        "percent",
        Cell("two_moves_correlations", &["0.6"], "feedback takes away"),
        1.1,
    ),
    (
        "unseen",
        "two-moves/calibration.md",
        "the error of layer 10 gate_proj on 46 tokens that were not seen; with the nearest codes 9.20",
        "percent",
        Cell("calibration_seen", &["layer 10 gate_proj"], "others: damping 0.01"),
        1.03,
    ),
    (
        "clipped",
        "float-grids/lab-08.md",
        "the blocks of 32 normal weights whose largest magnitude the floor rule clips on FP4",
        "percent",
        Cell("lab_08_rules_on_normal", &["OCP floor"], "FP4 clipped"),
        1.3,
    ),
    (
        "rotated",
        "rotations/lab-10.md",
        "the error of layer 1 down_proj in W8A8 per tensor after a rotation; before, lab 04 has 31.5",
        "percent",
        Cell("lab_10_eight_bits", &["layer 1 down_proj"], "rotated, per tensor"),
        1.5,
    ),
];

/// Every prediction, in the order of the chapters.
pub fn all() -> Vec<Prediction> {
    let rows = ROWS.into_iter().map(|(name, chapter, question, unit, answer, within)| Prediction {
        name: name.into(),
        chapter,
        question,
        unit,
        answer,
        within,
    });
    let exercises = exercises::ALL.iter().enumerate().map(|(at, exercise)| Prediction {
        name: format!("exercise-{}", at + 1),
        chapter: "measure/cost-model.md",
        question: exercise.question,
        unit: exercise.unit,
        answer: Answer::Exercise(at),
        within: 1.01,
    });
    rows.chain(exercises).collect()
}

/// The verdict on a number.
pub struct Verdict {
    /// Whether the prediction holds.
    pub is_right: bool,
    /// The verdict in words. The answer is told only if the prediction holds.
    pub words: String,
}

impl Prediction {
    /// The mark in the chapter that shows the answer; none for an exercise.
    pub fn mark(&self) -> Option<String> {
        match self.answer {
            Cell(table, ..) => Some(format!("{{{{#table {table}}}}}")),
            Value(name) => Some(format!("{{{{#value {name}}}}}")),
            Answer::Exercise(_) => None,
        }
    }

    /// Compares a reader's number with the book's.
    ///
    /// # Errors
    /// If the table or the value cannot be made.
    pub fn check(&self, number: f64) -> Result<Verdict> {
        if let Answer::Exercise(at) = self.answer {
            let verdict = exercises::check(&exercises::ALL[at], number)?;
            let is_right = matches!(verdict, exercises::Verdict::Right(_));
            return Ok(Verdict { is_right, words: verdict.to_string() });
        }
        let shown = self.shown()?;
        let (least, most) = bounds(&shown).with_context(|| format!("{shown:?} is no number"))?;
        // Half a digit of slack, because the book shows rounded numbers.
        let within = self.within * 1.000_5;
        let is_right = (least / within..=most * within).contains(&number);
        let words = match is_right {
            true => format!("right: the book has {shown}"),
            false => format!("not yet: {:.3} times it", number / least.midpoint(most)),
        };
        Ok(Verdict { is_right, words })
    }

    /// The answer as the chapter shows it.
    fn shown(&self) -> Result<String> {
        match self.answer {
            Cell(name, row, column) => {
                let entry = tables::ALL.iter().find(|entry| entry.name == name);
                let table = entry.with_context(|| format!("no table {name}"))?.make()?;
                let cell = table.cell(row, column).map(String::from);
                cell.with_context(|| format!("{name} has no cell {row:?}, {column}"))
            }
            Value(name) => {
                let entry = values::ALL.iter().find(|entry| entry.name == name);
                Ok(entry.with_context(|| format!("no value {name}"))?.make()?.text)
            }
            Answer::Exercise(_) => unreachable!("an exercise has a check of its own"),
        }
    }
}

/// The least and the largest number of a text such as `85`, `2.82x`, `113,175,144` or `14.1 % to 18.4 %`.
fn bounds(text: &str) -> Option<(f64, f64)> {
    let plain = text.replace(',', "");
    let words = plain.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    Some((numbers.iter().copied().reduce(f64::min)?, numbers.iter().copied().reduce(f64::max)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prediction_has_an_answer_that_is_right_and_a_tenfold_one_that_is_not() -> Result<()> {
        for prediction in all() {
            let right = match prediction.answer {
                Answer::Exercise(at) => (exercises::ALL[at].answer)()?,
                _ => bounds(&prediction.shown()?).context("a number")?.0,
            };
            assert!(prediction.check(right)?.is_right, "{}: {right}", prediction.name);
            for wrong in [10.0 * right, right / 10.0, f64::NAN] {
                assert!(!prediction.check(wrong)?.is_right, "{}: {wrong}", prediction.name);
            }
        }
        Ok(())
    }

    #[test]
    fn numbers_are_read_as_the_book_shows_them() {
        assert_eq!(bounds("113,175,144"), Some((113_175_144.0, 113_175_144.0)));
        assert_eq!(bounds("2.82x"), Some((2.82, 2.82)));
        assert_eq!(bounds("14.1 % to 18.4 %"), Some((14.1, 18.4)));
        assert_eq!(bounds("does not start"), None);
    }
}
