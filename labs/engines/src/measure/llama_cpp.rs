//! llama.cpp, with the GGUF files that lab 05 writes.

use std::path::Path;

use anyhow::{Context, Result};
use engines::checkpoints::{Named, original};
use engines::llama_cpp::Tools;
use engines::meters::{LlamaCpp, Plan};
use engines::ready::root;
use model::passage;

use crate::checkpoint;

/// The formats it is asked for, the original first.
pub const FORMATS: [&str; 3] = ["f32", "q8_0", "q4_0"];

/// The tools in `bin`, with a file for each of `formats`.
///
/// # Errors
/// If a file cannot be made.
pub fn open(bin: &Path, formats: &[String], plan: &Plan) -> Result<LlamaCpp> {
    let file = |format: &String| {
        let path = match format.as_str() {
            "f32" => original(bin)?.path,
            other => {
                let name = format!("gguf-{other}");
                let path = checkpoint(&name, &["--scheme", &name])?;
                Named { name, path }.gguf()?
            }
        };
        Ok((format.clone(), path))
    };
    let models = formats.iter().map(file).collect::<Result<Vec<_>>>()?;
    let folder = root().join("target/engines/meters");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let passage_file = folder.join("passage.txt");
    std::fs::write(&passage_file, passage::ALICE).context("cannot write the passage")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(LlamaCpp {
        tools: Tools::new(bin, threads),
        models,
        passage: passage_file,
        base: folder.join("base"),
        plan: plan.clone(),
    })
}
