//! The three questions as arithmetic: bits per weight, bytes of a model, decibels per bit.

use anyhow::Result;
use formats::architecture::PUBLISHED;
use formats::format::Group;
use formats::format::{Format, Grid, Overhead};
use kit::Table;
use kit::meters::sqnr_db;
use kit::real_slice::{TENSORS, label};
use kit::table::{count, sig3, times};
// The solution: this chapter comes before the labs.
use quantize_and_eval::ModelFormat;
use quantize_and_eval::solution::{self as cost_model, bits_per_weight, matrix_bytes};

use crate::grid::{per_channel_round_trip, qmax};
use crate::inputs::Slice;

/// A format as the answers to the three questions, and what it stores.
struct Answers {
    name: &'static str,
    grid: &'static str,
    granularity: &'static str,
    quantized: &'static str,
    codes: Grid,
    /// Scales and zero points.
    overhead: &'static [Overhead],
}

/// Width of the projections of an 8B model: what a row scale is shared by.
const ROW: u64 = 4096;

/// A format by its name, its answers, its codes and its overhead.
const fn format(words: [&'static str; 4], codes: Grid, overhead: &'static [Overhead]) -> Answers {
    let [name, grid, granularity, quantized] = words;
    Answers { name, grid, granularity, quantized, codes, overhead }
}

/// So many bits for each group of so many weights.
const fn each(bits: u32, group: u64) -> Overhead {
    Overhead { bits, per: Group::Size(group) }
}

const BOTH: &str = "weights and activations";
const F32_A_ROW: &[Overhead] = &[Overhead { bits: 32, per: Group::Channel }];

const FORMATS: [Answers; 9] = [
    format(["bf16", "16-bit float", "none", "nothing"], Grid::Sixteen, &[]),
    format(["INT8 W8A8", "±127, or -128..127", "row; token", BOTH], Grid::Int(8), F32_A_ROW),
    format(["FP8 W8A8 (dynamic)", "E4M3, ±448", "row; token", BOTH], Grid::E4M3, F32_A_ROW),
    format(
        ["W4A16 g128 (compressed-tensors)", "-8..7", "128 weights", "weights"],
        Grid::Int(4),
        &[each(16, 128)],
    ),
    format(
        ["AWQ g128", "0..15 and a zero", "128 weights", "weights"],
        Grid::Int(4),
        &[each(16, 128), each(4, 128)],
    ),
    format(["GGUF Q8_0", "-127..127", "32 weights", "weights"], Grid::Int(8), &[each(16, 32)]),
    format(["GGUF Q4_0", "-8..7", "32 weights", "weights"], Grid::Int(4), &[each(16, 32)]),
    format(["MXFP4", "E2M1, ±6", "32 weights", "weights (or both)"], Grid::E2M1, &[each(8, 32)]),
    format(["NVFP4", "E2M1, ±6", "16 weights", BOTH], Grid::E2M1, &[each(8, 16)]),
];

impl Answers {
    /// Of a square projection of an 8B model.
    fn bits_per_weight(&self) -> Result<f64> {
        let format = Format {
            name: self.name.into(),
            weights: self.codes,
            activations: Grid::Sixteen,
            overhead: self.overhead.into(),
        };
        Ok(bits_per_weight(matrix_bytes(ROW, ROW, &format)?, ROW * ROW)?)
    }
}

/// Nine formats as answers to the three questions.
pub fn three_questions() -> Result<Table> {
    let rows = FORMATS.iter().map(|format| Ok((format, format.bits_per_weight()?)));
    let title = "Nine formats, three answers each, and the bits that follow";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("format", |(format, _)| format.name)
        .text("what grid?", |(format, _)| format.grid)
        .text("one scale for", |(format, _)| format.granularity)
        .text("what is quantized?", |(format, _)| format.quantized)
        .number("bits a weight", |(_, bits)| format!("{bits:.3}"))
        .done())
}

/// The models of the introduction: small, and one of each usual size. Groups of 128 divide the rows of each.
const MODELS: [&str; 4] = ["Qwen2.5-0.5B", "Mistral-7B-v0.1", "Llama-3.1-8B", "Llama-3.1-70B"];

/// Weight bytes of four models in three formats: embeddings, norms and head stay in 16 bits.
pub fn model_bytes() -> Result<Table> {
    let models = PUBLISHED.iter().filter(|(name, _)| MODELS.contains(name));
    let rows = models.map(|(name, model)| {
        let bytes =
            |format| anyhow::Ok(cost_model::model_bytes(model, &ModelFormat::of(format))? as f64);
        let bytes = [bytes(Format::BF16)?, bytes(Format::W8A8)?, bytes(Format::w4a16(128))?];
        Ok((*name, model.parameters(), model.linear_weights(), bytes))
    });
    let title = "Weights of four models, in GB (10⁹ bytes)";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("model", |(name, ..)| *name)
        .number("parameters", |(_, parameters, ..)| count(*parameters as usize))
        .number("in quantized layers", |(_, parameters, linear, _)| {
            format!("{:.1} %", 100.0 * *linear as f64 / *parameters as f64)
        })
        .number("bf16", |(.., bytes)| sig3(bytes[0] / 1e9))
        .number("int8 per channel", |(.., bytes)| sig3(bytes[1] / 1e9))
        .number("int4 g128", |(.., bytes)| sig3(bytes[2] / 1e9))
        .number("int4 is smaller by", |(.., bytes)| times(bytes[0] / bytes[2]))
        .done())
}

/// What a bit buys: SQNR of a real matrix at eight widths.
pub fn bits_ladder(slice: &Slice) -> Result<Table> {
    let w = slice.tensor(TENSORS[6]);
    let sqnr = |bits| sqnr_db(w, &per_channel_round_trip(w, bits));
    let rows: Vec<(u32, f64)> = (2..=8).map(|bits| (bits, sqnr(bits))).collect();
    let title = format!("What a bit buys: {}, one scale per row", label(TENSORS[6]));
    Ok(Table::of(title, &rows)
        .number("bits", |(bits, _)| bits.to_string())
        .number("largest code", |(bits, _)| qmax(*bits).to_string())
        .number("SQNR (dB)", |(_, sqnr)| sig3(*sqnr))
        .number("gain over one bit less (dB)", |(bits, sqnr)| {
            let less = rows.iter().find(|(other, _)| other + 1 == *bits);
            less.map_or("–".into(), |(_, less)| sig3(sqnr - less))
        })
        .number("predicted from the step (dB)", |&&(bits, _)| match qmax(bits - 1) {
            0.0 => "–".into(),
            half => sig3(20.0 * (qmax(bits) / half).log10()),
        })
        .done())
}
