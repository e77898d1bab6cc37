//! The tables of the chapter "The cost model": computed from sizes and data sheets, nothing measured.

use anyhow::{Context, Result};
use formats::architecture::{Architecture, LLAMA31_8B, LLAMA31_70B, PUBLISHED, SMOLLM2_135M};
use formats::device::{self, Device};
use formats::format::{Format, Grid};
use kit::Table;
use kit::table::{count, sig3, times};
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, ModelFormat, Served, UTILIZATION, concurrency, crossover_batch,
    decode_tokens_per_s, kv_available_bytes, kv_blocks, kv_bytes_per_token, kv_tokens,
    linear_bytes, model_bytes, operations_per_s, prefill_tokens_per_s,
};

/// Tokens of each sequence where a table counts how many fit.
const CONTEXT: u64 = 8192;
/// Tokens of a prompt.
const PROMPT: u64 = 2048;
/// Tokens of each sequence in decode.
const DECODE_CONTEXT: u64 = 1024;

/// What a format stores, in the chapter's order.
fn formats() -> [Format; 4] {
    [Format::BF16, Format::W8A8, Format::FP8, Format::w4a16(128)]
}

fn number(value: u64) -> String {
    count(value as usize)
}

fn gigabytes(bytes: u64) -> String {
    sig3(bytes as f64 / 1e9)
}

/// A matrix of a decoder layer: its name, and its sizes by the names of `config.json`.
pub struct Matrix {
    /// Without `_proj`.
    pub name: &'static str,
    out_features: &'static str,
    in_features: &'static str,
    reads: &'static str,
}

const ATTENTION: &str = "heads · head_dim";
const KEYS: &str = "KV heads · head_dim";
const fn matrix(
    name: &'static str,
    [out_features, in_features]: [&'static str; 2],
    reads: &'static str,
) -> Matrix {
    Matrix { name, out_features, in_features, reads }
}

/// The matrices in the order of [`Architecture::layer_matrices`].
pub const MATRICES: [Matrix; 7] = [
    matrix("q", [ATTENTION, "hidden"], "the first norm"),
    matrix("k", [KEYS, "hidden"], "the first norm"),
    matrix("v", [KEYS, "hidden"], "the first norm"),
    matrix("o", ["hidden", ATTENTION], "the heads, side by side"),
    matrix("gate", ["intermediate", "hidden"], "the second norm"),
    matrix("up", ["intermediate", "hidden"], "the second norm"),
    matrix("down", ["hidden", "intermediate"], "silu(gate) · up"),
];

/// The matrices of a layer, as formulas and for two models.
pub fn matrices() -> Result<Table> {
    let shape = |[rows, columns]: [u64; 2]| format!("[{}, {}]", number(rows), number(columns));
    let [small, large] = [SMOLLM2_135M, LLAMA31_8B].map(|model| model.layer_matrices());
    let rows = MATRICES.iter().zip(small.map(shape).into_iter().zip(large.map(shape)));
    Ok(Table::of("The seven matrices of a decoder layer", rows)
        .text("matrix", |(matrix, _)| format!("`{}_proj`", matrix.name))
        .text("reads", |(matrix, _)| matrix.reads)
        .text("out_features", |(matrix, _)| matrix.out_features)
        .text("in_features", |(matrix, _)| matrix.in_features)
        .number("SmolLM2-135M", |(_, (small, _))| small.clone())
        .number("Llama-3.1-8B", |(_, (_, large))| large.clone())
        .done())
}

/// Bytes of the weights of published models.
pub fn weights() -> Result<Table> {
    let rows = PUBLISHED.iter().map(|(name, model)| {
        let bytes = |format| model_bytes(model, &ModelFormat::of(format));
        let bf16 = bytes(Format::BF16)?;
        let [int4, smaller] = match bytes(Format::w4a16(128)) {
            Ok(int4) => [gigabytes(int4), times(bf16 as f64 / int4 as f64)],
            Err(CostError::Indivisible { in_features, .. }) => {
                [format!("{in_features} does not divide"), "-".into()]
            }
            Err(error) => return Err(error.into()),
        };
        Ok((*name, [gigabytes(bf16), gigabytes(bytes(Format::W8A8)?), int4, smaller]))
    });
    let title = "Weights of published models, GB (10⁹ bytes); all else in 16 bits";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("model", |(name, _)| *name)
        .number("bf16", |(_, cells)| cells[0].clone())
        .number("W8A8 or FP8", |(_, cells)| cells[1].clone())
        .number("W4A16 g128", |(_, cells)| cells[2].clone())
        .number("W4A16 is smaller by", |(_, cells)| cells[3].clone())
        .done())
}

