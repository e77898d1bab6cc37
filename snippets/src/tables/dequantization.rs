//! The tables of the chapter "Where dequantization really happens", read from the capture that
//! `cargo book capture cpu` took.

use std::path::PathBuf;

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::cpu::{Capture, Product, Quantizing};

use crate::capture_files;

/// The folder that the committed capture lies in.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/cpu/captures");

/// The committed capture files.
pub fn files() -> Vec<PathBuf> {
    capture_files::json_in(FOLDER)
}

/// The committed capture.
///
/// # Errors
/// If there is not exactly one, or it cannot be read; the message says what to do.
pub fn committed() -> Result<Capture> {
    capture_files::the_one(FOLDER, "cpu")
}

/// Every table of a capture, as text for a terminal.
///
/// # Errors
/// If the capture lacks what a row needs.
pub fn all(capture: &Capture) -> Result<String> {
    let tables = [products(capture)?, quantizing(capture), run(capture)];
    Ok(tables.map(|table| table.to_string()).join("\n"))
}

/// The products of the committed capture.
pub fn matvec_captured() -> Result<Table> {
    products(&committed()?)
}

/// The encoders of the committed capture.
pub fn quantize_captured() -> Result<Table> {
    Ok(quantizing(&committed()?))
}

/// Where the committed capture comes from.
pub fn cpu_run() -> Result<Table> {
    Ok(run(&committed()?))
}

fn products(capture: &Capture) -> Result<Table> {
    let shape = capture.products.first().map(|p| (p.out_features, p.in_features));
    let (rows, columns) = shape.context("the capture has no products")?;
    let title = format!(
        "One product of a {rows} x {columns} matrix with one token's activations, measured on {}",
        capture.provenance.processor
    );
    let mut table = Table::new(title)
        .text("format")
        .number("threads")
        .number("bytes a product")
        .number("time (ms), median")
        .number("min to max (ms)")
        .number("GB/s")
        .number("share of the ceiling")
        .number("speed-up over f32")
        .number("predicted from bytes alone");
    for product in &capture.products {
        let missing = || format!("the capture has nothing to hold {} to", product.format);
        let time = product.time_ms;
        table.row([
            product.format.clone(),
            count(product.threads),
            count(product.bytes as usize),
            sig3(time.median),
            format!("{} to {}", sig3(time.min), sig3(time.max)),
            gigabytes(product.rate()),
            percent(capture.share_of_bandwidth(product).with_context(missing)?),
            times(capture.speed_up(product).with_context(missing)?),
            times(capture.predicted_speed_up(product).with_context(missing)?),
        ]);
    }
    Ok(table)
}

fn quantizing(capture: &Capture) -> Table {
    let title = format!(
        "Quantizing and packing {} bytes of f32: GB of f32 a second at the median, measured on {}",
        capture.quantizing.first().map_or("no".into(), |q| count(q.bytes as usize)),
        capture.provenance.processor
    );
    let mut table = Table::new(title)
        .text("format")
        .number("threads")
        .number("this lab, in memory")
        .number("this lab, file to file")
        .number("llama-quantize, file to file")
        .number("ours over theirs")
        .number("blocks that differ");
    for memory in capture.quantizing.iter().filter(|q| q.between == "memory") {
        let row = |who, between| find(capture, memory, who, between);
        let (ours, theirs) = (row("this lab", "files"), row("llama-quantize", "files"));
        let rate = |q: Option<&Quantizing>| q.map_or("-".into(), |q| gigabytes(q.rate()));
        let lead = ours.zip(theirs).map(|(ours, theirs)| times(ours.rate() / theirs.rate()));
        let differ = theirs.and_then(|q| q.blocks_that_differ);
        table.row([
            memory.format.clone(),
            count(memory.threads),
            gigabytes(memory.rate()),
            rate(ours),
            rate(theirs),
            lead.unwrap_or("-".into()),
            differ.map_or("-".into(), |blocks| count(blocks as usize)),
        ]);
    }
    table
}

/// The same format on as many threads, by someone else or elsewhere.
fn find<'c>(
    capture: &'c Capture,
    like: &Quantizing,
    who: &str,
    between: &str,
) -> Option<&'c Quantizing> {
    let same = |q: &&Quantizing| q.format == like.format && q.threads == like.threads;
    capture.quantizing.iter().filter(same).find(|q| q.who == who && q.between == between)
}

fn run(capture: &Capture) -> Table {
    let (run, setup) = (&capture.provenance, &capture.setup);
    let mut table = Table::new("The run that these numbers come from").text("what").text("is");
    table.row(["processor", &run.processor]);
    table.row(["processors used", &count(run.processors)]);
    table.row(["last cache (bytes)", &count(setup.cache_bytes as usize)]);
    table.row(["instructions", &setup.instructions]);
    table.row(["system", &run.system]);
    table.row(["compiler", run.compiler.as_deref().unwrap_or("unknown")]);
    table.row(["llama-quantize", setup.llama_quantize.as_deref().unwrap_or("not run")]);
    table.row(["date", &run.date]);
    // As code, or the book would make a dash of each `--`.
    table.row(["commit", &format!("`{}`", run.commit)]);
    table.row(["command", &format!("`{}`", run.command)]);
    for bandwidth in &capture.bandwidths {
        let what = format!("plain reading, threads: {}", bandwidth.threads);
        let (best, median) = (gigabytes(bandwidth.best()), gigabytes(bandwidth.median()));
        table.row([what, format!("best {best} GB/s, median {median} GB/s")]);
    }
    table
}

fn gigabytes(rate: f64) -> String {
    sig3(rate / 1e9)
}

/// The product of `format` on most threads.
///
/// # Errors
/// If the capture has none.
pub fn product_of<'c>(capture: &'c Capture, format: &str) -> Result<&'c Product> {
    let of_format = capture.products.iter().filter(|product| product.format == format);
    of_format.max_by_key(|product| product.threads).with_context(|| {
        format!("the capture has no product of {format}: run `cargo book capture cpu` again")
    })
}

/// How many times as fast a format is on all threads as on one.
///
/// # Errors
/// If the capture lacks one of the two.
pub fn gain_of_threads(capture: &Capture, format: &str) -> Result<f64> {
    let one = capture.products.iter().find(|one| one.format == format && one.threads == 1);
    let one = one.with_context(|| format!("the capture has no product of {format} on 1 thread"))?;
    Ok(one.time_ms.median / product_of(capture, format)?.time_ms.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_row_for_everything_that_was_measured() -> Result<()> {
        let capture = committed()?;
        let rows = |table: Table| table.to_markdown().lines().count() - 2;
        assert_eq!(rows(products(&capture)?), capture.products.len());
        let memory = capture.quantizing.iter().filter(|q| q.between == "memory").count();
        assert_eq!(rows(quantizing(&capture)), memory);
        assert_eq!(rows(run(&capture)), 10 + capture.bandwidths.len());
        Ok(())
    }
}
