//! The memory of an engine besides weights and cache, read from the captures that `cargo book measure` took.

use anyhow::{Context, Result};
use kit::Table;
use kit::table::count;
use measure::engines::{Capture, Run};

/// An engine's own memory beside one checkpoint.
struct Row {
    engine: String,
    format: String,
    weights: u64,
    /// Bytes of the cache, where the engine was given so many.
    cache: Option<u64>,
    own: u64,
    what: String,
}

/// Each run of `captures` that tells of the engine's own memory.
///
/// # Errors
/// If a run tells nothing, or less memory than its weights and cache take.
pub fn own_memory(captures: &[Capture]) -> Result<Table> {
    let runs =
        captures.iter().flat_map(|capture| capture.runs.iter().map(move |run| (capture, run)));
    let rows = runs.map(|(capture, run)| row(capture, run)).collect::<Result<Vec<_>>>()?;
    let megabytes = |bytes: u64| count((bytes as f64 / 1e6).round() as usize);
    let title = "The memory of two engines besides weights and cache, SmolLM2-135M on a CPU, in MB (10⁶ bytes)";
    Ok(Table::of(title, rows)
        .text("engine", |row| row.engine.clone())
        .text("format", |row| format!("`{}`", row.format))
        .number("weights", |row| megabytes(row.weights))
        .number("cache", |row| row.cache.map_or("–".into(), megabytes))
        .number("own memory", |row| megabytes(row.own))
        .text("what it is", |row| row.what.clone())
        .done())
}

fn row(capture: &Capture, run: &Run) -> Result<Row> {
    let name = &run.name;
    let told = run.own_memory.with_context(|| format!("{name}: nothing of the engine's memory"))?;
    let weights = run.weight_bytes.with_context(|| format!("{name}: no size of the weights"))?;
    let of = |cache, own, what| Row {
        engine: capture.setup.engine.to_string(),
        format: name.clone(),
        weights,
        cache,
        own,
        what,
    };
    if let Some(compute) = told.compute_bytes {
        return Ok(of(None, compute, "the compute buffer, as the log tells".into()));
    }
    let resident = told.resident_bytes.with_context(|| format!("{name}: no size"))?;
    let cache = run.kv_cache.as_ref().and_then(|kv| kv.memory_bytes);
    let cache = cache.with_context(|| format!("{name}: no size of the cache"))?;
    let own = resident.checked_sub(weights + cache);
    let own = own.with_context(|| format!("{name}: less memory than weights and cache take"))?;
    let processes = told.processes.with_context(|| format!("{name}: no number of processes"))?;
    Ok(of(
        Some(cache),
        own,
        format!("resident memory of {processes} processes, less weights and cache"),
    ))
}
