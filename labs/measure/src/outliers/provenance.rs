//! Where, when and with what a run is made.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::capture::machine::{ask, command, commit, date, processor, system};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::text::{CALIBRATION_NAME, CONVENTION, PASSAGE_NAME, Text};
use crate::outliers::capture::Provenance;

/// What this machine and these texts say of themselves; layer errors are measured on `errors_chunk`.
///
/// # Errors
/// If the model cannot be read.
pub fn of_run(model: &Path, text: &Text, quick: bool, errors_chunk: usize) -> Result<Provenance> {
    let name = model.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Provenance {
        processor: processor(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        system: system(),
        compiler: ask("rustc", &["--version"]).unwrap_or("unknown".into()),
        commit: commit().unwrap_or("unknown".into()),
        date: date(),
        command: command(),
        quick,
        model: name.unwrap_or_default(),
        model_sha256: sha256(model).with_context(|| format!("cannot read {}", model.display()))?,
        passage: PASSAGE_NAME.into(),
        chunk: CONVENTION.chunk,
        chunks: text.passage.len(),
        calibration: CALIBRATION_NAME.into(),
        calibration_tokens: text.calibration.iter().map(Vec::len).sum(),
        errors_chunk,
    })
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&piece[..count]);
    }
}
