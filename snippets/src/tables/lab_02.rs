//! The tables of lab 02.

use anyhow::Result;
use kit::Table;

use crate::published::{self, ASYNCHRONOUS, BATCH_CROSSOVER, CEILINGS};

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

/// Published peak rates.
pub fn published_ceilings() -> Result<Table> {
    let columns =
        ["memory (GB)", "bandwidth (TB/s)", "BF16 (TFLOP/s)", "FP8 (TFLOP/s)", "INT8 (TOP/s)"];
    Ok(published::table("what the data sheets say, dense", &columns, &CEILINGS))
}