/// What a token of each published model keeps.
pub fn kv() -> Result<Table> {
    let rows = PUBLISHED.iter().map(|(name, model)| {
        let bytes = |grid| kv_bytes_per_token(model, grid);
        Ok((*name, model, bytes(Grid::Sixteen)?, bytes(Grid::E4M3)?))
    });
    Ok(Table::of("KV cache of published models", rows.collect::<Result<Vec<_>>>()?)
        .text("model", |(name, ..)| *name)
        .number("layers", |(_, model, ..)| model.layers.to_string())
        .number("heads", |(_, model, ..)| model.heads.to_string())
        .number("KV heads", |(_, model, ..)| model.kv_heads.to_string())
        .number("bytes a token, 16 bits", |(_, _, sixteen, _)| number(*sixteen))
        .number("bytes a token, FP8", |(.., fp8)| number(*fp8))
        .number("one sequence of 32,768 tokens, 16 bits (GB)", |(_, _, sixteen, _)| {
            gigabytes(32_768 * sixteen)
        })
        .done())
}

/// Blocks of KV cache that fit into the memory that the weights leave.
pub fn capacity() -> Result<Table> {
    let placed = [
        ("RTX 4090", device::RTX_4090, "Llama-3.1-8B", LLAMA31_8B),
        ("L40S", device::L40S, "Llama-3.1-8B", LLAMA31_8B),
        ("H100 SXM", device::H100, "Llama-3.1-8B", LLAMA31_8B),
        ("H100 SXM", device::H100, "Llama-3.1-70B", LLAMA31_70B),
        ("H200 SXM", device::H200, "Llama-3.1-70B", LLAMA31_70B),
    ];
    let mut rows = Vec::new();
    for (device_name, device, model_name, model) in placed {
        let formats = [
            ("bf16", Format::BF16),
            ("W8A8 or FP8", Format::W8A8),
            ("W4A16 g128", Format::w4a16(128)),
        ];
        for (name, format) in formats {
            rows.push(([device_name, model_name, name], room(&device, &model, format)?));
        }
    }
    let title = format!(
        "What fits: utilization {UTILIZATION}, blocks of {BLOCK_TOKENS} tokens, KV cache in 16 bits"
    );
    Ok(Table::of(title, rows)
        .text("device", |(names, _)| names[0])
        .text("model", |(names, _)| names[1])
        .text("format", |(names, _)| names[2])
        .number("weights (GB)", |(_, room)| room[0].clone())
        .number("left for the cache (GB)", |(_, room)| room[1].clone())
        .number("blocks", |(_, room)| room[2].clone())
        .number("tokens", |(_, room)| room[3].clone())
        .number(format!("sequences of {}", number(CONTEXT)), |(_, room)| room[4].clone())
        .done())
}

/// Weights, what is left, blocks, tokens and sequences of `model` in `format` on `device`.
fn room(device: &Device, model: &Architecture, format: Format) -> Result<[String; 5]> {
    let weights = model_bytes(model, &ModelFormat::of(format))?;
    let left = match kv_available_bytes(device.memory_bytes, UTILIZATION, weights) {
        Err(CostError::NoRoom { .. }) => {
            let dash = || "-".to_string();
            return Ok([gigabytes(weights), "does not start".into(), dash(), dash(), dash()]);
        }
        left => left?,
    };
    let blocks = kv_blocks(left, BLOCK_TOKENS, kv_bytes_per_token(model, Grid::Sixteen)?)?;
    Ok([
        gigabytes(weights),
        gigabytes(left),
        number(blocks),
        number(kv_tokens(blocks, BLOCK_TOKENS)?),
        format!("{:.1}", concurrency(blocks, BLOCK_TOKENS, CONTEXT)?),
    ])
}

