//! The tables and the figure of any capture file, also of a reader's own.

// A reader's own file is no input of the book, and nothing of it is kept.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

use anyhow::{Context, Result, bail};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use measure::capture::Body;
use measure::cpu::CpuMeters;
use measure::engines::{Capture, EngineMeters, Meter, meter_tables};
use measure::gptq::GptqMeters;
use measure::gpu::GpuMeters;
use measure::grids::GridMeters;
use measure::kv::KvMeters;
use measure::outliers::OutlierMeters;
use measure::rotations::RotationMeters;
use measure::zoo::ZooMeters;

use crate::figures;
use crate::inputs::{Gpus, committed_gpus, load, load_all};
use crate::tables::{
    captured, dequantization, gptq, kv_cache, lab_08, outliers, rotations_model, zoo,
};

/// The tables of a capture file, whichever program wrote it, as text for a terminal. Those of a GPU
/// are shown together with the captures of the repository.
///
/// # Errors
/// If the file is no capture, or lacks what a row needs.
pub fn show(path: &Path) -> Result<String> {
    let schema = schema(path)?;
    let tables: Vec<Table> = if is::<GpuMeters>(&schema) {
        captured::all(&with_ours(path)?)?
    } else if is::<CpuMeters>(&schema) {
        dequantization::all(&load(path)?)?
    } else if is::<OutlierMeters>(&schema) {
        outliers::all(&load(path)?)?
    } else if is::<GptqMeters>(&schema) {
        gptq::all(&load(path)?)?
    } else if is::<GridMeters>(&schema) {
        vec![lab_08::model(&load(path)?)?]
    } else if is::<KvMeters>(&schema) {
        kv_cache::all(&load(path)?)?
    } else if is::<RotationMeters>(&schema) {
        rotations_model::all(&load(path)?)?
    } else if is::<ZooMeters>(&schema) {
        zoo::all(&load(path)?)?
    } else if is::<EngineMeters>(&schema) {
        meter_tables::all(&load(path)?, SMOLLM2_135M)
    } else {
        bail!("{} is of {schema:?}, and the book has no tables of it", path.display())
    };
    Ok(tables.iter().map(Table::to_string).collect::<Vec<_>>().join("\n"))
}

/// The figure of a capture of `cargo book measure`, as an SVG file. `None` if there is nothing to
/// draw, because a figure compares the throughputs and capacities of two formats at least.
///
/// # Errors
/// If the file is no such capture.
pub fn figure(path: &Path) -> Result<Option<String>> {
    let capture: Capture = load(path)?;
    let served = capture.runs.iter().filter(|run| run.served).count();
    let drawn = [Meter::Capacity, Meter::Throughput].iter().all(|&m| capture.plan.takes(m));
    (served > 1 && drawn).then(|| Ok(figures::measured::of(&capture)?.to_file())).transpose()
}

/// Whether a schema is that of a program, or of one that it replaced.
fn is<B: Body>(schema: &str) -> bool {
    schema == B::SCHEMA || B::REPLACED.contains(&schema)
}

fn schema(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(value["schema"].as_str().unwrap_or("no schema").to_string())
}

/// A capture of a GPU and the committed ones.
fn with_ours(path: &Path) -> Result<Gpus> {
    let mut captures = vec![load(path)?];
    captures.extend(load_all(&committed_gpus())?);
    Ok(Gpus(captures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{CPU, GPU, METERS, MODEL, SERVED, VLLM_MAP};
    use crate::{Entry, Inputs};

    fn first(inputs: impl Inputs) -> std::path::PathBuf {
        Entry::of("x", inputs, |_| Ok(())).inputs().swap_remove(0)
    }

    #[test]
    fn a_capture_is_shown_by_what_it_says_it_is() -> Result<()> {
        let begins = [
            (first(&GPU), "The captured runs"),
            (first(&CPU), "One product of a"),
            (first(&MODEL), "The run that the tables"),
            (first(&METERS), "Capacity, "),
        ];
        for (file, begin) in begins {
            let text = show(&file)?;
            assert!(text.starts_with(begin), "{}: {text}", file.display());
        }
        assert!(figure(&first(&METERS))?.is_some_and(|svg| svg.starts_with("<svg ")));
        assert_eq!(figure(&first(&SERVED))?, None, "quality alone has no figure");
        let error = show(&first(&VLLM_MAP)).unwrap_err().to_string();
        assert!(error.contains("is of \"no schema\", and the book has no tables"), "{error}");
        Ok(())
    }
}
