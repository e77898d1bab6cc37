//! What a capture file says, for whoever took one.

// A reader's own file is no input of the book, and nothing of it is kept.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

use anyhow::{Context, Result, bail};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use measure::capture::CaptureFile;
use measure::engines::meters;
use measure::{cpu, gpu, outliers};

use crate::figures;
use crate::inputs::{Gpus, committed_gpus, load, load_all};
use crate::tables::{captured, dequantization, outliers as model};

/// The tables of a capture file, whichever program wrote it, as text for a terminal. Those of a GPU
/// stand beside the captures of the repository.
///
/// # Errors
/// If the file is no capture, or lacks what a row needs.
pub fn show(path: &Path) -> Result<String> {
    let tables: Vec<Table> = match &*schema(path)? {
        gpu::capture::Capture::SCHEMA => captured::all(&beside_ours(path)?)?,
        cpu::capture::Capture::SCHEMA => dequantization::all(&load(path)?)?,
        outliers::capture::Capture::SCHEMA => model::all(&load(path)?)?,
        meters::Capture::SCHEMA => meters::table::all(&load(path)?, SMOLLM2_135M).into(),
        other => bail!("{} is of {other:?}, and the book has no tables of it", path.display()),
    };
    Ok(tables.iter().map(Table::to_string).collect::<Vec<_>>().join("\n"))
}

/// The figure of a capture of `cargo book measure`, as an SVG file.
///
/// # Errors
/// If the file is no such capture, or has nothing to compare.
pub fn figure(path: &Path) -> Result<String> {
    Ok(figures::measured::of(&load(path)?)?.to_file())
}

fn schema(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(value["schema"].as_str().unwrap_or("no schema").to_string())
}

/// A capture of a GPU and the committed ones.
fn beside_ours(path: &Path) -> Result<Gpus> {
    let mut captures = vec![load(path)?];
    captures.extend(load_all(&committed_gpus())?);
    Ok(Gpus(captures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{CPU, GPU, METERS, MODEL, SERVED};
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
        assert!(figure(&first(&METERS))?.starts_with("<svg "));
        let error = show(&first(&SERVED)).unwrap_err().to_string();
        assert!(
            error.contains("is of \"serve-check\", and the book has no tables of it"),
            "{error}"
        );
        Ok(())
    }
}