/// Tokens per second that no engine can exceed.
pub fn bounds() -> Result<Table> {
    let mut table = Table::new(format!(
        "Roofline bounds of Llama-3.1-8B, tokens/s: decode with {} tokens of context each, a prompt of {}",
        number(DECODE_CONTEXT),
        number(PROMPT),
    ))
    .text("device")
    .text("format")
    .number("decode, batch 1")
    .number("batch 8")
    .number("batch 64")
    .number("prefill")
    .number("crossover without a cache");
    for (name, device) in [
        ("A100 SXM", device::A100),
        ("L40S", device::L40S),
        ("H100 SXM", device::H100),
        ("H200 SXM", device::H200),
    ] {
        for format in formats() {
            let served = Served::of(LLAMA31_8B, format);
            let cells = match bounds_of(&served, &device) {
                Err(CostError::NoRate(_)) => {
                    ["no FP8 unit"].into_iter().chain(["-"; 4]).map(String::from).collect()
                }
                cells => cells?,
            };
            let head = [name.to_string(), served.format.linear.name.to_string()];
            table.row(head.into_iter().chain(cells));
        }
    }
    Ok(table)
}

fn bounds_of(served: &Served, device: &Device) -> Result<Vec<String>, CostError> {
    let mut cells = Vec::new();
    for batch in [1, 8, 64] {
        cells.push(whole(decode_tokens_per_s(served, device, batch, DECODE_CONTEXT)?));
    }
    cells.push(whole(prefill_tokens_per_s(served, device, PROMPT)?));
    let crossover = crossover_batch(served, device, 0)?;
    cells.push(crossover.map_or_else(|| "none".into(), |batch| format!("{batch:.0}")));
    Ok(cells)
}

/// The batch at which decode of Llama-3.1-8B stops being bound by memory, without a cache.
///
/// # Errors
/// If there is none.
pub fn crossover(format: Format, device: &Device) -> Result<f64> {
    let batch = crossover_batch(&Served::of(LLAMA31_8B, format), device, 0)?;
    batch.context("without a cache the bounds meet")
}

/// As [`crossover`], of the linear layers alone: bytes a weight times rate, over twice the bandwidth.
///
/// # Errors
/// If the device does not have the arithmetic of `format`.
pub fn layers_crossover(format: &Format, device: &Device) -> Result<f64> {
    let bytes = linear_bytes(&LLAMA31_8B, format)? as f64 / LLAMA31_8B.linear_weights() as f64;
    Ok(bytes * operations_per_s(device, format)? / (2.0 * device.bytes_per_s))
}

/// The crossovers of the formats on two devices, with the head in 16 bits and without a head.
pub fn crossovers() -> Result<Table> {
    let devices = [("H100", device::H100), ("H200", device::H200)];
    let names = ["bf16", "W8A8", "FP8", "W4A16 g128"];
    let mut rows = Vec::new();
    for (name, device) in devices {
        for (of, format) in names.into_iter().zip(formats()) {
            let layers = layers_crossover(&format, &device)?;
            rows.push((name, of, layers, crossover(format, &device)?));
        }
    }
    let title = "Llama-3.1-8B, empty cache: the tokens a step at which arithmetic takes over";
    Ok(Table::of(title, rows)
        .text("device", |(device, ..)| *device)
        .text("format", |(_, format, ..)| *format)
        .number("linear layers alone", |(_, _, layers, _)| format!("{layers:.0}"))
        .number("with the head in 16 bits", |(.., all)| format!("{all:.0}"))
        .done())
}

/// A rate with three significant digits and commas.
fn whole(rate: f64) -> String {
    let digits = sig3(rate);
    digits.parse::<usize>().map_or(digits, count)
}

/// The batch at which decode stops being bound by memory, as the context grows.
pub fn contexts() -> Result<Table> {
    let mut table = Table::new("Llama-3.1-8B on an H100: the batch at which arithmetic takes over")
        .number("tokens of each sequence")
        .number("bf16")
        .number("W8A8 or FP8")
        .number("W4A16 g128")
        .number("W8A8, FP8 cache");
    for context in [0, 16, 32, 64, 128, 256, 512] {
        let fp8_cache = Served { kv: Grid::E4M3, ..Served::of(LLAMA31_8B, Format::W8A8) };
        let served = [Format::BF16, Format::W8A8, Format::w4a16(128)]
            .map(|format| Served::of(LLAMA31_8B, format));
        let mut cells = vec![number(context)];
        for served in served.iter().chain([&fp8_cache]) {
            let batch = crossover_batch(served, &device::H100, context)?;
            cells.push(batch.map_or_else(|| "never".into(), |batch| format!("{batch:.0}")));
        }
        table.row(cells);
    }
    Ok(table)
}
