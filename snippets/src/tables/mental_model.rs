//! The three questions as arithmetic: bits per weight, bytes of a model, decibels per bit.

use anyhow::Result;
use formats::architecture::PUBLISHED;
use formats::format::Group;
use formats::format::{Format, Grid, Shared};
use kit::Table;
use kit::meters::sqnr_db;
use kit::real_slice::{TENSORS, label};
use kit::table::{count, sig3, times};
// The solution: this chapter comes before the labs.
use quantize_and_eval::solution::{bits_per_weight, matrix_bytes};

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
    shared: &'static [Shared],
}

/// Width of the projections of an 8B model: what a row scale is shared by.
const ROW: u64 = 4096;

const FORMATS: [Answers; 9] = [
    Answers {
        name: "bf16",
        grid: "16-bit float",
        granularity: "none",
        quantized: "nothing",
        codes: Grid::Sixteen,
        shared: &[],
    },
    Answers {
        name: "INT8 W8A8",
        grid: "-127..127",
        granularity: "row; token",
        quantized: "weights and activations",
        codes: Grid::Int(8),
        shared: &[Shared { bits: 32, among: Group::Channel }],
    },
    Answers {
        name: "FP8 W8A8 (dynamic)",
        grid: "E4M3, ±448",
        granularity: "row; token",
        quantized: "weights and activations",
        codes: Grid::E4M3,
        shared: &[Shared { bits: 32, among: Group::Channel }],
    },
    Answers {
        name: "W4A16 g128 (GPTQ, symmetric)",
        grid: "-8..7",
        granularity: "128 weights",
        quantized: "weights",
        codes: Grid::Int(4),
        shared: &[Shared { bits: 16, among: Group::Size(128) }],
    },
    Answers {
        name: "AWQ g128",
        grid: "0..15 and a zero",
        granularity: "128 weights",
        quantized: "weights",
        codes: Grid::Int(4),
        shared: &[
            Shared { bits: 16, among: Group::Size(128) },
            Shared { bits: 4, among: Group::Size(128) },
        ],
    },
    Answers {
        name: "GGUF Q8_0",
        grid: "-127..127",
        granularity: "32 weights",
        quantized: "weights",
        codes: Grid::Int(8),
        shared: &[Shared { bits: 16, among: Group::Size(32) }],
    },
    Answers {
        name: "GGUF Q4_0",
        grid: "-8..7",
        granularity: "32 weights",
        quantized: "weights",
        codes: Grid::Int(4),
        shared: &[Shared { bits: 16, among: Group::Size(32) }],
    },
    Answers {
        name: "MXFP4",
        grid: "E2M1, ±6",
        granularity: "32 weights",
        quantized: "weights (or both)",
        codes: Grid::E2M1,
        shared: &[Shared { bits: 8, among: Group::Size(32) }],
    },
    Answers {
        name: "NVFP4",
        grid: "E2M1, ±6",
        granularity: "16 weights",
        quantized: "weights and activations",
        codes: Grid::E2M1,
        shared: &[Shared { bits: 8, among: Group::Size(16) }],
    },
];

impl Answers {
    /// Of a square projection of an 8B model.
    fn bits_per_weight(&self) -> Result<f64> {
        let format = Format {
            name: self.name.into(),
            weights: self.codes,
            activations: Grid::Sixteen,
            shared: self.shared.into(),
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

/// The models of the introduction: small, and one of each usual size.
const MODELS: [&str; 4] = ["SmolLM2-135M", "Qwen2.5-0.5B", "Llama-3.1-8B", "Llama-3.1-70B"];

/// Weight bytes of four models in three formats: embeddings, norms and head stay in 16 bits.
pub fn model_bytes() -> Result<Table> {
    let [bf16, int8, int4] = [0, 1, 3].map(|index| FORMATS[index].bits_per_weight());
    let bits = [bf16?, int8?, int4?];
    let rows = PUBLISHED.iter().filter(|(name, _)| MODELS.contains(name)).map(|(name, model)| {
        let (parameters, linear) = (model.parameters(), model.linear_weights());
        let rest = 16.0 * (parameters - linear) as f64;
        let gb = bits.map(|bits| (rest + bits * linear as f64) / 8.0 / 1e9);
        (*name, parameters, linear as f64 / parameters as f64, gb)
    });
    Ok(Table::of("Weights of four models, in GB (10⁹ bytes)", rows)
        .text("model", |(name, ..)| *name)
        .number("parameters", |(_, parameters, ..)| count(*parameters as usize))
        .number("in quantized layers", |(_, _, linear, _)| format!("{:.1} %", 100.0 * linear))
        .number("bf16", |(.., gb)| sig3(gb[0]))
        .number("int8 per channel", |(.., gb)| sig3(gb[1]))
        .number("int4 g128", |(.., gb)| sig3(gb[2]))
        .number("int4 is smaller by", |(.., gb)| times(gb[0] / gb[2]))
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
