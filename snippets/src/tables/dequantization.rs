//! The tables of the chapter "Where dequantization really happens", read from the capture that
//! `cargo book capture cpu` took.

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::cpu::{Capture, Product, Quantizing};

/// Every table of a capture.
///
/// # Errors
/// If the capture lacks what a row needs.
pub fn all(capture: &Capture) -> Result<Vec<Table>> {
    Ok(vec![products(capture)?, quantizing(capture)?, run(capture)?])
}

/// The products, compared with f32 and with the bandwidth of the memory.
pub fn products(capture: &Capture) -> Result<Table> {
    let shape = capture.products.first().map(|p| (p.out_features, p.in_features));
    let (rows, columns) = shape.context("the capture has no products")?;
    let title = format!(
        "One product of a {rows} x {columns} matrix with one token's activations, measured on {}",
        capture.provenance.processor
    );
    let compared = capture.products.iter().map(|product| {
        let compared = capture.share_of_bandwidth(product).zip(capture.speed_up(product));
        let compared = compared.zip(capture.predicted_speed_up(product));
        let missing = || format!("the capture has nothing to hold {} to", product.format);
        Ok((product, compared.with_context(missing)?))
    });
    Ok(Table::of(title, compared.collect::<Result<Vec<_>>>()?)
        .text("format", |(product, _)| product.format.clone())
        .number("threads", |(product, _)| count(product.threads))
        .number("bytes a product", |(product, _)| count(product.bytes as usize))
        .number("time (ms), median", |(product, _)| sig3(product.time_ms.median))
        .number("min to max (ms)", |(product, _)| {
            format!("{} to {}", sig3(product.time_ms.min), sig3(product.time_ms.max))
        })
        .number("GB/s", |(product, _)| gigabytes(product.rate()))
        .number("share of the roofline bound", |(_, ((share, _), _))| percent(*share))
        .number("speed-up over f32", |(_, ((_, speed_up), _))| times(*speed_up))
        .number("predicted from bytes alone", |(_, (_, predicted))| times(*predicted))
        .done())
}

/// The encoders, compared with llama-quantize.
pub fn quantizing(capture: &Capture) -> Result<Table> {
    let title = format!(
        "Quantizing and packing {} bytes of f32: GB of f32 a second at the median, measured on {}",
        capture.quantizing.first().map_or("no".into(), |q| count(q.bytes as usize)),
        capture.provenance.processor
    );
    let rows = capture.quantizing.iter().filter(|q| q.between == "memory").map(|memory| {
        let files = |who| find(capture, memory, who, "files");
        (memory, files("this lab"), files("llama-quantize"))
    });
    let rate = |q: Option<&Quantizing>| q.map_or("-".into(), |q| gigabytes(q.rate()));
    Ok(Table::of(title, rows)
        .text("format", |(memory, ..)| memory.format.clone())
        .number("threads", |(memory, ..)| count(memory.threads))
        .number("this lab, in memory", |(memory, ..)| gigabytes(memory.rate()))
        .number("this lab, file to file", |(_, ours, _)| rate(*ours))
        .number("llama-quantize, file to file", |(.., theirs)| rate(*theirs))
        .number("ours over theirs", |(_, ours, theirs)| {
            ours.zip(*theirs)
                .map_or("-".into(), |(ours, theirs)| times(ours.rate() / theirs.rate()))
        })
        .number("blocks that differ", |(.., theirs)| {
            let differ = theirs.and_then(|q| q.blocks_that_differ);
            differ.map_or("-".into(), |blocks| count(blocks as usize))
        })
        .done())
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

/// Where the capture comes from.
pub fn run(capture: &Capture) -> Result<Table> {
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
    Ok(table)
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
    use crate::inputs::CPU;

    #[test]
    fn every_table_has_a_row_for_everything_that_was_measured() -> Result<()> {
        let capture = CPU.data();
        let rows = |table: Table| table.to_markdown().lines().count() - 2;
        assert_eq!(rows(products(capture)?), capture.products.len());
        let memory = capture.quantizing.iter().filter(|q| q.between == "memory").count();
        assert_eq!(rows(quantizing(capture)?), memory);
        assert_eq!(rows(run(capture)?), 10 + capture.bandwidths.len());
        Ok(())
    }
}
