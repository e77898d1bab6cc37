//! `cargo book inspect`: what a checkpoint is, from its headers alone.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use kit::Table;
use kit::checkpoint::report;
use kit::checkpoint::{Inspection, inspect};
use kit::table::count;

/// Arguments of `cargo book inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// A .safetensors or .gguf file, an index of shards, or a folder with one of these.
    file: PathBuf,
    /// Name every tensor, and list the parts of a matrix of each kind.
    #[arg(long)]
    all: bool,
    /// Print JSON, with an entry for each matrix.
    #[arg(long)]
    json: bool,
}

/// Prints what the checkpoint is; fails if it contradicts itself.
///
/// # Errors
/// If there is no checkpoint, or a file is damaged or cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let inspection = inspect(&args.file)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report::to_json(&inspection)).context("no valid JSON")?
    } else {
        text(&inspection, args.all)
    };
    // Not with `println!`, which panics when the reader is `head`.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
    let agrees = inspection.problems.is_empty();
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole report.
fn text(inspection: &Inspection, all: bool) -> String {
    let mut parts: Vec<String> = inspection
        .files
        .iter()
        .map(|file| {
            let (bytes, header) = (number(file.bytes), number(file.header_bytes));
            format!("{}: {bytes} bytes, {header} of them header, read", file.path.display())
        })
        .collect();
    parts.push(String::new());
    let mut add = |table: Table| parts.push(table.to_string());
    add(report::summary(inspection));
    if !inspection.inventory.quantized.is_empty() {
        add(report::quantized(inspection, all));
    }
    if all && !inspection.inventory.quantized.is_empty() {
        add(report::parts(inspection));
    }
    if !inspection.inventory.plain.is_empty() {
        add(report::plain(inspection, all));
    }
    parts.extend(report::verdict(inspection));
    parts.join("\n")
}

fn number(bytes: u64) -> String {
    usize::try_from(bytes).map_or_else(|_| bytes.to_string(), count)
}
