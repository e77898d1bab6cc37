//! vLLM, with the checkpoints that lab 05 writes, or a server that runs already.

use std::path::{Path, PathBuf};

use crate::engines::checkpoints::Named;
use crate::engines::meters::{Plan, Source, Vllm};
use crate::engines::vllm::Options;
use anyhow::{Context, Result, ensure};
use kit::workspace::fetched_model;
use kit::workspace::root;
use model::{Config, Tokenizer, passage};

use super::Args;

/// The formats it is asked for, the original first. Which of them it can serve depends on the
/// machine: what it says is in the capture.
pub const FORMATS: [&str; 7] = ["none", "w8a8", "w8a8-smooth", "fp8", "w4a16", "awq", "gptq"];

/// vLLM at `program`, with a checkpoint for each of `formats`.
///
/// # Errors
/// If a checkpoint cannot be made.
pub fn open(cli: &Args, program: &Path, formats: &[String], plan: &Plan) -> Result<Vllm> {
    let source = |format: &String| {
        let options: &[&str] = match format.as_str() {
            "w8a8-smooth" => &["--scheme", "w8a8", "--smooth", "0.5"],
            scheme => &["--scheme", scheme],
        };
        let path = checkpoint(format, options)?;
        let named = Named { name: format.clone(), path: path.clone() };
        let weight_bytes = named.checkpoint()?.weight_bytes;
        let log = root().join("target/engines/logs").join(format!("measure-{format}.log"));
        let mut options = Options::new(program, &path, &log);
        options.dtype = cli.dtype.clone();
        let source = Vllm::options(options, plan, weight_bytes, cli.own_memory);
        Ok((format.clone(), source.map_err(anyhow::Error::from_boxed)?))
    };
    let sources = formats.iter().map(source).collect::<Result<Vec<_>>>()?;
    with(sources, plan)
}

/// A server that runs already and serves the first of `formats`.
///
/// # Errors
/// If the model was not fetched: the passage is cut by its tokenizer.
pub fn attach(url: &str, formats: &[String], plan: &Plan) -> Result<Vllm> {
    let [format] = formats else {
        anyhow::bail!("a server at --url serves one format: name that one with --formats");
    };
    with(vec![(format.clone(), Source::Attach(url.into()))], plan)
}

fn with(sources: Vec<(String, Source)>, plan: &Plan) -> Result<Vllm> {
    let model = fetched_model();
    let tokenizer = Tokenizer::load(&model)
        .with_context(|| format!("{}: `cargo book fetch` gets it", model.display()))?;
    Ok(Vllm {
        sources,
        tokens: tokenizer.encode(passage::ALICE)?,
        bos: tokenizer.bos_in_front(),
        vocabulary: Config::load(&model)?.vocab_size,
        plan: plan.clone(),
        base: None,
    })
}

/// The folder of a checkpoint, written by lab 05's program if it is not there.
fn checkpoint(name: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = root().join("target/checkpoints").join(name);
    if folder.exists() {
        return Ok(folder);
    }
    eprintln!("writing target/checkpoints/{name}");
    let mut command = std::process::Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root()).args(["book", "quantize"]).args(options);
    let out = Path::new("target/checkpoints").join(name);
    let status = command.arg("--out").arg(out).status().context("cannot start cargo")?;
    ensure!(status.success(), "the checkpoint {name} could not be written");
    Ok(folder)
}
