//! The tables of lab 02.

use anyhow::Result;
use formats::device;
use kit::Table;

use crate::published::{self, ASYNCHRONOUS, BATCH_CROSSOVER, ML_ENGINEERING};

/// Published throughput of one GPU as the batch grows.
pub fn published_batch_crossover() -> Result<Table> {
    let columns = ["BF16 (tokens/s)", "FP8 (tokens/s)", "INT4 AWQ (tokens/s)"];
    Ok(published::table("throughput as the batch grows", &columns, &BATCH_CROSSOVER))
}

/// Published speed-ups under load.
pub fn published_asynchronous() -> Result<Table> {
    let columns = ["8-bit W8A8", "4-bit W4A16"];
    Ok(published::table("mean speed-up over BF16 under load", &columns, &ASYNCHRONOUS))
}

/// Published peak rates: those of [`formats::device`], with their source.
pub fn published_ceilings() -> Result<Table> {
    let mut table = Table::new("Published, not measured here: what the data sheets say, dense")
        .text("device")
        .number("memory (GB)")
        .number("bandwidth (TB/s)")
        .number("BF16 (TFLOP/s)")
        .number("FP8 (TFLOP/s)")
        .number("INT8 (TOP/s)")
        .number("FP4 (TFLOP/s)")
        .text("source");
    for (name, device) in device::PUBLISHED {
        let rates = device.operations_per_s;
        let tera = |rate: Option<f64>| rate.map_or("none".into(), |rate| (rate / 1e12).to_string());
        table.row([
            name.to_string(),
            (device.memory_bytes / 1_000_000_000).to_string(),
            format!("{:.2}", device.bytes_per_s / 1e12),
            tera(rates.sixteen),
            tera(rates.fp8),
            tera(rates.int8),
            tera(rates.fp4),
            format!("[{}]({}), without sparsity", ML_ENGINEERING.name, ML_ENGINEERING.url),
        ]);
    }
    Ok(table)
}
