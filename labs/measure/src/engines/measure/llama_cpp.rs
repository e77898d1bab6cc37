//! llama.cpp, with the files that its own `llama-quantize` writes: those that its users run.

use std::path::Path;

use crate::engines::checkpoints::original;
use crate::engines::llama_cpp::Tools;
use crate::engines::meters::{LlamaCpp, Plan};
use anyhow::{Context, Result};
use kit::workspace::root;
use model::passage;

/// The formats it is asked for, the original first.
pub const FORMATS: [&str; 3] = ["f32", "q8_0", "q4_0"];

/// The tools in `bin`, with a file for each of `formats`.
///
/// # Errors
/// If a file cannot be made.
pub fn open(bin: &Path, formats: &[String], plan: &Plan) -> Result<LlamaCpp> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tools = Tools::new(bin, threads);
    let f32 = original(bin)?.path;
    let file = |format: &String| {
        let path = f32.with_file_name(format!("original-{format}.gguf"));
        if !path.exists() {
            tools.quantize(&f32, &path, &format.to_uppercase())?;
        }
        Ok((format.clone(), path))
    };
    let models = formats.iter().map(file).collect::<Result<Vec<_>>>()?;
    let folder = root().join("target/engines/meters");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let passage_file = folder.join("passage.txt");
    std::fs::write(&passage_file, passage::ALICE).context("cannot write the passage")?;
    Ok(LlamaCpp {
        tools,
        models,
        passage: passage_file,
        base: folder.join("base"),
        plan: plan.clone(),
    })
}
