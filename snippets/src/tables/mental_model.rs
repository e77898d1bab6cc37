//! The three questions as arithmetic: bits per weight, bytes of a model, decibels per bit.

use anyhow::Result;
use formats::architecture::PUBLISHED;
use formats::format::Group;
use formats::format::{Format, Grid, Shared};
use kit::Table;
use kit::meters::sqnr_db;
use kit::real_slice::{self, TENSORS, label};
use kit::table::{count, sig3, times};
// The solution: this chapter comes before the labs.
use quantize_and_eval::solution::{bits_per_weight, matrix_bytes};

use crate::grid::{per_channel_round_trip, qmax};

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
    let mut table = Table::new("Nine formats, three answers each, and the bits that follow")
        .text("format")
        .text("what grid?")
        .text("one scale for")
        .text("what is quantized?")
        .number("bits a weight");
    for format in &FORMATS {
        table.row([
            format.name.to_string(),
            format.grid.to_string(),
            format.granularity.to_string(),
            format.quantized.to_string(),
            format!("{:.3}", format.bits_per_weight()?),
        ]);
    }
    Ok(table)
}

/// The models of the introduction: small, and one of each usual size.
const MODELS: [&str; 4] = ["SmolLM2-135M", "Qwen2.5-0.5B", "Llama-3.1-8B", "Llama-3.1-70B"];

/// Weight bytes of four models in three formats: embeddings, norms and head stay in 16 bits.
pub fn model_bytes() -> Result<Table> {
    let mut table = Table::new("Weights of four models, in GB (10⁹ bytes)")
        .text("model")
        .number("parameters")
        .number("in quantized layers")
        .number("bf16")
        .number("int8 per channel")
        .number("int4 g128")
        .number("int4 is smaller by");
    let bits = [
        FORMATS[0].bits_per_weight()?,
        FORMATS[1].bits_per_weight()?,
        FORMATS[3].bits_per_weight()?,
    ];
    for (name, model) in PUBLISHED.iter().filter(|(name, _)| MODELS.contains(name)) {
        let (parameters, linear) = (model.parameters(), model.linear_weights());
        let rest = 16.0 * (parameters - linear) as f64;
        let [bf16, int8, int4] = bits.map(|bits| (rest + bits * linear as f64) / 8.0 / 1e9);
        table.row([
            name.to_string(),
            count(usize::try_from(parameters)?),
            format!("{:.1} %", 100.0 * linear as f64 / parameters as f64),
            sig3(bf16),
            sig3(int8),
            sig3(int4),
            times(bf16 / int4),
        ]);
    }
    Ok(table)
}

/// What a bit buys: SQNR of a real matrix at eight widths.
pub fn bits_ladder() -> Result<Table> {
    let w = real_slice::tensor(TENSORS[6])?;
    let mut table =
        Table::new(format!("What a bit buys: {}, one scale per row", label(TENSORS[6])))
            .number("bits")
            .number("largest code")
            .number("SQNR (dB)")
            .number("gain over one bit less (dB)")
            .number("predicted from the step (dB)");
    let mut last = None;
    for bits in 2..=8 {
        let sqnr = sqnr_db(&w, &per_channel_round_trip(&w, bits));
        let (codes, half) = (qmax(bits), qmax(bits - 1));
        let dash = || "–".to_string();
        table.row([
            bits.to_string(),
            codes.to_string(),
            sig3(sqnr),
            last.map_or_else(dash, |last| sig3(sqnr - last)),
            if half > 0.0 { sig3(20.0 * (codes / half).log10()) } else { dash() },
        ]);
        last = Some(sqnr);
    }
    Ok(table)
}
