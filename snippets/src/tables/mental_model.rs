//! The three questions as arithmetic: bits per weight, bytes of a model, decibels per bit.

use anyhow::Result;
use kit::Table;
use kit::meters::sqnr_db;
use kit::real_slice::{self, TENSORS, label};
use kit::table::{count, sig3, times};

use crate::grid::{per_channel_round_trip, qmax};

/// A format as the answers to the three questions, and the bits that follow from them.
struct Format {
    name: &'static str,
    grid: &'static str,
    granularity: &'static str,
    quantized: &'static str,
    code_bits: f64,
    /// Bits of scale (and zero point) shared by how many weights.
    shared: &'static [(f64, f64)],
}

/// In-features of the 4,096 x 4,096 projections of an 8B model: what a row scale is shared by.
const ROW: f64 = 4096.0;

const FORMATS: [Format; 9] = [
    Format {
        name: "bf16",
        grid: "16-bit float",
        granularity: "none",
        quantized: "nothing",
        code_bits: 16.0,
        shared: &[],
    },
    Format {
        name: "INT8 W8A8",
        grid: "-127..127",
        granularity: "row; token",
        quantized: "weights and activations",
        code_bits: 8.0,
        shared: &[(32.0, ROW)],
    },
    Format {
        name: "FP8 W8A8 (dynamic)",
        grid: "E4M3, ±448",
        granularity: "row; token",
        quantized: "weights and activations",
        code_bits: 8.0,
        shared: &[(32.0, ROW)],
    },
    Format {
        name: "W4A16 g128 (GPTQ, symmetric)",
        grid: "-8..7",
        granularity: "128 weights",
        quantized: "weights",
        code_bits: 4.0,
        shared: &[(16.0, 128.0)],
    },
    Format {
        name: "AWQ g128",
        grid: "0..15 and a zero",
        granularity: "128 weights",
        quantized: "weights",
        code_bits: 4.0,
        shared: &[(16.0, 128.0), (4.0, 128.0)],
    },
    Format {
        name: "GGUF Q8_0",
        grid: "-127..127",
        granularity: "32 weights",
        quantized: "weights",
        code_bits: 8.0,
        shared: &[(16.0, 32.0)],
    },
    Format {
        name: "GGUF Q4_0",
        grid: "-8..7",
        granularity: "32 weights",
        quantized: "weights",
        code_bits: 4.0,
        shared: &[(16.0, 32.0)],
    },
    Format {
        name: "MXFP4",
        grid: "E2M1, ±6",
        granularity: "32 weights",
        quantized: "weights (or both)",
        code_bits: 4.0,
        shared: &[(8.0, 32.0)],
    },
    Format {
        name: "NVFP4",
        grid: "E2M1, ±6",
        granularity: "16 weights",
        quantized: "weights and activations",
        code_bits: 4.0,
        shared: &[(8.0, 16.0)],
    },
];

impl Format {
    fn bits_per_weight(&self) -> f64 {
        self.code_bits + self.shared.iter().map(|(bits, weights)| bits / weights).sum::<f64>()
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
            format!("{:.3}", format.bits_per_weight()),
        ]);
    }
    Ok(table)
}

/// An architecture, from its published `config.json`.
struct Architecture {
    name: &'static str,
    /// All parameters.
    parameters: usize,
    /// Those in the linear layers of the blocks: what is usually quantized.
    linear: usize,
}

const ARCHITECTURES: [Architecture; 4] = [
    Architecture { name: "SmolLM2-135M", parameters: 134_515_008, linear: 106_168_320 },
    Architecture { name: "Qwen2.5-0.5B", parameters: 494_032_768, linear: 357_826_560 },
    Architecture { name: "Llama-3.1-8B", parameters: 8_030_261_248, linear: 6_979_321_856 },
    Architecture { name: "Llama-3.1-70B", parameters: 70_553_706_496, linear: 68_451_041_280 },
];

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
    for model in &ARCHITECTURES {
        let rest = 16.0 * (model.parameters - model.linear) as f64;
        let gigabytes =
            |format: &Format| (rest + format.bits_per_weight() * model.linear as f64) / 8.0 / 1e9;
        let [bf16, int8, int4] = [&FORMATS[0], &FORMATS[1], &FORMATS[3]].map(gigabytes);
        table.row([
            model.name.to_string(),
            count(model.parameters),
            format!("{:.1} %", 100.0 * model.linear as f64 / model.parameters as f64),
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
